# SPDX-License-Identifier: GPL-3.0-or-later
"""`flow`: classical motion interpolation, for computers without a GPU.

At each timestep there are two hypotheses of the motion (`motion.py`), and along each both frames are warped. Where one
frame does not see a pixel, little trust arrives and the other one counts. The two hypotheses and a plain cross-fade are
then mixed by how well the two ends of each agree, so that where no motion explains the picture (flicker, flashes,
water), the result is no worse than a cross-fade.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from .base import EngineInfo, Frame, Pixels
from .motion import UNSEEN, Pair, full, full_motion, grey_difference, hypotheses, likely, motion_of, warped, window
from .splat import grid


class Flow:
    """Dense inverse search in both directions, splatted to the timestep."""

    info = EngineInfo("flow", "GPL-3.0-or-later", "Kroeger et al., ECCV 2016 (OpenCV's DISOpticalFlow)")
    device, precision, parallel = "cpu", "fp32", True

    def one_core(self) -> None:
        """Let OpenCV use no threads of its own."""
        cv2.setNumThreads(1)

    def prepare(self, a: Frame, b: Frame, times: Sequence[float] = ()) -> Pair:
        """Motion both ways, and how far it can be trusted."""
        return motion_of(a.pixels, b.pixels)

    def synthesize(self, state: Pair, t: float) -> Pixels:
        """Both frames along both hypotheses of the motion, and the cross-fade, mixed by how well they agree."""
        height, width = state.a.shape[:2]
        found = hypotheses(state, t)
        weight_a = full(np.float32(1 - t) * (np.minimum(found.seen_a, 1) + UNSEEN), width, height)
        weight_b = full(np.float32(t) * (np.minimum(found.seen_b, 1) + UNSEEN), width, height)
        mixed = cv2.addWeighted(state.a, 1 - t, state.b, t, 0)
        likelihood = likely(state.unlikeness)  # half of what a hypothesis of motion has, and there are two of these
        position = grid(height, width)
        for motion in found.motions:
            motion = full_motion(motion, width, height)
            a = warped(state.a, cv2.addWeighted(position, 1.0, motion, -t, 0.0))
            b = warped(state.b, cv2.addWeighted(position, 1.0, motion, 1 - t, 0.0))
            moved = cv2.blendLinear(a, b, weight_a, weight_b)
            small = (likelihood.shape[1], likelihood.shape[0])
            difference = cv2.resize(grey_difference(a, b), small, interpolation=cv2.INTER_AREA)
            share = likely(window(difference))
            mixed = cv2.blendLinear(mixed, moved, full(likelihood, width, height), full(share, width, height))
            likelihood = likelihood + share
        return mixed
