# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches for training: every batch is a function of a seed and a step, so that training goes on exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from ...engines.network import device_of
from ...messages import InputError
from .classical import Pairs
from .footage import GRID, Footage
from .scenes import Scene, scenes
from .textures import Bank, Dice

SIZE = 256
"""Pixels of a sample's side."""
SMALLEST = 32
"""Of those."""
DRAWN = 0.6
"""Share of drawn samples; the others are real."""
AROUND = 5 / 4
"""How much larger than a sample a drawn scene is: samples are parts of it."""
USES = 4
"""Samples that are cut out of a drawn scene, each turned another way."""
BLOCK = 16
"""Steps that share drawn scenes."""
BLOCKS = 32
"""Blocks that share surfaces and outlines."""
TOGETHER = 40
"""Scenes that are drawn at once: they have the same number of layers."""
MOTIONS = ("flows", "across")
PARTS = {"first": 3, "last": 3, "middle": 3, "flows": 4, "seen": 2, "across": 4}
"""Channels of a packed scene, in this order."""


@dataclass
class Batch(Scene):
    """Triplets; of real ones the motion is not known and no point is known to be seen."""

    known: Tensor
    """(B, 1, 1, 1): 1 where the motion is known."""
    found: Tensor
    """(B, 4, H/4, W/4): the classical motion from the first end to the last, and back, in pixels of that size; NaN of
    drawn samples, and empty where the recipe is without it."""

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
    """Where samples are made."""
    classical: bool = False
    """Whether the real ones bring the classical motion along, which is found on the CPU."""

    def __post_init__(self) -> None:
        """Raise InputError where no samples can be made so."""
        device_of(self.device)
        required(self.batch >= 1, "batch", self.batch, "a number of samples, one or more")
        required(self.size >= SMALLEST and self.size % 8 == 0, "size", self.size, f"a multiple of 8 from {SMALLEST} on")
        required(0 <= self.drawn <= 1, "drawn", self.drawn, "a share from 0 to 1")
        required(self.seed >= 0, "seed", self.seed, "0 or more")
        required(not self.classical or bool(self.footage), "classical", "drawn scenes alone", "a folder of clips, too")


def required(met: bool, name: str, value: object, choose: str) -> None:
    """Raise InputError where a value does not meet what is asked of it."""
    if not met:
        raise InputError(f"{name}: {value} cannot be trained with: choose {choose}.")


class Samples:
    """Batches by their step."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._device = device_of(recipe.device)
        self._footage = (
            Footage(Path(recipe.footage), Path(recipe.cache), self._device, recipe.classical)
            if recipe.footage
            else None
        )
        self._drawn = recipe.batch if self._footage is None else round(recipe.batch * recipe.drawn)
        self._pairs: Pairs | None = None
        if self._footage is not None and recipe.classical:
            self._pairs = Pairs(self._footage, recipe.seed, recipe.batch - self._drawn, recipe.size)
        self._bank: Bank | None = None
        self._age = self._block = -1
        self._scenes = self._times = torch.empty(0)

    def batch(self, step: int) -> Batch:
        """The batch of that step."""
        if step // BLOCK != self._block:
            self._block = step // BLOCK
            self._draw()
        dice = Dice((self.recipe.seed + 1) * 1_000_003 + step, self._device)
        parts = [self._parts(dice, step % BLOCK)] if self._drawn else []
        if self._footage is not None and self._drawn < self.recipe.batch:
            parts.append(self._real(self._footage, dice, step))
        return Batch(*(torch.cat([getattr(part, one.name) for part in parts]) for one in fields(Batch)))

    def close(self) -> None:
        """End what is made ahead."""
        if self._pairs:
            self._pairs.close()

    def _draw(self) -> None:
        """The scenes of a block of steps, packed, and their times."""
        if not self._drawn:
            return
        size = int(self.recipe.size * AROUND) // 8 * 8
        if self._block // BLOCKS != self._age:
            self._age = self._block // BLOCKS
            dice = Dice(self.recipe.seed * 1_000_003 + self._age, self._device)
            surfaces = self._footage.surfaces(dice.host, 64, int(size * 1.2)) if self._footage else None
            self._bank = Bank(dice, int(size * 1.6), surfaces)
        assert self._bank is not None
        dice = Dice((self.recipe.seed + 2) * 1_000_003 + self._block, self._device)
        wanted = -(-self._drawn * BLOCK // USES)
        packed, times = [], []
        while wanted:
            count = min(wanted, TOGETHER)
            made = scenes(dice, self._bank, count, size)
            packed.append(torch.cat([getattr(made, name) for name in PARTS], dim=1))
            times.append(made.t)
            wanted -= count
        self._scenes, self._times = torch.cat(packed), torch.cat(times)

    def _parts(self, dice: Dice, turn: int) -> Batch:
        """Samples cut out of the block's scenes, the `turn`-th of BLOCK."""
        size, count = self.recipe.size, len(self._scenes)
        room = self._scenes.shape[-1] - size + 1
        numbers = [(turn * self._drawn + index) % count for index in range(self._drawn)]
        places = dice.host.integers(0, room, (self._drawn, 2)).tolist()
        cut = torch.stack(
            [self._scenes[n, :, y : y + size, x : x + size] for n, (y, x) in zip(numbers, places, strict=True)]
        )
        side = size // GRID if self._pairs else 0
        found = torch.full((self._drawn, 4, side, side), torch.nan, device=self._device)
        batch = _unpacked(cut, torch.stack([self._times[n] for n in numbers]), found)
        return turned(batch, int(dice.host.integers(0, 8)), bool(dice.host.random() < 0.5))

    def _real(self, footage: Footage, dice: Dice, step: int) -> Batch:
        count, size = self.recipe.batch - self._drawn, self.recipe.size
        first, middle, last, t, found = footage.batch(
            dice.host, count, size, self._pairs.at(step) if self._pairs else ()
        )
        unknown = torch.zeros(count, 4, size, size, device=self._device)
        return Batch(first, last, middle, t, unknown, unknown[:, :2], unknown, unknown[:, :1, :1, :1], found)


def _unpacked(packed: Tensor, t: Tensor, found: Tensor) -> Batch:
    parts = dict(zip(PARTS, packed.split(list(PARTS.values()), dim=1), strict=True))
    return Batch(t=t, known=torch.ones_like(t), found=found, **parts)


def turned(batch: Batch, way: int, backwards: bool) -> Batch:
    """Mirrored along x (1), along y (2), along the diagonal (4), and in time; motion turns along."""
    parts = {name: getattr(batch, name) for name in PARTS}
    for flag, side in ((1, -1), (2, -2)):
        if way & flag:
            parts = {name: part.flip(side) for name, part in parts.items()}
            parts.update({name: _mirrored(parts[name], flag - 1) for name in MOTIONS})
    if way & 4:
        parts = {name: part.transpose(-1, -2) for name, part in parts.items()}
        parts.update({name: _exchanged(parts[name]) for name in MOTIONS})
    t = batch.t
    if backwards:
        t = 1 - t
        parts["first"], parts["last"] = parts["last"], parts["first"]
        parts.update({name: parts[name].roll(parts[name].shape[1] // 2, 1) for name in (*MOTIONS, "seen")})
    return Batch(t=t, known=batch.known, found=batch.found, **parts)


def _exchanged(flows: Tensor) -> Tensor:
    x0, y0, x1, y1 = flows.split(1, dim=1)
    return torch.cat([y0, x0, y1, x1], dim=1)


def _mirrored(flows: Tensor, axis: int) -> Tensor:
    x0, y0, x1, y1 = flows.split(1, dim=1)
    return torch.cat([x0, -y0, x1, -y1] if axis else [-x0, y0, -x1, y1], dim=1)


class _Stream(IterableDataset[Batch | InputError]):
    def __init__(self, recipe: Recipe, step: int) -> None:
        self._recipe, self._step = recipe, step

    def __iter__(self) -> Iterator[Batch | InputError]:
        torch.set_num_threads(1)
        try:
            yield from stream(self._recipe, self._step, beside=False)
        except InputError as error:
            # raised here, it would arrive with a traceback for its sentence
            yield error


def stream(recipe: Recipe, step: int, beside: bool) -> Iterator[Batch]:
    """Batches from `step` on, made by a process beside this one, or by this one.

    Raises InputError where there is no footage that fits.
    """
    if beside:
        for made in DataLoader(_Stream(recipe, step), batch_size=None, num_workers=1, prefetch_factor=4):
            if isinstance(made, InputError):
                raise made
            yield made
    samples = Samples(recipe)
    try:
        while True:
            yield samples.batch(step)
            step += 1
    finally:
        samples.close()
