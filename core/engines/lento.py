# SPDX-License-Identifier: GPL-3.0-or-later
"""`lento`: classical motion on the processor, the network on any device, the frame where the network is."""

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
from torch import Tensor

from ..messages import InputError
from ..networks.checkpoints import Checkpoint, open_checkpoint
from ..networks.lento import LentoNet, Moment, State, at_full_size, composed
from .base import EngineInfo, Frame, Pixels, Settings
from .motion import coarse_motion, warped
from .network import NetworkEngine, Work, is_out_of_memory, pixels_of, repeated
from .splat import grid

WEIGHTS = Path(__file__).resolve().parents[1] / "weights" / "lento.safetensors"
SUMS = WEIGHTS.with_name("SHA256SUMS")
"""As the program sha256sum writes and checks it."""


@dataclass
class _Pair:
    a: Pixels
    b: Pixels
    images: tuple[Tensor, Tensor] | None
    """Both frames on the device, where the frame is put together there."""
    found: State


class Lento(NetworkEngine):
    """Motion once per pair; per timestep a small network that says what to make of it."""

    info = EngineInfo(
        "lento", "GPL-3.0-or-later", "core/networks/lento.py, trained by core/train (docs/model-card.md)",
        ("cuda", "mps", "xpu", "cpu"), ("fp16", "bf16", "fp32"),
    )  # fmt: skip
    bytes_per_pixel = (2000, 310)
    kept = 1.0
    module: LentoNet
    parallel = True

    def _checkpoint(self, settings: Settings) -> Checkpoint:
        return super()._checkpoint(settings) if settings.weights else bundled()

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._on_card = self._device.type != "cpu"
        self._turn = Lock()
        """Has the one thread that may use the card."""
        self._known: dict[tuple[int, int], Tensor] = {}
        """The classical motion of pairs whose turn on the card is still to come."""

    def one_core(self) -> None:
        """Let neither OpenCV nor PyTorch use threads of their own."""
        cv2.setNumThreads(1)
        torch.set_num_threads(1)

    def prepare(self, a: Frame, b: Frame, times: Sequence[float] = ()) -> Work:
        """See Engine.prepare; what the processor does for a pair is done here, for several pairs at once."""
        work = super().prepare(a, b, times)
        if self._on_card:
            # what takes the card's memory is made when its turn comes, for one pair at a time
            self._known[a.index, b.index] = _known(a, b)
            return work
        try:
            with torch.inference_mode():
                work.state = self.prepare_pair(a, b)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            # it is done again with the first timestep, where that is dealt with
        return work

    def prepare_pair(self, a: Frame, b: Frame) -> _Pair:
        """Motion both ways."""
        known = self._known.pop((a.index, b.index), None)
        known = _known(a, b) if known is None else known
        first, last = self.tensor(a), self.tensor(b)
        found = self.module.prepare(first[:, :3].clamp(0, 1), last[:, :3].clamp(0, 1), known.to(self._device))
        return _Pair(a.pixels, b.pixels, (first, last) if self._on_card else None, found)

    def synthesize(self, state: Work, t: float) -> Pixels:
        """See Engine.synthesize; on a card by one thread at a time, which makes its group of timesteps for all."""
        with self._turn if self._on_card else nullcontext():
            return super().synthesize(state, t)

    @property
    def can_batch(self) -> bool:
        """On a card alone: a processor gains nothing."""
        return self._on_card

    def at(self, state: _Pair, t: float) -> Pixels:
        """The frame at `t`."""
        return self.at_all(state, (t,))[0]

    def at_all(self, state: _Pair, times: Sequence[float]) -> list[Pixels]:
        """The frames at several timesteps."""
        height, width = state.a.shape[:2]
        moment = self.module.at(state.found, self.time(*times))
        if state.images is None:
            return [composed_on_cpu(state.a, state.b, moment)]
        full = at_full_size(moment, (height, width))
        made, _, _ = composed(repeated(state.images, len(times)), full)
        return [pixels_of(one[None], width, height) for one in made]


def _known(a: Frame, b: Frame) -> Tensor:
    return torch.from_numpy(coarse_motion(a.pixels, b.pixels)).permute(0, 3, 1, 2)


def composed_on_cpu(a: Pixels, b: Pixels, moment: Moment) -> Pixels:
    """What `at_full_size` and `composed` make of two frames, by OpenCV: several times faster on a processor."""
    height, width = a.shape[:2]
    size = (2 * moment.first.shape[-1], 2 * moment.first.shape[-2])

    def full(part: Tensor) -> Pixels:
        plane = np.ascontiguousarray(part[0].permute(1, 2, 0).numpy())
        return cv2.resize(plane, size).reshape(size[1], size[0], -1)[:height, :width]

    position = grid(height, width)
    forth, share, still = (
        np.ascontiguousarray(full(part)[..., 0]) for part in (moment.forth, moment.first, moment.still)
    )
    ends = []
    for image, side in ((a, 0), (b, 2)):
        one, other = (
            warped(image, cv2.add(position, full(2 * moment.flows[:, told + side : told + side + 2])))
            for told in (0, 4)
        )
        ends.append(cv2.blendLinear(one, other, forth, 1 - forth))
    mixed = cv2.blendLinear(ends[0], ends[1], share, 1 - share)
    mixed[..., :3] += full(moment.lacking)
    t = float(moment.t)
    return cv2.blendLinear(mixed, cv2.addWeighted(a, 1 - t, b, t, 0.0), 1 - still, still)


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
