# SPDX-License-Identifier: GPL-3.0-or-later
"""Room on the timeline: free channels, and everything later moved aside."""

from __future__ import annotations

from typing import Any

from ..core.messages import InputError
from . import compat
from .animation import move_animation
from .place import channels_of

LAST_CHANNEL = 128


def ripple(scene: Any, strips: Any, frame: int, added: int, *but: Any) -> dict[str, tuple[int, int]]:
    """Move everything that begins at `frame` or later by `added` frames: strips, markers, the end of marked ranges.

    Locked strips and channels stay, as in every editor; effects follow their inputs by themselves, but for their keys;
    `but` stays, too.
    Returns the strips that Blender put on another channel, since something lies in their way: name, and the channels
    before and after.
    """
    channels = channels_of(scene, strips)
    at_top = strips[0].name in scene.sequence_editor.strips
    film_end = max([frame, *(compat.right(strip) for strip in strips if strip not in but)])
    later = [
        strip
        for strip in strips
        if compat.left(strip) >= frame
        and not compat.has_inputs(strip)
        and strip not in but
        and not strip.lock
        and not channels[strip.channel].lock
    ]
    following = {strip: compat.left(strip) for strip in strips if compat.has_inputs(strip)}
    # the far end first, or a strip would be moved onto the next one and pushed to another channel
    pushed = {}
    for strip in sorted(later, key=compat.left, reverse=added > 0):
        before = strip.channel
        compat.move(strip, added)
        if strip.channel != before:
            pushed[strip.name] = (before, strip.channel)
    for effect, place in following.items():
        move_animation(scene, effect, compat.left(effect) - place)
    if not at_top:
        return pushed
    if not scene.tool_settings.lock_markers:
        for marker in scene.timeline_markers:
            if marker.frame >= frame:
                marker.frame += added
    if scene.use_preview_range and scene.frame_preview_end + 1 >= frame:
        scene.frame_preview_end += added
    # a scene that ended with the film still does, and one that went on after it still shows all of it
    if scene.frame_end == film_end - 1:
        scene.frame_end += added
    elif scene.frame_end >= film_end:
        scene.frame_end = max(scene.frame_end, film_end + added - 1)
    return pushed


def markers_inside(scene: Any, strips: Any, start: int, end: int) -> list[Any]:
    """Markers that go where their frame will be; to be asked for before what comes after the range is moved."""
    if scene.tool_settings.lock_markers or strips[0].name not in scene.sequence_editor.strips:
        return []
    return [marker for marker in scene.timeline_markers if start < marker.frame < end]


def free_channel(scene: Any, strips: Any, lowest: int, start: int, end: int, but: Any = None) -> int:
    """The lowest channel from `lowest` up that is not locked and has nothing (but `but`) between `start` and `end`.

    Raises InputError where there is none.
    """
    taken = {
        strip.channel for strip in strips if compat.left(strip) < end and compat.right(strip) > start and strip != but
    }
    channels = channels_of(scene, strips)
    for channel in range(lowest, LAST_CHANNEL + 1):
        if channel not in taken and not channels[channel].lock:
            return channel
    raise InputError(
        f"No channel above {lowest - 1} is free from frame {start} to {end - 1}: free one, or choose Ripple."
    )


def settle(scene: Any, strips: Any, strip: Any, lowest: int) -> None:
    """Put the strip on the lowest channel from `lowest` up that is free where it lies; it stays where none is.

    A channel that is not free there must never be set: Blender 4.5 then hangs, others move the strip in time.
    """
    try:
        channel = free_channel(scene, strips, lowest, compat.left(strip), compat.right(strip), but=strip)
    except InputError:
        return
    strip.channel = channel


def isolate(strip: Any, start: int, end: int) -> Any:
    """Split the strip so that one strip shows just `start` to `end`, and return that one."""
    if end < compat.right(strip):
        compat.split(strip, end)
    return compat.split(strip, start) if compat.left(strip) < start else strip
