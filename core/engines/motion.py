# SPDX-License-Identifier: GPL-3.0-or-later
"""Classical motion of a pair of frames: what the engines `flow` and `lento` stand on.

Once per pair: dense inverse search flow in both directions (Kroeger, Timofte, Dai and Van Gool, "Fast Optical Flow
using Dense Inverse Search", ECCV 2016; OpenCV's), and how far each pixel's motion can be trusted: whether both
directions agree, and whether the pictures agree along it. Per timestep: both flows splatted to the timestep with that
trust as weight; each gives a hypothesis of the motion there. All of it at half resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .base import Pixels
from .splat import Flow, Map, fill, grid, splat

LEAST_SIDE = 32
"""Pixels below which dense inverse search has no pyramid level to work on; smaller frames are taken as still."""
SMOOTHNESS = 10.0
"""Weight of the flow's smoothness term; OpenCV's default is 20."""
ERROR_SCALE = np.float32(0.1)
"""Difference of brightness, in 0..1, at which a motion loses most of its trust."""
AGREEMENT = 11
"""Side, in half-resolution pixels, of the window over which a hypothesis' ends are compared."""
NO_TRUST = np.float32(1e-3)
UNSEEN = np.float32(0.02)
"""Weight that a frame keeps where nothing of it arrived: where neither frame sees a pixel, both count alike."""


@dataclass(frozen=True)
class Pair:
    """Two frames; motion and trust at half resolution, in pixels of that."""

    a: Pixels
    b: Pixels
    small_a: Pixels
    """Red, green and blue at half resolution."""
    small_b: Pixels
    forward: Flow
    """From the first frame's pixels to where they are in the second."""
    backward: Flow
    trust_a: Map
    trust_b: Map
    unlikeness: Map
    """Mean square difference of the two frames around each pixel: how bad a cross-fade is."""


@dataclass(frozen=True)
class Hypotheses:
    """Motion at a timestep, at half resolution: what both flows say, and how much of each frame is seen there."""

    motions: tuple[Flow, Flow]
    """From the first frame to the second, over the whole interval, by the forward and by the backward flow."""
    seen_a: Map
    """0: nothing of the first frame arrived."""
    seen_b: Map


def motion_of(a: Pixels, b: Pixels) -> Pair:
    """Motion both ways, and how far it can be trusted; frames (H, W, 3 or 4) in 0..1."""
    height, width = a.shape[:2]
    half = (max(1, round(width / 2)), max(1, round(height / 2)))
    scale = np.array([half[0] / width, half[1] / height], np.float32)
    grey_a, grey_b = _grey(a), _grey(b)
    forward = cv2.resize(_search(grey_a, grey_b), half, interpolation=cv2.INTER_AREA) * scale
    backward = cv2.resize(_search(grey_b, grey_a), half, interpolation=cv2.INTER_AREA) * scale
    small_a = cv2.resize(_colours(a), half, interpolation=cv2.INTER_AREA)
    small_b = cv2.resize(_colours(b), half, interpolation=cv2.INTER_AREA)
    return Pair(
        a,
        b,
        small_a,
        small_b,
        forward,
        backward,
        _trust(small_a, small_b, forward, backward),
        _trust(small_b, small_a, backward, forward),
        window(grey_difference(small_a, small_b)),
    )


def hypotheses(pair: Pair, t: float) -> Hypotheses:
    """Both flows at timestep `t` of (0, 1)."""
    from_a, seen_a = splat(pair.forward, pair.trust_a, t)
    from_b, seen_b = splat(pair.backward, pair.trust_b, 1 - t)
    return Hypotheses((fill(from_a, seen_a), fill(-from_b, seen_b)), seen_a, seen_b)


def _colours(pixels: Pixels) -> Pixels:
    return pixels if pixels.shape[2] == 3 else np.ascontiguousarray(pixels[..., :3])


def _grey(pixels: Pixels) -> NDArray[np.uint8]:
    code = cv2.COLOR_RGB2GRAY if pixels.shape[2] == 3 else cv2.COLOR_RGBA2GRAY
    grey: Any = cv2.cvtColor(pixels, code)
    return cv2.addWeighted(grey, 255.0, grey, 0.0, 0.0, dtype=cv2.CV_8U)


def _search(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> Flow:
    if min(one.shape) < LEAST_SIDE:
        return np.zeros((*one.shape, 2), np.float32)
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(1)  # the finest scale quadruples the time for 0.03 dB, since splatting halves the resolution
    search.setVariationalRefinementAlpha(SMOOTHNESS)
    return search.calc(one, other, None)


def _trust(here: Pixels, there: Pixels, flow: Flow, back: Flow) -> Map:
    """How far the motion of `here`'s pixels can be trusted, in 0..1."""
    height, width = flow.shape[:2]
    target = grid(height, width) + flow
    error = cv2.blur(grey_difference(here, warped(there, target, cv2.INTER_LINEAR)), (3, 3))
    gap = flow + warped(back, target, cv2.INTER_LINEAR)
    squares = cv2.transform(np.square(gap), np.ones((1, 2), np.float32))
    length = cv2.transform(np.square(flow), np.ones((1, 2), np.float32))
    return np.exp(-error / ERROR_SCALE - squares / (np.float32(0.5) + np.float32(0.02) * length)) + NO_TRUST


def warped(image: Any, position: Flow, how: int = cv2.INTER_CUBIC) -> Any:
    """`image` read at positions in pixels."""
    # cubic, because blending two linearly interpolated pictures blurs: 0.3 dB
    return cv2.remap(image, position, None, how, borderMode=cv2.BORDER_REPLICATE)


def grey_difference(a: Pixels, b: Pixels) -> Map:
    """Weighted mean of the colours' differences."""
    difference = cv2.absdiff(a, b)
    return cv2.cvtColor(difference, cv2.COLOR_RGB2GRAY if difference.shape[2] == 3 else cv2.COLOR_RGBA2GRAY)


def window(difference: Map) -> Map:
    """Mean square of a difference around every pixel."""
    return np.square(cv2.blur(difference, (AGREEMENT, AGREEMENT)))


def likely(square_error: Map) -> Map:
    """How far a motion whose ends differ so much is to be believed, against others."""
    return np.reciprocal(square_error + np.float32(1e-5))


def full(weights: Map, width: int, height: int) -> Map:
    """A map at half resolution, at full size."""
    return cv2.resize(weights, (width, height))


def full_motion(motion: Flow, width: int, height: int) -> Flow:
    """Motion at half resolution, at full size, in pixels of that."""
    scale = np.array([width / motion.shape[1], height / motion.shape[0]], np.float32)
    return cv2.resize(motion * scale, (width, height))
