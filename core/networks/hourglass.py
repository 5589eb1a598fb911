# SPDX-License-Identifier: GPL-3.0-or-later
"""The depth hourglass of MegaDepth (Chen et al., NIPS 2016; Li and Snavely, CVPR 2018), as DAIN uses it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .tiling import in_pieces

Layers = list[nn.Module]
LEVELS = 2
"""Sizes, from the whole one on, that are worked on in pieces: what is smaller has a sixteenth of the pixels."""


class _Inception(nn.ModuleList):
    """Four convolutions beside each other; the parameters' names are the indices of lists."""

    def __init__(self, channels: int, kernels: tuple[int, int, int], inner: int, out: int) -> None:
        branches = [nn.Sequential(nn.Conv2d(channels, out, 1), _norm(out), nn.ReLU())]
        for kernel in kernels:
            branches.append(
                nn.Sequential(
                    nn.Conv2d(channels, inner, 1),
                    _norm(inner),
                    nn.ReLU(),
                    nn.Conv2d(inner, out, kernel, 1, kernel // 2),
                    _norm(out),
                    nn.ReLU(),
                )  # fmt: skip
            )
        super().__init__(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], dim=1)


class _Sum(nn.ModuleList):
    def forward(self, x: Tensor) -> Tensor:
        first, second = self
        return first(x) + second(x)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, affine=False)


def _p() -> nn.Module:
    return _Inception(128, (3, 5, 7), 32, 32)


def _q() -> nn.Module:
    return _Inception(256, (3, 5, 7), 32, 64)


def _r() -> nn.Module:
    return _Inception(256, (3, 7, 11), 64, 64)


def _up() -> nn.Module:
    return nn.UpsamplingNearest2d(scale_factor=2)


class Hourglass(nn.Sequential):
    """(B, 3, H, W) in 0..1 -> the logarithm of depth (B, 1, H, W); sides are multiples of 16."""

    pieces = 1
    """In which the two largest sizes are worked on, where memory is short; the result stays the same."""

    def forward(self, frame: Tensor) -> Tensor:
        """Depth of a frame."""
        first, norm, active, whole, last = self
        return _nested([first, norm, active], whole, [last], frame, self.pieces, LEVELS)


def _nested(before: Layers, around: nn.Module, after: Layers, x: Tensor, pieces: int, levels: int) -> Tensor:
    """`before`, the sum of a branch at this size and one at half of it, and `after`, of `x`; piece by piece.

    So nothing of this size is ever whole but `x` and the result: what goes down is made piece by piece, and what comes
    up is, too, together with the branch of this size.
    """
    if pieces == 1 or levels == 0:
        return _run([*before, around, *after], x)
    same, other = sorted(map(_layers, next(around.children()).children()), key=lambda branch: _halves(branch[0]))
    at = next(number for number, layer in enumerate(other) if isinstance(layer, nn.Sequential))
    down, deeper, up = [*before, *other[:at]], other[at], other[at + 1 :]
    small = in_pieces(lambda one: _run(down, one), [x], pieces, _radius(down, 1), 2)
    small = _nested([], deeper, [], small, pieces, levels - 1)

    def joined(small: Tensor, x: Tensor) -> Tensor:
        return _run(after, _run([*before, *same], x) + _run(up, small))

    # in pixels of the smaller picture
    radius = max(_radius([*up, *after], 1), _radius([*before, *same, *after], 0.5))
    return in_pieces(joined, [small, x], pieces, radius)


def _run(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def _layers(branch: nn.Module) -> Layers:
    return list(branch.children())


def _halves(layer: nn.Module) -> bool:
    return isinstance(layer, (nn.MaxPool2d, nn.AvgPool2d))


def _radius(layers: Sequence[nn.Module], size: float) -> int:
    """How far they look, where a pixel is `size`."""
    total = 0.0
    for layer in layers:
        if _halves(layer):
            size *= 2
        elif isinstance(layer, nn.UpsamplingNearest2d):
            size /= 2
        kernels = [part.kernel_size[0] for part in layer.modules() if isinstance(part, nn.Conv2d)]
        total += max(kernels, default=1) // 2 * size  # those of one layer are beside each other
    return math.ceil(total)


def hourglass() -> Hourglass:
    """The network with its parameters' names."""
    quarter = nn.Sequential(_Sum([nn.Sequential(_q(), _q()), nn.Sequential(nn.AvgPool2d(2), _q(), _q(), _q(), _up())]))
    third = nn.Sequential(
        _Sum([nn.Sequential(_q(), _r()), nn.Sequential(nn.AvgPool2d(2), _q(), _q(), quarter, _q(), _r(), _up())])
    )
    half = nn.Sequential(
        _Sum([
            nn.Sequential(
                nn.MaxPool2d(2), _p(), _Inception(128, (3, 5, 7), 32, 64), third, _q(),
                _Inception(256, (3, 5, 7), 32, 32), _up(),
            ),
            nn.Sequential(_p(), _Inception(128, (3, 7, 11), 64, 32)),
        ])
    )  # fmt: skip
    whole = nn.Sequential(
        _Sum([
            nn.Sequential(
                nn.MaxPool2d(2), _p(), _p(), half, _Inception(128, (3, 5, 7), 64, 32),
                _Inception(128, (3, 7, 11), 32, 16), _up(),
            ),
            nn.Sequential(_Inception(128, (3, 7, 11), 64, 16)),
        ])
    )  # fmt: skip
    return Hourglass(nn.Conv2d(3, 128, 7, 1, 3), nn.BatchNorm2d(128), nn.ReLU(), whole, nn.Conv2d(64, 1, 3, 1, 1))
