# SPDX-License-Identifier: GPL-3.0-or-later
"""The original back in the place of a slowed strip, from what the strip's note says."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any

from ..core.messages import InputError
from . import compat, connections, plain, selection, sounds
from .animation import copy_animation, remove
from .copying import copy_settings
from .place import container_of
from .provenance import PROVENANCE, Provenance, provenance_of
from .room import free_channel, markers_inside, ripple, settle
from .timeline import KEPT, is_shown, new_image_strip, select_only


def restore(scene: Any, generated: Any) -> Any:
    """Put the original range back in the generated strip's place and return it; for an overlay, the strip below.

    Raises InputError, with nothing changed, where the strip is not Lento's or its original media is missing.
    """
    origin = provenance_of(generated)
    _check_unlocked(generated)
    if origin.placement == "overlay":
        remove(scene, container_of(scene, generated), generated)
        return None
    strips = container_of(scene, generated)
    _check_whole(generated)
    original = _kept(strips, generated, origin) if origin.kept else None
    stretched = sounds.stand_ins(strips, origin.sounds, origin.job, compat.left(generated))
    mixed = sounds.mixed_by(strips, origin.mixed, origin.job, compat.left(generated))
    _check_unlocked(original, *stretched, *mixed)
    _check_media(generated, origin)
    start, end, channel, muted = compat.left(generated), compat.right(generated), generated.channel, generated.mute
    length = origin.range[1] - origin.range[0]
    times = origin.times

    def where(frame: float) -> float:
        found = start + float(times.at(Fraction(frame - start)))
        # Blender keeps times in 32 bits: what was on a frame goes back onto it
        return round(found) if abs(found - round(found)) < 0.01 else found

    # all that can fail comes before anything of the user's is touched
    made: list[Any] = []
    try:
        if original is None:
            original = _recreate(scene, strips, origin, start)
            made.append(original)
            _check_extent(original, origin.media, start, length)
            copy_settings(generated, original)
            copy_animation(scene, generated, original, where)
        returned = sounds.recreate(scene, strips, origin.sounds, stretched, start, length, where)
        made += returned
        for sound, told in zip(returned, origin.sounds, strict=True):
            _check_extent(sound, told["path"], start, length)
    except BaseException:
        for strip in made:
            remove(scene, strips, strip)
        raise
    connections.mark(strips, generated)
    connections.inherit(generated, original)
    for told, old, sound in zip(origin.sounds, stretched, returned, strict=True):
        if told.get("connected"):
            connections.attach(original, sound)
        elif old is not None:
            connections.inherit(old, sound)
    for strip in (generated, *stretched, *mixed):
        if strip is not None:
            remove(scene, strips, strip)
    inside = markers_inside(scene, strips, start, end)
    compat.move(original, start - compat.left(original))
    ripple(scene, strips, end, length - (end - start), original, *returned)
    for marker in inside:
        marker.frame = round(where(marker.frame))
    settle(scene, strips, original, channel)
    for told, sound in zip(origin.sounds, returned, strict=True):
        settle(scene, strips, sound, told["channel"])
    for name, (before, after) in origin.pushed.items():
        strip = strips.get(name)
        if strip is not None and strip.channel == after and not strip.lock:
            settle(scene, strips, strip, before)
    if origin.kept:
        original.mute = muted
        del original[KEPT]
    connections.join(scene, strips)
    select_only(scene, original)
    return original


def _kept(strips: Any, generated: Any, origin: Provenance) -> Any:
    """The original that stayed on the timeline, muted."""
    original = next((strip for strip in strips if strip.get(KEPT) == origin.kept), None)
    if original is None:
        raise InputError(f"The original of {generated.name!r} is no longer on the timeline, so it cannot be restored.")
    return original


def _check_unlocked(*changed: Any) -> None:
    for strip in changed:
        if strip is not None and strip.lock:
            raise InputError(f"The strip {strip.name!r}, or its channel, is locked: unlock it first.")


def _check_whole(generated: Any) -> None:
    """Raise InputError where the strip shows a part of its frames: the original of the rest would come back with it."""
    begin = compat.content_start(generated)
    whole = (begin, begin + compat.content_length(generated))
    trimmed = compat.trim_start(generated) or compat.trim_end(generated)
    if trimmed or (compat.left(generated), compat.right(generated)) != whole:
        raise InputError(
            f"The strip {generated.name!r} was trimmed, extended or split, so its original cannot be put in its place: "
            "undo that, or delete its other parts and clear its offsets (Strip > Transform > Clear Strip Offset), then "
            "restore."
        )


def _check_media(generated: Any, origin: Provenance) -> None:
    """Raise InputError where a file of what is to be made again is not there: Blender would make a strip of 1 frame."""
    paths = [told["path"] for told in origin.sounds]
    if not origin.kept:
        paths.append(os.path.join(origin.media, origin.files[0]) if origin.files else origin.media)
    for path in map(selection.absolute, paths):
        if not os.path.exists(path):
            raise InputError(
                f"The original of {generated.name!r} plays {path}, which is not there, so it cannot be restored: put "
                "the file back there first."
            )


def _check_extent(strip: Any, path: str, start: int, length: int) -> None:
    """Raise InputError where a strip made again of `path` does not lie where it did."""
    if (compat.left(strip), compat.right(strip)) != (start, start + length):
        raise InputError(
            f"{selection.absolute(path)} no longer has the frames of the original, which cannot be restored: put the "
            "file back as it was."
        )


def _recreate(scene: Any, strips: Any, origin: Provenance, start: int) -> Any:
    """The source strip, its range beginning at frame `start`, on a channel with nothing in its way."""
    first, last = origin.range
    content_start = start - first
    end = max(compat.right(strip) for strip in strips)
    channel = free_channel(scene, strips, 1, min(content_start - origin.trim[0], end), 10**6)
    if origin.type == "IMAGE":
        strip = new_image_strip(scene, strips, origin.name, origin.media, origin.files, channel, content_start)
    elif Fraction(origin.rate) == 1:
        strip = strips.new_movie(origin.name, origin.media, channel, content_start)
    elif not is_shown(scene, strips):
        raise InputError(
            f"The original of {origin.name!r} lies in a meta strip: open that (Tab), then restore it there."
        )
    else:
        before = set(strips.keys())
        compat.add_movie_in_its_own_time(scene, selection.absolute(origin.media), channel, content_start)
        strip = next(strip for strip in strips if strip.name not in before)
        strip.name, strip.filepath = origin.name, origin.media
    if origin.note:
        strip[PROVENANCE] = origin.note
    if any(origin.trim):
        compat.set_trims(strip, *origin.trim, content_start)
    compat.set_left(strip, start)
    compat.set_right(strip, start + last - first)
    if origin.proxy is not None:
        strip.use_proxy = True
        plain.put(strip.proxy, origin.proxy)
    return strip
