# SPDX-License-Identifier: GPL-3.0-or-later
"""The sound strips of a range: stretched ones in, the original ones back."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from operator import add
from typing import Any

from . import compat, connections, plain, selection
from .animation import animate, animation_of, copy_animation, remove
from .copying import copy_settings
from .request import Request
from .room import free_channel, isolate
from .selection import SOUND_OF

SETTINGS = ("volume", "pan", "mute")
"""What a muted range's sound gets back when it is restored, beside its animation and custom properties."""


def add_stretched(
    scene: Any,
    strips: Any,
    request: Request,
    result: dict[str, Any],
    source: Any,
    start: int,
    label: str,
    when: Callable[[float], float],
) -> list[Any]:
    """Strips of the stretched sounds, on free channels for now, with the settings of those whose place they take.

    What is animated at frame f is at frame `when(f)`.
    """
    made: list[Any] = []
    mine = _taken_along(strips, request, source, start, start + len(request.marked))
    folder = selection.as_named(request.job.output)
    try:
        for old_name, file in zip(request.sounds, result["sounds"], strict=False):
            if old_name not in mine:
                continue  # it was removed, trimmed or locked in the meantime
            new = _new_sound(scene, strips, f"{old_name} {label}", folder, file, start, len(result["frames"]))
            made.append(new)
            copy_settings(mine[old_name], new)
            copy_animation(scene, mine[old_name], new, when)
    except BaseException:
        for strip in made:
            remove(scene, strips, strip)
        raise
    return made


def add_mixed(scene: Any, strips: Any, request: Request, result: dict[str, Any], start: int, label: str) -> list[Any]:
    """A strip, on a free channel, of what was to be heard in the slowed strip itself; none where that was nothing."""
    if not request.mixed:
        return []
    folder, file = selection.as_named(request.job.output), result["sounds"][len(request.sounds)]
    name = f"{request.strip_name} sound {label}"
    return [_new_sound(scene, strips, name, folder, file, start, len(result["frames"]))]


def _new_sound(scene: Any, strips: Any, name: str, folder: str, file: str, start: int, length: int) -> Any:
    channel = free_channel(scene, strips, 1, start, max(start + length, *map(compat.right, strips)))
    new = strips.new_sound(name, f"{folder}/{file}", channel, start)
    compat.set_right(new, start + length)
    new[SOUND_OF] = folder
    return new


def _taken_along(strips: Any, request: Request, source: Any, start: int, end: int) -> dict[str, Any]:
    """The sound strips that the request takes along, as far as they still can be, by name and in its order."""
    found = {sound.name: sound for sound in selection.companion_sounds(strips, source)}
    return {
        name: found[name]
        for name in request.sounds
        if name in found
        and compat.left(found[name]) <= start
        and compat.right(found[name]) >= end
        and not found[name].lock
    }


def take_out(
    scene: Any, strips: Any, request: Request, source: Any, start: int, end: int, stretched: Sequence[Any]
) -> list[dict[str, Any]]:
    """Cut the range out of the sounds that the job took along, and the others after it; what was taken out.

    The `stretched` strips, which take the place of the first of them, get their connections.

    A locked sound strip stays as it is, and so does one on a locked channel, which calls itself locked, too. So does
    every one with Smooth, unless the user asks for something else: it plays as long as the movie does, and so does the
    result.
    """
    if request.job.time == "smooth" and request.job.sound in ("auto", "keep"):
        return []
    taken: list[dict[str, Any]] = []
    mine = _taken_along(strips, request, source, start, end)
    others = [sound for sound in selection.companion_sounds(strips, source) if sound.name not in mine]
    for sound, new in zip_longest(mine.values(), stretched):
        part = isolate(sound, start, end)
        if new is not None:
            connections.inherit(part, new)
        taken.append(
            {
                "name": part.name,
                "path": part.sound.filepath,
                "channel": part.channel,
                "content": compat.content_start(part) - start,
                "trim": (compat.trim_start(part), compat.trim_end(part)),
                "stretched_by": part.get(SOUND_OF, ""),
                "settings": {name: getattr(part, name) for name in SETTINGS},
                "start": start,
                "animation": animation_of(scene, part),
                "custom": plain.custom(part),
                "connected": connections.together(source, part),
                "stretched": os.path.basename(new.sound.filepath) if new is not None else "",
            }
        )
        remove(scene, strips, part)
    for sound in others:
        if compat.left(sound) < end < compat.right(sound) and not sound.lock:
            compat.split(sound, end)
    return taken


def recreate(
    scene: Any,
    strips: Any,
    taken: Sequence[dict[str, Any]],
    stretched: Sequence[Any],
    start: int,
    length: int,
    where: Callable[[float], float],
) -> list[Any]:
    """Strips of what `take_out` took, for a range of `length` frames from `start` on, on free channels for now.

    They get the settings of the `stretched` ones that have taken their place, and what is animated at frame f there
    at frame `where(f)`; where that is None, what they had.
    """
    made: list[Any] = []
    try:
        for told, old in zip(taken, stretched, strict=True):
            end = max(compat.right(strip) for strip in strips)
            begin = start + told["content"]
            channel = free_channel(scene, strips, 1, min(begin - told["trim"][0], start), max(end, 10**6))
            sound = strips.new_sound(told["name"], told["path"], channel, begin)
            made.append(sound)
            if any(told["trim"]):
                compat.set_trims(sound, told["trim"][0], told["trim"][1], begin)
            compat.set_left(sound, start)
            compat.set_right(sound, start + length)
            if told.get("stretched_by"):
                sound[SOUND_OF] = told["stretched_by"]
            if old is not None:
                copy_settings(old, sound)
                copy_animation(scene, old, sound, where)
                continue
            plain.put(sound, told["settings"])
            for name, value in told.get("custom", {}).items():
                sound[name] = value
            later = start - told.get("start", start)
            animate(scene, sound, told.get("animation", ()), partial(add, later))
    except BaseException:
        for strip in made:
            remove(scene, strips, strip)
        raise
    return made


def stand_ins(strips: Any, taken: Sequence[dict[str, Any]], folder: str, start: int) -> list[Any]:
    """What the job in `folder` made of each of the sounds that `take_out` took from a range at frame `start`.

    None for one that was muted, or whose stretched strip is gone.
    """
    stretched = _made_by(strips, folder, start)
    by_file = {os.path.basename(strip.sound.filepath): strip for strip in stretched}
    in_order = iter(stretched)  # notes of the first version do not tell the file
    return [by_file.get(told["stretched"]) if "stretched" in told else next(in_order, None) for told in taken]


def mixed_by(strips: Any, file: str, folder: str, start: int) -> list[Any]:
    """The strip that `add_mixed` made for a range at frame `start` of that file; none where it is gone."""
    return [strip for strip in _made_by(strips, folder, start) if os.path.basename(strip.sound.filepath) == file]


def _made_by(strips: Any, folder: str, start: int) -> list[Any]:
    return [
        strip
        for strip in strips
        if strip.get(SOUND_OF) == folder and compat.left(strip) == start and strip.type == "SOUND"
    ]
