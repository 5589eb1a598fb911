# SPDX-License-Identifier: GPL-3.0-or-later
"""Surfaces and outlines for drawn scenes, in batches, on any device."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

STROKES = 24
"""Line segments of one outline, at the most."""


class Dice:
    """Random numbers from one seed: tensors on a device, and single ones on the host, which no device waits for."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.generator = torch.Generator(device).manual_seed(seed)
        self.host = np.random.default_rng(seed)
        self.device = device

    def between(self, low: float, high: float, *shape: int) -> Tensor:
        """Evenly spread."""
        return low + (high - low) * torch.rand(*shape, generator=self.generator, device=self.device)

    def normal(self, *shape: int) -> Tensor:
        """Of mean 0 and deviation 1."""
        return torch.randn(*shape, generator=self.generator, device=self.device)

    def value(self, low: float, high: float) -> float:
        """One that is evenly spread."""
        return float(self.host.uniform(low, high))

    def number(self, low: int, high: int) -> int:
        """From low to high - 1."""
        return int(self.host.integers(low, high))

    def chance(self, share: float) -> bool:
        """True in that share of cases."""
        return bool(self.host.random() < share)


def noise(dice: Dice, batch: int, channels: int, size: int, coarsest: int = 3, persistence: float = 0.6) -> Tensor:
    """Smooth noise of many octaves, (B, C, size, size) in 0..1."""
    total = torch.zeros(batch, channels, size, size, device=dice.device)
    cells, strength = coarsest, 1.0
    while cells < size:
        grid = dice.normal(batch, channels, cells, cells)
        total += strength * F.interpolate(grid, (size, size), mode="bicubic", align_corners=False)
        cells, strength = cells * 2, strength * persistence
    low, high = total.amin((2, 3), keepdim=True), total.amax((2, 3), keepdim=True)
    return (total - low) / (high - low + 1e-6)


def surface(dice: Dice, size: int, real: Tensor | None) -> Tensor:
    """One texture, (1, 3, size, size) in 0..1, a gradient's noise a little beyond.

    `real` are frames (N, 3, h, w) in 0..1 to take a part of.
    """
    kind = dice.number(0, 10)
    if real is not None and kind < 6:
        frame = real[dice.number(0, len(real))][None]
        wanted = min(size, *frame.shape[-2:])
        top, left = (dice.number(0, side - wanted + 1) for side in frame.shape[-2:])
        part = frame[..., top : top + wanted, left : left + wanted]
        return F.interpolate(part, (size, size), mode="bicubic", align_corners=False).clamp(0, 1)
    shades = noise(dice, 1, 3, size, dice.number(2, 12), dice.value(0.35, 0.85))
    one, other = dice.between(0, 1, 1, 3, 1, 1), dice.between(0, 1, 1, 3, 1, 1)
    if kind == 6:  # repeated patterns
        wave = _waves(dice, size)
        return (one + (other - one) * wave) * 0.9 + 0.1 * shades
    if kind == 7:  # little but a gradient
        ramp = _ramp(dice, size)
        return one + (other - one) * ramp + 0.03 * (shades - 0.5)
    if kind == 8:  # lettering
        ink = torch.zeros(1, 1, size, size, device=dice.device)
        for _ in range(dice.number(4, 12)):
            ink = torch.maximum(ink, strokes(dice, size, dice.number(4, STROKES), dice.value(1, 5), 0.3))
        return one + (other - one) * ink
    mixed = torch.einsum("ij,bjhw->bihw", dice.normal(3, 3), shades - 0.5) * 0.8 + dice.between(0.25, 0.75, 1, 3, 1, 1)
    return mixed.clamp(0, 1)


def _places(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The x and the y of every pixel, from the middle, (1, 1, size, size)."""
    line = torch.arange(size, device=device, dtype=torch.float32) - (size - 1) / 2
    return line.view(1, 1, 1, -1).expand(1, 1, size, size), line.view(1, 1, -1, 1).expand(1, 1, size, size)


def _ramp(dice: Dice, size: int) -> Tensor:
    x, y = _places(size, dice.device)
    angle = dice.value(0, 2 * math.pi)
    return ((math.cos(angle) * x + math.sin(angle) * y) / size + 0.5).clamp(0, 1)


def _waves(dice: Dice, size: int) -> Tensor:
    """Stripes or a lattice, soft or hard, in 0..1."""
    x, y = _places(size, dice.device)
    made = torch.ones(1, 1, size, size, device=dice.device)
    for _ in range(dice.number(1, 3)):
        angle, length = dice.value(0, math.pi), dice.value(5, 60)
        wave = torch.sin((math.cos(angle) * x + math.sin(angle) * y) * (2 * math.pi / length))
        made = made * (0.5 + 0.5 * (wave * dice.value(1, 6)).clamp(-1, 1))
    return made


def strokes(dice: Dice, size: int, count: int, width: float, reach: float) -> Tensor:
    """A line through random points, (1, 1, size, size): short ones are like letters, long ones like wires."""
    x, y = _places(size, dice.device)
    middle = dice.between(-0.4, 0.4, 2) * size
    points = (middle + dice.between(-0.5, 0.5, count + 1, 2) * reach * size)[..., None, None]
    (ax, ay), (dx, dy) = points[:-1].unbind(1), points.diff(dim=0).unbind(1)
    along = (((x[0] - ax) * dx + (y[0] - ay) * dy) / (dx * dx + dy * dy + 1e-6)).clamp(0, 1)
    nearest = ((x[0] - ax - along * dx) ** 2 + (y[0] - ay - along * dy) ** 2).amin(0)[None, None]
    return (width / 2 + 0.5 - nearest.sqrt()).clamp(0, 1)


def outline(dice: Dice, size: int) -> Tensor:
    """Where a layer is, (1, 1, size, size) in 0..1: a blob, an ellipse, a box, a fence, wires or letters."""
    x, y = _places(size, dice.device)
    kind = dice.number(0, 6)
    if kind == 0:
        level = dice.value(0.45, 0.62)
        return ((noise(dice, 1, 1, size, dice.number(2, 6), 0.45) - level) * 40).clamp(0, 1)
    if kind in (1, 2):
        angle = dice.value(0, math.pi)
        u, v = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
        across, down = (dice.value(0.04, 0.3) * size for _ in range(2))
        if kind == 1:
            distance = ((u / across) ** 2 + (v / down) ** 2).sqrt()
            return ((1 - distance) * min(across, down) + 0.5).clamp(0, 1)
        return (torch.minimum(across - u.abs(), down - v.abs()) + 0.5).clamp(0, 1)
    if kind == 3:  # a fence
        spacing, thickness = dice.value(12, 60), dice.value(1.5, 6)
        angle = dice.value(0, math.pi)
        place = math.cos(angle) * x + math.sin(angle) * y
        offset = (torch.remainder(place, spacing) - spacing / 2).abs()
        return (thickness / 2 + 0.5 - offset).clamp(0, 1)
    if kind == 4:
        return strokes(dice, size, dice.number(1, 4), dice.value(1, 6), 1.0)
    return strokes(dice, size, dice.number(4, 16), dice.value(3, 14), dice.value(0.2, 0.5))


class Bank:
    """Surfaces and outlines that scenes are put together from, drawn once.

    `real`: frames (N, 3, h, w) in 0..1 whose parts become surfaces, too.
    """

    def __init__(self, dice: Dice, size: int, real: Tensor | None = None, entries: int = 96) -> None:
        self._surfaces = torch.cat([surface(dice, size, real) for _ in range(entries)])
        self._outlines = torch.cat([outline(dice, size) for _ in range(entries)])

    def surfaces(self, dice: Dice, batch: int) -> Tensor:
        """Random ones, (B, 3, size, size), their colours exchanged, mirrored."""
        chosen = [self._surfaces[dice.number(0, len(self._surfaces))] for _ in range(batch)]
        return torch.stack([_turned(dice, torch.stack([one[c] for c in dice.host.permutation(3)])) for one in chosen])

    def outlines(self, dice: Dice, batch: int) -> Tensor:
        """Random ones, (B, 1, size, size)."""
        return torch.stack([_turned(dice, self._outlines[dice.number(0, len(self._outlines))]) for _ in range(batch)])


def _turned(dice: Dice, image: Tensor) -> Tensor:
    image = image.flip(-1) if dice.chance(0.5) else image
    return torch.rot90(image, dice.number(0, 4), (-2, -1))
