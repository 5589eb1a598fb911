# SPDX-License-Identifier: GPL-3.0-or-later
"""Finished frames -> one movie file, tagged with its colours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from av.video.stream import VideoStream

from .color import Encoding, samples, to_float, to_uint16
from .images import Image
from .messages import InputError

# as ITU-T H.273 numbers them
RGB, BT709, LIMITED, FULL = 0, 1, 1, 2


@dataclass(frozen=True)
class MovieFormat:
    """A way to write a movie."""

    id: str
    extension: str
    container: str
    """FFmpeg's name of it: a file that is being written does not have its own name yet."""
    codec: str
    pixel_format: Callable[[Image], str]
    """What the codec gets for images of this type and size."""
    alpha: bool
    options: dict[str, str] = field(default_factory=dict)


def _ffv1(image: Image) -> str:
    if image.dtype == np.uint8:
        return "bgra" if image.shape[2] == 4 else "bgr0"
    return "gbrap16le" if image.shape[2] == 4 else "gbrp16le"


def _prores(image: Image) -> str:
    # 4:4:4, since Blender repeats the samples of 4:2:2 without smoothing
    return "yuva444p10le" if image.shape[2] == 4 else "yuv444p10le"


def _h264(image: Image) -> str:
    # chroma of half the size has no place for the last row or column of an odd one
    return "yuv444p" if image.shape[0] % 2 or image.shape[1] % 2 else "yuv420p"


MOVIES = {
    made.id: made
    for made in (
        MovieFormat("ffv1", ".mkv", "matroska", "ffv1", _ffv1, True, {"slices": "4", "slicecrc": "1"}),
        MovieFormat("prores", ".mov", "mov", "prores_ks", _prores, True, {"profile": "4", "vendor": "apl0"}),
        MovieFormat("h264", ".mp4", "mp4", "libx264", _h264, False, {"crf": "14", "g": "12"}),
    )
}


def write_movie(path: Path, made: MovieFormat, fps: Fraction, encoding: Encoding, images: Iterable[Image]) -> None:
    """Write images of one size and type as a movie at `fps`.

    Whole numbers and floats in 0..1, RGB or RGBA, encoded for a display. FFV1 keeps them bit for bit (floats: as 16-bit
    numbers); the others get BT.709, limited range. Deep movies with alpha are written premultiplied, which is how
    players, and Blender, take them. Raises InputError where FFmpeg refuses the size.
    """
    stream: VideoStream | None = None
    with av.open(str(path), "w", format=made.container, container_options={"movflags": "+faststart"}) as container:
        for number, image in enumerate(images):
            pixel_format = made.pixel_format(image)
            if stream is None:
                stream = cast(VideoStream, container.add_stream(made.codec, rate=fps, options=dict(made.options)))
                stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], pixel_format
                is_rgb = not pixel_format.startswith("yuv")
                context = stream.codec_context
                context.colorspace, context.color_range = (RGB, FULL) if is_rgb else (BT709, LIMITED)
                context.color_primaries = context.color_trc = BT709
                context.thread_type = "AUTO"
            frame = _frame(_premultiplied(image, encoding), pixel_format)
            frame.pts, frame.time_base = number, 1 / fps
            try:
                container.mux(stream.encode(frame))
            except av.error.ArgumentError as error:
                raise InputError(
                    f"FFmpeg cannot write {made.id} of {image.shape[1]}x{image.shape[0]} pixels ({error.strerror}): "
                    "choose another format."
                ) from error
        if stream is not None:
            container.mux(stream.encode(None))


def _premultiplied(image: Image, encoding: Encoding) -> Image:
    if image.dtype == np.uint8:
        return image
    if image.shape[2] == 4 and not encoding.premultiplied:
        return to_uint16(to_float(image, encoding))
    return image if image.dtype == np.uint16 else to_uint16(image.astype(np.float32))


def _frame(image: Image, pixel_format: str) -> VideoFrame:
    if pixel_format.startswith("gbr"):
        # libswscale gives back other numbers than it was given here
        frame = VideoFrame(image.shape[1], image.shape[0], pixel_format)
        for plane, channel in zip(frame.planes, (1, 2, 0, 3), strict=False):
            samples(plane, np.uint16)[:] = image[..., channel]
        return frame
    layout = ("rgb24", "rgba") if image.dtype == np.uint8 else ("rgb48le", "rgba64le")
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format=layout[image.shape[2] == 4])
    if pixel_format.startswith("bgr"):
        return frame.reformat(format=pixel_format)
    exact = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP
    return frame.reformat(
        format=pixel_format,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        dst_color_primaries=BT709,
        dst_color_trc=BT709,
        interpolation=exact,
        threads=1,
    )
