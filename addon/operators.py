# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators: gather, start, report. What they do is done in the other modules."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import bpy

from ..core.messages import InputError
from . import compat, jobs, options, preferences, prerender, restoring, selection, setup, timeline
from .place import metas_around
from .reporting import reported
from .request import Request, gather

TICK = 0.1
"""Seconds between looks at the worker."""

_timers: list[Any] = []
"""Those of the operators that look at a worker now."""


def request(scene: Any, strip_name: str, given: tuple[int, int] | None, holders: dict[str, Any]) -> Request:
    """Everything that a job needs, for the strip of that name or the active one; the strip gets its id.

    Raises InputError where something of it cannot be slowed.
    """
    strip = selection.strip_named(scene, strip_name) if strip_name else selection.active_strip(scene)
    chosen, placement = options.chosen(holders)
    selection.check_strip(scene, strip, placement)
    marked = selection.marked_range(scene, strip, given)
    gathered = gather(scene, strip, marked, placement, **chosen)
    # only now, when nothing can fail any more
    running = [job for job in jobs.running if _is_of(job.request, scene, strip)]
    return replace(gathered, strip_id=running[0].request.strip_id if running else timeline.stamp(strip))


def _is_of(other: Request, scene: Any, strip: Any) -> bool:
    """Whether a running job's request is for this strip, whose start will be refused then.

    A copy of a strip has its id, too, and another name, or is in another scene; a renamed one has it alone.
    """
    try:
        if timeline.scene_of(other) != scene:
            return False
    except InputError:
        return False  # it is gone
    same = [one for one in scene.sequence_editor.strips_all if one.get(timeline.ID) == other.strip_id]
    named = [one for one in same if one.name == other.strip_name]
    return strip in (named or same)


def launch(context: Any, gathered: Request) -> jobs.Running:
    """Start the worker for a request. Raises InputError, with the strip as it was, where it does not start."""
    try:
        task = gathered.task
        render = partial(prerender.save_task, task) if task else None
        return jobs.start(gathered, setup.worker_python(context), render, preferences.of(context).keep_ready)
    except InputError:
        if not any(job.request.strip_id == gathered.strip_id for job in jobs.running):
            timeline.unstamp(bpy.data.scenes[gathered.scene], gathered.strip_id)
        raise


def conclude(job: jobs.Running) -> str:
    """Insert what a finished job made and say so; the job is off the list then, whatever happens.

    Raises Failure where the job failed or its strip is no longer there.
    """
    jobs.finish(job)
    try:
        result = job.result()
        scene = timeline.scene_of(job.request)
        strip = timeline.insert(scene, job.request, result)
    finally:
        timeline.unstamp_all_but([other.request.strip_id for other in jobs.running])
    folder, metas = job.request.job.output, metas_around(scene, strip)
    text = f"{strip.name}: {compat.right(strip) - compat.left(strip)} frames from {selection.as_named(folder)}"
    if bpy.data.filepath and Path(folder).is_relative_to(bpy.app.tempdir):
        text += (
            ". This file was not saved when it began, and Blender deletes its temporary folder when it quits: restore "
            "the strip and slow it again to have the frames beside the file"
        )
    hidden = max(map(compat.right, metas[-1].strips)) - compat.right(metas[-1]) if metas else 0
    if hidden > 0:
        text += f". {hidden} frames lie after the end of the meta strip {metas[-1].name!r}: drag that end to show them"
    return text


class LENTO_OT_slow_motion(bpy.types.Operator):
    """Slow the marked part of the strip down, with true frames in between"""

    bl_idname = "lento.slow_motion"
    bl_label = "Slow Motion"
    # no REGISTER: the redo panel would run a job of minutes again, in the foreground
    bl_options = {"UNDO"}
    __annotations__ = {
        "strip": bpy.props.StringProperty(
            name="Strip", description="Name of the strip to slow; empty: the active one", options={"SKIP_SAVE"}
        ),
        "range": bpy.props.IntVectorProperty(
            name="Range",
            size=2,
            default=(0, 0),
            options={"SKIP_SAVE"},
            description="Timeline frames from A to B, B not included; 0 0: what is marked",
        ),
        **options.properties(options={"SKIP_SAVE"}),
    }

    @classmethod
    def poll(cls, context: Any) -> bool:
        """Only that there is a timeline: what is wrong with a selection is said when the user asks for it."""
        if compat.editing_scene(context) is None:
            cls.poll_message_set("There is no scene to edit")
            return False
        return True

    def _launch(self, context: Any) -> jobs.Running:
        scene = compat.editing_scene(context)
        named = [name for name in options.OPTIONS if self.properties.is_property_set(name)]
        holders = options.holders(self.properties, named, scene.lento)
        given = tuple(self.range) if any(self.range) else None
        gathered = request(scene, self.strip, given, holders)
        for note in gathered.notes:
            self.report({"WARNING"}, note)
        return launch(context, gathered)

    def execute(self, context: Any) -> set[str]:
        """Do the whole job and return when it is done: for scripts."""
        with reported(self):
            job = self._launch(context)
            manager = context.window_manager
            manager.progress_begin(0, 1)
            try:
                job.wait(lambda job: manager.progress_update(job.share))
            finally:
                manager.progress_end()
            self._tell_warnings(job)
            self.report({"INFO"}, conclude(job))
            return {"FINISHED"}
        return {"CANCELLED"}

    def invoke(self, context: Any, event: Any) -> set[str]:
        """Start the job and let the user go on: for people."""
        if bpy.app.background:
            return self.execute(context)
        with reported(self):
            self._job = self._launch(context)
            manager = context.window_manager
            self._timer = manager.event_timer_add(TICK, window=context.window)
            _timers.append(self._timer)
            manager.modal_handler_add(self)
            show_progress(context)
            return {"RUNNING_MODAL"}
        return {"CANCELLED"}

    def modal(self, context: Any, event: Any) -> set[str]:
        """Look at the worker on every tick; Esc cancels, but for playback's own; other events go on to the editor."""
        if event.type == "ESC" and event.value == "PRESS" and not _plays(context):
            self._job.worker.cancel()
            return {"RUNNING_MODAL"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        if self._job.update():
            show_progress(context)
        if self._job.done is None:
            return {"PASS_THROUGH"}
        self._stop(context)
        self._tell_warnings(self._job)
        with reported(self):
            text = conclude(self._job)
            self.report({"INFO"}, text)
            return {"FINISHED"}
        return {"CANCELLED"}

    def cancel(self, context: Any) -> None:
        """The window is closed, or another file is opened: the job cannot be concluded any more."""
        self._job.worker.cancel()
        self._stop(context)

    def _stop(self, context: Any) -> None:
        context.window_manager.event_timer_remove(self._timer)
        _timers.remove(self._timer)
        jobs.finish(self._job)
        show_progress(context)

    def _tell_warnings(self, job: jobs.Running) -> None:
        for text in job.warnings:
            self.report({"WARNING"}, text)


class LENTO_OT_until_playhead(bpy.types.Operator):
    """Choose the length that lets the slowed range end before the playhead"""

    bl_idname = "lento.until_playhead"
    bl_label = "Until the Playhead"
    bl_options = {"UNDO", "INTERNAL"}

    def execute(self, context: Any) -> set[str]:
        """Set the scene's time and length; what cannot be is a sentence."""
        scene = compat.editing_scene(context)
        with reported(self):
            strip = selection.active_strip(scene)
            marked = selection.marked_range(scene, strip)
            length = scene.frame_current - marked.start
            if length < 1:
                raise InputError(
                    f"The playhead, at frame {scene.frame_current}, is not after the range's start, frame "
                    f"{marked.start}: move it to where the slowed range shall end."
                )
            scene.lento.time, scene.lento.length = "fit", length
            return {"FINISHED"}
        return {"CANCELLED"}


class LENTO_OT_cancel(bpy.types.Operator):
    """Stop the running slow motion; finished frames are kept for the next start, unless Blender renders it first"""

    bl_idname = "lento.cancel"
    bl_label = "Cancel Slow Motion"
    bl_options = {"INTERNAL"}
    __annotations__ = {"strip_id": bpy.props.StringProperty(options={"SKIP_SAVE"})}

    def execute(self, context: Any) -> set[str]:
        """Ask the worker of that strip, or every worker, to stop."""
        for job in jobs.running:
            if self.strip_id in ("", job.request.strip_id):
                job.worker.cancel()
        return {"FINISHED"}


class LENTO_OT_restore(bpy.types.Operator):
    """Put the original range back in the place of this slowed strip"""

    bl_idname = "lento.restore"
    bl_label = "Restore Original"
    bl_options = {"UNDO"}
    __annotations__ = {
        "strip": bpy.props.StringProperty(
            name="Strip", description="Name of the generated strip; empty: the active one", options={"SKIP_SAVE"}
        ),
    }

    def execute(self, context: Any) -> set[str]:
        """See restoring.restore."""
        scene = compat.editing_scene(context)
        with reported(self):
            strip = selection.strip_named(scene, self.strip) if self.strip else selection.active_strip(scene)
            restoring.restore(scene, strip)
            return {"FINISHED"}
        return {"CANCELLED"}


def _plays(context: Any) -> bool:
    return any(window.screen.is_animation_playing for window in context.window_manager.windows)


def show_progress(context: Any) -> None:
    """Draw the panels anew and put the running jobs into the status bar."""
    text = None
    if jobs.running:
        text = (
            "   ".join(f"Slow Motion, {job.request.strip_name}: {job.text}" for job in jobs.running)
            + "   (Esc cancels)"
        )
    for window in context.window_manager.windows:
        window.workspace.status_text_set(text)
    for area in compat.sequencer_areas(context.window_manager):
        for region in area.regions:
            if region.type == "UI":
                region.tag_redraw()


def forget(context: Any) -> None:
    """Take back what running jobs have put into Blender: the extension is turned off.

    Also when Blender quits, where nothing runs any more, and touching the windows crashes it.
    """
    if not jobs.running:
        return
    while _timers:
        context.window_manager.event_timer_remove(_timers.pop())
    jobs.running.clear()
    timeline.unstamp_all_but(())
    show_progress(context)


classes = (LENTO_OT_slow_motion, LENTO_OT_until_playhead, LENTO_OT_cancel, LENTO_OT_restore)
