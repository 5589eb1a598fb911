# SPDX-License-Identifier: GPL-3.0-or-later
"""`rife`: RIFE HDv3 3.6 and 4.x, from the user's own official checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..job import ENSEMBLES
from ..messages import InputError
from ..networks.rife import IFNet, blended
from ..networks.rife_layout import UNKNOWN, VERSIONS
from .base import EngineInfo, Frame, Pixels, Settings
from .network import NetworkEngine, padded, pixels_of, repeated

UHD = 2560
"""Width or height from which on the automatic flow scale is a half."""
LEAST_SCALE = 0.25
DEPTH = 5
"""Halvings by which the midpoint model comes near a timestep: to 1/64 at the most."""


@dataclass
class _Pair:
    images: tuple[Tensor, Tensor]
    """All channels, padded, fp32."""
    frames: tuple[Tensor, Tensor]
    """Red, green and blue in 0..1."""
    features: tuple[Tensor | None, Tensor | None]
    size: tuple[int, int]
    halves: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    """Moments of the midpoint model: numerator and power of two -> image."""


class Rife(NetworkEngine):
    """One network for every version; the file says which."""

    info = EngineInfo(
        "rife", "MIT", "Huang et al., Real-Time Intermediate Flow Estimation for Video Frame Interpolation, ECCV 2022",
        ("cuda", "mps", "xpu", "cpu"), ("fp16", "bf16", "fp32"),
    )  # fmt: skip
    kept = 0.9
    module: IFNet

    @property
    def bytes_per_pixel(self) -> tuple[int, int]:  # type: ignore[override]
        """The encoder's features, warped with the frames, take more than the blocks."""
        return (900, 700) if self.module.layout.encoder else (600, 550)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        layout = self.module.layout
        if settings.ensemble and not layout.can_ensemble:
            does = "always runs both ways" if layout.kind == "3.6" else "has none"
            raise InputError(f"ensemble: {self.checkpoint.family} {does}: turn it off, or use one of {ENSEMBLES}.")
        if layout.family == UNKNOWN:
            settings.tell(
                f"weights: {self.checkpoint.path} is RIFE {UNKNOWN}: look at the frames before you rely on them, or "
                f"use {VERSIONS}."
            )
        self._features: dict[int, Tensor | None] = {}
        self._worst = 0.0
        self._shrink = 1.0
        """What the flow scale is multiplied with, where memory is short."""
        self._size = (0, 0)
        """Width and height of the frames."""

    def forget(self) -> None:
        """Drop what is kept of frames."""
        super().forget()
        self._features.clear()

    def _scale(self, width: int, height: int) -> float:
        if self.settings.flow_scale != "auto":
            wanted = float(self.settings.flow_scale)
        else:
            wanted = 0.5 if max(width, height) > UHD else 1.0
        return max(min(wanted, LEAST_SCALE), wanted * self._shrink)

    def memory(self, height: int, width: int) -> int:
        """See NetworkEngine.memory; at a flow scale of 4 the last block's picture has 16 times the pixels."""
        return int(super().memory(height, width) * (2 + self._scale(width, height) ** 2) / 3)

    def coarser(self) -> str:
        """Halve the flow scale, as far as it goes."""
        before = self._scale(*self._size)
        self._shrink /= 2
        if self._scale(*self._size) == before:
            return ""
        return "motion is looked for at half the flow scale, which may lose small things that move."

    def prepare_pair(self, a: Frame, b: Frame) -> _Pair:
        """Pad both frames, and encode those that are new."""
        height, width = a.pixels.shape[:2]
        self._size = (width, height)
        scale = self._scale(width, height)
        multiple = self.module.layout.safe_multiple
        multiple = max(multiple, round(multiple / scale))
        images = (_padded(self.tensor(a), multiple), _padded(self.tensor(b), multiple))
        frames = (images[0][:, :3].clamp(0, 1), images[1][:, :3].clamp(0, 1))
        coded = {}
        for frame, index in zip(frames, (a.index, b.index), strict=True):
            coded[index] = self._features[index] if index in self._features else self.module.features(frame)
        self._features = coded
        return _Pair(images, frames, (coded[a.index], coded[b.index]), (width, height))

    def at(self, state: _Pair, t: float) -> Pixels:
        """The frame at `t`."""
        if self.module.layout.any_time:
            return self.at_all(state, (t,))[0]
        return pixels_of(self._by_halves(state, t), *state.size)

    @property
    def can_batch(self) -> bool:
        """Not one that knows the middle alone, nor one that looks at all of the motion and may then begin anew."""
        return self.module.layout.any_time and not self.module.layout.restarts

    def at_all(self, state: _Pair, times: Sequence[float]) -> list[Pixels]:
        """The frames at several timesteps, by a network that takes any."""
        count, scale = len(times), self._scale(*state.size)
        first, second = state.features
        features = (first, second) if first is None or second is None else repeated((first, second), count)
        motion = self.module(repeated(state.frames, count), features, self.time(*times), scale, self.settings.ensemble)
        made = blended(repeated(state.images, count), motion)
        return [pixels_of(one[None], *state.size) for one in made]

    def _by_halves(self, state: _Pair, t: float) -> Tensor:
        """The moment next to `t` that halving leads to, one of both frames at their side of it."""
        power = next((power for power in range(1, DEPTH + 1) if (t * 2**power).is_integer()), DEPTH)
        number = round(t * 2**power)
        error = abs(t - number / 2**power)
        if error > self._worst + 1e-9:
            self._worst = error
            self.settings.tell(
                f"{self.checkpoint.family} makes the middle of two frames only: the timestep {t:.4g} is shown as "
                f"{number}/{2**power}, off by {error:.4f} of a source frame. RIFE 4.x takes any timestep."
            )
        return self._half(state, number, power)

    def _half(self, state: _Pair, number: int, power: int) -> Tensor:
        if number == 0:
            return state.images[0]
        if number == 2**power:
            return state.images[1]
        if number % 2 == 0:
            return self._half(state, number // 2, power - 1)
        if (number, power) not in state.halves:
            images = (self._half(state, number - 1, power), self._half(state, number + 1, power))
            frames = (images[0][:, :3].clamp(0, 1), images[1][:, :3].clamp(0, 1))
            motion = self.module(frames, (None, None), self.time(0.5), self._scale(*state.size))
            state.halves[number, power] = blended(images, motion)
        return state.halves[number, power]


def _padded(image: Tensor, multiple: int) -> Tensor:
    """With zeros beyond the border, as the authors' code; but alpha goes on there: what is opaque has to stay so."""
    colours = padded(image[:, :3], multiple)
    if image.shape[1] == 3:
        return colours
    return torch.cat([colours, padded(image[:, 3:], multiple, "replicate")], dim=1)
