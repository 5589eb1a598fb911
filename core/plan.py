# SPDX-License-Identifier: GPL-3.0-or-later
"""Which source frames every output frame is made of."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from . import timing
from .job import Job
from .messages import InputError
from .timing import TimeMap, split_time

HEADER_ERROR = 3
"""Frames by which a movie's header may be wrong about its length, and a host that believes it with it."""
SHUTTER_SAMPLES = 16
"""Moments that are averaged for one frame with motion blur, at the most."""


@dataclass(frozen=True)
class Findings:
    """What the pictures themselves say about time; see `core/analysis.py`."""

    cuts: frozenset[int] = frozenset()
    """Source frames that begin a new shot."""
    repeats: frozenset[int] = frozenset()
    """Source frames that repeat the one before them, and are to be replaced by real motion."""


@dataclass(frozen=True)
class Sample:
    """A moment of the source.

    A "copy" is source frame `source`. A "between" lies at timestep `t` between `source` and `after`, a "fade" is their
    cross-fade. A "hold" repeats `source` because the media has no frame for that time, or a cut comes next.
    """

    kind: Literal["copy", "between", "hold", "fade"]
    source: int
    after: int
    t: Fraction

    @property
    def time(self) -> Fraction:
        """The exact source time that is shown."""
        return self.source + self.t * max(1, self.after - self.source)


@dataclass(frozen=True)
class OutputFrame:
    """One frame to write: a moment, or the average of the moments for which a shutter is open."""

    number: int
    """From 1, in playing order, without gaps."""
    moment: Sample
    shutter: tuple[Sample, ...] = ()

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The moments that it is made of."""
        return self.shutter or (self.moment,)

    def as_json(self, extension: str) -> dict[str, Any]:
        """The frame's entry in result.json; `extension` is that of its file, empty for a frame of a movie."""
        entry: dict[str, Any] = {"file": file_name(self.number, extension)} if extension else {}
        entry |= {"kind": self.moment.kind, "source": self.moment.source, "t": str(self.moment.t)}
        if self.moment.after - self.moment.source > 1:
            entry["next"] = self.moment.after
        return entry | ({"shutter": len(self.shutter)} if self.shutter else {})


def file_name(number: int, extension: str) -> str:
    """Name of output frame `number`: 000001.png."""
    return f"{number:06d}{extension}"


def time_map(job: Job, rate: Fraction = Fraction(1), fps: Fraction | None = None) -> TimeMap:
    """The map from output frames to frames of the job's range, as the job's options choose it.

    `rate` is source frames per frame that the job counts in, `fps` the source's frame rate. Raises InputError where the
    job asks for a time that cannot be.
    """
    frames = job.end - job.start
    normal = _normal_speed(job, fps)
    try:
        if job.time == "curve":
            return timing.drawn(frames, job.speeds, normal)
        if job.time == "smooth":
            if job.host_fps is None or fps is None:
                raise InputError("time: smooth needs the frame rate to play at: name one (--host-fps).")
            return timing.constant(frames, rate * job.host_fps / fps)
        length = job.length if job.time == "fit" else None
        return timing.eased(frames, job.factor, job.ease, job.ramp, length, normal)
    except timing.TimeError as error:
        raise InputError(f"time: the range cannot be slowed so: {error}.") from error


def _normal_speed(job: Job, fps: Fraction | None) -> Fraction:
    """Frames as the job counts for each output frame, at the speed that was recorded.

    A host that says how long the media is for it counts in the frames that it plays, and what it plays is normal.
    """
    if job.host_fps is None or fps is None or job.host_length is not None or job.retimed is not None:
        return timing.NORMAL
    return fps / job.host_fps


def make_plan(
    job: Job, count: int, rate: Fraction = Fraction(1), times: TimeMap | None = None, found: Findings | None = None
) -> list[OutputFrame]:
    """Every output frame of the job, for media of `count` frames.

    `rate` is source frames per frame that the job counts in (see `host_rate`), `times` the job's map where that is not
    `time_map(job)`. Frames outside of what may be shown are held at its ends; the last pair of the range looks at the
    frame after the range where there is one.
    """
    times = times or time_map(job)
    moments = _Moments(job, count, rate, found or Findings())
    frames = []
    for number, position in enumerate(times.positions(), start=1):
        moment = moments.at((job.start + position) * rate)
        shutter: tuple[Sample, ...] = ()
        if job.shutter:
            opened = job.shutter / 360
            taken = [
                moments.at((job.start + times.at(number - 1 + opened * offset)) * rate)
                for offset in _offsets(SHUTTER_SAMPLES)
            ]
            if any(sample != moment for sample in taken):
                shutter = tuple(taken)
        frames.append(OutputFrame(number, moment, shutter))
    return frames


def _offsets(samples: int) -> list[Fraction]:
    """Midpoints of equal parts of -1/2 to 1/2."""
    return [Fraction(2 * index + 1, 2 * samples) - Fraction(1, 2) for index in range(samples)]


class _Moments:
    """Source time -> the frames that show it."""

    def __init__(self, job: Job, count: int, rate: Fraction, found: Findings) -> None:
        self._first = 0 if job.shown_start is None else max(0, round(job.shown_start * rate))
        end = count if job.shown_end is None else min(count, round(job.shown_end * rate))
        self._last = max(self._first, end - 1)
        self._fade = job.cuts == "fade"
        self._cuts = sorted(found.cuts)
        # not the media's last frame, which nothing comes after
        self._repeats = found.repeats - {self._first, self._last}

    def at(self, time: Fraction) -> Sample:
        first, last = self._first, self._last
        source, t = split_time(time)
        if source < first or source > last or (source == last and t > 0):
            held = min(max(source, first), last)
            return Sample("hold", held, held, time - held)
        a = source
        while a in self._repeats:
            a -= 1
        if time == a:
            return Sample("copy", a, a, Fraction(0))
        b = source + 1
        while b in self._repeats:
            b += 1
        t = (time - a) / (b - a)
        cut = self._cut_between(a, b)
        if cut is None:
            return Sample("between", a, b, t)
        if self._fade:
            return Sample("fade", a, b, t)
        held = a if time < cut - Fraction(1, 2) else b
        return Sample("hold", held, held, time - held)

    def _cut_between(self, a: int, b: int) -> int | None:
        """The first frame of the shot that begins after `a` and not after `b`."""
        index = bisect_right(self._cuts, a)
        return self._cuts[index] if index < len(self._cuts) and self._cuts[index] <= b else None


def host_rate(job: Job, count: int, fps: Fraction) -> Fraction:
    """Source frames per frame that the job counts in, for media of `count` frames at `fps`.

    1, unless a host plays the media in its own time, or at another speed: then the media's length as the host counts it
    differs from `count`. Raises InputError where the length agrees with nothing.
    """
    if job.retimed is not None:
        return (count if job.retimed_to_end else max(1, count - 1)) / job.retimed
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


def needed_frames(samples: Sequence[Sample]) -> range:
    """The run of source frames that these moments need, in order and without gaps; empty for none."""
    if not samples:
        return range(0)
    return range(min(sample.source for sample in samples), max(sample.after for sample in samples) + 1)
