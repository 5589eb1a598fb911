# SPDX-License-Identifier: GPL-3.0-or-later
"""Drawn scenes: layers that move over each other, in batches on any device, with their exact motion.

A layer is a surface with an outline. A point u of it is, at time s in 0..1, at

    x = H(s) (u + k(s) N(u))

H(s): a homography that turns, grows, shears, tilts and shifts with acceleration; N: a smooth field, a sum of sines,
whose strength k changes. N has a slope below 1/2, so that u + k N(u) = y is solved by iterating u = y - k N(u). So it
is known where every pixel of a moment is at both ends, and whether it is seen there: what distillation comes near to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from .textures import Bank, Dice

LAYERS = 4
"""The background and what moves before it, at the most."""
WAVES = 3
STEPEST = 0.45
"""Slope of the smooth field, at the most."""
ITERATIONS = 12
COARSE = 4
"""Pixels between the places whose points are solved for; between them they are interpolated, within 1/30 pixel."""
SHUTTER = 5
"""Moments that are averaged for a frame with motion blur."""


@dataclass
class Scene:
    """A batch of triplets in 0..1 and what is known about them; flows in pixels, x to the right, y down."""

    first: Tensor
    """(B, 3, H, W), as a camera would have recorded it."""
    last: Tensor
    middle: Tensor
    """The frame at time t, without noise and losses."""
    t: Tensor
    """(B, 1, 1, 1)"""
    flows: Tensor
    """(B, 4, H, W): from the pixels of `middle` to where they are in `first` and in `last`."""
    seen: Tensor
    """(B, 2, H, W): 1 where that point is seen there."""
    across: Tensor
    """(B, 4, H, W): from the pixels of `first` to where they are in `last`, and from those of `last` to `first`."""


@dataclass
class _Layer:
    texture: Tensor
    mask: Tensor | None
    """None: everywhere."""
    rest: Tensor
    """(B, 8): angle, logarithm of size, shear, tilt x and y, squeeze, shift x and y in the middle of the time."""
    speed: Tensor
    turn: Tensor
    """(B, 8): acceleration."""
    waves: Tensor
    """(B, WAVES, 5): direction x and y of the wave (radians a pixel), phase, displacement x and y (pixels)."""
    bend: Tensor
    """(B, 2): strength of the waves in the middle of the time, and its change."""

    def matrix(self, time: Tensor) -> Tensor:
        """Homographies (B, 3, 3) from the surface, as the waves have bent it, to the picture, both from its middle."""
        s = (time - 0.5).view(-1, 1)
        angle, size, shear, tilt_x, tilt_y, squeeze, x, y = (
            self.rest + self.speed * s + self.turn * (s * s - 0.25)
        ).unbind(1)
        cos, sin, grown = torch.cos(angle), torch.sin(angle), torch.exp(size)
        one = torch.ones_like(x)
        a, b = grown * cos * torch.exp(squeeze), grown * (shear * cos - sin)
        c, d = grown * sin * torch.exp(squeeze), grown * (shear * sin + cos)
        rows = [a, b, x, c, d, y, tilt_x, tilt_y, one]
        return torch.stack(rows, dim=1).view(-1, 3, 3)

    def bent(self, u: Tensor) -> Tensor:
        """N at points (B, 2, h, w)."""
        phase = torch.einsum("bki,bihw->bkhw", self.waves[..., :2], u) + self.waves[..., 2, None, None]
        return torch.einsum("bki,bkhw->bihw", self.waves[..., 3:], torch.sin(phase))

    def strength(self, time: Tensor) -> Tensor:
        return (self.bend[:, 0] + self.bend[:, 1] * (time - 0.5)).view(-1, 1, 1, 1)

    def place(self, u: Tensor, time: Tensor) -> Tensor:
        """Where points of the surface are in the picture, both from the middle."""
        return _projected(self.matrix(time), u + self.strength(time) * self.bent(u))

    def point(self, size: int, time: Tensor) -> Tensor:
        """Which points of the surface are at the pixels of a picture of `size` x `size`."""
        x = _places(size // COARSE + 2, time).mul(COARSE)
        back = torch.linalg.inv_ex(self.matrix(time))[0]  # `inv` would wait for the device
        y = _projected(back, x)
        u, strength = y, self.strength(time)
        for _ in range(ITERATIONS):
            u = y - strength * self.bent(u)
        wide = F.interpolate(u, scale_factor=COARSE, mode="bilinear", align_corners=False)
        return wide[..., COARSE:-COARSE, COARSE:-COARSE]

    def shown(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Colours and how far the layer is there."""
        colours = _read(self.texture, u, "reflection")
        ones = torch.ones_like(colours[:, :1])
        return colours, ones if self.mask is None else _read(self.mask, u, "zeros")


def _places(size: int, time: Tensor) -> Tensor:
    """Every pixel's place, from the middle, for every moment of `time`: (B, 2, size, size)."""
    line = torch.arange(size, device=time.device, dtype=torch.float32) - (size - 1) / 2
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y])[None].expand(len(time), 2, size, size)


def _projected(matrix: Tensor, points: Tensor) -> Tensor:
    flat = torch.einsum("bij,bjhw->bihw", matrix[:, :, :2], points) + matrix[:, :, 2, None, None]
    return flat[:, :2] / flat[:, 2:].clamp(min=0.1)


def _read(image: Tensor, u: Tensor, border: str) -> Tensor:
    size = image.shape[-1]
    return F.grid_sample(image, u.permute(0, 2, 3, 1) * (2 / size), "bilinear", border, align_corners=False)


def scenes(dice: Dice, bank: Bank, batch: int, size: int, largest: float = 0.25, plain: bool = False) -> Scene:
    """A batch of `batch` triplets of `size` x `size` (a multiple of 8); shifts of up to `largest` of that.

    `plain`: sharp, in steady light, without noise or losses.
    """
    device = dice.device
    halves = dice.between(0, 1, batch) < 0.5
    t = torch.where(halves, torch.full((batch,), 0.5, device=device), dice.between(0.1, 0.9, batch))
    camera = _motion(dice, batch, size, largest)
    count = dice.number(2, LAYERS + 1)
    layers = [_layer(dice, bank, batch, size, camera, largest, behind=index == 0) for index in range(count)]
    times = (torch.zeros(batch, device=device), t, torch.ones(batch, device=device))
    views = [_view(layers, size, time) for time in times]
    first, between, last = views
    flows, seen = _truth(layers, between, (first, last))
    across = torch.cat([_truth(layers, first, (last,))[0], _truth(layers, last, (first,))[0]], dim=1)
    shutter = dice.value(0.1, 0.5) if dice.chance(0.15) and not plain else 0.0
    frames = [_exposed(layers, view, size, shutter) for view in views]
    if plain:
        return Scene(frames[0], frames[2], frames[1], t.view(-1, 1, 1, 1), flows, seen, across)
    lit = _lit(dice, frames, times)
    recorded = [_recorded(dice, frame) for frame in (lit[0], lit[2])]
    return Scene(recorded[0], recorded[1], lit[1].clamp(0, 1), t.view(-1, 1, 1, 1), flows, seen, across)


@dataclass
class _View:
    """All layers at one moment."""

    time: Tensor
    points: list[Tensor]
    picture: Tensor
    top: Tensor
    """Number of the uppermost layer at every pixel, (B, 1, H, W)."""


def _view(layers: list[_Layer], size: int, time: Tensor) -> _View:
    points = [layer.point(size, time) for layer in layers]
    picture, _ = layers[0].shown(points[0])
    top = torch.zeros_like(picture[:, :1])
    for index, (layer, point) in enumerate(zip(layers[1:], points[1:], strict=True), start=1):
        colours, there = layer.shown(point)
        picture = picture * (1 - there) + colours * there
        top = torch.where(there > 0.5, torch.full_like(top, index), top)
    return _View(time, points, picture, top)


def _motion(dice: Dice, batch: int, size: int, largest: float) -> tuple[Tensor, Tensor]:
    """Speed and acceleration (B, 8); many stand nearly still, few go far."""
    reach = largest * size * dice.between(0, 1, batch, 1) ** 4
    heading = dice.between(0, 2 * math.pi, batch, 1)
    shift = torch.cat([reach * torch.cos(heading), reach * torch.sin(heading)], dim=1)
    small = _numbers((0.12, 0.1, 0.04, 0.0003, 0.0003, 0.05), dice.device)
    others = dice.normal(batch, 6) * small * dice.between(0, 1, batch, 1)
    speed = torch.cat([others, shift], dim=1)
    return speed, speed * dice.normal(batch, 1) * 0.25 + torch.cat([0 * others, dice.normal(batch, 2) * 0.5], dim=1)


@lru_cache
def _numbers(values: tuple[float, ...], device: torch.device) -> Tensor:
    """A constant, taken to the device once, since that waits for it."""
    return torch.tensor(values, device=device)


def _layer(
    dice: Dice, bank: Bank, batch: int, size: int, camera: tuple[Tensor, Tensor], largest: float, behind: bool
) -> _Layer:
    textures = bank.surfaces(dice, batch)
    masks = None if behind else bank.outlines(dice, batch)
    speed, turn = camera
    if not behind:
        own_speed, own_turn = _motion(dice, batch, size, largest)
        speed, turn = speed * dice.between(0.3, 1.2, batch, 1) + own_speed, turn + own_turn
    reach = speed[:, 6:].norm(dim=1, keepdim=True)
    speed = speed * (largest * size / reach.clamp(min=1e-3)).clamp(max=1)
    rest = dice.normal(batch, 8) * _numbers((0.6, 0.15, 0.1, 0.0005, 0.0005, 0.1, 0, 0), dice.device)
    if not behind:
        rest[:, 6:] = dice.between(-0.35, 0.35, batch, 2) * size
    length = dice.between(0.25, 1.2, batch, WAVES) * size
    angle = dice.between(0, 2 * math.pi, batch, WAVES)
    frequency = 2 * math.pi / length
    # the slope of all waves together stays below STEPEST
    deep = STEPEST / WAVES / frequency * dice.between(0, 1, batch, WAVES) ** 2
    heading = dice.between(0, 2 * math.pi, batch, WAVES)
    waves = torch.stack(
        [
            frequency * torch.cos(angle), frequency * torch.sin(angle), dice.between(0, 2 * math.pi, batch, WAVES),
            deep * torch.cos(heading), deep * torch.sin(heading),
        ],
        dim=2,
    )  # fmt: skip
    bends = dice.between(0, 1, batch, 1) < 0.5
    bend = torch.cat([dice.between(-0.6, 0.6, batch, 1), dice.between(-0.7, 0.7, batch, 1)], dim=1) * bends
    return _Layer(textures, masks, rest, speed, turn, waves, bend)


def _exposed(layers: list[_Layer], view: _View, size: int, shutter: float) -> Tensor:
    """A frame: the picture, or with a shutter the mean of those while it is open."""
    if not shutter:
        return view.picture
    moments = torch.linspace(-shutter / 2, shutter / 2, SHUTTER).tolist()
    return torch.stack([_view(layers, size, view.time + moment).picture for moment in moments]).mean(0)


def _truth(layers: list[_Layer], here: _View, ends: tuple[_View, ...]) -> tuple[Tensor, Tensor]:
    """Flows from the pixels of a view to other ones, and whether they are seen there."""
    size = here.top.shape[-1]
    places = _places(size, here.time)
    flows, seen = [], []
    for end in ends:
        there = torch.zeros_like(places)
        for index, (layer, point) in enumerate(zip(layers, here.points, strict=True)):
            there = torch.where(here.top == index, layer.place(point, end.time), there)
        grid = there.permute(0, 2, 3, 1) * (2 / size)
        visible = torch.zeros_like(here.top)
        for index in range(len(layers)):
            # a point is seen where its layer is the top one all around it
            same = F.grid_sample((end.top == index).float(), grid, "bilinear", "zeros", align_corners=False)
            visible = torch.where(here.top == index, same, visible)
        flows.append(there - places)
        seen.append((visible > 0.999).float())
    return torch.cat(flows, dim=1), torch.cat(seen, dim=1)


def _lit(dice: Dice, frames: list[Tensor], times: tuple[Tensor, ...]) -> list[Tensor]:
    """Light that changes, for some."""
    batch = frames[0].shape[0]
    changes = (dice.between(0, 1, batch) < 0.25).float()
    gain, lift = dice.normal(batch) * 0.08 * changes, dice.normal(batch) * 0.02 * changes
    lit = []
    for frame, time in zip(frames, times, strict=True):
        s = time - 0.5
        lit.append(frame * (1 + gain * s).view(-1, 1, 1, 1) + (lift * s).view(-1, 1, 1, 1))
    return lit


def _recorded(dice: Dice, frame: Tensor) -> Tensor:
    """Noise and the losses of a codec, for some; rounded to 8 bits."""
    batch = frame.shape[0]
    level = dice.between(0, 1, batch, 1, 1, 1) ** 3 * 0.03 * (dice.between(0, 1, batch, 1, 1, 1) < 0.5)
    noisy = frame + dice.normal(*frame.shape) * level
    lost = compressed(noisy, dice.between(0.005, 0.06, batch, 1, 1, 1))
    kept = torch.where(dice.between(0, 1, batch, 1, 1, 1) < 0.4, lost, noisy)
    return (kept.clamp(0, 1) * 255).round() / 255


def compressed(image: Tensor, step: Tensor) -> Tensor:
    """What a codec leaves of (B, C, H, W), sides multiples of 8.

    Cosines of blocks of 8 x 8, rounded to multiples of `step` (B, 1, 1, 1) that grow with the frequency.
    """
    line = torch.arange(8, device=image.device, dtype=torch.float32)
    basis = torch.cos((2 * line + 1).view(1, -1) * line.view(-1, 1) * (math.pi / 16)) * 0.5
    basis[0] *= 0.5**0.5
    batch, channels, height, width = image.shape
    blocks = image.view(batch, channels, height // 8, 8, width // 8, 8)
    found = torch.einsum("ui,bcyixj,vj->bcyuxv", basis, blocks, basis)
    coarse = step.view(-1, 1, 1, 1, 1, 1) * (1 + (line.view(-1, 1) + line.view(1, -1)).view(1, 1, 1, 8, 1, 8) * 0.7)
    kept = (found / coarse).round() * coarse
    return torch.einsum("ui,bcyuxv,vj->bcyixj", basis, kept, basis).reshape(image.shape)
