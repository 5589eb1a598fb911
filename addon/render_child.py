# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in the other Blender: renders one strip's range of the copied file, frame by frame, and tells how far it is."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import bpy

from ..core.messages import Done, Error, ExitCode, Messenger, Progress, Status, claim_stdout
from . import compat
from .place import metas_around
from .prerender import SEE_BELOW, Task, frame_names

# what the new strip gets from the old one, and its value that changes nothing
NEUTRAL = {
    "blend_type": "REPLACE", "blend_alpha": 1.0, "color_multiply": 1.0, "color_saturation": 1.0, "use_flip_x": False,
    "use_flip_y": False, "multiply_alpha": False,
}  # fmt: skip
NEUTRAL_PARTS: dict[str, dict[str, float]] = {
    "transform": {"offset_x": 0, "offset_y": 0, "scale_x": 1.0, "scale_y": 1.0, "rotation": 0.0},
    "crop": {"min_x": 0, "max_x": 0, "min_y": 0, "max_y": 0},
}


def main(task_file: str) -> None:
    """Render what the task file says; the process ends with the exit code of its Done record."""
    messenger = Messenger(claim_stdout(), as_json=True)
    threading.Thread(target=_end_with_stdin, name="lento-stdin", daemon=True).start()
    code = ExitCode.DONE
    try:
        data = json.loads(Path(task_file).read_text(encoding="utf-8"))
        _render(Task(**{**data, "size": tuple(data["size"])}), messenger)
    except Exception as error:  # the top of the process: whatever it is, the user gets a sentence
        code = ExitCode.ENGINE_FAILED
        messenger.send(Error(f"Blender could not render the strip ({type(error).__name__}: {error}).", code))
    messenger.send(Done(code))
    sys.stdout.flush()
    os._exit(code)  # not sys.exit: Blender as a module frees its memory for seconds, and there is nothing left to save


def _end_with_stdin() -> None:
    """Cancelled, or the Blender that started this one is gone."""
    while os.read(0, 1024):
        pass
    os._exit(ExitCode.CANCELLED)


def _render(task: Task, messenger: Messenger) -> None:
    scene = bpy.data.scenes[task.scene]
    strip = scene.sequence_editor.strips_all[task.strip]
    messenger.send(Status(f"Rendering {task.strip} in Blender"))
    metas = metas_around(scene, strip)
    _isolate(scene, strip, metas)
    for meta in metas:
        _neutralise(scene, meta, keep_modifiers=False)
        compat.set_left(meta, min(compat.left(meta), task.start))
        compat.set_right(meta, max(compat.right(meta), task.end))
    if strip.type not in SEE_BELOW:
        _neutralise(scene, strip, task.keep_modifiers)
    _set_up(scene, task)
    output = Path(task.output)
    output.mkdir(parents=True, exist_ok=True)
    began, names = time.monotonic(), frame_names(task)
    for done, (frame, name) in enumerate(zip(range(task.start, task.end), names, strict=True), start=1):
        scene.frame_set(frame)
        scene.render.filepath = str(output / f"part_{name}")
        bpy.ops.render.render(write_still=True, scene=scene.name)
        os.replace(output / f"part_{name}", output / name)
        rate = done / (time.monotonic() - began)
        remaining = round((len(names) - done) / rate, 1)
        messenger.send(Progress(done, len(names), round(rate, 2), remaining, "Rendering"))
    if task.sound:
        messenger.send(Status(f"Mixing the sound of {task.strip} in Blender"))
        _mix(scene, task)


def _mix(scene: Any, task: Task) -> None:
    """Write what is to be heard, without what the scene does to all of its sound: it will do that again."""
    curves = [*(compat.fcurves(scene) or ()), *compat.drivers(scene)]
    for curve in [curve for curve in curves if curve.data_path == "audio_volume"]:
        (compat.drivers(scene) if curve.driver else compat.fcurves(scene)).remove(curve)
    scene.use_audio, scene.audio_volume = True, 1.0
    scene.frame_start, scene.frame_end = task.start, task.end - 1
    with bpy.context.temp_override(scene=scene):  # else the window's
        bpy.ops.sound.mixdown(
            filepath=task.sound, container="WAV", codec="PCM", format="F32", mixrate=48000, relative_path=False
        )


def _isolate(scene: Any, strip: Any, metas: list[Any]) -> None:
    """Mute every strip that the picture of this one does not need; `metas` are those around it."""
    container = scene.sequence_editor
    for meta in metas:
        for other in container.strips:
            other.mute = other != meta
        container.channels[meta.channel].mute = False
        container = meta
    needed = {strip.name}
    pending = [strip]
    while pending:
        one = pending.pop()
        for other in (getattr(one, "input_1", None), getattr(one, "input_2", None)):
            if other is not None and other.name not in needed:
                needed.add(other.name)
                pending.append(other)
    for other in container.strips:
        below = strip.type in SEE_BELOW and other.channel < strip.channel
        if other.name not in needed and not below:
            other.mute = True
    strip.mute = False
    container.channels[strip.channel].mute = False


def _neutralise(scene: Any, strip: Any, keep_modifiers: bool) -> None:
    """Take away what the new strip will do itself, and the keys and drivers that would set it again."""
    prefix = strip.path_from_id() + "."
    animated = tuple(f"{prefix}{name}" for name in (*NEUTRAL, *NEUTRAL_PARTS))
    for curves in (compat.fcurves(scene), compat.drivers(scene)):
        for curve in list(curves or ()):
            if curve.data_path.startswith(animated):
                curves.remove(curve)
    for name, value in NEUTRAL.items():
        if hasattr(strip, name):
            setattr(strip, name, value)
    for part, values in NEUTRAL_PARTS.items():
        for name, value in values.items():
            if hasattr(strip, part):
                setattr(getattr(strip, part), name, value)
    if not keep_modifiers:
        while strip.modifiers:
            strip.modifiers.remove(strip.modifiers[0])


def _set_up(scene: Any, task: Task) -> None:
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = *task.size, 100
    if scene.sequence_editor.strips_all[task.strip].type in ("MOVIE", "IMAGE"):
        render.pixel_aspect_x = render.pixel_aspect_y = 1.0
    render.use_sequencer, render.use_compositing = True, False
    render.film_transparent = True
    render.use_border = render.use_stamp = render.use_multiview = False
    render.dither_intensity = 0.0
    settings = render.image_settings
    compat.set_image_output(settings)
    settings.file_format, settings.color_mode, settings.color_depth, settings.exr_codec = (
        "OPEN_EXR",
        "RGBA",
        "16",
        "ZIP",
    )
