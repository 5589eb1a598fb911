# SPDX-License-Identifier: GPL-3.0-or-later
"""The depth hourglass of MegaDepth (Chen et al., NIPS 2016; Li and Snavely, CVPR 2018), as DAIN uses it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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


def hourglass() -> nn.Sequential:
    """(B, 3, H, W) in 0..1 -> the logarithm of depth (B, 1, H, W); sides are multiples of 16."""
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
    return nn.Sequential(nn.Conv2d(3, 128, 7, 1, 3), nn.BatchNorm2d(128), nn.ReLU(), whole, nn.Conv2d(64, 1, 3, 1, 1))
