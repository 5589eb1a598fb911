# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar tab and the menu entries."""

from __future__ import annotations

import textwrap
from typing import Any

import bpy

from ..core.messages import InputError
from . import compat, jobs, options, prerender, selection, timeline
from .operators import LENTO_OT_cancel, LENTO_OT_restore, LENTO_OT_slow_motion

LINE = 44
"""Letters that fit into the sidebar at its usual width."""
MENUS = ("SEQUENCER_MT_strip_retiming", "SEQUENCER_MT_context_menu")


class LENTO_PT_slow_motion(bpy.types.Panel):
    """What will be slowed, how, and how far it is."""

    bl_label = "Slow Motion"
    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Lento"

    def draw(self, context: Any) -> None:
        """Only reads: it is called whenever the region is drawn."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        scene = compat.editing_scene(context)
        if scene is None:
            layout.label(text="No scene to edit", icon="INFO")
            return
        for job in jobs.running:
            _draw_job(layout, job)
        _draw_plan(layout, scene)
        column = layout.column()
        for name in options.OPTIONS:
            column.prop(scene.lento, name)
        layout.operator(LENTO_OT_slow_motion.bl_idname, icon="PREVIEW_RANGE")
        strip = scene.sequence_editor.active_strip if scene.sequence_editor else None
        if strip is not None and timeline.PROVENANCE in strip:
            layout.operator(LENTO_OT_restore.bl_idname, icon="LOOP_BACK")


def _draw_job(layout: Any, job: jobs.Running) -> None:
    column = layout.column(align=True)
    column.label(text=job.request.strip_name, icon="TIME")
    row = column.row(align=True)
    row.progress(factor=job.share, text=job.text)
    row.operator(LENTO_OT_cancel.bl_idname, text="", icon="CANCEL").strip_id = job.request.strip_id


def _draw_plan(layout: Any, scene: Any) -> None:
    column = layout.column(align=True)
    try:
        strip = selection.active_strip(scene)
        chosen, placement = options.chosen(dict.fromkeys(options.OPTIONS, scene.lento))
        selection.check_strip(scene, strip, placement)
        marked = selection.marked_range(scene, strip)
        for line in selection.announce(scene, strip, marked, chosen["factor"]):
            column.label(text=line)
        if prerender.reason(strip, placement.bake_modifiers):
            column.label(text=f"Blender renders {len(marked)} frames first", icon="RENDER_ANIMATION")
        if not bpy.data.filepath:
            column.label(text="File not saved: frames are temporary", icon="INFO")
    except InputError as error:
        for line in textwrap.wrap(str(error), LINE):  # labels do not wrap by themselves
            column.label(text=line)


def draw_menu(self: Any, context: Any) -> None:
    """The menus' entry. Invoked, so that it runs beside the user's work."""
    self.layout.separator()
    self.layout.operator_context = "INVOKE_DEFAULT"
    self.layout.operator(LENTO_OT_slow_motion.bl_idname)


classes = (LENTO_PT_slow_motion,)
