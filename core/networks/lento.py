# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled network: chooses, pixel by pixel, from candidates that motion brings to a timestep.

A U-Net works at a quarter of the size on what is known at half of it, and says at half the size how much each of six
candidates counts. The frame is made of them at full size. The last layer starts at zero, so that an untrained network
is the classical engine, and where all candidates are equal it can do nothing.

The idea of weighing warped candidates is that of Niklaus and Liu, "Context-aware Synthesis" (CVPR 2018), and of Hu et
al., "Many-to-many Splatting" (CVPR 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

COUNT = 6
"""Candidates: frame 0 and frame 1 along the forward flow, both along the backward flow, both unmoved."""
MOVED = 4
CHANNELS = 3 * COUNT + COUNT + 4 + 2 + 1
"""Of the input: a candidate's colours and the differences of the others, logarithms of the weights, both motions, what
is seen of each frame, timestep."""
WIDTHS = (32, 48, 64)
"""Channels at a quarter, an eighth and a sixteenth of the size."""
MULTIPLE = 8
"""Of sides at half resolution."""
DIFFERENCE_SCALE = 4.0
"""Differences of candidates are small beside what they share: in the input they are this much larger."""
MOTION_SCALE = 1 / 16
"""What motion is multiplied with in the input."""
SLOPE = 0.1
FRAME_OF = (0, 1, 0, 1)
"""Which frame a moved candidate is made of."""


def _conv(channels: int, out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, out, 3, stride, 1), nn.LeakyReLU(SLOPE))


class Chooser(nn.Module):
    """(B, CHANNELS, h, w) -> changes of the logarithms of the weights (B, 6, h, w)."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        one, two, three = widths
        self.enter = nn.Sequential(nn.Conv2d(CHANNELS, one, 2, 2), nn.LeakyReLU(SLOPE), _conv(one, one))
        self.down1 = nn.Sequential(_conv(one, two, 2), _conv(two, two))
        self.down2 = nn.Sequential(_conv(two, three, 2), _conv(three, three), _conv(three, three))
        self.up1 = _conv(two + three, two)
        self.up2 = nn.Sequential(_conv(one + two, one), _conv(one, one))
        self.leave = nn.Conv2d(one, 4 * COUNT, 3, 1, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=SLOPE)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.leave.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Sides may be anything; they are padded to multiples of 8."""
        height, width = features.shape[-2:]
        if height % MULTIPLE or width % MULTIPLE:
            features = F.pad(features, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
        one = self.enter(features)
        two = self.down1(one)
        x = self.up1(torch.cat([two, _doubled(self.down2(two))], dim=1))
        x = self.up2(torch.cat([one, _doubled(x)], dim=1))
        return F.pixel_shuffle(self.leave(x), 2)[..., :height, :width].float()


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


@dataclass
class Choice:
    """How the frame is to be made."""

    weights: Tensor
    """(B, 6, h, w), which sum to 1."""
    flows: Tensor
    """(B, 8, h, w): from the timestep's pixels to where each moved candidate reads its frame, x and y, in pixels."""


def choice(logs: Tensor, motions: Tensor, changes: Tensor, t: Tensor) -> Choice:
    """What the network's output says, at half resolution, in fp32.

    `logs` (B, 6, h, w) and `motions` (B, 4, h, w) are those of the Candidates, `t` is (B, 1, 1, 1).
    """
    first, second = motions[:, :2], motions[:, 2:]
    flows = torch.cat([-t * first, (1 - t) * first, -t * second, (1 - t) * second], dim=1)
    return Choice(torch.softmax(logs + changes, dim=1), flows)


def at_full_size(how: Choice, size: tuple[int, int]) -> Choice:
    """The same for pictures of `size` (height, width)."""
    height, width = how.flows.shape[-2:]
    scale = how.flows.new_tensor([size[1] / width, size[0] / height]).repeat(MOVED).view(1, -1, 1, 1)
    weights, flows = (
        F.interpolate(part, size, mode="bilinear", align_corners=False) for part in (how.weights, how.flows * scale)
    )
    return Choice(weights, flows)


def moved(image: Tensor, flow: Tensor) -> Tensor:
    """`image` (B, C, H, W) read where `flow` (B, 2, H, W) leads: bicubic, the border repeated; positions in fp32."""
    height, width = image.shape[-2:]
    y = torch.arange(height, device=flow.device, dtype=torch.float32).view(1, -1, 1)
    x = torch.arange(width, device=flow.device, dtype=torch.float32).view(1, 1, -1)
    grid = torch.stack([(flow[:, 0] + x + 0.5) * (2 / width) - 1, (flow[:, 1] + y + 0.5) * (2 / height) - 1], dim=-1)
    return F.grid_sample(image.float(), grid, "bicubic", "border", align_corners=False)


def candidates_at(images: tuple[Tensor, Tensor], flows: Tensor) -> list[Tensor]:
    """All six candidates (B, C, H, W)."""
    made = [moved(images[frame], flows[:, 2 * index : 2 * index + 2]) for index, frame in enumerate(FRAME_OF)]
    return [*made, *images]


def composed(candidates: list[Tensor], weights: Tensor) -> Tensor:
    """The frame (B, C, H, W) that they make, weighed."""
    return torch.stack([one * weights[:, index : index + 1] for index, one in enumerate(candidates)]).sum(0)
