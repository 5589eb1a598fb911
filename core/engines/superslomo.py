# SPDX-License-Identifier: GPL-3.0-or-later
"""`superslomo`: Super SloMo from the user's own official checkpoint; `superslomo_light` from a trained light one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..networks.superslomo import MEAN, MULTIPLE, positions_by_size
from ..networks.superslomo import SuperSloMo as Network
from .base import EngineInfo, Frame, Pixels, Settings
from .network import NetworkEngine, padded, pixels_of, repeated


@dataclass
class _Pair:
    images: tuple[Tensor, Tensor]
    frames: tuple[Tensor, Tensor]
    """Red, green and blue less the mean, in the network's precision."""
    flows: tuple[Tensor, Tensor]
    size: tuple[int, int]


class SuperSloMo(NetworkEngine):
    """Flow once per pair, in both directions; then any timestep. Sides are padded, where the authors' code resizes."""

    info = EngineInfo(
        "superslomo", "MIT", "Jiang et al., Super SloMo, CVPR 2018", ("cuda", "mps", "xpu", "cpu"),
        ("fp16", "bf16", "fp32"),
    )  # fmt: skip
    bytes_per_pixel = (1500, 900)
    kept = 0.3
    module: Network

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        with torch.inference_mode():
            self.module.by_size = positions_by_size(self.module, self._device, self.dtype)

    def prepare_pair(self, a: Frame, b: Frame) -> _Pair:
        """Pad both frames and compute the flow."""
        height, width = a.pixels.shape[:2]
        one, other = (padded(self.tensor(frame), MULTIPLE, "replicate") for frame in (a, b))
        mean = torch.tensor(MEAN, device=self._device).view(1, 3, 1, 1)
        first, second = ((image[:, :3].clamp(0, 1) - mean).to(self.dtype) for image in (one, other))
        return _Pair((one, other), (first, second), self.module.flows(first, second), (width, height))

    def at(self, state: _Pair, t: float) -> Pixels:
        """The frame at `t`."""
        return self.at_all(state, (t,))[0]

    @property
    def can_batch(self) -> bool:
        """Any timesteps."""
        return True

    def at_all(self, state: _Pair, times: Sequence[float]) -> list[Pixels]:
        """The frames at several timesteps."""
        time, count = self.time(*times), len(times)
        found = self.module.between(*repeated(state.frames, count), repeated(state.flows, count), time)
        made = self.module.blended(*repeated(state.images, count), found, time)
        return [pixels_of(one[None], *state.size) for one in made]


class SuperSloMoLight(SuperSloMo):
    """The same with depthwise-separable convolutions."""

    info = EngineInfo(
        "superslomo_light", "GPL-3.0-or-later", "Super SloMo with the convolutions of MobileNet (Howard et al. 2017)",
        ("cuda", "mps", "xpu", "cpu"), ("fp16", "bf16", "fp32"),
    )  # fmt: skip
