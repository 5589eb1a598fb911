# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches for training: every batch is a function of a seed and a step, so that training goes on exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from ...engines.lento.candidates import candidates
from ...engines.motion import motion_of
from .footage import RUN, SIDE, Runs, runs_of
from .scenes import Scene, scenes
from .textures import Bank, Dice

SIZE = 256
"""Pixels of a sample's side."""
DRAWN = 0.7
"""Share of drawn samples; the others are real."""
BLOCK = 250
"""Steps that share a bank of surfaces."""


@dataclass
class Batch(Scene):
    """Triplets, and what the classical engine finds, at half resolution. Of real ones nothing is known to be seen."""

    features: Tensor
    """This and what follows: empty where the recipe is without the classical motion."""
    logs: Tensor
    motions: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(getattr(self, part.name).to(device, non_blocking=True) for part in fields(self)))


@dataclass(frozen=True)
class Recipe:
    """What samples are made of."""

    footage: str = ""
    """Folder of clips; empty for drawn scenes alone."""
    cache: str = "build/train"
    batch: int = 8
    size: int = SIZE
    drawn: float = DRAWN
    seed: int = 0
    device: str = "cpu"
    """Where scenes are drawn."""
    classical: bool = True
    """Whether samples bring the classical motion along, which is found on the CPU."""


class Samples:
    """Batches by their step."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._runs: Runs | None = runs_of(Path(recipe.footage), Path(recipe.cache)) if recipe.footage else None
        self._bank: Bank | None = None
        self._block = -1

    def batch(self, step: int) -> Batch:
        """The batch of that step."""
        recipe = self.recipe
        device = torch.device(recipe.device)
        if step // BLOCK != self._block:
            self._block = step // BLOCK
            dice = Dice(recipe.seed * 1_000_003 + self._block, device)
            self._bank = Bank(dice, int(recipe.size * 1.6), self._surfaces(dice))
        assert self._bank is not None
        dice = Dice((recipe.seed + 1) * 1_000_003 + step, device)
        drawn = recipe.batch if self._runs is None else round(recipe.batch * recipe.drawn)
        parts = [self._drawn(dice, drawn)] if drawn else []
        parts += [self._real(dice) for _ in range(recipe.batch - drawn)]
        first, last, middle, t, flows, seen = (torch.cat(part) for part in zip(*parts, strict=True))
        if not recipe.classical:
            nothing = torch.zeros(0, 0, 0, 0, device=device)
            return Batch(first, last, middle, t, flows, seen, nothing, nothing, nothing)
        return Batch(first, last, middle, t, flows, seen, *_classical(first, last, t))

    def _surfaces(self, dice: Dice) -> Tensor | None:
        if self._runs is None:
            return None
        chosen = [self._runs[dice.number(0, len(self._runs)), 0] for _ in range(48)]
        return torch.from_numpy(np.stack(chosen)).to(dice.device).permute(0, 3, 1, 2).float() / 255

    def _drawn(self, dice: Dice, count: int) -> tuple[Tensor, ...]:
        assert self._bank is not None
        made = scenes(dice, self._bank, count, self.recipe.size)
        return tuple(getattr(made, part.name) for part in fields(made))

    def _real(self, dice: Dice) -> tuple[Tensor, ...]:
        """One sample of a run: ends two to four frames apart, any frame between them, mirrored, turned, backwards."""
        assert self._runs is not None
        size = self.recipe.size
        gap = dice.number(2, RUN)
        begin = dice.number(0, RUN - gap)
        between = dice.number(1, gap)
        numbers = [begin, begin + between, begin + gap]
        top, left = dice.number(0, SIDE - size + 1), dice.number(0, SIDE - size + 1)
        run = self._runs[dice.number(0, len(self._runs))][numbers, top : top + size, left : left + size]
        frames = torch.from_numpy(np.ascontiguousarray(run)).to(dice.device).permute(0, 3, 1, 2).float() / 255
        t = between / gap
        if dice.chance(0.5):
            frames, t = frames.flip(0), 1 - t
        if dice.chance(0.5):
            frames = frames.flip(-1)
        frames = torch.rot90(frames, dice.number(0, 4), (-2, -1))
        unknown = torch.zeros(1, 4, size, size, device=dice.device)
        time = torch.full((1, 1, 1, 1), t, device=dice.device)
        return frames[:1], frames[2:], frames[1:2], time, unknown, unknown[:, :2]


def _classical(first: Tensor, last: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Features, logarithms of the weights and motions of every sample."""
    made: list[tuple[Tensor, Tensor, Tensor]] = []
    for one, other, time in zip(first, last, t.flatten().tolist(), strict=True):
        found = candidates(motion_of(_pixels(one), _pixels(other)), time)
        parts = (np.concatenate(found.parts, axis=2), found.logs, np.dstack(found.motions))
        made.append(tuple(torch.from_numpy(part.transpose(2, 0, 1)) for part in parts))  # type: ignore[arg-type]
    features, logs, motions = (torch.stack(part) for part in zip(*made, strict=True))
    return features, logs, motions


def _pixels(image: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())


class _Stream(IterableDataset[Batch]):
    def __init__(self, recipe: Recipe, step: int, workers: int) -> None:
        self._recipe, self._step, self._workers = recipe, step, workers

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        info = torch.utils.data.get_worker_info()
        samples, step = Samples(self._recipe), self._step + (info.id if info else 0)
        while True:
            yield samples.batch(step)
            step += max(1, self._workers)


def stream(recipe: Recipe, step: int, workers: int) -> Iterator[Batch]:
    """Batches from `step` on, made by `workers` processes (none: by this one)."""
    dataset = _Stream(recipe, step, workers)
    if not workers:
        samples = Samples(recipe)
        while True:
            yield samples.batch(step)
            step += 1
    yield from DataLoader(dataset, batch_size=None, num_workers=workers, prefetch_factor=4)
