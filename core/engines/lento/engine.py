# SPDX-License-Identifier: GPL-3.0-or-later
"""`lento`: motion on the processor, the network on any device, the frame on the processor or a GPU."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...messages import InputError
from ...networks.checkpoints import Checkpoint, open_checkpoint
from ...networks.lento import MOVED, Choice, Chooser, at_full_size, candidates_at, choice, composed
from ...networks.lento_pure import PureLento, PureState
from ..base import EngineInfo, Frame, Pixels, Settings
from ..motion import Pair, full, full_motion, motion_of, warped
from ..network import NetworkEngine, Work, is_out_of_memory, pixels_of
from ..splat import Flow, grid
from .candidates import Candidates, candidates

WEIGHTS = Path(__file__).resolve().parents[2] / "weights" / "lento.safetensors"
LARGE = np.float32(1000)
"""Beside which what `blendLinear` adds to the sum of two weights, 0.00001, is nothing."""
SUMS = WEIGHTS.with_name("SHA256SUMS")
"""As the program sha256sum writes and checks it."""


@dataclass
class _State:
    pair: Pair | None
    """The classical motion; None where the network finds it."""
    images: tuple[Tensor, Tensor] | None
    """Both frames as tensors, where the frame is not composed on the processor."""
    size: tuple[int, int]
    found: PureState | None = None


class Lento(NetworkEngine):
    """Classical motion once per pair; per timestep a network that chooses what to make of it."""

    info = EngineInfo(
        "lento", "GPL-3.0-or-later", "core/engines/lento, trained by core/train (docs/model-card.md)",
        ("cuda", "mps", "xpu", "cpu"), ("fp16", "bf16", "fp32"),
    )  # fmt: skip
    bytes_per_pixel = (200, 200)
    module: Chooser | PureLento

    def _checkpoint(self, settings: Settings) -> Checkpoint:
        return super()._checkpoint(settings) if settings.weights else bundled()

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._turn = nullcontext() if self._device.type == "cpu" else Lock()
        """Has the one thread that may use the device."""

    @property
    def parallel(self) -> bool:
        """With the classical motion: what OpenCV and NumPy do there gains little from more cores than one."""
        return isinstance(self.module, Chooser)

    def one_core(self) -> None:
        """Let neither OpenCV nor PyTorch use threads of their own."""
        cv2.setNumThreads(1)
        torch.set_num_threads(1)

    def prepare(self, a: Frame, b: Frame, times: Sequence[float] = ()) -> Work:
        """See Engine.prepare; the classical motion is found here, so that no two threads do it for the same pair."""
        work = super().prepare(a, b, times)
        if self.parallel:
            try:
                with torch.inference_mode():
                    work.state = self.prepare_pair(a, b)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                # it is done again with the first timestep, where that is dealt with
        return work

    def prepare_pair(self, a: Frame, b: Frame) -> _State:
        """Motion both ways."""
        size = a.pixels.shape[:2]
        if isinstance(self.module, PureLento):
            images = (self.tensor(a), self.tensor(b))
            first, second = (image[:, :3].clamp(0, 1).to(self.dtype) for image in images)
            return _State(None, images, size, self.module.prepare(first, second))
        motion = motion_of(a.pixels, b.pixels)
        if self._device.type == "cpu":
            return _State(motion, None, size)
        with self._turn:
            return _State(motion, (self.tensor(a), self.tensor(b)), size)

    def at(self, state: _State, t: float) -> Pixels:
        """The frame at `t`."""
        height, width = state.size
        if isinstance(self.module, PureLento):
            assert state.found is not None
            how = self.module.at(state.found, self.time(t))
            # of the padded frames, whose half is whole
            how = at_full_size(how, (2 * how.flows.shape[-2], 2 * how.flows.shape[-1]))
            how = Choice(how.weights[..., :height, :width], how.flows[..., :height, :width])
            assert state.images is not None
            return _composed_there(state.images, how)
        assert state.pair is not None
        found = candidates(state.pair, t)
        with self._turn:
            how = self._choice(found, t)
            if state.images is not None:
                return _composed_there(state.images, at_full_size(how, (height, width)))
        return composed_on_cpu(state.pair, found.motions, t, how.weights[0].numpy())

    def _choice(self, found: Candidates, t: float) -> Choice:
        changes = self.module(features_of(found, self.dtype, self._device))
        logs, motions = (_planes(part).to(self._device) for part in (found.logs, np.dstack(found.motions)))
        return choice(logs, motions, changes, self.time(t))


def bundled() -> Checkpoint:
    """The network that comes with Lento.

    Raises InputError where its file is missing or is not the one that came.
    """
    try:
        known = SUMS.read_text(encoding="ascii").split()[0]
        found = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    except (OSError, IndexError) as error:
        raise InputError(f"The bundled network {WEIGHTS} cannot be read ({error}): install Lento again.") from error
    if found != known:
        raise InputError(
            f"The bundled network {WEIGHTS} is not the one that came with Lento (its SHA-256 is {found[:12]}..., not "
            f"{known[:12]}...): install Lento again, or name the file as weights to use it as it is."
        )
    return open_checkpoint(WEIGHTS)


def features_of(found: Candidates, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The network's input (1, CHANNELS, h, w), channels last."""
    parts = [torch.from_numpy(part).to(dtype) for part in found.parts]
    return torch.cat(parts, dim=-1).permute(2, 0, 1)[None].to(device)


def _planes(array: NDArray[np.float32]) -> Tensor:
    """(h, w, c) as (1, c, h, w)."""
    return torch.from_numpy(array).permute(2, 0, 1)[None]


def _composed_there(images: tuple[Tensor, Tensor], how: Choice) -> Pixels:
    """The frame that `how` makes at full size, on the images' device."""
    height, width = images[0].shape[-2:]
    return pixels_of(composed(candidates_at(images, how.flows), how.weights), width, height)


def composed_on_cpu(pair: Pair, motions: tuple[Flow, Flow], t: float, weights: NDArray[np.float32]) -> Pixels:
    """What `composed` makes at full size, by OpenCV, which is several times faster on a processor.

    `weights` (6, h, w) are a Choice's, for both frames along either of `motions` and for both unmoved.
    """
    height, width = pair.a.shape[:2]
    weights = weights * LARGE
    still_a, still_b = (full(weight, width, height) for weight in weights[MOVED:])
    mixed, total = cv2.blendLinear(pair.a, pair.b, still_a, still_b), cv2.add(still_a, still_b)
    position = grid(height, width)
    for number, motion in enumerate(motions):
        motion = full_motion(motion, width, height)
        for frame, image, way in ((0, pair.a, -t), (1, pair.b, 1 - t)):
            moved = warped(image, cv2.addWeighted(position, 1.0, motion, way, 0.0))
            weight = full(weights[2 * number + frame], width, height)
            mixed, total = cv2.blendLinear(mixed, moved, total, weight), cv2.add(total, weight)
    return mixed
