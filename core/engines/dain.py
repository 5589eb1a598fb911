# SPDX-License-Identifier: GPL-3.0-or-later
"""`dain`: depth-aware interpolation from the user's own official checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..networks.dain import DAIN, PairState, padding
from ..networks.sampling import warp
from .base import EngineInfo, Frame, Pixels
from .network import NetworkEngine, pixels_of


@dataclass
class _Pair:
    images: tuple[Tensor, Tensor]
    state: PairState
    size: tuple[int, int]
    margin: tuple[int, int]
    """Left and top."""


class Dain(NetworkEngine):
    """Flow, depth, context and filters once per pair; projection, warping and rectification per timestep."""

    info = EngineInfo(
        "dain", "MIT", "Bao et al., Depth-Aware Video Frame Interpolation, CVPR 2019", ("cuda", "mps", "xpu", "cpu"),
        ("fp16", "bf16", "fp32"),
    )  # fmt: skip
    bytes_per_pixel = (12000, 8000)
    kept = 0.06
    module: DAIN

    def prepare_pair(self, a: Frame, b: Frame) -> _Pair:
        """All that does not depend on the timestep."""
        height, width = a.pixels.shape[:2]
        sides = padding(width, height)
        one, other = (F.pad(self.tensor(frame), sides, mode="replicate") for frame in (a, b))
        first, second = (image[:, :3].clamp(0, 1) for image in (one, other))
        return _Pair((one, other), self.module.prepare(first, second), (width, height), (sides[0], sides[2]))

    def at(self, state: _Pair, t: float) -> Pixels:
        """The frame at `t`; alpha goes along with the projected motion.

        Not through the filters: their sum is near one, not one, and what is opaque has to stay so.
        """
        moment = self.module.at(state.state, t)
        out = self.module.rectified(state.state, moment)
        if state.images[0].shape[1] > 3:
            extra = [warp(image[:, 3:], flow) for image, flow in zip(state.images, moment.projected, strict=True)]
            out = torch.cat([out, torch.lerp(extra[0], extra[1], t)], dim=1)
        return pixels_of(out, *state.size, *state.margin)
