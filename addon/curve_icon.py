# SPDX-License-Identifier: GPL-3.0-or-later
"""A time map as a small picture for the panel: speed over the frames that come out."""

from __future__ import annotations

from array import array
from typing import Any

import bpy.utils.previews

from ..core.timing import TimeMap

SIZE = 128
LINE, NORMAL, AXIS = (0.35, 0.65, 1.0, 1.0), (0.5, 0.5, 0.5, 0.6), (0.5, 0.5, 0.5, 1.0)
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
        icon.icon_pixels_float = icon.image_pixels_float = pixels
        _drawn = times
    return int(_icons["curve"].icon_id)


def picture(times: TimeMap) -> array[float]:
    """SIZE x SIZE pixels of red, green, blue, alpha in 0..1, the lowest row first.

    The blue line is the speed, from 0 (or the lowest below it) to the highest; grey lines are 0 % and 100 %.
    """
    speeds = [times.speed(times.count * column / (SIZE - 1)) for column in range(SIZE)]
    low, high = min(0.0, *speeds), max(1.0, *speeds)
    pixels = array("f", bytes(4 * 4 * SIZE * SIZE))

    def row(speed: float) -> int:
        return round((speed - low) / (high - low) * (SIZE - 1 - THICKNESS)) + THICKNESS // 2

    def dot(column: int, line: int, color: tuple[float, float, float, float]) -> None:
        if 0 <= line < SIZE:
            place = 4 * (line * SIZE + column)
            pixels[place : place + 4] = array("f", color)

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
