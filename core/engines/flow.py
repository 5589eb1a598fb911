# SPDX-License-Identifier: GPL-3.0-or-later
"""`flow`: classical motion interpolation for computers without a GPU. (First version, being improved.)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .base import EngineInfo, Frame, Pixels

Array = NDArray[np.float32]


@dataclass(frozen=True)
class State:
    """Both frames and their motion at half resolution."""

    a: Pixels
    b: Pixels
    forward: Array
    backward: Array
    trust_a: Array
    trust_b: Array


def _grid(height: int, width: int) -> Array:
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.dstack([x, y])


def _dis(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Array:
    height, width = a.shape
    if min(height, width) < 32:
        return np.zeros((height, width, 2), np.float32)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(0 if a.size < 500_000 else 1)
    return np.asarray(dis.calc(a, b, None), np.float32)  # type: ignore[call-overload]


def _warp(image: Array, where: Array, how: int = cv2.INTER_LINEAR) -> Array:
    return np.asarray(cv2.remap(image, where, None, how, borderMode=cv2.BORDER_REPLICATE), np.float32)  # type: ignore


def _splat(flow: Array, weight: Array, tau: float) -> tuple[Array, Array]:
    h, w = weight.shape
    position = _grid(h, w) + np.float32(tau) * flow
    x, y = position[..., 0].ravel(), position[..., 1].ravel()
    x0, y0 = np.floor(x), np.floor(y)
    fx, fy = x - x0, y - y0
    stride, size = w + 3, (w + 3) * (h + 3)
    base = np.clip(y0.astype(np.int64) + 1, 0, h + 1) * stride + np.clip(x0.astype(np.int64) + 1, 0, w + 1)
    total = np.zeros((3, size))
    values = (weight.ravel() * flow[..., 0].ravel(), weight.ravel() * flow[..., 1].ravel(), weight.ravel())
    for offset, part in ((0, (1 - fx) * (1 - fy)), (1, fx * (1 - fy)), (stride, (1 - fx) * fy), (stride + 1, fx * fy)):
        for i, value in enumerate(values):
            total[i] += np.bincount(base + offset, part * value, size)
    image = total.reshape(3, h + 3, stride)[:, 1 : h + 1, 1 : w + 1].astype(np.float32)
    return np.dstack([image[0], image[1]]), np.ascontiguousarray(image[2])


def _fill(total: Array, weight: Array) -> Array:
    levels = [(total, weight)]
    while min(weight.shape) > 1:
        size = ((weight.shape[1] + 1) // 2, (weight.shape[0] + 1) // 2)
        total = cv2.resize(total, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        levels.append((total, weight))
    estimate = total / np.maximum(weight, 1e-12)[..., None]
    for total, weight in levels[-2::-1]:
        coarse = cv2.resize(estimate, weight.shape[::-1]).reshape(total.shape)  # type: ignore[arg-type]
        estimate = (total + 1e-3 * coarse) / (weight + 1e-3)[..., None]
    return estimate


class Flow:
    """Dense inverse search flow in both directions, projected to the timestep."""

    info = EngineInfo("flow", "Optical flow", "Classical optical flow, no GPU needed", "GPL-3.0-or-later", "Kroeger 2016")

    def prepare(self, a: Frame, b: Frame) -> State:
        """Flow both ways and how far it can be trusted."""
        height, width = a.pixels.shape[:2]
        grey = [
            cv2.convertScaleAbs(cv2.cvtColor(f.pixels, cv2.COLOR_RGB2GRAY), alpha=255.0) for f in (a, b)
        ]
        size = (max(1, round(width / 2)), max(1, round(height / 2)))
        small = [cv2.resize(f.pixels, size, interpolation=cv2.INTER_AREA) for f in (a, b)]
        flows: list[Any] = []
        for one, two in ((grey[0], grey[1]), (grey[1], grey[0])):
            flow = cv2.resize(_dis(one, two), size, interpolation=cv2.INTER_AREA)
            flows.append(flow * np.array([size[0] / width, size[1] / height], np.float32))
        trust = []
        for here, there, flow, back in ((*small, *flows), (*small[::-1], *flows[::-1])):
            where = _grid(size[1], size[0]) + flow
            error = cv2.blur(np.abs(here - _warp(there, where)).mean(2), (3, 3))
            gap = np.square(flow + _warp(back, where)).sum(2)
            trust.append(np.exp(-error / 0.05 - gap / (0.5 + 0.02 * np.square(flow).sum(2))) + np.float32(1e-3))
        return State(a.pixels, b.pixels, flows[0], flows[1], trust[0], trust[1])

    def synthesize(self, state: State, t: float) -> Pixels:
        """Both frames warped to the timestep and blended."""
        height, width = state.a.shape[:2]
        h, w = state.trust_a.shape
        flow_a, seen_a = _splat(state.forward, state.trust_a, t)
        flow_b, seen_b = _splat(state.backward, state.trust_b, 1 - t)
        motion = _fill((1 - t) * flow_a - t * flow_b, (1 - t) * seen_a + t * seen_b)
        motion = cv2.resize(motion * np.array([width / w, height / h], np.float32), (width, height))  # type: ignore
        grid = _grid(height, width)
        a = _warp(state.a, grid - np.float32(t) * motion, cv2.INTER_CUBIC)
        b = _warp(state.b, grid + np.float32(1 - t) * motion, cv2.INTER_CUBIC)
        weight_a = (1 - t) * cv2.resize(np.minimum(seen_a, 1) + 0.02, (width, height))
        weight_b = t * cv2.resize(np.minimum(seen_b, 1) + 0.02, (width, height))
        moved = cv2.blendLinear(a, b, weight_a, weight_b)
        faded = cv2.addWeighted(state.a, 1 - t, state.b, t, 0)
        error = cv2.blur(cv2.absdiff(a, b).mean(2), (9, 9))
        still = cv2.blur(cv2.absdiff(state.a, state.b).mean(2), (9, 9))
        sure = (1 / (1 + (error / (still + np.float32(1e-4))) ** 4)).astype(np.float32)
        result: Pixels = np.clip(cv2.blendLinear(moved, faded, sure, 1 - sure), 0, 1)
        return result
