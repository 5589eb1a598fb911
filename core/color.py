# SPDX-License-Identifier: GPL-3.0-or-later
"""Between the pixels of files and the floats of engines.

Kept frames are written as they were decoded: they never become floats.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from .engines.base import Pixels
from .images import Image

LOG_SCALE = 15.0
"""Of the logarithm that stands for linear light: 0 -> 0, 0.18 -> 0.47, 1 -> 1, 16 -> 1.98."""


LEAST_ALPHA = np.float32(1 / 16)

INFINITE = np.float32(65504)
"""What infinite light counts as: the most that half a float holds."""
MOST_LIGHT = np.float32(1e24)
"""Light beyond which its square, or what is read between it and dark, would not be finite."""
MOST_ENCODED = np.float32(21)
"""Its logarithm."""


@dataclass(frozen=True)
class Encoding:
    """What the numbers in an image mean."""

    linear: bool = False
    """Scene-linear light, which may go below 0 and above 1; else encoded for a display, as in most files."""
    premultiplied: bool = False
    """Colours are multiplied with alpha; else straight."""


def to_float(image: Image, encoding: Encoding) -> Pixels:
    """An image as engines want it: (H, W, 3 or 4), perceptual, premultiplied, 0..1 (linear light may exceed that).

    Premultiplied, because a hidden colour must not bleed into visible ones where motion mixes them: dark fringes.
    Finite, because means over windows would spread one pixel that is not over the whole picture: see `_finite`.
    """
    if np.issubdtype(image.dtype, np.integer):
        pixels = np.multiply(image, np.float32(1 / np.iinfo(image.dtype).max), dtype=np.float32)
    else:
        pixels = _finite(image.astype(np.float32))
    if encoding.linear:
        weight = _log_weight(pixels, encoding)
        pixels[..., :3] = _to_log(np.divide(pixels[..., :3], weight, dtype=np.float32)) * weight
    if image.shape[2] == 4 and not encoding.premultiplied:
        pixels[..., :3] *= pixels[..., 3:]
    return pixels


def from_float(pixels: Pixels, encoding: Encoding, kind: np.dtype[Any]) -> Image:
    """What `to_float` made, back in the source's type and encoding, rounded to the nearest and clipped to its range.

    Rounded because truncation makes new frames half a step darker than kept ones, which shows as flicker.
    """
    if pixels.shape[2] == 4 and not encoding.premultiplied:
        alpha = np.clip(pixels[..., 3:], 0, 1)
        straight = np.divide(pixels[..., :3], alpha, out=np.zeros_like(pixels[..., :3]), where=alpha > 1e-4)
        pixels = np.concatenate([straight, alpha], axis=2)
    if encoding.linear:
        pixels = pixels.copy()
        weight = _log_weight(pixels, encoding)
        pixels[..., :3] = _from_log(np.divide(pixels[..., :3], weight, dtype=np.float32)) * weight
    if kind == np.uint8:
        return to_uint8(pixels)
    if kind == np.uint16:
        return to_uint16(pixels)
    limit = np.float32(np.finfo(kind).max)
    return np.clip(pixels, -limit, limit).astype(kind)


def to_light(image: Image, encoding: Encoding) -> Pixels:
    """An image as linear light, premultiplied: what may be averaged as a camera's sensor does."""
    pixels = to_float(image, encoding)
    if encoding.linear:
        weight = _log_weight(pixels, encoding)
        pixels[..., :3] = _from_log(np.divide(pixels[..., :3], weight, dtype=np.float32)) * weight
    else:
        pixels[..., :3] = np.where(
            pixels[..., :3] <= 0.04045,
            pixels[..., :3] / 12.92,
            ((np.maximum(pixels[..., :3], 0) + 0.055) / 1.055) ** 2.4,
        )
    return pixels


def from_light(light: Pixels, encoding: Encoding, kind: np.dtype[Any]) -> Image:
    """What `to_light` made, back in the source's type and encoding."""
    pixels = light.copy()
    if encoding.linear:
        weight = _log_weight(pixels, encoding)
        pixels[..., :3] = _to_log(np.divide(pixels[..., :3], weight, dtype=np.float32)) * weight
    else:
        pixels[..., :3] = np.where(
            pixels[..., :3] <= 0.0031308,
            pixels[..., :3] * 12.92,
            1.055 * np.maximum(pixels[..., :3], 0) ** (1 / 2.4) - 0.055,
        )
    return from_float(pixels, encoding, kind)


def to_uint8(pixels: Pixels) -> NDArray[np.uint8]:
    """(H, W, C) in 0..1 -> 0..255, rounded to the nearest and clipped."""
    # OpenCV's saturating conversion rounds, clips and runs on all cores in one pass
    return cv2.addWeighted(pixels, 255.0, pixels, 0.0, 0.0, dtype=cv2.CV_8U)


def to_uint16(pixels: Pixels) -> NDArray[np.uint16]:
    """(H, W, C) in 0..1 -> 0..65535, rounded to the nearest and clipped."""
    return cv2.addWeighted(pixels, 65535.0, pixels, 0.0, 0.0, dtype=cv2.CV_16U)


def _finite(pixels: Pixels) -> Pixels:
    """Floats without what renders leave in single pixels, in place: no light for what is no number, and an end of it.

    Only alpha that is infinite counts as opaque: it says that something is there.
    """
    lowest, highest = pixels.min(), pixels.max()
    if -INFINITE <= lowest and highest <= INFINITE:  # not where there is what is no number
        return pixels
    alpha = pixels[..., 3:]
    np.nan_to_num(alpha, copy=False, posinf=1, neginf=0)
    np.clip(alpha, -INFINITE, INFINITE, out=alpha)
    np.nan_to_num(pixels, copy=False, posinf=float(INFINITE), neginf=-float(INFINITE))
    return np.clip(pixels, -MOST_LIGHT, MOST_LIGHT, out=pixels)


def _log_weight(pixels: Pixels, encoding: Encoding) -> Pixels:
    """What light is divided by before the logarithm, and multiplied with after it: its alpha where it is premultiplied.

    The logarithm has to be that of the straight colour: that of a colour which fades out with its alpha would come back
    darker. Not below LEAST_ALPHA, so that light without alpha (a flame's glow) stays.
    """
    if pixels.shape[2] == 4 and encoding.premultiplied:
        return np.maximum(pixels[..., 3:], LEAST_ALPHA)
    return np.ones((1, 1, 1), np.float32)


def _to_log(light: Pixels) -> Pixels:
    return np.copysign(np.log1p(LOG_SCALE * np.abs(light)) / np.log1p(np.float32(LOG_SCALE)), light)


def _from_log(encoded: Pixels) -> Pixels:
    size = np.minimum(np.abs(encoded), MOST_ENCODED)
    return np.copysign(np.expm1(size * np.log1p(np.float32(LOG_SCALE))) / np.float32(LOG_SCALE), encoded)


def decoded(frame: VideoFrame) -> Image:
    """A decoded movie frame as Blender 4.5 and later show it: (H, W, 3), or (H, W, 4) where it has alpha.

    8-bit formats give 0..255, bit for bit as in Blender; deeper ones 0..65535; deeper ones with alpha floats, whose
    colours Blender takes for premultiplied (see `encoding_of`).

    Blender repeats chroma samples up to full resolution and converts with the matrix and range that the file names,
    BT.601 where it names none, rounding accurately. libswscale's own upsampling sits between samples elsewhere, so
    chroma is repeated here and the library only converts. Where the size is not a multiple of a chroma sample's,
    Blender's samples are stretched by the library over the odd size, and so are ours.
    """
    if frame.format.name in SEMI_PLANAR:
        frame = frame.reformat(format=SEMI_PLANAR[frame.format.name])
    match = SUBSAMPLED.fullmatch(frame.format.name)
    if match and not frame.width % _across(frame) and not frame.height % _down(frame):
        frame = _with_full_chroma(frame, f"{match[1]}444p{match[2]}")
    if _bits(frame) <= 8:
        return _converted(frame, "rgba" if _has_alpha(frame) else "rgb24")
    if _has_alpha(frame):
        return _converted(frame, "gbrapf32le")
    return to_uint16(_converted(frame, "gbrpf32le"))


def encoding_of(frame: VideoFrame) -> Encoding:
    """What the numbers of the decoded frame mean."""
    return Encoding(linear=False, premultiplied=_has_alpha(frame) and _bits(frame) > 8)


def _bits(frame: VideoFrame) -> int:
    return max(component.bits for component in frame.format.components)


def _has_alpha(frame: VideoFrame) -> bool:
    return any(component.is_alpha for component in frame.format.components)


def _converted(frame: VideoFrame, format_name: str) -> NDArray[Any]:
    # one thread: with several, libswscale leaves the first pixels of a slice unwritten in floating point
    return frame.reformat(format=format_name, interpolation=EXACT, threads=1).to_ndarray()


EXACT = Interpolation.POINT | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
SUBSAMPLED = re.compile(r"(yuva?j?)(?:420|422|440|411|410)p((?:\d+le)?)")
"""Planar formats with fewer chroma samples than pixels."""
SEMI_PLANAR = {
    "nv12": "yuv420p", "nv21": "yuv420p", "nv16": "yuv422p", "p010le": "yuv420p10le", "p016le": "yuv420p16le",
    "p210le": "yuv422p10le",
}  # fmt: skip


def _with_full_chroma(frame: VideoFrame, format_name: str) -> VideoFrame:
    full = VideoFrame(frame.width, frame.height, format_name)
    full.colorspace, full.color_range = frame.colorspace, frame.color_range
    kind = np.uint16 if format_name.endswith("le") else np.uint8
    for source, target in zip(frame.planes, full.planes, strict=True):
        known = samples(source, kind)
        if source.width != target.width or source.height != target.height:
            size = (source.width * _across(frame), source.height * _down(frame))
            known = cv2.resize(known, size, interpolation=cv2.INTER_NEAREST)
        samples(target, kind)[:] = known[: target.height, : target.width]
    return full


def _across(frame: VideoFrame) -> int:
    """Columns of pixels that share a chroma sample."""
    return 64 // frame.format.chroma_width(64)


def _down(frame: VideoFrame) -> int:
    """Rows of pixels that share a chroma sample."""
    return 64 // frame.format.chroma_height(64)


def samples(plane: VideoPlane, kind: type[np.uint8] | type[np.uint16]) -> NDArray[Any]:
    """The plane's memory, (H, W); writing to it writes to the frame."""
    rows = np.frombuffer(memoryview(plane), kind).reshape(-1, plane.line_size // np.dtype(kind).itemsize)
    return rows[: plane.height, : plane.width]
