# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a job: one thread reads, this one computes, a few write; what waits between them is bounded."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from .color import Encoding, from_float, to_float
from .encode import MOVIES, MovieFormat, write_movie
from .engines import Engine, Frame, create
from .images import FORMATS, Format, Image, read
from .job import LIGHT_FORMATS, Job
from .messages import Cancelled, Failure, InputError, Progress, Record, Status, Warning
from .plan import HEADER_ERROR, OutputFrame, host_rate, make_plan, needed_frames
from .sink import Sink
from .source import Source, open_source

READ_AHEAD = 3
"""Source frames that wait for the engine, at the most."""
WRITERS = 2
WRITE_BEHIND = 4
"""Finished frames that wait for the disk, at the most."""

Tell = Callable[[Record], None]


def open_job(job: Job, tell: Tell) -> tuple[Source, Fraction, list[OutputFrame]]:
    """The job's media, opened; its frames per frame that the job counts in (see `host_rate`); the plan.

    Raises InputError where the media cannot be read or the range does not lie in it.
    """
    source = open_source(job.source, job.files, job.fps, lambda text: tell(Warning(text)))
    try:
        rate = host_rate(job, source.count, source.fps)
        hosted = job.shown_end is not None
        visible_end = min(job.end, job.shown_end) if job.shown_end is not None else job.end
        if visible_end * rate > source.count + hosted * HEADER_ERROR or (job.start < 0 and not hosted):
            raise InputError(
                f"The range {job.start} to {job.end} lies outside of {job.source}, which has {source.count} frames "
                f"(0 to {source.count}): choose a range inside, or check that the file is complete."
            )
        return source, rate, make_plan(job, source.count, rate)
    except BaseException:
        source.__exit__(None, None, None)
        raise


def run(job: Job, tell: Tell, cancel: threading.Event) -> Path:
    """Make the job's frames, or the rest of them, and return the path of result.json.

    `tell` gets status, progress and warning records. Raises InputError for what the user can mend, Cancelled soon after
    `cancel` is set, and Failure where the engine fails; finished frames stay in every case.
    """
    began = time.monotonic()
    tell(Status(f"Opening {job.source}"))
    source, rate, frames = open_job(job, tell)
    image_format, movie = chosen_format(job, source)
    with source, Sink(job, image_format, movie).opened() as sink:
        engine = create(job.engine)
        missing = sink.missing(frames)
        if len(missing) < len(frames):
            tell(Status(f"{len(frames) - len(missing)} of {len(frames)} frames are there already"))
        meter = Meter(len(frames), len(frames) - len(missing), tell)
        with _writing(sink, meter) as write:
            for frame, pixels in _make(engine, source, missing, cancel):
                write(frame, pixels)
        fps = job.host_fps or source.fps
        if movie and not sink.movie_is_written():
            sink.write_movie(lambda path: _encode(path, movie, sink, frames, fps, source.encoding, tell, cancel))
        result = sink.write_result(
            {
                "engine": engine.info.id,
                "device": "cpu",
                "precision": engine.info.precisions[0],
                "fps": f"{fps.numerator}/{fps.denominator}",
                "rate": str(rate),
                "size": list(source.size),
                "seconds": round(time.monotonic() - began, 3),
            },
            frames,
        )
        if movie:
            sink.remove_images(frames)
        return result


def chosen_format(job: Job, source: Source) -> tuple[Format, MovieFormat | None]:
    """What to write the frames as, and the movie that is made of them where the job names one.

    The frames' format is the one that the job names, or, for "auto" and for a movie, the plainest that holds all that
    the source's images hold. Raises InputError where the chosen one cannot hold the source's light or transparency.
    """
    plainest = FORMATS["png" if source.kind == np.uint8 else "png16" if source.kind == np.uint16 else "exr"]
    if job.format == "auto":
        return plainest, None
    movie = MOVIES.get(job.format)
    chosen = movie or FORMATS[job.format]
    is_light = source.encoding.linear if movie else np.issubdtype(source.kind, np.floating)
    if is_light and job.format not in LIGHT_FORMATS:
        raise InputError(f"format: {source.path} is in floating point, which {chosen.id} cannot hold: choose exr.")
    if source.has_alpha and not chosen.alpha:
        raise InputError(f"format: {source.path} has transparency, which {chosen.id} cannot hold: choose png.")
    return (plainest, movie) if movie else (FORMATS[job.format], None)


def _encode(
    path: Path,
    movie: MovieFormat,
    sink: Sink,
    frames: Sequence[OutputFrame],
    fps: Fraction,
    encoding: Encoding,
    tell: Tell,
    cancel: threading.Event,
) -> None:
    meter = Meter(len(frames), 0, tell, "Encoding")

    def images() -> Iterator[Image]:
        for frame in frames:
            if cancel.is_set():
                raise Cancelled("Cancelled.")
            yield read(sink.path_of(frame))
            meter.count()

    write_movie(path, movie, fps, encoding, images())


def _make(
    engine: Engine, source: Source, missing: Sequence[OutputFrame], cancel: threading.Event
) -> Iterator[tuple[OutputFrame, Image]]:
    """Every missing frame with its pixels, in order."""
    with _reading(source, needed_frames(missing), cancel) as read:
        window = _Window(read, source.encoding)
        for index, group in groupby(missing, key=lambda frame: frame.source):
            window.forget_before(index)
            between = _Pair(engine, window, index)
            for frame in group:
                if cancel.is_set():
                    raise Cancelled("Cancelled.")
                yield frame, between.at(float(frame.t)) if frame.kind == "between" else window.image(index)


class _Window:
    """The source frames that are needed now: as they were read, and as engines want them."""

    def __init__(self, read: Iterator[tuple[int, Image]], encoding: Encoding) -> None:
        self._read = read
        self.encoding = encoding
        self._images: dict[int, Image] = {}
        self._frames: dict[int, Frame] = {}

    def image(self, index: int) -> Image:
        while index not in self._images:
            number, image = next(self._read)
            self._images[number] = image
        return self._images[index]

    def frame(self, index: int) -> Frame:
        if index not in self._frames:
            self._frames[index] = Frame(index, to_float(self.image(index), self.encoding))
        return self._frames[index]

    def forget_before(self, index: int) -> None:
        kept: dict[int, Any]
        for kept in (self._images, self._frames):
            for old in [number for number in kept if number < index]:
                del kept[old]


class _Pair:
    """Frame `index` and the one after it, and what the engine made of the two so far."""

    def __init__(self, engine: Engine, window: _Window, index: int) -> None:
        self._engine, self._window, self._index = engine, window, index
        self._state: Any = None

    def at(self, t: float) -> Image:
        """The frame at timestep `t`. Between two equal frames there is nothing but that frame, whatever the engine."""
        first, second = self._window.image(self._index), self._window.image(self._index + 1)
        if np.array_equal(first, second):
            return first
        a, b = self._window.frame(self._index), self._window.frame(self._index + 1)
        try:
            if self._state is None:
                self._state = self._engine.prepare(a, b)
            pixels = self._engine.synthesize(self._state, t)
        except (Failure, MemoryError):
            raise
        except Exception as error:
            raise Failure(
                f"The engine {self._engine.info.id!r} failed between source frames {self._index} and {self._index + 1} "
                f"({type(error).__name__}: {error}). Finished frames are kept; try another engine, and please report "
                "this with the log."
            ) from error
        return from_float(pixels, self._window.encoding, first.dtype)


@contextmanager
def _reading(source: Source, wanted: range, cancel: threading.Event) -> Iterator[Iterator[tuple[int, Image]]]:
    """Read ahead in a thread; what it raises is raised where the frames are taken."""
    line: queue.Queue[tuple[int, Image] | BaseException | None] = queue.Queue(READ_AHEAD)
    stop = threading.Event()

    def put(item: tuple[int, Image] | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                line.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def read() -> None:
        try:
            for numbered in zip(wanted, source.frames(wanted.start, wanted.stop), strict=False):
                if not put(numbered):
                    return
            put(None)
        except BaseException as error:  # handed over, not swallowed: take() raises it
            put(error)

    def take() -> Iterator[tuple[int, Image]]:
        while True:
            try:
                item = line.get(timeout=0.1)
            except queue.Empty:
                if cancel.is_set():
                    raise Cancelled("Cancelled.") from None
                continue
            if isinstance(item, BaseException):
                raise item
            if item is None:
                return
            yield item

    thread = threading.Thread(target=read, name="lento-read", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        stop.set()
        thread.join()


@contextmanager
def _writing(sink: Sink, meter: Meter) -> Iterator[Callable[[OutputFrame, Image], None]]:
    """Write behind in threads; the first failure is raised at the next frame, or at the end."""
    waiting: deque[Future[None]] = deque()

    def settle(limit: int) -> None:
        while len(waiting) > limit or (waiting and waiting[0].done()):
            waiting.popleft().result()
            meter.count()

    with ThreadPoolExecutor(WRITERS, "lento-write") as pool:

        def write(frame: OutputFrame, pixels: Image) -> None:
            waiting.append(pool.submit(sink.write_frame, frame, pixels))
            settle(WRITE_BEHIND)

        try:
            yield write
            settle(0)
        finally:
            for future in waiting:
                future.cancel()


@dataclass
class Meter:
    """Counts finished frames and tells how fast they come."""

    total: int
    done: int
    tell: Tell
    phase: str = ""

    def __post_init__(self) -> None:
        """Start the clock."""
        self._began = time.monotonic()
        self._already = self.done
        self.tell(Progress(self.done, self.total, 0.0, None, self.phase))

    def count(self) -> None:
        """One more frame is on the disk."""
        self.done += 1
        seconds = time.monotonic() - self._began
        fps = (self.done - self._already) / seconds if seconds > 0 else 0.0
        remaining = (self.total - self.done) / fps if fps > 0 else None
        remaining = None if remaining is None else round(remaining, 1)
        self.tell(Progress(self.done, self.total, round(fps, 2), remaining, self.phase))
