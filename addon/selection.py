# SPDX-License-Identifier: GPL-3.0-or-later
"""Which strip is meant, and which part of it; what it plays, and which sounds play along. Changes nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import bpy

from ..core.job import Placement
from ..core.messages import InputError
from ..core.timing import TimeMap
from . import compat, prerender
from .place import holder_of


@dataclass(frozen=True)
class Range:
    """Timeline frames `start` to `end` (not included), and what marked them."""

    start: int
    end: int
    origin: str

    def __len__(self) -> int:
        return self.end - self.start


def active_strip(scene: Any) -> Any:
    """The strip to slow.

    Raises InputError where no strip is selected.
    """
    editor = scene.sequence_editor
    strip = editor.active_strip if editor else None
    if strip is None or not strip.select:
        raise InputError("No strip is selected: select one in the sequencer.")
    return strip


def strip_named(scene: Any, name: str) -> Any:
    """The strip of that name, also inside of meta strips.

    Raises InputError where there is none.
    """
    strip = scene.sequence_editor.strips_all.get(name) if scene.sequence_editor else None
    if strip is None:
        raise InputError(f"There is no strip named {name!r} in the scene {scene.name!r}.")
    return strip


def marked_range(scene: Any, strip: Any, given: tuple[int, int] | None = None) -> Range:
    """The part of the strip that is marked: given frames, else the preview range, else two selected markers, else all.

    Raises InputError where the marks are in the wrong order, do not lie on the strip or leave fewer than two frames.
    """
    left, right = compat.left(strip), compat.right(strip)
    markers = sorted(marker.frame for marker in scene.timeline_markers if marker.select)
    if given is not None:
        start, end, origin = *given, "the given range"
    elif scene.use_preview_range:
        start, end, origin = scene.frame_preview_start, scene.frame_preview_end + 1, "the preview range"
    elif len(markers) == 2:
        start, end, origin = *markers, "the two selected markers"
    else:
        start, end, origin = left, right, "the whole strip"
    if end <= start:
        raise InputError(
            f"{_capital(origin)}, {start} to {end}, has no frame: its end, which is not included, has to come after "
            "its start."
        )
    if end <= left or start >= right:
        raise InputError(
            f"{_capital(origin)}, frames {start} to {end - 1}: outside of the strip {strip.name!r}, which has the "
            f"frames {left} to {right - 1}. Mark a part of the strip."
        )
    start, end = max(start, left), min(end, right)
    if end - start < 2:
        raise InputError(
            f"{_capital(origin)} covers one frame of the strip {strip.name!r}: slow motion needs at least two."
        )
    return Range(start, end, origin)


def check_strip(scene: Any, strip: Any, placement: Placement) -> None:
    """Raise InputError with a sentence where this strip cannot be slowed."""
    name = strip.name
    if strip.type == "SOUND":
        raise InputError(f"The strip {name!r} is a sound strip: select a strip with a picture.")
    channel = holder_of(scene, strip).channels[strip.channel]
    if channel.lock:  # first, since a strip on a locked channel calls itself locked, too
        raise InputError(f"The strip {name!r} lies on the locked channel {channel.name!r}: unlock the channel first.")
    if strip.lock:
        raise InputError(f"The strip {name!r} is locked: unlock it first.")
    if prerender.reason(strip, placement.bake_modifiers):
        prerender.check(scene, strip)
    if compat.has_inputs(strip) and placement.placement == "ripple":
        raise InputError(
            f"The strip {name!r} is an effect of other strips and cannot be split by itself: choose the placement "
            "Overlay instead."
        )
    if placement.placement == "ripple" and (effect := effect_of(scene, strip)) is not None:
        raise InputError(
            f"The strip {name!r} feeds the effect {effect.name!r}, which splitting it would break: choose the "
            "placement Overlay instead."
        )


def effect_of(scene: Any, strip: Any) -> Any:
    """An effect strip that has `strip` as an input; None where there is none."""
    for other in scene.sequence_editor.strips_all:
        if compat.has_inputs(other) and strip in (getattr(other, "input_1", None), getattr(other, "input_2", None)):
            return other
    return None


SOUND_OF = "lento_sound_of"
"""Custom property of a stretched sound strip: the folder of the job that made it, which holds its picture, too."""


def companion_sounds(strips: Any, strip: Any) -> list[Any]:
    """The sound strips among `strips` that belong to this one: connected with it, or in step with it.

    In step are the movie's own sound, and the sound that was stretched with a slowed strip.
    """
    # connections can be read only from 5.2 on; that two play one file in step says it in every version
    connected = {other.name for other in compat.connected(strip)}
    return [
        other
        for other in strips
        if other.type == "SOUND" and other.sound is not None and (other.name in connected or _plays_along(other, strip))
    ]


def _plays_along(sound: Any, strip: Any) -> bool:
    if strip.type not in prerender.FILES or file_start(sound) != file_start(strip):
        return False
    path, heard = media_of(strip), absolute(sound.sound.filepath)
    if SOUND_OF in sound:
        return os.path.dirname(path) == os.path.dirname(heard)
    return strip.type == "MOVIE" and heard == path


def file_start(strip: Any) -> int:
    """Timeline frame at which the strip's file begins."""
    return compat.content_start(strip) - compat.trim_start(strip)


def announce(scene: Any, strip: Any, marked: Range, times: TimeMap | None) -> list[str]:
    """What a job would do, in two lines for the panel."""
    fps = scene.render.fps / scene.render.fps_base
    meant = f"{strip.name}: frames {marked.start} to {marked.end - 1}, {marked.origin}"
    if times is None:
        return [meant, f"{len(marked)} frames, as long as the movie plays, at {fps:g} fps"]
    return [meant, f"{len(marked)} frames become {times.count}, {times.count / fps:.2f} s"]


def media_of(strip: Any) -> str:
    """The movie, or the first image, since holes after it are held; empty for a strip of no files."""
    if strip.type == "MOVIE":
        return absolute(strip.filepath)
    return os.path.join(absolute(strip.directory), strip.elements[0].filename) if strip.type == "IMAGE" else ""


def absolute(path: str) -> str:
    """A path of Blender's, which may begin with //, as the operating system wants it."""
    return os.path.abspath(bpy.path.abspath(path))


def as_named(path: str) -> str:
    """An absolute path as strips name it: relative to the .blend, where that is saved and on the same drive."""
    if not bpy.data.filepath:
        return path
    try:
        return str(bpy.path.relpath(path)).replace(os.sep, "/")
    except ValueError:  # another drive
        return path


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
