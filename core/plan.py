# SPDX-License-Identifier: GPL-3.0-or-later
"""Which source frames every output frame is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from .job import Job
from .messages import InputError
from .timing import source_times, split_time

HEADER_ERROR = 3
"""Frames by which a movie's header may be wrong about its length, and a host that believes it with it."""


@dataclass(frozen=True)
class OutputFrame:
    """One frame to write.

    A "copy" is source frame `source`. A "between" lies at timestep `t` between `source` and the frame after it. A
    "hold" repeats `source` because the media has no frame for that time. `source + t` is the exact source time of all
    three.
    """

    number: int
    """From 1, in playing order, without gaps."""
    kind: Literal["copy", "between", "hold"]
    source: int
    t: Fraction

    def as_json(self, extension: str) -> dict[str, Any]:
        """The frame's entry in result.json; `extension` is that of its file, empty for a frame of a movie."""
        file = {"file": file_name(self.number, extension)} if extension else {}
        return {**file, "kind": self.kind, "source": self.source, "t": str(self.t)}


def file_name(number: int, extension: str) -> str:
    """Name of output frame `number`: 000001.png."""
    return f"{number:06d}{extension}"


def make_plan(job: Job, count: int, rate: Fraction = Fraction(1)) -> list[OutputFrame]:
    """Every output frame of the job, for media of `count` frames.

    `rate` is source frames per frame that the job counts in (see `host_rate`). Frames outside of what may be shown are
    held at its ends; the last pair of the range looks at the frame after the range where there is one.
    """
    first = 0 if job.shown_start is None else max(0, round(job.shown_start * rate))
    end = count if job.shown_end is None else min(count, round(job.shown_end * rate))
    last = max(first, end - 1)
    frames = []
    for number, time in enumerate(source_times(job.end - job.start, job.factor, job.start), start=1):
        source, t = split_time(time * rate)
        if source < first or source > last or (source == last and t > 0):
            held = min(max(source, first), last)
            frames.append(OutputFrame(number, "hold", held, time * rate - held))
        else:
            frames.append(OutputFrame(number, "between" if t else "copy", source, t))
    return frames


def host_rate(job: Job, count: int, fps: Fraction) -> Fraction:
    """Source frames per frame that the job counts in, for media of `count` frames at `fps`.

    1, unless a host plays the media in its own time: then the media's length as the host counts it differs from `count`
    as the frame rates do. Raises InputError where the length agrees with neither.
    """
    if job.host_length is None or job.host_fps is None:
        return Fraction(1)
    plain = Fraction(abs(job.host_length - count))
    timed = abs(job.host_length - count * job.host_fps / fps)
    if min(plain, timed) <= HEADER_ERROR:
        return Fraction(1) if plain <= timed else fps / job.host_fps
    raise InputError(
        f"{job.source} has {count} frames at {float(fps):g} fps, and the strip counts {job.host_length}: reload the "
        "strip if the file has changed, or check that the file is complete."
    )


def needed_frames(frames: Sequence[OutputFrame]) -> range:
    """The run of source frames that these output frames need, in order and without gaps; empty for none."""
    if not frames:
        return range(0)
    first = min(frame.source for frame in frames)
    last = max(frame.source + (frame.kind == "between") for frame in frames)
    return range(first, last + 1)
