# SPDX-License-Identifier: GPL-3.0-or-later
"""`flow`: classical motion interpolation, for computers without a GPU.

Once per pair: dense inverse search flow in both directions (Kroeger, Timofte, Dai and Van Gool, "Fast Optical Flow
using Dense Inverse Search", ECCV 2016; OpenCV's), and how far each pixel's motion can be trusted: whether both
directions agree, and whether the pictures agree along it.

Per timestep: both flows are splatted to the timestep with that trust as weight. Each gives a hypothesis of the motion
there, and along it both frames are warped. Where one frame does not see a pixel, little trust arrives and the other one
counts. The two hypotheses and a plain cross-fade are then mixed by how well the two ends of each agree, so that where
no motion explains the picture (flicker, flashes, water), the result is no worse than a cross-fade.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .base import EngineInfo, Frame, Pixels
from .splat import Flow as Motion
from .splat import Map, fill, grid, splat

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
class State:
    """A pair of frames; motion and trust at half resolution, in pixels of that."""

    a: Pixels
    b: Pixels
    forward: Motion
    """From the first frame's pixels to where they are in the second."""
    backward: Motion
    trust_a: Map
    trust_b: Map
    unlikeness: Map
    """Mean square difference of the two frames around each pixel: how bad a cross-fade is."""


class Flow:
    """Dense inverse search in both directions, splatted to the timestep."""

    info = EngineInfo("flow", "GPL-3.0-or-later", "Kroeger et al., ECCV 2016 (OpenCV's DISOpticalFlow)")
    device, precision = "cpu", "fp32"

    def prepare(self, a: Frame, b: Frame) -> State:
        """Motion both ways, and how far it can be trusted."""
        height, width = a.pixels.shape[:2]
        half = (max(1, round(width / 2)), max(1, round(height / 2)))
        scale = np.array([half[0] / width, half[1] / height], np.float32)
        grey_a, grey_b = _grey(a.pixels), _grey(b.pixels)
        forward = cv2.resize(_search(grey_a, grey_b), half, interpolation=cv2.INTER_AREA) * scale
        backward = cv2.resize(_search(grey_b, grey_a), half, interpolation=cv2.INTER_AREA) * scale
        small_a = cv2.resize(_colours(a.pixels), half, interpolation=cv2.INTER_AREA)
        small_b = cv2.resize(_colours(b.pixels), half, interpolation=cv2.INTER_AREA)
        return State(
            a.pixels,
            b.pixels,
            forward,
            backward,
            _trust(small_a, small_b, forward, backward),
            _trust(small_b, small_a, backward, forward),
            _disagreement(small_a, small_b),
        )

    def synthesize(self, state: State, t: float) -> Pixels:
        """Both frames along both hypotheses of the motion, and the cross-fade, mixed by how well they agree."""
        height, width = state.a.shape[:2]
        from_a, seen_a = splat(state.forward, state.trust_a, t)
        from_b, seen_b = splat(state.backward, state.trust_b, 1 - t)
        weight_a = _full(np.float32(1 - t) * (np.minimum(seen_a, 1) + UNSEEN), width, height)
        weight_b = _full(np.float32(t) * (np.minimum(seen_b, 1) + UNSEEN), width, height)
        mixed = cv2.addWeighted(state.a, 1 - t, state.b, t, 0)
        likely = _likely(state.unlikeness)  # half of what a hypothesis of motion has, and there are two of these
        position = grid(height, width)
        for motion in (fill(from_a, seen_a), fill(-from_b, seen_b)):
            motion = _full_motion(motion, width, height)
            a = _warped(state.a, cv2.addWeighted(position, 1.0, motion, -t, 0.0))
            b = _warped(state.b, cv2.addWeighted(position, 1.0, motion, 1 - t, 0.0))
            moved = cv2.blendLinear(a, b, weight_a, weight_b)
            small = (likely.shape[1], likely.shape[0])
            difference = cv2.resize(_grey_difference(a, b), small, interpolation=cv2.INTER_AREA)
            share = _likely(_window(difference))
            mixed = cv2.blendLinear(mixed, moved, _full(likely, width, height), _full(share, width, height))
            likely = likely + share
        return mixed


def _colours(pixels: Pixels) -> Pixels:
    return pixels if pixels.shape[2] == 3 else np.ascontiguousarray(pixels[..., :3])


def _grey(pixels: Pixels) -> NDArray[np.uint8]:
    code = cv2.COLOR_RGB2GRAY if pixels.shape[2] == 3 else cv2.COLOR_RGBA2GRAY
    grey: Any = cv2.cvtColor(pixels, code)
    return cv2.addWeighted(grey, 255.0, grey, 0.0, 0.0, dtype=cv2.CV_8U)


def _search(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> Motion:
    if min(one.shape) < LEAST_SIDE:
        return np.zeros((*one.shape, 2), np.float32)
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(1)  # the finest scale quadruples the time for 0.03 dB, since splatting halves the resolution
    search.setVariationalRefinementAlpha(SMOOTHNESS)
    return search.calc(one, other, None)


def _trust(here: Pixels, there: Pixels, flow: Motion, back: Motion) -> Map:
    """How far the motion of `here`'s pixels can be trusted, in 0..1."""
    height, width = flow.shape[:2]
    target = grid(height, width) + flow
    error = cv2.blur(_grey_difference(here, _warped(there, target, cv2.INTER_LINEAR)), (3, 3))
    gap = flow + _warped(back, target, cv2.INTER_LINEAR)
    squares = cv2.transform(np.square(gap), np.ones((1, 2), np.float32))
    length = cv2.transform(np.square(flow), np.ones((1, 2), np.float32))
    return np.exp(-error / ERROR_SCALE - squares / (np.float32(0.5) + np.float32(0.02) * length)) + NO_TRUST


def _warped(image: Any, position: Motion, how: int = cv2.INTER_CUBIC) -> Any:
    # cubic, because blending two linearly interpolated pictures blurs: 0.3 dB
    return cv2.remap(image, position, None, how, borderMode=cv2.BORDER_REPLICATE)


def _grey_difference(a: Pixels, b: Pixels) -> Map:
    """Weighted mean of the colours' differences."""
    difference = cv2.absdiff(a, b)
    return cv2.cvtColor(difference, cv2.COLOR_RGB2GRAY if difference.shape[2] == 3 else cv2.COLOR_RGBA2GRAY)


def _disagreement(a: Pixels, b: Pixels) -> Map:
    return _window(_grey_difference(a, b))


def _window(difference: Map) -> Map:
    return np.square(cv2.blur(difference, (AGREEMENT, AGREEMENT)))


def _likely(square_error: Map) -> Map:
    return np.reciprocal(square_error + np.float32(1e-5))


def _full(weights: Map, width: int, height: int) -> Map:
    return cv2.resize(weights, (width, height))


def _full_motion(motion: Motion, width: int, height: int) -> Motion:
    scale = np.array([width / motion.shape[1], height / motion.shape[0]], np.float32)
    return cv2.resize(motion * scale, (width, height))
