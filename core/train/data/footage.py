# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples of clips: where they are taken, and what is done with them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...engines.motion import Grey
from ...engines.splat import Flow
from ...messages import InputError
from .clips import SMALL, Clip, Greys, Thumbnails, held, index, mapped

NEAR, FAR = 2, 6
"""Frames from one end of a sample to the other."""
NEAREST = 0.55
"""Share of samples with their ends NEAR; all other distances are as frequent as each other."""
HALFWAY = 0.5
"""Share of the samples with a frame halfway that have it as their middle at once; else it is any one between."""
SHRUNK = 0.3
"""Share of the samples of large enough pictures that show twice as much, at half the size: motion grows with it."""
PLACES = 3
"""Places that are looked at for a sample; the one that changes most is taken..."""
ANYWHERE = 0.25
"""... but for this share of samples, which are where the dice say."""
STILL = 0.4
"""Mean change from end to end, in steps of 8 bits, below which there is nothing to learn from a sample."""
TRIES = 8
"""Samples that are tried for one that changes as much."""
GRID = 4
"""Pixels between the places where samples begin: the classical motion is known at a quarter of the size."""
RECOLOURED = 0.1
"""Share of samples whose colours are exchanged."""


@dataclass(frozen=True)
class Ends:
    """Two frames of a clip, at full or half size, that samples lie between."""

    clip: int
    first: int
    last: int
    shrunk: bool


class Triplets(NamedTuple):
    """Real samples, on the device."""

    first: Tensor
    """(B, 3, size, size) in 0..1, as are the next two."""
    middle: Tensor
    last: Tensor
    t: Tensor
    """(B, 1, 1, 1)"""
    found: Tensor
    """(B, 4, size/4, size/4): the classical motion, see `samples.Batch`; (B, 4, 0, 0) where there is none."""


@dataclass(frozen=True)
class _Place:
    """Where a sample is, and what is done with it."""

    clip: int
    numbers: tuple[int, int, int]
    """Of the first, the middle and the last frame, whose numbers fall where it goes backwards in time."""
    top: int
    left: int
    shrunk: bool
    found: Flow | None
    """The classical motion of the whole frames, first to last and back, as they follow each other in the clip."""
    transposed: bool
    flips: tuple[bool, bool]
    """Upside down, from left to right; with `transposed`, all ways to turn and mirror a square."""
    colours: tuple[int, ...]
    """Which channel takes the place of each."""

    @property
    def t(self) -> float:
        first, middle, last = self.numbers
        return (middle - first) / (last - first)

    def motion(self, side: int) -> Flow:
        """The classical motion of the sample, (4, side, side)."""
        assert self.found is not None
        scale = GRID * (2 if self.shrunk else 1)
        row, column = self.top // scale, self.left // scale
        part = self.found[:, row : row + side, column : column + side]
        if self.numbers[0] > self.numbers[-1]:
            part = part[::-1]
        if self.transposed:
            part = part.transpose(0, 2, 1, 3)[..., ::-1]
        down, across = self.flips
        if down:
            part = part[:, ::-1] * np.array([1, -1], np.float32)
        if across:
            part = part[:, :, ::-1] * np.array([-1, 1], np.float32)
        return part.transpose(0, 3, 1, 2).reshape(4, side, side)


class Footage:
    """Clips in memory or on a device, and samples of them.

    An index of the clips in `folder` and the folders in it is kept in `cache`. It tells clips by names and sizes: made
    on one machine, it may be taken to another. For the CPU the frames are mapped from files in `cache`, since few
    machines have memory for all of them; any other device holds them itself, and the processor keeps them in `grey`,
    if these are to be asked for. Raises InputError where there is no clip.
    """

    def __init__(self, folder: Path, cache: Path, device: torch.device, grey: bool = False) -> None:
        self.clips = index(folder, cache)

        def load(clip: Clip) -> tuple[Tensor, Thumbnails, Greys | None]:
            if device.type == "cpu":
                return *mapped(clip, folder, cache), None
            greys = np.empty((clip.frames, clip.height, clip.width), np.uint8) if grey else None
            return *held(clip, folder, device, greys), greys

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            loaded = list(pool.map(load, self.clips))
        self.frames = [frames for frames, _, _ in loaded]
        """Of every clip, (N, H, W, 3) of uint8, on the device."""
        self._thumbnails = [thumbnails for _, thumbnails, _ in loaded]
        self._greys = [greys for _, _, greys in loaded]
        self._device = device
        together = Counter[str]()
        for clip in self.clips:
            together[clip.series] += clip.usable
        rows = [
            (number, *stretch, together[clip.series] ** -0.5 * stretch[1])
            for number, clip in enumerate(self.clips)
            for stretch in clip.stretches
        ]
        self._stretches = [(clip, first, length) for clip, first, length, _ in rows]
        self._shares = np.array([share for *_, share in rows])
        """How often a stretch is chosen: a series by the square root of its length, then each of its frames alike."""
        self._sides = np.array([min(self.clips[clip].height, self.clips[clip].width) for clip, _, _ in self._stretches])

    def grey(self, clip: int, number: int) -> Grey:
        """A frame, (H, W) in 8 bits, on the processor."""
        greys = self._greys[clip]
        if greys is not None:
            return greys[number]
        return cv2.cvtColor(self.frames[clip][number].numpy(), cv2.COLOR_RGB2GRAY)

    def ends(self, dice: np.random.Generator, count: int, size: int) -> list[Ends]:
        """Between which samples of that size may lie. Raises InputError where no picture is that large."""
        odds = self._odds(size)
        return [self._ends(dice, odds, size) for _ in range(count)]

    def batch(
        self, dice: np.random.Generator, count: int, size: int, known: Sequence[tuple[Ends, Future[Flow]]] = ()
    ) -> Triplets:
        """Samples between any ends, or between those whose classical motion is known.

        Nothing but `dice` decides, and the device is not waited for. Raises InputError where no picture is that large.
        """
        odds = self._odds(size)

        def drawn() -> tuple[Ends, Future[Flow] | None]:
            return known[int(dice.integers(len(known)))] if known else (self._ends(dice, odds, size), None)

        places = [self._place(dice, drawn, size) for _ in range(count)]
        pictures = self._pictures(places, size)
        first, middle, last = (torch.stack([picture[part] for picture in pictures]) for part in range(3))
        t = torch.tensor([place.t for place in places])
        side = size // GRID if known else 0
        found = torch.empty(count, 4, side, side)
        if known:
            np.stack([place.motion(side) for place in places], out=found.numpy())
        return Triplets(first, middle, last, self._sent(t).view(-1, 1, 1, 1), self._sent(found))

    def _sent(self, tensor: Tensor) -> Tensor:
        """To the device, which is not waited for."""
        pinned = tensor.pin_memory() if self._device.type == "cuda" else tensor
        return pinned.to(self._device, non_blocking=True)

    def surfaces(self, dice: np.random.Generator, count: int, side: int) -> Tensor:
        """Parts of random frames (count, 3, side, side) in 0..1 on the device; enlarged where a frame is smaller."""
        odds, made = self._odds(0), []
        for _ in range(count):
            clip, first, length = self._stretch(dice, odds)
            height, width = self.frames[clip].shape[1:3]
            wanted = min(side, height, width)
            number = first + int(dice.integers(length))
            top, left = int(dice.integers(height - wanted + 1)), int(dice.integers(width - wanted + 1))
            part = self.frames[clip][number, top : top + wanted, left : left + wanted]
            pixels = part.permute(2, 0, 1)[None].float().div_(255)
            if wanted < side:
                pixels = F.interpolate(pixels, (side, side), mode="bicubic", align_corners=False).clamp_(0, 1)
            made.append(pixels)
        return torch.cat(made)

    def _odds(self, size: int) -> NDArray[np.float64]:
        """Shares of the stretches whose pictures are large enough, each added to those before, up to 1."""
        shares = np.where(self._sides >= size, self._shares, 0).cumsum()
        if not shares[-1]:
            raise InputError(f"No clip has pictures of {size} pixels: choose smaller samples, or add larger clips.")
        odds: NDArray[np.float64] = shares / shares[-1]
        return odds

    def _stretch(self, dice: np.random.Generator, odds: NDArray[np.float64]) -> tuple[int, int, int]:
        """Clip, first frame and length."""
        return self._stretches[int(np.searchsorted(odds, dice.random(), side="right"))]

    def _ends(self, dice: np.random.Generator, odds: NDArray[np.float64], size: int) -> Ends:
        clip, first, length = self._stretch(dice, odds)
        gap = NEAR if dice.random() < NEAREST else int(dice.integers(NEAR + 1, FAR + 1))
        gap = min(gap, length - 1)
        begin = first + int(dice.integers(length - gap))
        shrunk = min(self.clips[clip].height, self.clips[clip].width) >= 2 * size and dice.random() < SHRUNK
        return Ends(clip, begin, begin + gap, shrunk)

    def _place(
        self, dice: np.random.Generator, drawn: Callable[[], tuple[Ends, Future[Flow] | None]], size: int
    ) -> _Place:
        for _ in range(TRIES):
            ends, found = drawn()
            gap = ends.last - ends.first
            halfway = gap % 2 == 0 and dice.random() < HALFWAY
            numbers = ends.first, ends.first + (gap // 2 if halfway else int(dice.integers(1, gap))), ends.last
            scale = 2 if ends.shrunk else 1
            height, width = (side // (GRID * scale) for side in self.frames[ends.clip].shape[1:3])
            places = [
                (int(dice.integers(height - size // GRID + 1)), int(dice.integers(width - size // GRID + 1)))
                for _ in range(1 if dice.random() < ANYWHERE else PLACES)
            ]
            places = [(row * GRID * scale, column * GRID * scale) for row, column in places]
            changes = [self._change(ends.clip, numbers, place, size * scale) for place in places]
            if max(changes) >= STILL:
                break
        top, left = places[int(np.argmax(changes))]
        transposed, down, across, backwards = (dice.random(4) < 0.5).tolist()
        colours = tuple(dice.permutation(3).tolist()) if dice.random() < RECOLOURED else (0, 1, 2)
        if backwards:
            numbers = numbers[::-1]
        motion = None if found is None else found.result()
        return _Place(ends.clip, numbers, top, left, ends.shrunk, motion, transposed, (down, across), colours)

    def _change(self, clip: int, numbers: Sequence[int], place: tuple[int, int], window: int) -> float:
        """Mean change of the thumbnails there from the first to the last frame, in steps of 8 bits."""
        rows, columns = (slice(start // SMALL, (start + window) // SMALL) for start in place)
        one, other = (self._thumbnails[clip][number, rows, columns] for number in (numbers[0], numbers[-1]))
        return float(cv2.norm(one, other, cv2.NORM_L1)) / one.size

    def _pictures(self, places: Sequence[_Place], size: int) -> list[Tensor]:
        """Of every place its three pictures, (3, 3, size, size) in 0..1."""
        # a device is given few things to do: what is turned alike is gathered, turned and converted at once
        alike: dict[tuple[bool, tuple[bool, bool]], list[int]] = {}
        for number, place in enumerate(places):
            alike.setdefault((place.shrunk, place.flips), []).append(number)
        pictures: dict[int, Tensor] = {}
        for (shrunk, flips), members in alike.items():
            window = 2 * size if shrunk else size
            pixels = torch.stack([part for number in members for part in self._windows(places[number], window)])
            if any(flips):
                pixels = pixels.flip([side for side, flip in zip((1, 2), flips, strict=True) if flip])
            pixels = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
            if shrunk:
                pixels = F.avg_pool2d(pixels, 2)
            pictures.update(zip(members, pixels.div_(255).view(-1, 3, 3, size, size), strict=True))
        return [_recoloured(pictures[number], place.colours) for number, place in enumerate(places)]

    def _windows(self, place: _Place, window: int) -> list[Tensor]:
        """Views of the three frames, (window, window, 3)."""
        rows, columns = slice(place.top, place.top + window), slice(place.left, place.left + window)
        parts = [self.frames[place.clip][number, rows, columns] for number in place.numbers]
        return [part.transpose(0, 1) for part in parts] if place.transposed else parts


def _recoloured(pictures: Tensor, colours: tuple[int, ...]) -> Tensor:
    if colours == (0, 1, 2):
        return pictures
    # not by a list as an index: that would have to be sent, and the device waited for
    return torch.stack([pictures[:, channel] for channel in colours], dim=1)
