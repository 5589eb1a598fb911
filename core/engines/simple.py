# SPDX-License-Identifier: GPL-3.0-or-later
"""`nearest` and `blend`: what slow motion looks like without motion. For comparison, and for tests in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence

import cv2

from .base import EngineInfo, Frame, Pixels

Pair = tuple[Pixels, Pixels]


class Nearest:
    """Holds the nearer source frame; at the middle, the later one."""

    info = EngineInfo("nearest", "GPL-3.0-or-later", "frame hold")
    device, precision = "cpu", "fp32"

    def prepare(self, a: Frame, b: Frame, times: Sequence[float] = ()) -> Pair:
        """Keep both frames."""
        return a.pixels, b.pixels

    def synthesize(self, state: Pair, t: float) -> Pixels:
        """One of the two frames, unchanged."""
        return state[0] if t < 0.5 else state[1]


class Blend:
    """Cross-fades the two source frames."""

    info = EngineInfo("blend", "GPL-3.0-or-later", "linear cross-fade")
    device, precision = "cpu", "fp32"

    def prepare(self, a: Frame, b: Frame, times: Sequence[float] = ()) -> Pair:
        """Keep both frames."""
        return a.pixels, b.pixels

    def synthesize(self, state: Pair, t: float) -> Pixels:
        """(1 - t) of the first frame and t of the second."""
        return cv2.addWeighted(state[0], 1.0 - t, state[1], t, 0.0)
