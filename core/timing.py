# SPDX-License-Identifier: GPL-3.0-or-later
"""Source time of every output frame, in exact rationals.

Standard library only: Blender imports this module too, to say the resulting length before anything starts.

Every way to change a clip's time is one map: a speed over output time (1 = as recorded), linear between knots, whose
integral says where in the source an output frame lies. A constant factor has one knot; ramps and drawn curves have
more. Floats are not used for positions: after a thousand frames of a factor such as 7/3 they no longer say which frames
are source frames.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any

LONGEST = 1_000_000
"""Output frames of a map, at the most: eleven hours at 24 frames a second."""
FASTEST = 100
"""The largest speed, forwards or backwards, as the least factor has it."""
NORMAL = Fraction(1)
"""Frames of the range for each output frame at normal speed, where both are played at the same rate."""

Knots = tuple[tuple[Fraction, Fraction], ...]


class TimeError(ValueError):
    """A speed that leads nowhere. The text is the part of a sentence that says why, and what to do."""


@dataclass(frozen=True)
class TimeMap:
    """Which source position every output time shows; both in frames, both counted from the range's start."""

    frames: int
    """Length of the range."""
    knots: Knots
    """(output time, speed): times rise from 0; the speed is linear between knots and stays after the last."""
    count: int
    """Number of output frames."""

    def __post_init__(self) -> None:
        """Raise TimeError for more than LONGEST frames."""
        if self.count > LONGEST:
            raise TimeError(
                f"the result would have {in_words(Fraction(self.count))} frames, more than {LONGEST}: raise the speed, "
                "shorten the range, or play it at a lower rate"
            )

    @cached_property
    def _positions(self) -> tuple[Fraction, ...]:
        """Source position at every knot."""
        positions = [Fraction(0)]
        for (time, speed), (next_time, next_speed) in zip(self.knots, self.knots[1:], strict=False):
            positions.append(positions[-1] + (next_time - time) * (speed + next_speed) / 2)
        return tuple(positions)

    @cached_property
    def _times(self) -> tuple[Fraction, ...]:
        return tuple(time for time, _ in self.knots)

    def at(self, time: Fraction | int) -> Fraction:
        """Source position at an output time; before 0 and after the last knot the speed there goes on."""
        if len(self.knots) == 1:
            return time * self.knots[0][1]
        index = max(0, bisect_right(self._times, time) - 1)
        start, speed = self.knots[index]
        into = time - start
        slope = Fraction(0)
        if into > 0 and index + 1 < len(self.knots):
            next_time, next_speed = self.knots[index + 1]
            slope = (next_speed - speed) / (next_time - start)
        return self._positions[index] + into * speed + slope * into * into / 2

    def positions(self) -> Iterator[Fraction]:
        """Source position of every output frame."""
        for index in range(self.count):
            yield self.at(index)

    def speed(self, time: float) -> float:
        """Speed at an output time."""
        index = max(0, bisect_right(self._times, time) - 1)
        start, speed = self.knots[index]
        if time <= start or index + 1 == len(self.knots):
            return float(speed)
        next_time, next_speed = self.knots[index + 1]
        return float(speed + (next_speed - speed) * (Fraction(time) - start) / (next_time - start))

    def when(self, position: float) -> float:
        """The first output time that shows a source position; outside of the range the speed at that end goes on."""
        if position <= 0:
            first = float(self.knots[0][1])
            return position / first if first > 0 else position
        if position >= self.frames:
            last = self.speed(self.count)
            return self.count + (position - self.frames) * (1 / last if last > 0 else 1)
        found = _first_time(self.knots, self._positions, position)
        return float(self.count if found is None else min(found, self.count))

    def as_json(self) -> dict[str, Any]:
        """For result.json and for the note on a generated strip."""
        knots = [[str(time), str(speed)] for time, speed in self.knots]
        return {"frames": self.frames, "count": self.count, "knots": knots}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TimeMap:
        """What `as_json` told."""
        knots = tuple((Fraction(time), Fraction(speed)) for time, speed in data["knots"])
        return cls(data["frames"], knots, data["count"])


def constant(frames: int, factor: Fraction) -> TimeMap:
    """The range slowed `factor` times: round(frames * factor) frames (halves to even, as Python rounds)."""
    return TimeMap(frames, ((Fraction(0), 1 / factor),), max(1, round(frames * factor)))


def fitted(frames: int, count: int) -> TimeMap:
    """The range in exactly `count` output frames."""
    return TimeMap(frames, ((Fraction(0), Fraction(frames, count)),), count)


def eased(
    frames: int, factor: Fraction, ease: str, ramp: int, fit: int | None = None, normal: Fraction = NORMAL
) -> TimeMap:
    """The range slowed `factor` times, or in `fit` frames, entered and left at normal speed.

    `ease` is none, in, out or both; over `ramp` output frames at that end the speed changes smoothly (3x^2 - 2x^3)
    between the normal one and that of the middle. The middle's speed differs from normal / factor by what makes the
    length a whole number of frames, so that the last frame runs into what comes after it. Raises TimeError for ramps
    that do not fit.
    """
    ramps = {"none": 0, "in": 1, "out": 1, "both": 2}[ease]
    if not ramps or ramp < 1:
        return constant(frames, factor / normal) if fit is None else fitted(frames, fit)
    slow = 1 / factor
    length = frames / normal  # at normal speed
    if fit is None:
        # a ramp takes the mean of its two speeds, by its symmetry
        longest = int(2 * length / (ramps * (1 + slow)))
        count = max(1, round((length - ramps * ramp * (1 + slow) / 2) / slow) + ramps * ramp)
    else:
        # the middle has to move, too: its speed is above 0 as long as the ramps leave it a part of the range
        longest = min(math.ceil(2 * length / ramps) - 1, fit // ramps)
        count = fit
    if ramp > longest:
        does_not = "a ramp does not fit" if ramps == 1 else "two ramps do not fit"
        mend = f"choose a ramp of at most {longest}" if longest else "choose the ease None"
        lasting = "" if fit is None else f" that shall last {fit}"
        raise TimeError(f"{does_not} into a range of {frames} frames{lasting}: {mend}")
    speed = normal * (length - Fraction(ramps * ramp, 2)) / (count - Fraction(ramps * ramp, 2))
    up = [_smoothstep(Fraction(index, ramp)) for index in range(ramp + 1)]
    knots: list[tuple[Fraction, Fraction]] = []
    if ease in ("in", "both"):
        knots += [(Fraction(index), normal + (speed - normal) * share) for index, share in enumerate(up)]
    else:
        knots.append((Fraction(0), speed))
    if ease in ("out", "both"):
        start = count - ramp
        knots += [
            (Fraction(start + index), speed + (normal - speed) * share)
            for index, share in enumerate(up)
            if start + index > knots[-1][0]
        ]
    return TimeMap(frames, tuple(knots), count)


def drawn(frames: int, knots: Sequence[tuple[Fraction, Fraction]], normal: Fraction = NORMAL) -> TimeMap:
    """The range at a speed that somebody drew over output time, until its end is reached; 1 is the normal speed.

    Speeds of 0 (hold) and below (backwards) are fine as long as the end is reached. Raises TimeError where it never
    is, or not within LONGEST frames, for speeds above FASTEST, and where the knots' times do not rise from 0.
    """
    if not knots or knots[0][0] != 0 or any(b[0] <= a[0] for a, b in zip(knots, knots[1:], strict=False)):
        raise TimeError("its times do not rise from 0: begin with frame 0, and name every later frame once, in order")
    if knots[-1][0] > LONGEST:
        raise TimeError(f"its times go on after {LONGEST} frames, the longest result: leave those out")
    fastest = max((speed for _, speed in knots), key=abs)
    if abs(fastest) > FASTEST:
        raise TimeError(f"a speed of {in_words(100 * fastest)} % is too large, the most is {100 * FASTEST} %")
    made = TimeMap(frames, tuple((time, speed * normal) for time, speed in knots), 1)
    end = _first_time(made.knots, made._positions, frames)
    if end is None:
        raise TimeError(
            f"it never reaches the end of the range, its last speed is {float(knots[-1][1]):.0%}: end it above 0 %"
        )
    return TimeMap(frames, made.knots, max(1, round(end)))


def _smoothstep(x: Fraction) -> Fraction:
    return x * x * (3 - 2 * x)


def _first_time(knots: Knots, positions: Sequence[Fraction], target: float) -> float | None:
    """The first output time from 0 on at which the source position is `target` or more; None for never."""
    for index, (time, speed) in enumerate(knots):
        rest = float(target - positions[index])
        if rest <= 0:
            return float(time)
        if index + 1 == len(knots):
            return float(time) + rest / float(speed) if speed > 0 else None
        next_time, next_speed = knots[index + 1]
        length = float(next_time - time)
        into = _first_root(float(next_speed - speed) / length / 2, float(speed), rest)
        if into is not None and into <= length:
            return float(time) + into
    return None


def _first_root(a: float, b: float, c: float) -> float | None:
    """The smallest x >= 0 with a x^2 + b x = c, for c > 0; None where there is none."""
    if abs(a) < 1e-12:
        return c / b if b > 0 else None
    inside = b * b + 4 * a * c
    if inside < 0:
        return None
    # the form that loses no digits where a is small
    half = b + math.copysign(math.sqrt(inside), b)
    roots = (-half / (2 * a), 2 * c / half if half else -1.0)
    return min((root for root in roots if root >= 0), default=None)


def in_words(number: Fraction) -> str:
    """A number for a message: as it is where that is short, else about."""
    exact = str(number)
    return exact if len(exact) <= 12 else f"{(Decimal(number.numerator) / number.denominator).normalize():.4g}"


def _number(text: str) -> Fraction:
    """Raises ValueError also for an exponent of more than two digits, which would take long to write out."""
    if re.search(r"[eE][+-]?0*[1-9][0-9_]{2,}", text):
        raise ValueError
    return Fraction(text.strip())


def parse_factor(text: str) -> Fraction:
    """A factor as people write it: a decimal ("2.5") or a fraction ("7/3").

    Raises ValueError for what is no finite number.
    """
    try:
        return _number(text)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{text!r} is not a number such as 4, 2.5 or 7/3") from error


def factor_from_float(value: float) -> Fraction:
    """The factor that a number field in single precision stands for: 2.3333332 is 7/3, 2.3499999 is 2.35.

    Raises ValueError for infinity and for what is not a number.
    """
    try:
        return Fraction(value).limit_denominator(1000)
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{value} is not a number such as 4, 2.5 or 2.3333") from error


def parse_knot(text: str) -> tuple[Fraction, Fraction]:
    """A point of a speed curve as people write it: "24:50%" or "24:1/2", output frame and speed.

    Raises ValueError for anything else.
    """
    time, colon, speed = text.partition(":")
    try:
        if not colon:
            raise ValueError
        percent = speed.strip().endswith("%")
        return _number(time), _number(speed.strip().rstrip("%")) / (100 if percent else 1)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{text!r} is not a frame and a speed such as 24:50%") from error


def split_time(time: Fraction) -> tuple[int, Fraction]:
    """The source frame at or before `time`, and the timestep in [0, 1) from it to the next one."""
    frame = time.numerator // time.denominator
    return frame, time - frame
