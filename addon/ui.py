# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar tab and the menu entries."""

from __future__ import annotations

import textwrap
from typing import Any

import bpy

from ..core.job import ENGINES
from ..core.messages import InputError
from . import (
    availability,
    compat,
    curve_icon,
    jobs,
    options,
    prerender,
    selection,
    setup,
    setup_ui,
    time_options,
)
from .operators import LENTO_OT_cancel, LENTO_OT_restore, LENTO_OT_slow_motion, LENTO_OT_until_playhead
from .provenance import PROVENANCE

LINE = 44
"""Letters that fit into the sidebar at its usual width."""
CURVE_SCALE = 5.0
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
        setup_ui.draw_missing(layout, context, LINE)
        _draw_plan(layout, scene)
        layout.operator(LENTO_OT_slow_motion.bl_idname, icon="PREVIEW_RANGE")
        strip = scene.sequence_editor.active_strip if scene.sequence_editor else None
        column = layout.column()
        for name, (_, spec) in options.OPTIONS.items():
            if spec.times and scene.lento.time not in spec.times:
                continue
            # weights are shown always: engines that need some are offered when they are named
            if name != "weights" and not spec.is_for(scene.lento.engine):
                continue
            if name == "ramp" and scene.lento.ease == "none":
                continue
            if name == "engine":
                _draw_engine(column, context, scene)
                continue
            row = column.row(align=True)
            row.prop(scene.lento, name)
            if name == "weights":
                row.menu(LENTO_MT_models.bl_idname, text="", icon="DOWNARROW_HLT")
            if name == "time" and scene.lento.time == "curve" and strip is not None:
                row = column.row()
                row.use_property_decorate = True  # the dot that sets a keyframe
                row.prop(strip, time_options.SPEED)
            if name == "length":
                column.operator(LENTO_OT_until_playhead.bl_idname, icon="NEXT_KEYFRAME")
        if strip is not None and PROVENANCE in strip:
            layout.operator(LENTO_OT_restore.bl_idname, icon="LOOP_BACK")
        setup_ui.draw_ready(layout)


def _draw_engine(column: Any, context: Any, scene: Any) -> None:
    """The choice among engines that can run, and what the chosen one needs where it cannot."""
    chosen = next(choice for choice in ENGINES if choice.id == scene.lento.engine)
    row = column.split(factor=0.4)
    label = row.row()
    label.alignment = "RIGHT"
    label.label(text="Engine")
    row.menu(LENTO_MT_engines.bl_idname, text=chosen.label)
    lacks = lacking(context, scene, chosen.id)
    if lacks:
        column.label(text=f"It needs {lacks}", icon="ERROR")


def lacking(context: Any, scene: Any, engine: str) -> str:
    """What the engine cannot run without; empty where it can, or where nobody knows."""
    try:
        python = setup.worker_python(context)
    except InputError:
        return ""  # the button says so when it is pressed
    return availability.lacking(python.path, engine, scene.lento.weights) or ""


class LENTO_MT_engines(bpy.types.Menu):
    """Engines that can run; of the others, what they need."""

    bl_idname = "LENTO_MT_engines"
    bl_label = "Engine"

    def draw(self, context: Any) -> None:
        """Only reads."""
        scene = compat.editing_scene(context)
        lacks = {choice.id: lacking(context, scene, choice.id) for choice in ENGINES}
        for choice in ENGINES:
            if not lacks[choice.id]:
                self.layout.prop_enum(scene.lento, "engine", choice.id)
        self.layout.separator()
        for choice in ENGINES:
            if lacks[choice.id]:
                self.layout.label(text=f"{choice.label} needs {lacks[choice.id]}")


class LENTO_MT_models(bpy.types.Menu):
    """Checkpoints that are there."""

    bl_idname = "LENTO_MT_models"
    bl_label = "Models"

    def draw(self, context: Any) -> None:
        """See setup_ui.draw_models_menu."""
        setup_ui.draw_models_menu(self.layout)


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
        times = time_options.time_map(scene, strip, marked.start, len(marked), chosen)
        for line in selection.announce(scene, strip, marked, times):
            column.label(text=line)
        if times is not None and len(times.knots) > 1:
            column.template_icon(icon_value=curve_icon.icon_of(times), scale=CURVE_SCALE)
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


classes = (LENTO_MT_engines, LENTO_MT_models, LENTO_PT_slow_motion)
