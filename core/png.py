# SPDX-License-Identifier: GPL-3.0-or-later
"""PNG files, written fast: one filter for the whole picture and ISA-L's deflate.

OpenCV's writer takes 53 ms for a 1280x720 frame, most of it in zlib, which would be half of the time of a whole job.
Format: W3C Portable Network Graphics, third edition. Of its filters "Up" serves all rows: on footage, Paeth makes files
1 % smaller or larger and takes three times as long.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

try:
    from isal import isal_zlib
except ImportError:  # no wheel for this platform: zlib writes the same pixels in about three times the time
    isal_zlib = None  # type: ignore[assignment,unused-ignore]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
UP = 2
COLOR_TYPES = {3: 2, 4: 6}


def encode(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """A complete PNG file of (H, W, 3) red, green, blue, or (H, W, 4) with straight alpha, in 8 or 16 bits."""
    height, width, channels = pixels.shape
    if channels not in COLOR_TYPES or pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"(H, W, 3 or 4) of uint8 or uint16 expected, not {pixels.shape} of {pixels.dtype}")
    depth = 8 * pixels.dtype.itemsize
    # the file's samples are big-endian, and the filter works on bytes
    rows = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, depth, COLOR_TYPES[channels], 0, 0, 0)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", _deflate(filtered)) + END


def _deflate(data: NDArray[np.uint8]) -> bytes:
    if isal_zlib is not None:
        return bytes(isal_zlib.compress(data, 2))
    return zlib.compress(data, 1)


def _chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)
