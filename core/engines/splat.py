# SPDX-License-Identifier: GPL-3.0-or-later
"""Forward splatting: motion that is known where it starts -> motion where it is at a timestep.

Summation splatting with weights, normalised afterwards (Niklaus and Liu, "Softmax Splatting for Video Frame
Interpolation", CVPR 2020, section 3.1), and push-pull filling of what nothing was splatted to (Gortler et al., "The
Lumigraph", SIGGRAPH 1996, section 3.4).
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Flow = NDArray[np.float32]
"""(H, W, 2): x to the right, y down, in pixels of its own grid."""
Map = NDArray[np.float32]
"""(H, W)"""


@lru_cache(maxsize=4)
def grid(height: int, width: int) -> Flow:
    """Every pixel's own position; kept, since a clip asks for the same two sizes again and again."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    positions = np.dstack([x, y])
    positions.flags.writeable = False
    return positions


def splat(flow: Flow, weight: Map, t: float) -> tuple[Flow, Map]:
    """Carry every pixel's motion to where it is at `t` of its way.

    Returns the sums of weight times motion, and of weight, at each pixel: their quotient is the motion there, and the
    second is zero where nothing arrived.
    """
    height, width = weight.shape
    position = cv2.addWeighted(grid(height, width), 1.0, flow, t, 0.0)
    # a margin of one pixel takes what leaves the frame
    cv2.max(position, -1.0, position)
    x = np.minimum(position[..., 0], np.float32(width)).ravel()
    y = np.minimum(position[..., 1], np.float32(height)).ravel()
    left, top = np.floor(x), np.floor(y)
    across, down = x - left, y - top
    stride, size = width + 3, (width + 3) * (height + 3)
    corner = (top.astype(np.intp) + 1) * stride + left.astype(np.intp) + 1
    flat = weight.ravel()
    values = (flat * flow[..., 0].ravel(), flat * flow[..., 1].ravel(), flat)
    total = np.zeros((3, size))
    shares = (
        (0, (1 - across) * (1 - down)),
        (1, across * (1 - down)),
        (stride, (1 - across) * down),
        (stride + 1, across * down),
    )
    for offset, share in shares:
        index = corner + offset
        for sums, value in zip(total, values, strict=True):
            sums += np.bincount(index, share * value, size)
    sums = total.reshape(3, height + 3, stride)[:, 1 : height + 1, 1 : width + 1].astype(np.float32)
    return np.dstack([sums[0], sums[1]]), np.ascontiguousarray(sums[2])


def fill(total: Flow, weight: Map) -> Flow:
    """The motion that sums of splatting stand for; where little arrived, smoothly that of the surroundings."""
    levels = [(total, weight)]
    while min(weight.shape) > 1:
        size = ((weight.shape[1] + 1) // 2, (weight.shape[0] + 1) // 2)
        total = cv2.resize(total, size, interpolation=cv2.INTER_AREA)
        weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
        levels.append((total, weight))
    motion: Flow = np.divide(total, np.maximum(weight, np.float32(1e-12))[..., None], dtype=np.float32)
    for total, weight in levels[-2::-1]:
        coarse = cv2.resize(motion, weight.shape[::-1]).reshape(total.shape)
        motion = np.divide(total + LITTLE * coarse, (weight + LITTLE)[..., None], dtype=np.float32)
    return motion


LITTLE = np.float32(1e-3)
"""Weight from which on a pixel's own motion counts more than that of its surroundings."""
