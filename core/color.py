# SPDX-License-Identifier: GPL-3.0-or-later
"""Between the pixels of files and the floats of engines.

Kept frames are written as they were decoded: they never become floats.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import Interpolation
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


def decoded_rgb(frame: VideoFrame) -> NDArray[np.uint8]:
    """A decoded movie frame as (H, W, 3) red, green, blue in 0..255, bit for bit as Blender 4.5 and later show it.

    Blender repeats chroma samples up to full resolution and converts with the matrix and range that the file names,
    BT.601 where it names none, rounding accurately. libswscale's own upsampling sits between samples elsewhere, so
    chroma is repeated here and the library only converts.
    """
    name = frame.format.name
    if name in SEMI_PLANAR:
        frame = frame.reformat(format=SEMI_PLANAR[name])
        name = frame.format.name
    if name in SUBSAMPLED:
        frame = _with_full_chroma(frame, SUBSAMPLED[name])
    return frame.to_ndarray(format="rgb24", interpolation=EXACT)


EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
SEMI_PLANAR = {"nv12": "yuv420p", "nv21": "yuv420p", "nv16": "yuv422p"}
SUBSAMPLED = {f"yuv{kind}p": "yuv444p" for kind in ("420", "422", "440", "411", "410")}
SUBSAMPLED |= {f"yuvj{kind}p": "yuvj444p" for kind in ("420", "422", "440", "411")}
"""8-bit planar formats with fewer chroma samples than pixels -> the format with one for each."""


def _with_full_chroma(frame: VideoFrame, format_name: str) -> VideoFrame:
    full = VideoFrame(frame.width, frame.height, format_name)
    full.colorspace, full.color_range = frame.colorspace, frame.color_range
    # columns and rows of pixels that share a sample
    across, down = 64 // frame.format.chroma_width(64), 64 // frame.format.chroma_height(64)
    for source, target in zip(frame.planes, full.planes, strict=True):
        samples = _samples(source)
        if source.width != target.width or source.height != target.height:
            size = (source.width * across, source.height * down)
            samples = cv2.resize(samples, size, interpolation=cv2.INTER_NEAREST)
        _samples(target)[:] = samples[: target.height, : target.width]
    return full


def _samples(plane: VideoPlane) -> NDArray[np.uint8]:
    """The plane's memory, (H, W); writing to it writes to the frame."""
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)  # type: ignore[arg-type]
    return rows[: plane.height, : plane.width]
