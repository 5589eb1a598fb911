# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs inside Blender: bpy and the standard library, nothing else."""

from __future__ import annotations

from typing import Any

import bpy

from . import command_line, job_runner, jobs, keymap, operators, preferences, ui

classes = (*preferences.classes, *operators.classes, *ui.classes)


@bpy.app.handlers.persistent
def _leave_file(*args: Any) -> None:
    """Another file is opened, or this one reverted: the jobs' strips are gone."""
    jobs.cancel_all()


def register() -> None:
    """Everything that Blender is told about Lento."""
    for cls in classes:
        bpy.utils.register_class(cls)
    bpy.types.Scene.lento = bpy.props.PointerProperty(type=preferences.LentoSettings)
    for menu in ui.MENUS:
        getattr(bpy.types, menu).append(ui.draw_menu)
    bpy.app.handlers.load_pre.append(_leave_file)
    keymap.register()
    command_line.register()


def unregister() -> None:
    """Leave nothing behind, no worker either."""
    job_runner.kill_all()
    jobs.running.clear()
    command_line.unregister()
    keymap.unregister()
    bpy.app.handlers.load_pre.remove(_leave_file)
    for menu in ui.MENUS:
        getattr(bpy.types, menu).remove(ui.draw_menu)
    del bpy.types.Scene.lento
    for cls in reversed(classes):
        bpy.utils.unregister_class(cls)
