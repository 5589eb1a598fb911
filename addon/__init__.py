# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs inside Blender: bpy and the standard library, nothing else."""

from __future__ import annotations

from typing import Any

import bpy

from . import (
    answers,
    command_line,
    curve_icon,
    job_runner,
    jobs,
    keymap,
    operators,
    preferences,
    setup,
    setup_operators,
    tasks,
    timeline,
    ui,
)

classes = (*preferences.classes, *operators.classes, *setup_operators.classes, *ui.classes)


@bpy.app.handlers.persistent
def _leave_file(*args: Any) -> None:
    """Another file was opened, or this one reverted: the jobs' strips are gone."""
    jobs.cancel_all()
    _forget_old_ids()


@bpy.app.handlers.persistent
def _forget_old_ids(*args: Any) -> None:
    """An undo, a redo or a file brings back the ids that strips had during a job."""
    timeline.unstamp_all_but([job.request.strip_id for job in jobs.running])


HANDLERS = (
    # not before: a file that cannot be opened leaves this one open
    (bpy.app.handlers.load_post, _leave_file),
    (bpy.app.handlers.undo_post, _forget_old_ids),
    (bpy.app.handlers.redo_post, _forget_old_ids),
)


def register() -> None:
    """Everything that Blender is told about Lento."""
    job_runner.register()
    for cls in classes:
        bpy.utils.register_class(cls)
    bpy.types.Scene.lento = bpy.props.PointerProperty(type=preferences.LentoSettings)
    bpy.types.Strip.lento_speed = bpy.props.FloatProperty(
        name="Speed",
        description="Speed over the frames that come out, in percent of normal; keyframes draw a curve. Used where the "
        "time is Speed Curve",
        default=100.0,
        soft_min=0.0,
        soft_max=400.0,
        subtype="PERCENTAGE",
    )
    for menu in ui.MENUS:
        getattr(bpy.types, menu).append(ui.draw_menu)
    for handlers, function in HANDLERS:
        handlers.append(function)
    keymap.register()
    command_line.register()


def unregister() -> None:
    """Leave nothing behind, no worker either."""
    job_runner.unregister()
    curve_icon.unregister()
    setup.unwatch()
    tasks.forget()
    answers.forget()
    operators.forget(bpy.context)
    command_line.unregister()
    keymap.unregister()
    for handlers, function in HANDLERS:
        handlers.remove(function)
    for menu in ui.MENUS:
        getattr(bpy.types, menu).remove(ui.draw_menu)
    del bpy.types.Strip.lento_speed
    del bpy.types.Scene.lento
    for cls in reversed(classes):
        bpy.utils.unregister_class(cls)
