# SPDX-License-Identifier: GPL-3.0-or-later
"""DAIN (Bao et al., CVPR 2019): flow, depth and context, projected to the moment, warped adaptively, rectified.

Plain PyTorch operators all through; the authors' CUDA kernels are `project`, `filled` and `filtered` here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .hourglass import hourglass
from .pwcnet import UNIT, PWCNet
from .sampling import positions, summed
from .tiling import in_tiles

MULTIPLE = 128
MARGIN = 32
"""Added on every side where a size already is a multiple."""
RADIUS = 24
"""How far the context and the rectification look, in pixels."""
TAPS = 4
"""Side of the window that a pixel's filter covers."""


def padding(width: int, height: int) -> tuple[int, int, int, int]:
    """What replication adds left, right, top and bottom."""

    def sides(size: int) -> tuple[int, int]:
        extra = -size % MULTIPLE
        return (extra // 2, extra - extra // 2) if extra else (MARGIN, MARGIN)

    return (*sides(width), *sides(height))


def project(flow: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The flow (B, 2, H, W) of where it leads to, seen from there: sum and count (section 3.2, eq. 3).

    Every pixel gives its negated flow, times its weight (B, 1, H, W), to the four pixels around where it goes; all four
    the same. Returns the mean where the count is not 0, and the count.
    """
    batch, _, height, width = flow.shape
    x, y = positions(flow)
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    left, top = x.clamp(0, width - 1).long(), y.clamp(0, height - 1).long()
    given = torch.where(inside[:, None], torch.cat([-weight * flow, weight], dim=1).float(), 0.0)
    # what leaves the frame gives nothing, each pixel to its own place: many in one place take long to add up
    own = torch.arange(height * width, device=flow.device).view(height, width)
    index = torch.where(inside, top * width + left, own)
    total = summed(given.flatten(2), index.flatten(1), height * width).reshape(batch, 3, height, width)
    for axis in (2, 3):
        total = _with_next(total, axis)
    sums, count = total.split([2, 1], dim=1)
    return torch.where(count > 0, sums / count.clamp(min=torch.finfo(torch.float32).tiny), 0.0), count


def _with_next(given: Tensor, axis: int) -> Tensor:
    """What every place along `axis` is given, given to the next one, too; the last one gets it twice."""
    last = given.shape[axis] - 1
    made = given.clone()
    made.narrow(axis, 1, last).add_(given.narrow(axis, 0, last))
    made.narrow(axis, last, 1).add_(given.narrow(axis, last, 1))
    return made


def filled(flow: Tensor, count: Tensor) -> Tensor:
    """`flow` with its holes (count 0) filled: the mean of the nearest known pixels left, right, above and below."""
    known = count > 0
    total, number = torch.zeros_like(flow), torch.zeros_like(count)
    for axis in (-1, -2):
        size = flow.shape[axis]
        shape = [1, 1, 1, 1]
        shape[axis] = size
        place = torch.arange(size, device=flow.device).reshape(shape).expand_as(count)
        before = torch.where(known, place, -1).cummax(axis).values
        after = size - 1 - torch.where(known, size - 1 - place, -1).flip(axis).cummax(axis).values.flip(axis)
        for nearest, found in ((before, before >= 0), (after, after < size)):
            index = nearest.clamp(0, size - 1).expand_as(flow)
            total += torch.gather(flow, axis, index) * found
            number += found
    return torch.where(known, flow, total / number.clamp(min=1))


def filtered(image: Tensor, flow: Tensor, filters: Tensor) -> Tensor:
    """`image` (B, C, H, W) where `flow` leads, through every pixel's own 4 x 4 filter (B, 16, H, W).

    The window's four quarters are summed by the filter, then mixed bilinearly. Where the flow leaves the frame, or is
    half of its size or longer, the pixel stays as it is.
    """
    batch, channels, height, width = image.shape
    x, y = positions(flow)
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    inside &= (flow[:, 0].abs() < width / 2) & (flow[:, 1].abs() < height / 2)
    left, top = x.clamp(0, width - 1).long(), y.clamp(0, height - 1).long()
    a, b = (x - left)[:, None], (y - top)[:, None]
    flat = image.reshape(batch, channels, -1)
    made = torch.zeros_like(image)
    for row in range(TAPS):
        for column in range(TAPS):
            at_row = (top + row - 1).clamp(0, height - 1)
            index = (at_row * width + (left + column - 1).clamp(0, width - 1)).reshape(batch, 1, -1)
            tap = torch.gather(flat, 2, index.expand(-1, channels, -1)).reshape(image.shape)
            share = (a if column >= 2 else 1 - a) * (b if row >= 2 else 1 - b)
            made += tap * (filters[:, row * TAPS + column, None] * share)
    return torch.where(inside[:, None], made, image)


class _Unit(nn.Module):
    """relu(conv2(relu(conv1(x))) + x)."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, 1, dilation, dilation, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x))) + x)


class _Context(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(3, 64, 7, 1, 3, bias=False), nn.ReLU())
        self.block2, self.block3 = _Unit(64, 4), _Unit(64, 8)

    def forward(self, frame: Tensor) -> Tensor:
        first = self.block1(frame)
        second = self.block2(first)
        return torch.cat([frame, first, second, self.block3(second)], dim=1)


class _Rectify(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(437, 128, 7, 1, 3), nn.ReLU())
        self.block2, self.block3, self.block4 = _Unit(128, 1), _Unit(128, 1), _Unit(128, 1)
        self.block5 = nn.Sequential(nn.Conv2d(128, 3, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.block5(self.block4(self.block3(self.block2(self.block1(x)))))


class _Filters(nn.ModuleDict):
    """A U-Net whose skips are added; the parameters' names are the indices of the authors' list."""

    DOWN = ((0, 6, 16), (2, 16, 32), (5, 32, 64), (8, 64, 128), (11, 128, 256), (14, 256, 512), (17, 512, 512))
    UP = ((20, 512, 256), (23, 256, 128), (26, 128, 64), (29, 64, 32), (32, 32, 16))

    def __init__(self) -> None:
        super().__init__({str(name): nn.Conv2d(one, two, 3, 1, 1) for name, one, two in (*self.DOWN, *self.UP)})

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for number, (name, _, _) in enumerate(self.DOWN):
            x = F.relu(self[str(name)](x))
            if 1 <= number <= 5:
                skips.append(x)
                x = F.max_pool2d(x, 2)
        for name, _, _ in self.UP:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False) + skips.pop()
            x = F.relu(self[str(name)](x))
        return x


def _dtype(part: nn.Module) -> torch.dtype:
    """What its weights are in."""
    return next(part.parameters()).dtype


def _filter_head() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1))


@dataclass
class PairState:
    """What does not depend on the timestep; of both frames, or directions. In fp32, but for the contexts."""

    frames: tuple[Tensor, Tensor]
    flows: tuple[Tensor, Tensor]
    """At a quarter of the size, in UNITs."""
    depths: tuple[Tensor, Tensor]
    """Logarithms."""
    contexts: tuple[Tensor, Tensor]
    filters: tuple[Tensor, Tensor]


@dataclass
class Moment:
    """What is made of a pair at one time."""

    out: Tensor
    unrectified: Tensor
    projected: tuple[Tensor, Tensor]
    counts: tuple[Tensor, Tensor]
    warped: tuple[Tensor, Tensor]
    rectify_input: Tensor


class DAIN(nn.Module):
    """Names are the checkpoint's."""

    smooth = ("ctxNet", "rectifyNet")
    """Parts that half precision suits: they do 70 % of all multiply-adds, and what they make changes as little as what
    they get. The others stay in fp32, and so does what follows from them up to the warped frames: where a position that
    they decide on crosses a whole pixel, projection and filter interpolation jump."""

    def __init__(self) -> None:
        super().__init__()
        self.initScaleNets_filter = _Filters()
        self.initScaleNets_filter1, self.initScaleNets_filter2 = _filter_head(), _filter_head()
        self.ctxNet, self.rectifyNet = _Context(), _Rectify()
        self.flownets, self.depthNet = PWCNet(), hourglass()
        self.tiles = 1
        """Pieces along each side in which the widest parts work, where memory is short; the result stays the same."""

    def prepare(self, first: Tensor, second: Tensor) -> PairState:
        """Of two frames (B, 3, H, W) in 0..1, in fp32 and padded as `padding` says."""
        depths = (self.depthNet(first), self.depthNet(second))
        dtype = _dtype(self.ctxNet)
        contexts = tuple(
            torch.cat([self._tiled(self.ctxNet, frame.to(dtype)), depth.to(dtype)], dim=1)
            for frame, depth in zip((first, second), depths, strict=True)
        )
        trunk = self.initScaleNets_filter(torch.cat([first, second], dim=1))
        filters = (self.initScaleNets_filter1(trunk), self.initScaleNets_filter2(trunk))
        flows = (self.flownets(first, second)[0], self.flownets(second, first)[0])
        return PairState((first, second), flows, depths, (contexts[0], contexts[1]), filters)

    def _tiled(self, part: nn.Module, x: Tensor) -> Tensor:
        return in_tiles(part, [x], self.tiles, RADIUS, 1)

    def at(self, pair: PairState, t: float) -> Moment:
        """The frame at time `t`."""
        projected, counts = [], []
        for flow, depth, time in zip(pair.flows, pair.depths, (t, 1 - t), strict=True):
            whole = F.interpolate(UNIT * flow * time, scale_factor=4, mode="bilinear", align_corners=False)
            mean, count = project(whole, 1e-6 + 1 / torch.exp(depth))
            projected.append(filled(mean, count))
            counts.append(count)
        warped, contexts = (
            [
                filtered(image.float(), flow, filters)
                for image, flow, filters in zip(images, projected, pair.filters, strict=True)
            ]
            for images in (pair.frames, pair.contexts)
        )
        blend = (1 - t) * warped[0] + t * warped[1]
        dtype = _dtype(self.rectifyNet)
        parts = (blend, *warped, *projected, *pair.filters, *contexts)
        inputs = torch.cat([part.to(dtype) for part in parts], dim=1)
        rectified = self._tiled(self.rectifyNet, inputs).float() + blend
        return Moment(
            rectified, blend, (projected[0], projected[1]), (counts[0], counts[1]), (warped[0], warped[1]), inputs
        )
