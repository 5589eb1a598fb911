# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled network's second design, with motion that is learned, too: nothing of it runs on the processor alone.

Once per pair: features of both frames and, from coarse to fine, motion in both directions, by the same weights at every
level of a pyramid (Jin et al., "UPR-Net", CVPR 2023) from local correlation (Sun et al., "PWC-Net", CVPR 2018), with
how far it can be trusted. Per timestep: both motions splatted there with that trust as weight (Niklaus and Liu,
"Softmax Splatting", CVPR 2020), and the Chooser of `networks/lento.py` on the candidates that they give.

Larger pictures get more levels, not other weights. Flow is in pixels, x to the right, y down, from a frame's pixels to
where they are in the other one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .lento import CHANNELS, DIFFERENCE_SCALE, MOTION_SCALE, SLOPE, Choice, Chooser, choice
from .sampling import resized, warp

FEATURES, WIDTH = 32, 64
REACH = 4
"""Pixels of a level's features, a quarter of its picture, within which motion is looked for."""
COARSEST = 64
"""Pixels of the shorter side at the coarsest level, at the most twice that."""
SHRINK = 4
"""How much smaller than its picture a level's features are."""
WINDOW = 11
LOG_SCALE = 0.25
FILL = 1e-3


def _conv(channels: int, out: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, size, stride, size // 2), nn.LeakyReLU(SLOPE))


def correlation(one: Tensor, other: Tensor, reach: int = REACH) -> Tensor:
    """Mean products of features (B, C, h, w) with those up to `reach` pixels away: (B, (2 reach + 1)^2, h, w)."""
    height, width = one.shape[-2:]
    wide = F.pad(other, (reach,) * 4)
    shifted = [
        (one * wide[..., y : y + height, x : x + width]).mean(1, keepdim=True)
        for y in range(2 * reach + 1)
        for x in range(2 * reach + 1)
    ]
    return torch.cat(shifted, dim=1)


class Motion(nn.Module):
    """Two frames -> motion of either to the other at a quarter of the size, and the logarithm of its trust."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(_conv(3, 16, 2), _conv(16, FEATURES, 2), _conv(FEATURES, FEATURES))
        cost = (2 * REACH + 1) ** 2
        self.refine = nn.Sequential(
            _conv(2 * FEATURES + cost + 3, WIDTH, size=1), _conv(WIDTH, WIDTH), _conv(WIDTH, WIDTH)
        )
        self.leave = nn.Conv2d(WIDTH, 3, 3, 1, 1)
        nn.init.normal_(self.leave.weight, std=1e-3)

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) in 0..1 -> (2B, 2, H/4, W/4) in pixels of that size, (2B, 1, H/4, W/4); first to second first.

        Sides must be multiples of `multiple`.
        """
        levels = levels_of(first.shape[-2], first.shape[-1])
        pictures = [torch.cat([first, second])]
        for _ in range(levels - 1):
            pictures.append(F.avg_pool2d(pictures[-1], 2))
        flow = trust = None
        for picture in reversed(pictures):
            features = self.encode(picture - 0.5)
            others = features.roll(len(features) // 2, 0)
            if flow is None or trust is None:
                flow, trust = features.new_zeros(len(features), 3, *features.shape[-2:]).float().split([2, 1], dim=1)
            else:
                flow, trust = resized(flow, 2) * 2, resized(trust, 2)
            there = warp(others.float(), flow).to(features.dtype)
            inputs = [features, there, correlation(features, there), (flow * MOTION_SCALE).to(features.dtype)]
            step = self.leave(self.refine(torch.cat([*inputs, trust.to(features.dtype)], dim=1))).float()
            flow, trust = flow + step[:, :2], step[:, 2:]
        assert flow is not None
        assert trust is not None
        return flow, trust


def levels_of(height: int, width: int) -> int:
    """Levels of the pyramid for a picture."""
    levels = 1
    while min(height, width) >> levels >= COARSEST:
        levels += 1
    return levels


def multiple(height: int, width: int) -> int:
    """What sides are padded to a multiple of."""
    return SHRINK * 2 ** (levels_of(height, width) - 1)


def splat(values: Tensor, flow: Tensor) -> Tensor:
    """Sums of `values` (B, C, h, w), each pixel's shared out to the four pixels around where `flow` takes it; fp32."""
    batch, channels, height, width = values.shape
    y, x = torch.meshgrid(
        torch.arange(height, device=flow.device, dtype=torch.float32),
        torch.arange(width, device=flow.device, dtype=torch.float32),
        indexing="ij",
    )
    to_x, to_y = x + flow[:, 0].float(), y + flow[:, 1].float()
    left, top = to_x.floor(), to_y.floor()
    total = torch.zeros(batch, channels, height * width, device=flow.device)
    for down in (0, 1):
        for across in (0, 1):
            column, row = left + across, top + down
            share = (1 - (to_x - column).abs()) * (1 - (to_y - row).abs())
            share = share * ((column >= 0) & (column < width) & (row >= 0) & (row < height))
            index = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long().view(batch, 1, -1)
            part = (values.float() * share[:, None]).reshape(batch, channels, -1)
            total = total.scatter_add(2, index.expand(-1, channels, -1), part)
    return total.view(batch, channels, height, width)


def filled(total: Tensor, weight: Tensor) -> Tensor:
    """Quotients of two sums; where little arrived, smoothly those of the surroundings (push and pull)."""
    levels = [(total, weight)]
    while min(weight.shape[-2:]) > 1:
        total, weight = (F.avg_pool2d(one, 2, ceil_mode=True, count_include_pad=False) for one in (total, weight))
        levels.append((total, weight))
    made = total / weight.clamp(min=1e-12)
    for total, weight in levels[-2::-1]:
        coarse = F.interpolate(made, weight.shape[-2:], mode="bilinear", align_corners=False)
        made = (total + FILL * coarse) / (weight + FILL)
    return made


@dataclass
class PureState:
    """What does not depend on the timestep."""

    small: tuple[Tensor, Tensor]
    """Both frames at half resolution."""
    flows: tuple[Tensor, Tensor]
    """At a quarter, in pixels of that."""
    trusts: tuple[Tensor, Tensor]


class PureLento(nn.Module):
    """Learned motion, and the Chooser."""

    def __init__(self) -> None:
        super().__init__()
        self.motion, self.chooser = Motion(), Chooser()

    def prepare(self, first: Tensor, second: Tensor) -> PureState:
        """Of two frames (B, 3, H, W) in 0..1, any size, in the network's precision or under autocast."""
        height, width = first.shape[-2:]
        unit = multiple(height, width)
        sides = (0, -width % unit, 0, -height % unit)
        one, other = (F.pad(frame, sides, mode="replicate") for frame in (first, second))
        flow, trust = self.motion(one, other)
        there, back = flow.chunk(2)
        trusts = torch.exp(trust.clamp(-8, 8)).chunk(2)
        small = (F.avg_pool2d(one.float(), 2), F.avg_pool2d(other.float(), 2))
        return PureState(small, (there, back), (trusts[0], trusts[1]))

    def at(self, state: PureState, t: Tensor) -> Choice:
        """How to make the frame at the times `t` (B, 1, 1, 1), at half resolution of the padded frames."""
        seen, motions = [], []
        for side, time in ((0, t), (1, 1 - t)):
            flow, trust = state.flows[side], state.trusts[side]
            total = splat(torch.cat([flow * trust, trust], dim=1), flow * time)
            # from the first frame to the second, whichever flow says it
            motion = filled(total[:, :2], total[:, 2:]) * (1 if side == 0 else -1)
            motions.append(resized(motion, 2) * 2)
            seen.append(resized(total[:, 2:], 2).clamp(max=1))
        pictures: list[Tensor] = []
        weights: list[Tensor] = []
        weight_a = (1 - t) * (seen[0] + 0.02)
        share_a = weight_a / (weight_a + t * (seen[1] + 0.02))
        for motion in motions:
            a, b = warp(state.small[0], -t * motion), warp(state.small[1], (1 - t) * motion)
            share = _likely(a, b)
            pictures += [a, b]
            weights += [share * share_a, share * (1 - share_a)]
        still = _likely(*state.small)
        weights += [still * (1 - t), still * t]
        logs = torch.log(torch.cat(weights, dim=1) / torch.cat(weights, dim=1).sum(1, keepdim=True) + 1e-6)
        one, two, three, four = pictures
        differences = [two - one, three - one, four - three, state.small[0] - one, state.small[1] - state.small[0]]
        both = torch.cat(motions, dim=1)
        parts = [one - 0.5, *(DIFFERENCE_SCALE * gap for gap in differences), LOG_SCALE * logs, MOTION_SCALE * both]
        features = torch.cat([*parts, *seen, t.expand_as(seen[0])], dim=1)
        assert features.shape[1] == CHANNELS
        kind = next(self.chooser.parameters()).dtype
        return choice(logs, both, self.chooser(features.to(kind)), t)


def _likely(a: Tensor, b: Tensor) -> Tensor:
    grey = ((a - b).abs() * a.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    mean = F.avg_pool2d(grey, WINDOW, 1, WINDOW // 2, count_include_pad=False)
    return 1 / (mean**2 + 1e-5)
