# SPDX-License-Identifier: GPL-3.0-or-later
"""What the timeline says about time: drawn speed, cut markers, sounds that play along; and the map that follows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from ..core import timing
from ..core.messages import InputError
from ..core.timing import Knots, TimeMap
from . import compat

SPEED = "lento_speed"
"""The strip's property that users keyframe: percent of normal speed, over the timeline's frames from the range on."""
STEPS = 4
"""Samples of a drawn curve per frame."""
CUT, NO_CUT = "cut", "nocut"
"""Names of markers that force a cut, or forbid one."""


def speed_knots(scene: Any, strip: Any, start: int) -> Knots:
    """The strip's speed from timeline frame `start` on, as timing.drawn wants it."""
    curves = compat.fcurves(scene)
    curve = curves.find(f"{strip.path_from_id()}.{SPEED}") if curves is not None else None
    if curve is None or not len(curve.keyframe_points):
        return ((Fraction(0), _share(getattr(strip, SPEED))),)
    last = max(key.co[0] for key in curve.keyframe_points)
    count = max(0, math.ceil((last - start) * STEPS))
    points = [(Fraction(step, STEPS), _share(curve.evaluate(start + step / STEPS))) for step in range(count + 1)]
    return tuple(_without_straights(points))


def _share(percent: float) -> Fraction:
    return Fraction(round(percent * 1000), 100_000)


def _without_straights(points: list[tuple[Fraction, Fraction]]) -> Iterator[tuple[Fraction, Fraction]]:
    """The points without those that lie on the straight line between their neighbours; they are evenly spaced."""
    for index, point in enumerate(points):
        inside = 0 < index < len(points) - 1
        if not inside or points[index - 1][1] + points[index + 1][1] != 2 * point[1]:
            yield point


def time_map(scene: Any, strip: Any, start: int, frames: int, chosen: dict[str, Any]) -> TimeMap | None:
    """The map that a job with these options would have; None for smooth, which depends on what the worker finds.

    Raises InputError where there is none.
    """
    try:
        if chosen["time"] == "curve":
            return timing.drawn(frames, speed_knots(scene, strip, start))
        if chosen["time"] == "smooth":
            if strip.type != "MOVIE":
                raise InputError(
                    f"The strip {strip.name!r} has no frame rate of its own to keep: choose another time than Smooth."
                )
            return None
        count = chosen["length"] if chosen["time"] == "fit" else None
        return timing.eased(frames, chosen["factor"], chosen["ease"], chosen["ramp"], count)
    except timing.TimeError as error:
        raise InputError(f"The strip {strip.name!r} cannot be slowed so: {error}.") from error


def cut_markers(scene: Any, offset: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Frames with a marker named cut, and with one named nocut, moved by `offset`."""
    named: dict[str, list[int]] = {CUT: [], NO_CUT: []}
    for marker in scene.timeline_markers:
        if marker.name.strip().lower() in named:
            named[marker.name.strip().lower()].append(marker.frame + offset)
    return tuple(sorted(named[CUT])), tuple(sorted(named[NO_CUT]))
