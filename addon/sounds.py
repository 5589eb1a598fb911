# SPDX-License-Identifier: GPL-3.0-or-later
"""The sound strips of a range: stretched ones in, the original ones back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import compat, selection
from .copying import copy_settings
from .room import free_channel, isolate
from .selection import SOUND_OF, Request

SETTINGS = ("volume", "pan", "mute")
"""What a muted range's sound gets back when it is restored."""


def add_stretched(
    scene: Any, strips: Any, request: Request, result: dict[str, Any], source: Any, start: int, label: str
) -> list[Any]:
    """Strips of the stretched sounds, with the settings of those whose place they take; on free channels for now."""
    made: list[Any] = []
    mine = _taken_along(strips, request, source, start, start + len(request.marked))
    folder = selection.as_named(request.job.output)
    try:
        for old_name, file in zip(request.sounds, result["sounds"], strict=False):
            if old_name not in mine:
                continue  # it was removed, trimmed or locked in the meantime
            length = len(result["frames"])
            channel = free_channel(scene, strips, 1, start, max(start + length, *map(compat.right, strips)))
            new = strips.new_sound(f"{old_name} {label}", f"{folder}/{file}", channel, start)
            made.append(new)
            compat.set_right(new, start + length)
            copy_settings(mine[old_name], new)
            new[SOUND_OF] = folder
    except BaseException:
        for strip in made:
            strips.remove(strip)
        raise
    return made


def _taken_along(strips: Any, request: Request, source: Any, start: int, end: int) -> dict[str, Any]:
    """The sound strips that the request takes along, as far as they still can be, by name."""
    return {
        sound.name: sound
        for sound in selection.companion_sounds(strips, source)
        if sound.name in request.sounds
        and compat.left(sound) <= start
        and compat.right(sound) >= end
        and not sound.lock
    }


def take_out(strips: Any, request: Request, source: Any, start: int, end: int) -> list[dict[str, Any]]:
    """Cut the range out of the sounds that the job took along, and the others after it; what was taken out.

    A locked sound strip stays as it is, and so does one on a locked channel, which calls itself locked, too. So does
    every one with Smooth, unless the user asks for something else: it plays as long as the movie does, and so does the
    result.
    """
    if request.job.time == "smooth" and request.job.sound in ("auto", "keep"):
        return []
    taken: list[dict[str, Any]] = []
    mine = _taken_along(strips, request, source, start, end)
    for sound in selection.companion_sounds(strips, source):
        if sound.name in mine:
            part = isolate(sound, start, end)
            taken.append(
                {
                    "name": part.name,
                    "path": part.sound.filepath,
                    "channel": part.channel,
                    "content": compat.content_start(part) - start,
                    "trim": (compat.trim_start(part), compat.trim_end(part)),
                    "stretched_by": part.get(SOUND_OF, ""),
                    "settings": {name: getattr(part, name) for name in SETTINGS},
                }
            )
            strips.remove(part)
        elif compat.left(sound) < end < compat.right(sound) and not sound.lock:
            compat.split(sound, end)
    return taken


def recreate(
    scene: Any, strips: Any, taken: Sequence[dict[str, Any]], stretched: Sequence[Any], start: int, length: int
) -> list[Any]:
    """Strips of what `take_out` took, for a range of `length` frames from `start` on, on free channels for now.

    They get the settings of the `stretched` ones that have taken their place.
    """
    made: list[Any] = []
    try:
        for told in taken:
            end = max(compat.right(strip) for strip in strips)
            begin = start + told["content"]
            channel = free_channel(scene, strips, 1, min(begin - told["trim"][0], start), max(end, 10**6))
            sound = strips.new_sound(told["name"], told["path"], channel, begin)
            made.append(sound)
            if any(told["trim"]):
                compat.set_trims(sound, told["trim"][0], told["trim"][1], begin)
            compat.set_left(sound, start)
            compat.set_right(sound, start + length)
            for name, value in told["settings"].items():
                setattr(sound, name, value)
            if told.get("stretched_by"):
                sound[SOUND_OF] = told["stretched_by"]
        for old, sound in zip(stretched, made, strict=False):
            copy_settings(old, sound)
    except BaseException:
        for strip in made:
            strips.remove(strip)
        raise
    return made


def stretched_by(strips: Any, folder: str, start: int) -> list[Any]:
    """What the job in `folder` made of the sounds of a range that begins at frame `start`."""
    return [
        strip
        for strip in strips
        if strip.get(SOUND_OF) == folder and compat.left(strip) == start and strip.type == "SOUND"
    ]
