# SPDX-License-Identifier: GPL-3.0-or-later
"""The frames that a plan names: which source frames are needed, in which order, and what the engine makes of them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from .color import Encoding, from_float, from_light, to_float, to_light
from .engines import Engine, Frame, Parallel
from .images import Image
from .memory import cores, free_on_host
from .messages import Failure
from .plan import OutputFrame, needed_frames
from .source import Source
from .threads import Crew, reading, result

MOST_THREADS = 16
"""More would wait for each other: about a tenth of a timestep is NumPy's work, which one thread at a time can do."""
SHARE = 0.25
"""Of the free memory, for pairs that are worked on at once."""
ASSUMED_FREE = 8 << 30
"""Bytes, where the system does not say."""
BYTES_PER_PIXEL = 450
"""That a pair takes with its motion and the frame that is being made of it: measured, and a little more."""

T = TypeVar("T")


Wanted = dict[tuple[int, int], dict[Fraction, "Moment"]]
"""By two source frames, and by how far the moment is from the first to the second."""


@dataclass(frozen=True)
class Moment:
    """An image to make: what it is (see plan.Sample), and the output frames that show it."""

    kind: str
    showing: list[OutputFrame] = field(default_factory=list)


def make_frames(
    engine: Engine,
    source: Source,
    frames: Sequence[OutputFrame],
    missing: Sequence[OutputFrame],
    cancel: threading.Event,
) -> Iterator[tuple[OutputFrame, Image]]:
    """Every missing one of the frames, with its pixels.

    In the order of the source, whatever the order of playing: so the source is read once, forwards, also for what is
    played backwards, and a moment that several frames show is made once. An engine that several threads may use makes
    several pairs at once.
    """
    wanted = _wanted(missing)
    exposures: dict[int, Exposure] = {}
    needed = needed_frames([sample for frame in missing for sample in frame.samples])
    threads, begin = threads_for(engine, source.size)
    with reading(source, needed, cancel) as read, Crew(threads, begin) as crew:
        window = _Window(read, source.encoding)
        begun = _begun(engine, window, crew, wanted, _times(frames))
        for showing, done in _few_ahead(begun, 2 * threads):
            image = result(done, cancel)
            for frame in showing:
                if not frame.shutter:
                    yield frame, image
                    continue
                exposure = exposures.setdefault(frame.number, Exposure(len(frame.shutter), source.encoding))
                if exposure.add(image):
                    del exposures[frame.number]
                    yield frame, exposure.image()


def _wanted(missing: Sequence[OutputFrame]) -> Wanted:
    wanted: Wanted = {}
    for frame in missing:
        for sample in frame.samples:
            after = sample.t if sample.after > sample.source else Fraction(0)
            moments = wanted.setdefault((sample.source, sample.after), {})
            moments.setdefault(after, Moment(sample.kind)).showing.append(frame)
    return wanted


def _begun(
    engine: Engine, window: _Window, crew: Crew, wanted: Wanted, times: dict[tuple[int, int], list[float]]
) -> Iterator[tuple[list[OutputFrame], Future[Image]]]:
    """Every moment in its order, once it is begun; pairs are prepared as far ahead of that as there are threads."""
    ahead: deque[tuple[_Pair, dict[Fraction, Moment]]] = deque()

    def begin() -> Iterator[tuple[list[OutputFrame], Future[Image]]]:
        pair, moments = ahead.popleft()
        for after, moment in sorted(moments.items()):
            yield moment.showing, crew.do(pair.image, moment.kind, float(after))

    for (first, second), moments in sorted(wanted.items()):
        window.forget_before(first)
        kinds = {moment.kind for moment in moments.values()}
        pair = _Pair(engine, window, crew, (first, second), kinds, times.get((first, second), ()))
        ahead.append((pair, moments))
        # before most pairs stands the source frame that they begin with, which is no work
        while len(ahead) > 2 * crew.threads or sum(pair.is_work for pair, _ in ahead) > crew.threads:
            yield from begin()
    while ahead:
        yield from begin()


def threads_for(engine: Engine, size: tuple[int, int]) -> tuple[int, Callable[[], None]]:
    """How many threads compute frames of (width, height) `size`, and what each begins with.

    None where the caller's does it: for engines that have a GPU to themselves, or all cores at once.
    """
    if not isinstance(engine, Parallel) or not engine.parallel:
        return 0, lambda: None
    free = free_on_host()
    room = SHARE * (ASSUMED_FREE if free is None else free) / (BYTES_PER_PIXEL * size[0] * size[1])
    return max(1, min(cores(), MOST_THREADS, int(room))), engine.one_core


def _few_ahead(items: Iterator[T], most: int) -> Iterator[T]:
    """The items in their order, of which up to `most` were taken before they are asked for."""
    taken: deque[T] = deque()
    for item in items:
        taken.append(item)
        if len(taken) > most:
            yield taken.popleft()
    yield from taken


def _times(frames: Sequence[OutputFrame]) -> dict[tuple[int, int], list[float]]:
    """The timesteps that the engine makes for all frames, missing or not, by the pair that they lie in."""
    found: dict[tuple[int, int], set[Fraction]] = {}
    for frame in frames:
        for sample in frame.samples:
            if sample.kind == "between":
                found.setdefault((sample.source, sample.after), set()).add(sample.t)
    return {pair: [float(t) for t in sorted(moments)] for pair, moments in found.items()}


class _Window:
    """The source frames that are needed now: as they were read, and as engines want them."""

    def __init__(self, read: Iterator[tuple[int, Image]], encoding: Encoding) -> None:
        self._read = read
        self.encoding = encoding
        self._images: dict[int, Image] = {}
        self._frames: dict[int, Frame] = {}
        self._lowest = 0

    def image(self, index: int) -> Image:
        while index not in self._images:
            number, image = next(self._read)
            if number >= self._lowest:
                self._images[number] = image
        return self._images[index]

    def frame(self, index: int) -> Frame:
        if index not in self._frames:
            self._frames[index] = Frame(index, to_float(self.image(index), self.encoding))
        return self._frames[index]

    def forget_before(self, index: int) -> None:
        """Frames before `index` are not asked for any more."""
        self._lowest = index
        kept: dict[int, Any]
        for kept in (self._images, self._frames):
            for old in [number for number in kept if number < index]:
                del kept[old]


class _Pair:
    """Two source frames, and what the engine makes of the two."""

    def __init__(
        self,
        engine: Engine,
        window: _Window,
        crew: Crew,
        places: tuple[int, int],
        kinds: Set[str],
        times: Sequence[float],
    ) -> None:
        """`kinds` are those of the images that will be asked for; `times` all timesteps that the engine makes."""
        self._engine, self._encoding, self._places, self._times = engine, window.encoding, places, times
        self._first = window.image(places[0])
        self._ends: tuple[Frame, Frame] | None = None
        self._state: Future[Any] | None = None
        # between two equal frames there is nothing but that frame, whatever the engine
        if kinds & {"between", "fade"} and not np.array_equal(self._first, window.image(places[1])):
            self._ends = (window.frame(places[0]), window.frame(places[1]))
            if "between" in kinds:
                self._state = crew.do(self._prepared)

    @property
    def is_work(self) -> bool:
        """Whether the engine makes anything of it."""
        return self._state is not None

    def image(self, kind: str, t: float) -> Image:
        """The first frame, or one at the timestep `t` that the engine makes or that is faded, as at cuts."""
        if kind not in ("between", "fade") or self._ends is None:
            return self._first
        if kind == "fade":
            a, b = (end.pixels for end in self._ends)
            return from_float(a + np.float32(t) * (b - a), self._encoding, self._first.dtype)
        assert self._state is not None
        with self._failing_clearly():
            pixels = self._engine.synthesize(self._state.result(), t)
        return from_float(pixels, self._encoding, self._first.dtype)

    def _prepared(self) -> Any:
        assert self._ends is not None
        with self._failing_clearly():
            return self._engine.prepare(*self._ends, self._times)

    @contextmanager
    def _failing_clearly(self) -> Iterator[None]:
        try:
            yield
        except (Failure, MemoryError):
            raise
        except Exception as error:
            first, after = self._places
            raise Failure(
                f"The engine {self._engine.info.id!r} failed between source frames {first} and {after} "
                f"({type(error).__name__}: {error}). Finished frames are kept; try another engine, and please report "
                "this with the log."
            ) from error


class Exposure:
    """The average of what an open shutter sees, in light."""

    def __init__(self, samples: int, encoding: Encoding) -> None:
        self._missing, self._samples, self._encoding = samples, samples, encoding
        self._sum: NDArray[np.float32] | None = None
        self._kind: np.dtype[Any] | None = None

    def add(self, image: Image) -> bool:
        """One moment more; True when it was the last."""
        light = to_light(image, self._encoding)
        self._sum = light if self._sum is None else cv2.add(self._sum, light)
        self._kind = image.dtype
        self._missing -= 1
        return self._missing == 0

    def image(self) -> Image:
        """The average."""
        assert self._sum is not None
        assert self._kind is not None
        return from_light(self._sum / np.float32(self._samples), self._encoding, self._kind)
