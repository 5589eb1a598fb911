# SPDX-License-Identifier: GPL-3.0-or-later
"""PWC-Net (Sun et al., CVPR 2018), the dense variant that DAIN uses: optical flow by warping and correlation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .sampling import warp

REACH = 4
"""Of the correlation, in pixels of its level: 9 x 9 places."""
WIDTHS = {1: 16, 2: 32, 3: 64, 4: 96, 5: 128, 6: 196}
DENSE = (128, 128, 96, 64, 32)
UNIT = 20.0
"""Pixels of the full picture that the flow's unit is."""
WARP_SCALE = {5: 0.625, 4: 1.25, 3: 2.5, 2: 5.0}
CONTEXT = ((128, 1), (128, 2), (128, 4), (96, 8), (64, 16), (32, 1))


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Mean product of channels with the neighbours in `second`, zeros outside: (B, 81, H, W), row by row."""
    height, width = first.shape[-2:]
    around = F.pad(second, (REACH,) * 4)
    places = range(2 * REACH + 1)
    return torch.cat(
        [(first * around[..., dy : dy + height, dx : dx + width]).mean(1, True) for dy in places for dx in places],
        dim=1,
    )


def masked_warp(image: Tensor, flow: Tensor) -> Tensor:
    """`image` where `flow` leads; nothing where that is not wholly inside."""
    inside = warp(torch.ones_like(image[:, :1]), flow, "zeros") >= 0.9999
    return warp(image, flow, "zeros") * inside


def _conv(channels: int, out: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, 3, stride, dilation, dilation), nn.LeakyReLU(0.1))


class PWCNet(nn.Module):
    """Names are the checkpoint's."""

    def __init__(self) -> None:
        super().__init__()
        before = 3
        for level, width in WIDTHS.items():
            shrink, more = ("aa", "a") if level == 6 else ("a", "aa")
            self.add_module(f"conv{level}{shrink}", _conv(before, width, 2))
            self.add_module(f"conv{level}{more}", _conv(width, width))
            self.add_module(f"conv{level}b", _conv(width, width))
            before = width
        for level in range(6, 1, -1):
            channels = (2 * REACH + 1) ** 2 + (WIDTHS[level] + 4 if level < 6 else 0)
            for number, width in enumerate(DENSE):
                self.add_module(f"conv{level}_{number}", _conv(channels, width))
                channels += width
            self.add_module(f"predict_flow{level}", nn.Conv2d(channels, 2, 3, 1, 1))
            self.add_module(f"deconv{level}", nn.ConvTranspose2d(2, 2, 4, 2, 1))
            if level > 2:
                self.add_module(f"upfeat{level}", nn.ConvTranspose2d(channels, 2, 4, 2, 1))
        for number, (width, dilation) in enumerate(CONTEXT, start=1):
            self.add_module(f"dc_conv{number}", _conv(channels, width, 1, dilation))
            channels = width
        self.dc_conv7 = nn.Conv2d(channels, 2, 3, 1, 1)

    def _run(self, name: str, x: Tensor) -> Tensor:
        layer = self._modules[name]
        assert layer is not None
        return layer(x)

    def pyramid(self, frame: Tensor) -> list[Tensor]:
        """Features of levels 1 (half the size) to 6."""
        found, x = [], frame
        for level in WIDTHS:
            for part in ("aa", "a", "b") if level == 6 else ("a", "aa", "b"):
                x = self._run(f"conv{level}{part}", x)
            found.append(x)
        return found

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Flow from `first` to `second`, (B, 3, H, W) in 0..1, at a quarter of the size in UNITs; and every level's."""
        firsts, seconds = self.pyramid(first), self.pyramid(second)
        guesses: dict[int, Tensor] = {}
        x = F.leaky_relu(correlation(firsts[5], seconds[5]), 0.1)
        for level in range(6, 1, -1):
            if level < 6:
                flow = self._run(f"deconv{level + 1}", guesses[level + 1])
                features = self._run(f"upfeat{level + 1}", x)
                moved = masked_warp(seconds[level - 1], flow * WARP_SCALE[level])
                alike = F.leaky_relu(correlation(firsts[level - 1], moved), 0.1)
                x = torch.cat([alike, firsts[level - 1], flow, features], dim=1)
            for number in range(len(DENSE)):
                x = torch.cat([self._run(f"conv{level}_{number}", x), x], dim=1)
            guesses[level] = self._run(f"predict_flow{level}", x)
        for number in range(1, 7):
            x = self._run(f"dc_conv{number}", x)
        return guesses[2] + self.dc_conv7(x), guesses
