# SPDX-License-Identifier: GPL-3.0-or-later
"""Strips that only Blender can show: another Blender renders their range first, on a saved copy of the file.

The user's scene is never rendered, so that the interface stays free. What the new strip gets from the old one
(transform, crop, blending, modifiers) is left out of the rendering: it must not be applied twice.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import bpy

from ..core.messages import InputError
from . import compat

# strips that show what lies below them: with that, and with their modifiers, they are rendered as they are
SEE_BELOW = frozenset({"ADJUSTMENT", "MULTICAM"})
FILES = ("MOVIE", "IMAGE")
COPY, TASK = "scene.blend", "task.json"


@dataclass(frozen=True)
class Task:
    """What the other Blender renders: frames `start` to `end` (not included) of one strip, to `output`.

    And what is to be heard in it, to the file `sound`, where that is named.
    """

    scene: str
    strip: str
    start: int
    end: int
    output: str
    size: tuple[int, int]
    keep_modifiers: bool
    sound: str = ""


def reason(strip: Any, bake_modifiers: bool) -> str:
    """Why the strip cannot be read from its files, in a few words; empty where it can."""
    if strip.type not in FILES:
        kind = str(strip.type).lower().replace("_", " ")
        return f"is {'an' if kind[0] in 'aeio' else 'a'} {kind} strip"
    reasons = (
        (compat.is_retimed(strip) and not is_mapped(strip), "is retimed with several speeds"),
        (strip.use_reverse_frames, "plays backwards"),
        (strip.strobe > 1.0, "repeats frames (Strobe)"),
        (getattr(strip, "use_deinterlace", False), "is deinterlaced"),
        (getattr(strip, "stream_index", 0) > 0, "shows another stream than the file's first"),
        (getattr(strip, "use_multiview", False), "is stereoscopic"),
        (strip.colorspace_settings.name.startswith("Rec.2100"), "is high dynamic range video"),
        (bake_modifiers and len(strip.modifiers) > 0, "has modifiers that are to be baked in"),
    )
    return next((text for found, text in reasons if found), "")


def is_mapped(strip: Any) -> bool:
    """Whether a retimed strip's one speed can be followed in its files: where they play frame by frame otherwise."""
    rate = getattr(strip, "fps", 0.0)
    scene = strip.id_data
    by_frame = strip.type == "IMAGE" or abs(rate - scene.render.fps / scene.render.fps_base) < 1e-3
    return by_frame and compat.constant_retiming(strip) is not None


def check(scene: Any, strip: Any) -> None:
    """Raise InputError where rendering the strip cannot work."""
    if strip.type == "SCENE" and strip.scene in (scene, None):
        shown = "no scene" if strip.scene is None else "the scene that it is in"
        raise InputError(f"The scene strip {strip.name!r} shows {shown}: choose another scene for it.")
    if strip.type == "SCENE" and scene in _scenes_within(strip.scene):
        raise InputError(
            f"The scene strip {strip.name!r} shows the scene {strip.scene.name!r}, whose own strips show the scene "
            f"{scene.name!r} again: choose another scene for one of them."
        )


def _scenes_within(scene: Any) -> set[Any]:
    """The scenes that a scene's sequencer shows, and those that these show."""
    found: set[Any] = set()
    pending = [scene]
    while pending:
        editor = pending.pop().sequence_editor
        for strip in editor.strips_all if editor else ():
            if strip.type == "SCENE" and strip.scene is not None and strip.scene not in found:
                found.add(strip.scene)
                pending.append(strip.scene)
    return found


def is_heard(strip: Any) -> bool:
    """Whether there is sound inside of a meta or scene strip."""
    pending, scenes = [strip], set()
    while pending:
        one = pending.pop()
        if one.mute:
            continue
        if one.type == "SOUND":
            return True
        if one.type == "META":
            pending += one.strips
        if one.type == "SCENE" and one.scene is not None and one.scene not in scenes:
            scenes.add(one.scene)
            if any(thing.type == "SPEAKER" for thing in one.scene.objects):
                return True
            pending += one.scene.sequence_editor.strips if one.scene.sequence_editor else ()
    return False


def size_of(scene: Any, strip: Any) -> tuple[int, int]:
    """Size to render the strip in: a file's own, else the scene's whole one.

    Not the share of it that the scene is looked at in: strips of files are shrunk to that, too.
    """
    if strip.type in FILES and strip.elements and strip.elements[0].orig_width:
        return strip.elements[0].orig_width, strip.elements[0].orig_height
    return scene.render.resolution_x, scene.render.resolution_y


def save_task(task: Task, folder: Path) -> list[str]:
    """Save a copy of the open file and the task into `folder` and return the command that renders it.

    Raises InputError where the copy cannot be saved.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TASK).write_text(json.dumps(asdict(task)), encoding="utf-8")
        bpy.ops.wm.save_as_mainfile(filepath=str(folder / COPY), copy=True, check_existing=False)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"A copy of this file cannot be saved in {folder} ({str(error).strip()}): save the .blend in a folder that "
            "can be written, on a disk with free space."
        ) from error
    module = f"{__package__}.render_child"
    program = f"import importlib; importlib.import_module({module!r}).main({str(folder / TASK)!r})"
    if bpy.app.binary_path:
        return [bpy.app.binary_path, "-b", str(folder / COPY), "--python-exit-code", "3", "--python-expr", program]
    # Blender as a Python module has no program of its own
    opening = f"import bpy; bpy.ops.wm.open_mainfile(filepath={str(folder / COPY)!r}); {program}"
    return [sys.executable, "-c", opening]


def frame_names(task: Task) -> tuple[str, ...]:
    """Names of the rendered files, in order."""
    return tuple(f"{number:06d}.exr" for number in range(1, task.end - task.start + 1))
