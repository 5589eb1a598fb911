# SPDX-License-Identifier: GPL-3.0-or-later
"""The frames that a plan names: which source frames are needed, in which order, and what the engine makes of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .color import Encoding, from_float, from_light, to_float, to_light
from .engines import Engine, Frame
from .images import Image
from .messages import Cancelled, Failure
from .plan import OutputFrame, needed_frames
from .source import Source
from .threads import reading


def make_frames(
    engine: Engine,
    source: Source,
    frames: Sequence[OutputFrame],
    missing: Sequence[OutputFrame],
    cancel: threading.Event,
) -> Iterator[tuple[OutputFrame, Image]]:
    """Every missing one of the frames, with its pixels.

    In the order of the source, whatever the order of playing: so the source is read once, forwards, also for what is
    played backwards, and a moment that several frames show is made once.
    """
    wanted: dict[tuple[int, int], dict[Fraction, list[OutputFrame]]] = {}
    kinds: dict[tuple[int, int, Fraction], str] = {}
    for frame in missing:
        for sample in frame.samples:
            key = (sample.source, sample.after)
            moment = sample.t if sample.after > sample.source else Fraction(0)
            wanted.setdefault(key, {}).setdefault(moment, []).append(frame)
            kinds[*key, moment] = sample.kind
    times = _times(frames)
    exposures: dict[int, Exposure] = {}
    needed = needed_frames([sample for frame in missing for sample in frame.samples])
    with reading(source, needed, cancel) as read:
        window = _Window(read, source.encoding)
        for first, after in sorted(wanted):
            window.forget_before(first)
            between = _Pair(engine, window, first, after, times.get((first, after), ()))
            for moment, showing in sorted(wanted[first, after].items()):
                if cancel.is_set():
                    raise Cancelled("Cancelled.")
                kind = kinds[first, after, moment]
                image = (
                    between.at(float(moment))
                    if kind == "between"
                    else between.fade(float(moment))
                    if kind == "fade"
                    else window.image(first)
                )
                for frame in showing:
                    if not frame.shutter:
                        yield frame, image
                        continue
                    exposure = exposures.setdefault(frame.number, Exposure(len(frame.shutter), source.encoding))
                    if exposure.add(image):
                        del exposures[frame.number]
                        yield frame, exposure.image()


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
    """Two source frames, and what the engine made of the two so far."""

    def __init__(self, engine: Engine, window: _Window, first: int, after: int, times: Sequence[float]) -> None:
        self._engine, self._window, self._first, self._after, self._times = engine, window, first, after, times
        self._state: Any = None

    def at(self, t: float) -> Image:
        """The frame at timestep `t`. Between two equal frames there is nothing but that frame, whatever the engine."""
        first, second = self._window.image(self._first), self._window.image(self._after)
        if np.array_equal(first, second):
            return first
        a, b = self._window.frame(self._first), self._window.frame(self._after)
        try:
            if self._state is None:
                self._state = self._engine.prepare(a, b, self._times)
            pixels = self._engine.synthesize(self._state, t)
        except (Failure, MemoryError):
            raise
        except Exception as error:
            raise Failure(
                f"The engine {self._engine.info.id!r} failed between source frames {self._first} and {self._after} "
                f"({type(error).__name__}: {error}). Finished frames are kept; try another engine, and please report "
                "this with the log."
            ) from error
        return from_float(pixels, self._window.encoding, first.dtype)

    def fade(self, t: float) -> Image:
        """The cross-fade at `t`, as it is wanted at cuts."""
        a, b = self._window.frame(self._first).pixels, self._window.frame(self._after).pixels
        return from_float(a + np.float32(t) * (b - a), self._window.encoding, self._window.image(self._first).dtype)


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
