# SPDX-License-Identifier: GPL-3.0-or-later
"""Image files: read as they are, written in the format that was asked for.

An image is an array (H, W, 3), or (H, W, 4) with alpha, in red, green, blue: uint8, uint16, or float16 and float32 for
what files hold in floating point. Its type says how deep it is; what its numbers mean is the source's Encoding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from . import png
from .messages import InputError
from .whole import is_whole

Image = NDArray[Any]

RENEW = "render or copy that file again, or choose a range without it"
READABLE = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".jp2", ".hdr", ".exr"}
UNREADABLE = {".tga", ".dpx", ".cin", ".sgi", ".rgb", ".psd", ".j2c"}
"""Images that Blender reads and this does not: FFmpeg would take one for a movie of one frame."""


@dataclass(frozen=True)
class Format:
    """A way to write images."""

    id: str
    extension: str
    kinds: tuple[type[Any], ...]
    """What it can hold, as numpy's types; the deepest last."""
    alpha: bool
    encode: Callable[[Image], bytes]

    def converted(self, image: Image) -> Image:
        """The image in the deepest of the format's types that it needs; whole numbers are rounded."""
        if image.dtype.type in self.kinds:
            return image
        deepest = self.kinds[-1]
        if np.issubdtype(deepest, np.integer):
            if image.dtype == np.uint8:
                return image.astype(np.uint16) * np.uint16(257)
            return ((image.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
        top = np.iinfo(image.dtype).max if np.issubdtype(image.dtype, np.integer) else 1
        # half a float tells 8 bits apart, and not 16
        kind = self.kinds[0] if image.dtype == np.uint8 else deepest
        return (image.astype(np.float32) / np.float32(top)).astype(kind)


def _opencv(extension: str, *parameters: int) -> Callable[[Image], bytes]:
    def encode(image: Image) -> bytes:
        code = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
        written, data = cv2.imencode(extension, cv2.cvtColor(image, code), list(parameters))
        if not written:
            raise InputError(f"A {extension} file of {image.shape[1]}x{image.shape[0]} pixels cannot be written.")
        return bytes(data)

    return encode


def _exr(compression: str) -> Callable[[Image], bytes]:
    def encode(image: Image) -> bytes:
        import OpenEXR  # here: only who works with EXR needs it

        header = {"compression": getattr(OpenEXR, compression), "type": OpenEXR.scanlineimage}
        channels = {"RGBA" if image.shape[2] == 4 else "RGB": np.ascontiguousarray(image)}
        # the library writes to paths alone
        try:
            with TemporaryDirectory(prefix="lento-") as folder:
                path = Path(folder) / "frame.exr"
                with OpenEXR.File(header, channels) as file:
                    file.write(str(path))
                data = path.read_bytes()
        except (OSError, RuntimeError) as error:
            raise _no_room_for_exr(str(error)) from error
        # when it closes a file, the library says nothing of what no longer fits
        if not is_whole(BytesIO(data), ".exr"):
            raise _no_room_for_exr("only a part of the file was written")
        return data

    return encode


def _no_room_for_exr(cause: str) -> InputError:
    return InputError(
        f"OpenEXR files are made in the system's temporary folder, and it cannot be written ({cause.rstrip('.')}): "
        "free some space there, or set TMPDIR to another folder, and start again. Finished frames are kept, and the "
        "job goes on after them."
    )


FORMATS = {
    made.id: made
    for made in (
        Format("png", ".png", (np.uint8,), True, png.encode),
        Format("png16", ".png", (np.uint16,), True, png.encode),
        Format("exr", ".exr", (np.float16, np.float32), True, _exr("ZIP_COMPRESSION")),
        Format("exr_dwaa", ".exr", (np.float16,), True, _exr("DWAA_COMPRESSION")),
        Format("tiff", ".tif", (np.uint8, np.uint16), True, _opencv(".tif", cv2.IMWRITE_TIFF_COMPRESSION, 8)),
        Format("jpeg", ".jpg", (np.uint8,), False, _opencv(".jpg", cv2.IMWRITE_JPEG_QUALITY, 95)),
    )
}


def read(path: Path) -> Image:
    """An image file as it is, without the rotation that a camera may have noted in it (Blender leaves that alone, too).

    Raises InputError where the file is not there, is no image, or is only a part of one.
    """
    if path.suffix.lower() == ".exr":
        return _read_exr(path)
    try:
        # not cv2.imread: on Windows it cannot open a path outside of the system's code page
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check that the file is there.") from error
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if image is None and path.suffix.lower() in UNREADABLE:
        raise not_read(path)
    if image is None:
        raise InputError(f"{path} is no image that can be read, or only a part of one: {RENEW}.")
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def not_read(path: Path) -> InputError:
    """What is to be said of an image in a format that is not read."""
    return InputError(
        f"{path} is an image in a format that is not read ({path.suffix}): convert the images, for example to PNG or "
        "OpenEXR, and slow those."
    )


def _read_exr(path: Path) -> Image:
    import OpenEXR

    try:
        # apart, since the library joins none of which one is half and another is not
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels = {name: channel.pixels for name, channel in file.channels().items()}
    except (RuntimeError, OSError, ValueError) as error:
        raise InputError(f"{path} is no OpenEXR image that can be read ({error}): {RENEW}.") from error
    for colours in (("R", "G", "B"), ("Y", "Y", "Y")):
        if channels.keys() >= set(colours):
            chosen = [channels[name] for name in (*colours, *("A" for name in channels if name == "A"))]
            kind = np.float16 if all(channel.dtype == np.float16 for channel in chosen) else np.float32
            return cv2.merge([channel.astype(kind, copy=False) for channel in chosen])
    raise InputError(
        f"{path} holds no colour channels R, G, B (it has {', '.join(sorted(channels)[:5])}): save the layer that you "
        "need as an image of its own."
    )
