# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled network: any timestep, any size, on any device.

Once per pair: features of both frames, motion in both directions and how far it can be trusted (`lento_motion.py`).
Per timestep: both motions splatted there with that trust as weight (Niklaus and Liu, "Softmax Splatting", CVPR 2020),
features and frames brought there by their mean, and a U-Net that mends the motion towards either frame and says which
of them is seen and what both lack (Huang et al., "RIFE", ECCV 2022, figure 3). The frames are read along both motions,
since each is wrong elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .lento_motion import FEATURES, MOTION_SCALE, SHRINK, SLOPE, Mended, Motion, convolution, doubled, whole
from .sampling import averaged, positions, resized, summed, warp

CONTEXT = 24
"""Channels of a frame's features that the synthesis sees."""
SYNTHESIS = (32, 64, 96)
"""Channels of the synthesis at a quarter, an eighth and a sixteenth of the size."""
DIFFERENCE_SCALE = 4.0
"""Differences of two frames are small beside what they share: in the input they are this much larger."""
MOST_TRUST = 8.0
"""Of its logarithm."""
FILL = 1e-3
"""Weight from which on a pixel's own motion counts more than that of its surroundings."""
UNSEEN = 0.02
"""Weight that a frame keeps where nothing of it arrives."""
AROUND = 11
"""Pixels at half the size over which it is judged whether a motion explains the frames."""
MOVES = 1.5
"""How much more each of both motions is believed than that nothing moves."""
NEITHER = 50.0
"""How much it is believed that neither is so: what appears out of nothing is faded in, not put together of pieces."""
AGREED = 0.02
"""Difference of both frames at a timestep at which half of what they lack is added: where they agree, nothing is."""


def splat(values: Tensor, flow: Tensor) -> Tensor:
    """Sums of `values` (B, C, h, w), each pixel's shared out to the four pixels around where `flow` takes it; fp32."""
    batch, channels, height, width = values.shape
    to_x, to_y = positions(flow)
    left, top = to_x.floor(), to_y.floor()
    parts, places = [], []
    for down in (0, 1):
        for across in (0, 1):
            column, row = left + across, top + down
            share = (1 - (to_x - column).abs()) * (1 - (to_y - row).abs())
            share = share * ((column >= 0) & (column < width) & (row >= 0) & (row < height))
            parts.append((values.float() * share[:, None]).flatten(2))
            places.append((row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long().flatten(1))
    total = summed(torch.cat(parts, dim=2), torch.cat(places, dim=1), height * width)
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
class State:
    """What does not depend on the timestep."""

    small: Tensor
    """(2B, 3, h/2, w/2): both frames at half resolution, in fp32."""
    context: Tensor
    """(2B, CONTEXT, h/4, w/4): what the synthesis sees of them."""
    motion: Tensor
    """(2B, 2, h/4, w/4): from either frame to the other, in pixels of that size."""
    trust: Tensor
    """(2B, 1, h/4, w/4): weight in splatting."""
    unmoved: Tensor
    """(B, 1, h/2, w/2): how far it is to be believed that nothing moves."""
    levels: list[Tensor]
    """The motion as every level of the pyramid found it, to be judged."""


@dataclass
class Moment:
    """How the frame at a timestep is to be made, at half resolution, in fp32."""

    flows: Tensor
    """(B, 8, h, w): from the timestep's pixels to where they are in the first and in the last frame, in pixels; by the
    motion that the first frame's pixels have, then by that of the last one's."""
    forth: Tensor
    """(B, 1, h, w): share of the first of these motions."""
    first: Tensor
    """(B, 1, h, w): share of the first frame."""
    lacking: Tensor
    """(B, 3, h, w): what both frames lack, to be added."""
    still: Tensor
    """(B, 1, h, w): share of a cross-fade, for what no motion explains: fog, flicker, noise."""
    t: Tensor
    """(B, 1, 1, 1)"""
    change: Tensor
    """(B, 4, h, w): by how much the synthesis mended either motion."""


class Synthesis(nn.Module):
    """What motion brings to a timestep -> how the frame is made of it."""

    def __init__(self) -> None:
        super().__init__()
        one, two, three = SYNTHESIS
        self.enter = nn.Sequential(nn.Conv2d(13, one, 2, 2), nn.LeakyReLU(SLOPE))
        self.join = nn.Sequential(convolution(one + 2 * CONTEXT, one), Mended(one))
        self.down1 = nn.Sequential(convolution(one, two, 2), Mended(two))
        self.down2 = nn.Sequential(convolution(two, three, 2), Mended(three), Mended(three))
        self.up1, self.out1 = nn.Conv2d(three, two, 1), Mended(two)
        self.up2, self.out2 = nn.Conv2d(two, one, 1), Mended(one)
        self.leave = nn.Conv2d(one, 4 * 8, 3, 1, 1)

    def forward(self, seen: Tensor, contexts: Tensor) -> Tensor:
        """(B, 13, h, w), sides even, and (B, 2 CONTEXT, h/2, w/2) -> (B, 8, h, w) in fp32."""
        one = self.join(torch.cat([self.enter(seen), contexts], dim=1))
        two = self.down1(one)
        x = self.out1(two + doubled(self.up1(self.down2(two)), two))
        x = self.out2(one + doubled(self.up2(x), one))
        return F.pixel_shuffle(self.leave(x), 2).float()


class LentoNet(nn.Module):
    """Motion and synthesis."""

    def __init__(self) -> None:
        super().__init__()
        self.motion, self.context, self.synthesis = Motion(), nn.Conv2d(FEATURES, CONTEXT, 1), Synthesis()
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=SLOPE)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
            elif isinstance(layer, Mended):
                nn.init.normal_(layer.conv.weight, std=0.01)
        nn.init.normal_(self.motion.refine.leave.weight, std=1e-3)
        nn.init.zeros_(self.synthesis.leave.weight)

    def prepare(self, first: Tensor, last: Tensor, known: Tensor | None = None) -> State:
        """Of two frames (B, 3, H, W) in 0..1, any size, fp32, also where the network is not.

        `known`: see Motion.
        """
        frames = whole(torch.cat([first, last]), SHRINK)
        small = F.avg_pool2d(frames, 2)
        features, motion, trust, levels = self.motion(frames, small, known)
        weight = torch.exp(trust.clamp(-MOST_TRUST, MOST_TRUST))
        one, other = small.chunk(2)
        return State(small, self.context(features), motion, weight, _likely(other - one), levels)

    def at(self, state: State, t: Tensor) -> Moment:
        """How to make the frame at the times `t` (B, 1, 1, 1); B may be larger than 1 for a pair alone."""
        motion, told, share, arrived = self.moved(state, t)
        small = _each(state.small, t)
        plain, first, last = _read_along(small, motion, t)
        contexts = torch.cat(warp(_each(state.context, t), _flows(motion, t)).chunk(2), dim=1)
        share, arrived = resized(share, 2), resized(arrived, 2)
        difference = last - first
        parts = [first - 0.5, DIFFERENCE_SCALE * difference, MOTION_SCALE * plain, share, arrived]
        seen = torch.cat([part.expand(len(t), -1, -1, -1) for part in parts], dim=1)
        made = self.synthesis(seen.to(contexts.dtype), contexts)
        weights = (1 - t) * (arrived[:, :1] + UNSEEN), t * (arrived[:, 1:] + UNSEEN)
        mask = torch.sigmoid(torch.log(weights[0] / weights[1]) + made[:, 4:5])
        gap = difference.abs().mean(1, keepdim=True)
        flows, believed = [], []
        for one in told:
            plain, first, last = _read_along(small, one, t)
            flows.append(plain + made[:, :4])
            believed.append(_likely(last - first))
        moves, stays = believed[0] + believed[1], state.unmoved + NEITHER
        still = stays / (stays + MOVES * moves)
        lacking = made[:, 5:] * (gap / (gap + AGREED))
        return Moment(torch.cat(flows, dim=1), believed[0] / moves, mask, lacking, still, t, made[:, :4])

    def moved(self, state: State, t: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor, Tensor]:
        """Motion at a timestep, from the first frame to the last one, over the whole interval, at a quarter.

        (B, 2, h, w), the same as either frame's pixels have it, the first frame's share in it (B, 1, h, w), and how
        much of either arrived (B, 2, h, w).
        """
        sums = []
        for flow, weight, time in zip(state.motion.chunk(2), state.trust.chunk(2), (t, 1 - t), strict=True):
            values = torch.cat([flow * weight, weight, torch.ones_like(weight)], dim=1)
            sums.append(splat(values.expand(len(t), -1, -1, -1), flow * time))
        there, back = sums
        weight = there[:, 2:3] + back[:, 2:3]
        motion = filled(there[:, :2] - back[:, :2], weight)
        told = filled(there[:, :2], there[:, 2:3]), filled(-back[:, :2], back[:, 2:3])
        share = (there[:, 2:3] + FILL) / (weight + 2 * FILL)
        return motion, told, share, torch.cat([there[:, 3:], back[:, 3:]], dim=1).clamp(max=1)


def _flows(motion: Tensor, t: Tensor) -> Tensor:
    """From the pixels at `t` to the first frame, and to the last one, (2B, 2, h, w)."""
    return torch.cat([-t * motion, (1 - t) * motion])


def _read_along(small: Tensor, motion: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of motion at a quarter: the flows at half the size (B, 4, h, w), and both frames, half as large, along them."""
    half = resized(_flows(motion, t), 2) * 2
    first, last = warp(small, half).chunk(2)
    return torch.cat(half.chunk(2), dim=1), first, last


def _likely(difference: Tensor) -> Tensor:
    """How far it is to be believed that two pictures with this difference (B, 3, h, w) show the same."""
    grey = difference.abs().mean(1, keepdim=True)
    return 1 / (averaged(grey, AROUND) ** 2 + 1e-5)


def _each(pair: Tensor, t: Tensor) -> Tensor:
    """Of a pair (2, C, h, w), for every one of several times, first frames before last ones."""
    return pair if len(pair) == 2 * len(t) else pair.repeat_interleave(len(t), 0)


def read(image: Tensor, flow: Tensor) -> Tensor:
    """`image` (B, C, H, W) where `flow` (B, 2, H, W) leads: bicubic, the border repeated; positions in fp32."""
    height, width = image.shape[-2:]
    x, y = positions(flow)
    grid = torch.stack([(x + 0.5) * (2 / width) - 1, (y + 0.5) * (2 / height) - 1], dim=-1)
    return F.grid_sample(image.float(), grid, "bicubic", "border", align_corners=False)


def at_full_size(moment: Moment, size: tuple[int, int]) -> Moment:
    """The same for pictures of `size` (height, width), from whose padded half it was made."""
    parts = (moment.flows * 2, moment.forth, moment.first, moment.lacking, moment.still)
    flows, forth, first, lacking, still = (resized(part, 2)[..., : size[0], : size[1]] for part in parts)
    return Moment(flows, forth, first, lacking, still, moment.t, moment.change)


def composed(images: tuple[Tensor, Tensor], moment: Moment) -> tuple[Tensor, Tensor, Tensor]:
    """Frames (B, C, H, W) and how to make one of them, at full size -> that one, and both frames along the motion.

    What both lack is added to the first three channels.
    """
    one, other = moment.flows.chunk(2, dim=1)
    first, last = (
        torch.lerp(read(image, other[:, side]), read(image, one[:, side]), moment.forth)
        for image, side in zip(images, (slice(0, 2), slice(2, 4)), strict=True)
    )
    mixed = last + moment.first * (first - last)
    moved = mixed + F.pad(moment.lacking, (0, 0, 0, 0, 0, mixed.shape[1] - 3))
    faded = images[0] + moment.t * (images[1] - images[0])
    return moved + moment.still * (faded - moved), first, last
