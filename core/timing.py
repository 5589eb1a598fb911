# SPDX-License-Identifier: GPL-3.0-or-later
"""Source time of every output frame, in exact rationals.

Standard library only: Blender imports this module too, to say the resulting length before anything starts.

Output frame `i` of a range of `n` source frames slowed by `factor` shows the source time `i / factor`, counted in
source frames from the range's start. Floats are not used anywhere: after a thousand frames of a factor such as 7/3 they
no longer say which frames are source frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction


def parse_factor(text: str) -> Fraction:
    """A factor as people write it: a decimal ("2.5") or a fraction ("7/3").

    Raises ValueError for what is no finite number.
    """
    try:
        return Fraction(text.strip())
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


def frame_count(frames: int, factor: Fraction) -> int:
    """Number of output frames for a range of `frames` source frames (halves to even, as Python rounds)."""
    return round(frames * factor)


def source_times(frames: int, factor: Fraction, start: Fraction | int = 0) -> Iterator[Fraction]:
    """Source time of every output frame, in source frames; the first output frame shows `start`.

    Every time lies in [start, start + frames).
    """
    for index in range(frame_count(frames, factor)):
        yield start + index / factor


def split_time(time: Fraction) -> tuple[int, Fraction]:
    """The source frame at or before `time`, and the timestep in [0, 1) from it to the next one."""
    frame = time.numerator // time.denominator
    return frame, time - frame
