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
from .tiling import Piece, Place, divided, in_pieces

MULTIPLE = 128
MARGIN = 32
"""Added on every side where a size already is a multiple."""
RADIUS, FILTERS_RADIUS = 24, 192
"""How far the context and the rectification look, in pixels, and how far the filters' network does."""
FILTERS_STRIDE = 32
TAPS = 4
"""Side of the window that a pixel's filter covers."""
CONTEXT = 196
"""Channels: the frame, three times 64 of the context, depth."""


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


@dataclass(frozen=True)
class Reading:
    """What pixels read of a picture, each through its own 4 x 4 filter.

    The window's four quarters are summed by the filter, then mixed bilinearly. Where the flow leaves the picture, or is
    half of its size or longer, the pixel stays as it is.
    """

    size: tuple[int, int]
    """Height and width of the picture."""
    left: Tensor
    """Column (B, 1, H, W) of the window's second; a pixel that stays has its own."""
    top: Tensor
    right_share: Tensor
    """0..1, of the window's two columns on the right."""
    bottom_share: Tensor
    inside: Tensor
    """False where the pixel stays."""
    filters: Tensor
    """(B, 16, H, W), row by row."""

    @classmethod
    def along(cls, flow: Tensor, filters: Tensor, size: tuple[int, int], corner: tuple[int, int] = (0, 0)) -> Reading:
        """Along the flow (B, 2, H, W) of pixels from `corner` (row, column) on."""
        (height, width), (down, across) = size, corner
        own_x, own_y = (place[:, None] for place in positions(torch.zeros_like(flow)))
        own_x, own_y = own_x + across, own_y + down  # first, since it is rounded otherwise after the flow
        x, y = own_x + flow[:, :1], own_y + flow[:, 1:]
        inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        inside &= (flow[:, :1].abs() < width / 2) & (flow[:, 1:].abs() < height / 2)
        left, top = torch.where(inside, x, own_x).long(), torch.where(inside, y, own_y).long()
        return cls(size, left, top, x - left, y - top, inside, filters)

    def part(self, place: Place) -> tuple[Tensor, Reading]:
        """Which pixels (N) of all H * W read anything at a place of the picture, and what they read; of one pair."""
        found = torch.ones_like(self.inside)
        for first, span in zip((self.top, self.left), place, strict=True):
            found &= (first - 1 < span.stop) & (first + TAPS - 2 >= span.start)
        index = found.flatten().nonzero()[:, 0]
        maps = (self.left, self.top, self.right_share, self.bottom_share, self.inside, self.filters)
        return index, Reading(self.size, *(one.flatten(2)[:, :, None, index] for one in maps))

    def of(self, image: Tensor, corner: tuple[int, int] = (0, 0)) -> Tensor:
        """What is read of `image` (B, C, h, w), the picture from `corner` on; the parts of a picture add up to all."""
        height, width = self.size
        here_height, here_width = image.shape[-2:]
        flat = image.flatten(2)
        made = image.new_zeros(*image.shape[:2], *self.left.shape[-2:])
        for row in range(TAPS):
            for column in range(TAPS):
                share = self.right_share if column >= 2 else 1 - self.right_share
                share = share * (self.bottom_share if row >= 2 else 1 - self.bottom_share)
                own = float(row == column == 1)
                weight = torch.where(self.inside, self.filters[:, row * TAPS + column, None] * share, own)
                at_row = (self.top + row - 1).clamp(0, height - 1) - corner[0]
                at_column = (self.left + column - 1).clamp(0, width - 1) - corner[1]
                if (here_height, here_width) != self.size:
                    there = (at_row >= 0) & (at_row < here_height) & (at_column >= 0) & (at_column < here_width)
                    weight = weight * there
                    at_row, at_column = at_row.clamp(0, here_height - 1), at_column.clamp(0, here_width - 1)
                index = (at_row * here_width + at_column).flatten(2).expand(-1, image.shape[1], -1)
                made += torch.gather(flat, 2, index).view_as(made) * weight
        return made


def filtered(image: Tensor, flow: Tensor, filters: Tensor) -> Tensor:
    """`image` (B, C, H, W) where `flow` leads, through every pixel's own 4 x 4 filter (B, 16, H, W)."""
    return Reading.along(flow, filters, (image.shape[-2], image.shape[-1])).of(image)


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
    filters: tuple[Tensor, Tensor]
    contexts: tuple[Tensor, Tensor] | None
    """None where they are made as they are read, piece by piece."""


@dataclass
class Moment:
    """What is made of a pair at one time, before the rectification."""

    blend: Tensor
    projected: tuple[Tensor, Tensor]
    counts: tuple[Tensor, Tensor]
    warped: tuple[Tensor, Tensor]


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
        self.pieces = 1
        """In which all but the flow is made, where memory is short; the result stays the same."""

    def prepare(self, first: Tensor, second: Tensor) -> PairState:
        """Of two frames (B, 3, H, W) in 0..1, in fp32 and padded as `padding` says."""
        flows = (self.flownets(first, second)[0], self.flownets(second, first)[0])
        depths = (self.depthNet(first), self.depthNet(second))
        both = torch.cat([first, second], dim=1)
        filters = in_pieces(self._filters, [both], self.pieces, FILTERS_RADIUS, FILTERS_STRIDE)
        one, other = filters.split(TAPS**2, dim=1)
        state = PairState((first, second), flows, depths, (one, other), None)
        if self.pieces == 1:
            state.contexts = (self.context(state, 0), self.context(state, 1))
        return state

    def _filters(self, frames: Tensor) -> Tensor:
        trunk = self.initScaleNets_filter(frames)
        return torch.cat([self.initScaleNets_filter1(trunk), self.initScaleNets_filter2(trunk)], dim=1)

    def context(self, pair: PairState, number: int, piece: Piece | None = None) -> Tensor:
        """Context and depth (B, 196, H, W) of a frame, or of a piece of it, in the precision of `ctxNet`."""
        frame, depth = pair.frames[number], pair.depths[number]
        dtype = _dtype(self.ctxNet)
        if piece is None:
            return torch.cat([self.ctxNet(frame.to(dtype)), depth.to(dtype)], dim=1)
        made = self.ctxNet(frame[(..., *piece.around)].to(dtype))[(..., *piece.inside)]
        return torch.cat([made, depth[(..., *piece.alone)].to(dtype)], dim=1)

    def at(self, pair: PairState, t: float) -> Moment:
        """Motion, and frames along it, at time `t`."""
        projected, counts = [], []
        for flow, depth, time in zip(pair.flows, pair.depths, (t, 1 - t), strict=True):
            whole = F.interpolate(UNIT * flow * time, scale_factor=4, mode="bilinear", align_corners=False)
            mean, count = project(whole, 1e-6 + 1 / torch.exp(depth))
            projected.append(filled(mean, count))
            counts.append(count)
        warped = [filtered(*taken) for taken in zip(pair.frames, projected, pair.filters, strict=True)]
        blend = (1 - t) * warped[0] + t * warped[1]
        return Moment(blend, (projected[0], projected[1]), (counts[0], counts[1]), (warped[0], warped[1]))

    def rectified(self, pair: PairState, moment: Moment) -> Tensor:
        """The frame (B, 3, H, W) of a moment."""
        made = moment.blend.clone()
        height, width = made.shape[-2:]
        for piece in divided(height, width, self.pieces, RADIUS):
            mended = self.rectifyNet(self.rectify_input(pair, moment, piece.around))
            made[(..., *piece.alone)] += mended[(..., *piece.inside)].float()
        return made

    def rectify_input(self, pair: PairState, moment: Moment, place: Place | None = None) -> Tensor:
        """What the rectification gets, all of it or at a place: (B, 437, H, W) in its precision."""
        height, width = moment.blend.shape[-2:]
        place = place or (slice(0, height), slice(0, width))
        corner = (place[0].start, place[1].start)
        contexts = []
        for number, (flow, filters) in enumerate(zip(moment.projected, pair.filters, strict=True)):
            reading = Reading.along(flow[(..., *place)], filters[(..., *place)], (height, width), corner)
            contexts.append(self._read(pair, number, reading))
        parts = (moment.blend, *moment.warped, *moment.projected, *pair.filters)
        dtype = _dtype(self.rectifyNet)
        return torch.cat([part[(..., *place)].to(dtype) for part in parts] + [one.to(dtype) for one in contexts], dim=1)

    def _read(self, pair: PairState, number: int, reading: Reading) -> Tensor:
        """The context of a frame as `reading` has it; in fp32."""
        if pair.contexts is not None:
            return reading.of(pair.contexts[number].float())
        total = pair.depths[number].new_zeros(1, CONTEXT, reading.left[0].numel())
        for piece in divided(*reading.size, self.pieces, RADIUS):
            index, part = reading.part(piece.alone)
            if len(index):
                corner = (piece.alone[0].start, piece.alone[1].start)
                total.index_add_(2, index, part.of(self.context(pair, number, piece).float(), corner)[:, :, 0])
        return total.view(1, CONTEXT, *reading.left.shape[-2:])
