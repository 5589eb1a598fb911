# SPDX-License-Identifier: GPL-3.0-or-later
"""Super SloMo (Jiang et al., CVPR 2018): two U-Nets, flow once per pair, any timestep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .sampling import positions
from .tiling import in_pieces

MEAN = (0.429, 0.431, 0.397)
"""Of red, green and blue; taken from the frames before, added to the result."""
MULTIPLE = 32
RADIUS = 288
"""How far a U-Net looks, in pixels: 260 by its kernels and strides."""
WIDTHS = (32, 64, 128, 256, 512, 512)
KERNELS = (7, 5, 3, 3, 3, 3)

TRIED_SIDE, EDGE = 128, 12
"""Of the drawn pictures that a network is tried on, and how much of them at every edge is not judged."""
TRIED_SHIFTS = ((0, 0), (3, -2))
"""Pixels to the right and down that they move in half the time."""

Convolution = Callable[[int, int, int], nn.Module]
"""From input channels, output channels and kernel size."""


def plain(channels: int, out: int, kernel: int) -> nn.Module:
    """The convolution of the paper."""
    return nn.Conv2d(channels, out, kernel, 1, kernel // 2)


def separable(channels: int, out: int, kernel: int) -> nn.Module:
    """One for every channel, then one over channels (MobileNet, Howard et al. 2017): an eighth of the multiply-adds."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, kernel, 1, kernel // 2, groups=channels), nn.Conv2d(channels, out, 1)
    )


def _active(x: Tensor) -> Tensor:
    """Leaky ReLU, of a tensor that nobody else has."""
    return F.leaky_relu(x, 0.1, inplace=True)


class _Down(nn.Module):
    def __init__(self, channels: int, out: int, kernel: int, convolution: Convolution) -> None:
        super().__init__()
        self.conv1, self.conv2 = convolution(channels, out, kernel), convolution(out, out, kernel)

    def forward(self, x: Tensor) -> Tensor:
        x = _active(self.conv1(F.avg_pool2d(x, 2)))
        return _active(self.conv2(x))


class _Up(nn.Module):
    def __init__(self, channels: int, out: int, convolution: Convolution) -> None:
        super().__init__()
        self.conv1, self.conv2 = convolution(channels, out, 3), convolution(2 * out, out, 3)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = _active(self.conv1(x))
        return _active(self.conv2(torch.cat([x, skip], dim=1)))


class UNet(nn.Module):
    """The form that both networks have; a leaky ReLU follows every convolution, the last one, too."""

    def __init__(self, channels: int, out: int, convolution: Convolution = plain) -> None:
        super().__init__()
        self.conv1, self.conv2 = convolution(channels, WIDTHS[0], 7), convolution(WIDTHS[0], WIDTHS[0], 7)
        for level in range(1, 6):
            self.add_module(f"down{level}", _Down(WIDTHS[level - 1], WIDTHS[level], KERNELS[level], convolution))
            self.add_module(f"up{level}", _Up(WIDTHS[6 - level], WIDTHS[5 - level], convolution))
        self.conv3 = nn.Conv2d(WIDTHS[0], out, 3, 1, 1)
        self.pieces = 1
        """In which it works, where memory is short; the result stays the same."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, out, H, W); sides are multiples of MULTIPLE."""
        return in_pieces(self._whole, [x], self.pieces, RADIUS, MULTIPLE)

    def _whole(self, x: Tensor) -> Tensor:
        x = _active(self.conv1(x))
        skips = [_active(self.conv2(x))]
        for level in range(1, 6):
            skips.append(self._modules[f"down{level}"](skips[-1]))  # type: ignore[misc]
        x = skips.pop()
        for level in range(1, 6):
            x = self._modules[f"up{level}"](x, skips.pop())  # type: ignore[misc]
        return _active(self.conv3(x))


def backwarp(image: Tensor, flow: Tensor, by_size: bool = True, padding: str = "zeros") -> Tensor:
    """`image` (B, C, H, W) sampled where `flow` (B, 2, H, W) leads; outside of it zeros (or its "border").

    `by_size` reads as the authors' code did when the weights were trained: it divides positions by the size, not the
    size less one, so that position p is read at p * (size - 1) / size. Without it, at p.
    """
    height, width = image.shape[-2:]
    x, y = positions(flow)
    across, down = (width, height) if by_size else (width - 1, height - 1)
    grid = torch.stack([2 * (x / across - 0.5), 2 * (y / down - 0.5)], dim=-1)
    return F.grid_sample(image.float(), grid, "bilinear", padding, align_corners=True).to(image.dtype)


def positions_by_size(network: SuperSloMo, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether frames come out closer to the truth when `network` reads positions as its authors' code does.

    That code shrinks pictures by a pixel, which a network may or may not have learned to undo: retrained ones did not
    have to. So both ways are tried, on drawn pictures that stand still and that move by known, whole pixels.
    """
    errors = dict.fromkeys((True, False), 0.0)
    scene = _scene().to(device)
    half = torch.full((1, 1, 1, 1), 0.5, device=device)
    mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1)
    before = network.by_size
    for across, down in TRIED_SHIFTS:
        one, truth, other = (
            scene[..., step * down + EDGE :, step * across + EDGE :][..., :TRIED_SIDE, :TRIED_SIDE]
            for step in (0, 1, 2)
        )
        first, second = ((side - mean).to(dtype) for side in (one, other))
        flows = network.flows(first, second)
        for network.by_size in errors:
            found = network.between(first, second, flows, half)
            gap = (network.blended(one, other, found, half) - truth)[..., EDGE:-EDGE, EDGE:-EDGE]
            errors[network.by_size] += float(gap.square().mean())
    network.by_size = before
    return errors[True] <= errors[False]


def _scene() -> Tensor:
    """A picture (1, 3, H, W) in 0..1 of patches with edges and grain, the same every time."""
    side = TRIED_SIDE + 2 * EDGE
    dice = torch.Generator().manual_seed(1)
    total = torch.zeros(1, 3, side, side)
    for cells in (3, 6, 12, 24, 48, 96):
        noise = torch.rand(1, 4, cells, cells, generator=dice) - 0.5
        smooth = F.interpolate(noise, (side, side), mode="bicubic", align_corners=False)
        # mostly grey, as most of the world is; what is large has edges
        total += torch.tanh((smooth[:, :1] + 0.4 * smooth[:, 1:]) * 96 / cells) / cells**0.5
    return (0.5 + total / 3).clamp(0, 1)


@dataclass
class Intermediate:
    """What is between two frames at one moment: the flows to both, as combined and refined, and who is visible."""

    flow0: Tensor
    flow1: Tensor
    raw: Tensor
    visible: Tensor
    """Of frame 0, 0..1."""
    combined: tuple[Tensor, Tensor]
    warped: tuple[Tensor, Tensor]


class SuperSloMo(nn.Module):
    """Flow computation and flow interpolation; `convolution` makes the light variant."""

    def __init__(self, convolution: Convolution = plain, by_size: bool = True) -> None:
        super().__init__()
        self.flowComp, self.ArbTimeFlowIntrp = UNet(6, 4, convolution), UNet(20, 5, convolution)
        self.by_size = by_size

    def flows(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Flow from the first frame to the second and back, (B, 2, H, W) in pixels. Frames: 0..1 less MEAN."""
        both = self.flowComp(torch.cat([first, second], dim=1)).float()
        return both[:, :2], both[:, 2:]

    def between(self, first: Tensor, second: Tensor, flows: tuple[Tensor, Tensor], t: Tensor) -> Intermediate:
        """The motion at the times `t` (B, 1, 1, 1): eq. 4 and section 3.2 of the paper."""
        there, back = flows
        flow0 = -t * (1 - t) * there + t * t * back
        flow1 = (1 - t) ** 2 * there - t * (1 - t) * back
        warped0, warped1 = (backwarp(*pair, self.by_size) for pair in ((first, flow0), (second, flow1)))
        parts = (first, second, there, back, flow1, flow0, warped1, warped0)
        raw = self.ArbTimeFlowIntrp(torch.cat([part.to(first.dtype) for part in parts], dim=1)).float()
        refined = (flow0 + raw[:, :2], flow1 + raw[:, 2:4])
        return Intermediate(*refined, raw, torch.sigmoid(raw[:, 4:5]), (flow0, flow1), (warped0, warped1))

    def blended(self, first: Tensor, second: Tensor, found: Intermediate, t: Tensor) -> Tensor:
        """The frame (B, C, H, W) that the motion makes of two; any channels (eq. 1).

        Beyond the border colours are zero, as the network has learned it; alpha and what else there is goes on there,
        since what is opaque has to stay so.
        """
        shown = (1 - t) * found.visible, t * (1 - found.visible)
        sides = []
        for image, flow in ((first, found.flow0), (second, found.flow1)):
            side = backwarp(image[:, :3], flow, self.by_size)
            if image.shape[1] > 3:
                side = torch.cat([side, backwarp(image[:, 3:], flow, self.by_size, "border")], dim=1)
            sides.append(side)
        return (shown[0] * sides[0] + shown[1] * sides[1]) / (shown[0] + shown[1])
