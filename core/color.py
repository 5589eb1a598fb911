# SPDX-License-Identifier: GPL-3.0-or-later
"""Between the pixels of files and the floats of engines.

Kept frames never come through here: they are written as they were decoded.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from .engines.base import Pixels


def to_float(pixels: NDArray[np.uint8]) -> Pixels:
    """(H, W, C) in 0..255 -> the same in 0..1, same encoding."""
    return np.multiply(pixels, np.float32(1 / 255), dtype=np.float32)


def to_uint8(pixels: Pixels) -> NDArray[np.uint8]:
    """(H, W, C) in 0..1 -> 0..255, rounded to the nearest and clipped.

    Rounded because truncation makes new frames half a step darker than kept ones, which shows as flicker.
    """
    # OpenCV's saturating conversion rounds, clips and runs on all cores in one pass
    return cast(NDArray[np.uint8], cv2.addWeighted(pixels, 255.0, pixels, 0.0, 0.0, dtype=cv2.CV_8U))
