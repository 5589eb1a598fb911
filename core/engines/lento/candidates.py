# SPDX-License-Identifier: GPL-3.0-or-later
"""What the network chooses from, at half resolution.

Six pictures could be the frame at a timestep: both source frames along either hypothesis of the motion
(`engines/motion.py`), and both as they are. How the classical engine would weigh them is known, too; the network
starts from there.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...networks.lento import DIFFERENCE_SCALE, MOTION_SCALE
from ..base import Pixels
from ..motion import UNSEEN, Pair, grey_difference, hypotheses, likely, warped, window
from ..splat import Flow, Map, grid

LOG_SCALE = np.float32(1 / 4)


@dataclass(frozen=True)
class Candidates:
    """At half resolution, for one timestep."""

    motions: tuple[Flow, Flow]
    """(h, w, 2): over the whole interval, in pixels of this size, from frame 0 to frame 1."""
    logs: NDArray[np.float32]
    """(h, w, 6): logarithms of the weights that the classical engine gives; those sum to 1."""
    parts: tuple[NDArray[np.float32], ...]
    """The network's input in parts (h, w, c), CHANNELS in all."""


def candidates(pair: Pair, t: float) -> Candidates:
    """Of a pair at timestep `t` in (0, 1)."""
    found = hypotheses(pair, t)
    height, width = found.seen_a.shape
    seen_a, seen_b = np.minimum(found.seen_a, 1), np.minimum(found.seen_b, 1)
    weight_a = np.float32(1 - t) * (seen_a + UNSEEN)
    share_a: Map = np.asarray(weight_a / (weight_a + np.float32(t) * (seen_b + UNSEEN)), np.float32)
    position = grid(height, width)
    pictures: list[NDArray[np.float32]] = []
    weights: list[Map] = []
    for motion in found.motions:
        a = warped(pair.small_a, cv2.addWeighted(position, 1.0, motion, -t, 0.0), cv2.INTER_LINEAR)
        b = warped(pair.small_b, cv2.addWeighted(position, 1.0, motion, 1 - t, 0.0), cv2.INTER_LINEAR)
        share = likely(window(grey_difference(a, b)))
        pictures += [a, b]
        weights += [share * share_a, share * (1 - share_a)]
    still = likely(pair.unlikeness)
    weights += [still * np.float32(1 - t), still * np.float32(t)]
    total = weights[0] + weights[1] + weights[2] + weights[3] + still
    logs = np.dstack([cv2.log(weight / total + np.float32(1e-6)) for weight in weights])
    a_forward, b_forward, a_backward, b_backward = pictures
    parts = (
        cv2.add(a_forward, (-0.5, -0.5, -0.5, 0.0)),
        _difference(b_forward, a_forward),
        _difference(a_backward, a_forward),
        _difference(b_backward, a_backward),
        _difference(pair.small_a, a_forward),
        _difference(pair.small_b, pair.small_a),
        logs * LOG_SCALE,
        *(motion * np.float32(MOTION_SCALE) for motion in found.motions),
        seen_a[..., None],
        seen_b[..., None],
        np.full((height, width, 1), t, np.float32),
    )
    return Candidates(found.motions, logs, parts)


def _difference(one: Pixels, other: Pixels) -> Pixels:
    """What tells two candidates apart is small beside what they share, and half precision would lose it."""
    return cv2.addWeighted(one, DIFFERENCE_SCALE, other, -DIFFERENCE_SCALE, 0.0)
