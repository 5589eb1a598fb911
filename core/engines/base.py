# SPDX-License-Identifier: GPL-3.0-or-later
"""What an engine is: two frames in, any frame between them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

# (H, W, C) in 0..1, C = 3: red, green, blue; C-contiguous; never changed in place, for several threads may hold it
Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Frame:
    """A source frame, with its number in the source: what an engine keeps per frame is kept under that number."""

    index: int
    pixels: Pixels


@dataclass(frozen=True)
class EngineInfo:
    """What is to be known about an engine beside its entry in job.ENGINES, which menus and flags are made from."""

    id: str
    licence: str
    """SPDX identifier."""
    source: str
    """The paper or program that the method comes from."""
    devices: tuple[str, ...] = ("cpu",)
    precisions: tuple[str, ...] = ("fp32",)


@dataclass(frozen=True)
class Settings:
    """What a user may choose about how an engine runs; the fields are those of a Job."""

    weights: str = ""
    device: str = "auto"
    precision: str = "auto"
    flow_scale: str = "auto"
    ensemble: bool = False
    tell: Callable[[str], None] = lambda text: None
    """Takes warnings."""


class Engine(Protocol):
    """Makes the frames between two others.

    The same input gives the same output, bit for bit, on the same device: a pair's result never depends on the pairs
    before it, so that an interrupted job goes on where it stopped.
    """

    info: EngineInfo
    device: str
    """Where it runs."""
    precision: str

    def prepare(self, a: Frame, b: Frame, times: Sequence[float] = ()) -> Any:
        """All that does not depend on the timestep, once per pair: features, motion; goes to `synthesize`.

        `times` are all that the job has between the two: an engine may make several of them together, in groups that
        depend on nothing but this list, so that a job which goes on makes the same frames.
        """
        ...

    def synthesize(self, state: Any, t: float) -> Pixels:
        """The frame at timestep `t` in (0, 1) from the first to the second: (H, W, 3) in 0..1, not rounded."""
        ...


@runtime_checkable
class Parallel(Protocol):
    """An engine that several threads may use at once, for several pairs and timesteps, as those on processors are."""

    parallel: bool
    """Whether it is one, as it was made."""

    def one_core(self) -> None:
        """Called in each of these threads before all else: it is to use one core from now on."""
        ...
