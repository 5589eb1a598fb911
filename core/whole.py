# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an image file that a job wrote is whole.

A disk that was full, a copy that broke off or a machine that lost power may leave a file that is cut short. Decoding
thousands of frames to find that out would take minutes: here a few bytes of every file say where it has to end.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from functools import partial
from typing import IO, Any

from . import png

JPEG_END = b"\xff\xd9"
TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
"""Bytes of one value of each of TIFF's types."""


def is_whole(file: IO[bytes], extension: str) -> bool:
    """Whether the open file ends where a file of that format (".png") has to end."""
    size = file.seek(0, os.SEEK_END)
    try:
        return CHECKS[extension](file, size)
    except (struct.error, KeyError):  # it ends within what says where it ends
        return False


def _ends_with(end: bytes, file: IO[bytes], size: int) -> bool:
    file.seek(max(0, size - len(end)))
    return file.read() == end


def _is_whole_tiff(file: IO[bytes], size: int) -> bool:
    """As OpenCV writes it: the directory, and the values that have no room in it, come after the pixels.

    Format: TIFF 6.0, section 2.
    """
    _, start = _unpacked("<4sI", file, 0)
    (count,) = _unpacked("<H", file, start)
    for position in range(count):
        _, kind, values, offset = _unpacked("<HHII", file, start + 2 + 12 * position)
        length = TIFF_SIZES[kind] * values
        if length > 4 and offset + length > size:
            return False
    return bool(count > 0 and start + 2 + 12 * count + 4 <= size)


def _is_whole_exr(file: IO[bytes], size: int) -> bool:
    """As OpenEXR writes scan lines: the header, a table of where their chunks begin, the chunks in their order.

    Format: "OpenEXR File Layout", openexr.com.
    """
    file.seek(8)
    while _text(file):  # an attribute: name, type, size, value
        _text(file)
        (length,) = struct.unpack("<i", file.read(4))
        file.seek(length, os.SEEK_CUR)
    table = file.tell()
    (first,) = _unpacked("<Q", file, table)
    (last,) = _unpacked("<Q", file, first - 8)
    _, length = _unpacked("<ii", file, last)
    return bool(table < first <= last and last + 8 + length == size)


def _text(file: IO[bytes]) -> bytes:
    text = b""
    while (letter := file.read(1)) != b"\0":
        if not letter or len(text) > 255:
            raise struct.error("no end of a name")
        text += letter
    return text


def _unpacked(layout: str, file: IO[bytes], position: int) -> tuple[Any, ...]:
    if position < 0:
        raise struct.error("before the file's beginning")
    file.seek(position)
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


CHECKS: dict[str, Callable[[IO[bytes], int], bool]] = {
    ".png": partial(_ends_with, png.END),
    ".jpg": partial(_ends_with, JPEG_END),
    ".tif": _is_whole_tiff,
    ".exr": _is_whole_exr,
}
