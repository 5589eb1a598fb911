# SPDX-License-Identifier: GPL-3.0-or-later
"""`lento`: motion on the processor, the network on any device, the frame on the processor or a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...networks.checkpoints import Checkpoint, open_checkpoint
from ...networks.lento import FRAME_OF, MOVED, Choice, Chooser, at_full_size, candidates_at, choice, composed
from ..base import EngineInfo, Frame, Pixels, Settings
from ..motion import Pair, full, full_motion, motion_of, warped
from ..network import NetworkEngine, pixels_of
from ..splat import grid
from .candidates import Candidates, candidates

WEIGHTS = Path(__file__).resolve().parents[2] / "weights" / "lento.safetensors"


@dataclass
class _State:
    pair: Pair
    images: tuple[Tensor, Tensor] | None
    """Both frames on a GPU."""


class Lento(NetworkEngine):
    """Classical motion once per pair; per timestep a network that chooses what to make of it."""

    info = EngineInfo(
        "lento", "GPL-3.0-or-later", "core/engines/lento, trained by core/train (docs/model-card.md)",
        ("cuda", "mps", "xpu", "cpu"), ("fp16", "bf16", "fp32"),
    )  # fmt: skip
    module: Chooser

    def _checkpoint(self, settings: Settings) -> Checkpoint:
        return super()._checkpoint(settings) if settings.weights else open_checkpoint(WEIGHTS)

    def prepare_pair(self, a: Frame, b: Frame) -> _State:
        """Motion both ways."""
        images = None if self._device.type == "cpu" else (self.tensor(a), self.tensor(b))
        return _State(motion_of(a.pixels, b.pixels), images)

    def at(self, state: _State, t: float) -> Pixels:
        """The frame at `t`."""
        found = candidates(state.pair, t)
        how = self._choice(found, t)
        height, width = state.pair.a.shape[:2]
        if state.images is None:
            return composed_on_cpu(state.pair.a, state.pair.b, how)
        how = at_full_size(how, (height, width))
        return pixels_of(composed(candidates_at(state.images, how.flows), how.weights), width, height)

    def _choice(self, found: Candidates, t: float) -> Choice:
        changes = self.module(features_of(found, self.dtype, self._device))
        logs, motions = (_planes(part).to(self._device) for part in (found.logs, np.dstack(found.motions)))
        return choice(logs, motions, changes, self.time(t))


def features_of(found: Candidates, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The network's input (1, CHANNELS, h, w), channels last."""
    parts = [torch.from_numpy(part).to(dtype) for part in found.parts]
    return torch.cat(parts, dim=-1).permute(2, 0, 1)[None].to(device)


def _planes(array: NDArray[np.float32]) -> Tensor:
    """(h, w, c) as (1, c, h, w)."""
    return torch.from_numpy(array).permute(2, 0, 1)[None]


def composed_on_cpu(a: Pixels, b: Pixels, how: Choice) -> Pixels:
    """What `composed` makes at full size, by OpenCV, which is several times faster on a processor."""
    height, width = a.shape[:2]
    weights, flows = (np.ascontiguousarray(part[0].numpy()) for part in (how.weights, how.flows))
    position = grid(height, width)
    made = torch.zeros(a.shape)
    for index, weight in enumerate(weights):
        image = (a, b)[index - MOVED] if index >= MOVED else (a, b)[FRAME_OF[index]]
        if index < MOVED:
            flow = full_motion(cv2.merge([flows[2 * index], flows[2 * index + 1]]), width, height)
            image = warped(image, cv2.add(position, flow))
        made.addcmul_(torch.from_numpy(image), torch.from_numpy(full(weight, width, height))[..., None])
    return made.numpy()
