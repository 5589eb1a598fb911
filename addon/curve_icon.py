# SPDX-License-Identifier: GPL-3.0-or-later
"""A time map as a small picture for the panel: speed over the frames that come out."""

from __future__ import annotations

from array import array
from typing import Any

import bpy.utils.previews

from ..core.timing import TimeMap

SIZE = 128
LINE, NORMAL, AXIS = 0xFFFFA659, 0x99808080, 0xFF808080
"""Colours as Blender packs them: alpha, blue, green, red."""
THICKNESS = 3

_icons: Any = None
_drawn: TimeMap | None = None


def icon_of(times: TimeMap) -> int:
    """The icon's number; drawn anew when the map is another one."""
    global _icons, _drawn
    if _icons is None:
        _icons = bpy.utils.previews.new()
    if times != _drawn:
        if "curve" in _icons:
            _icons.clear()
        icon = _icons.new("curve")
        icon.icon_size = icon.image_size = (SIZE, SIZE)
        pixels = picture(times)
        # whole pixels, not floats: a quarter of the numbers for Blender to go through
        icon.icon_pixels = icon.image_pixels = pixels
        _drawn = times
    return int(_icons["curve"].icon_id)


def picture(times: TimeMap) -> array[int]:
    """SIZE x SIZE pixels as Blender packs them, the lowest row first.

    The blue line is the speed, from 0 (or the lowest below it) to the highest; grey lines are 0 % and 100 %.
    """
    speeds = [times.speed(times.count * column / (SIZE - 1)) for column in range(SIZE)]
    low, high = min(0.0, *speeds), max(1.0, *speeds)
    pixels = array("i", bytes(4 * SIZE * SIZE))

    def row(speed: float) -> int:
        return round((speed - low) / (high - low) * (SIZE - 1 - THICKNESS)) + THICKNESS // 2

    def dot(column: int, line: int, color: int) -> None:
        if 0 <= line < SIZE:
            pixels[line * SIZE + column] = color - (1 << 32)  # signed: all of them have a high alpha

    for column in range(SIZE):
        dot(column, row(0.0), AXIS)
        if column % 8 < 5:
            dot(column, row(1.0), NORMAL)
    previous = row(speeds[0])
    for column, speed in enumerate(speeds):
        here = row(speed)
        for line in range(min(previous, here) - THICKNESS // 2, max(previous, here) + THICKNESS // 2 + 1):
            dot(column, line, LINE)
        previous = here
    return pixels


def unregister() -> None:
    """Free the picture."""
    global _icons, _drawn
    if _icons is not None:
        bpy.utils.previews.remove(_icons)
    _icons = _drawn = None
