# SPDX-License-Identifier: GPL-3.0-or-later
"""Files -> frames: movies and image sequences, streamed, so that memory does not grow with the clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .color import Encoding
from .images import READABLE, UNREADABLE, Image, not_read
from .messages import InputError
from .movies import Movie
from .sequences import ImageSequence, sequence_from, sequence_in, with_holes_held

DEFAULT_SEQUENCE_FPS = Fraction(24)

Warn = Callable[[str], None]


class Source(Protocol):
    """Media that frames are read from; a context manager that closes its file."""

    path: Path
    """The movie, or the folder of the image sequence."""
    files: tuple[str, ...]
    """Names of the image sequence's files, in order; empty for a movie."""
    fps: Fraction
    """Frames per second."""
    size: tuple[int, int]
    """Width and height as shown, pixels."""
    count: int
    """Number of frames."""
    kind: np.dtype[Any]
    """Type of the numbers in its frames: how deep they are."""
    has_alpha: bool
    encoding: Encoding
    """What those numbers mean."""

    def frames(self, start: int, end: int) -> Iterator[Image]:
        """Frames `start` to `end` (not included) in order, as images.Image.

        Raises InputError where the media cannot give one of them.
        """
        ...

    def __enter__(self) -> Source: ...

    def __exit__(self, *exc: object) -> None: ...


def open_source(
    path: str | Path, files: Sequence[str] = (), fps: Fraction | None = None, warn: Warn = lambda text: None
) -> Source:
    """Open a movie, or an image sequence: a folder, one of its files, or a folder with the names of its files.

    `fps` is an image sequence's frame rate. Raises InputError where there is nothing that can be read.
    """
    path = Path(path)
    if files:
        return ImageSequence(path, with_holes_held(path, files, warn), fps or DEFAULT_SEQUENCE_FPS)
    if not path.exists():
        raise InputError(f"{path} does not exist: check the name, or find the missing file first.")
    if path.is_dir():
        return ImageSequence(path, sequence_in(path, warn), fps or DEFAULT_SEQUENCE_FPS)
    if path.suffix.lower() in READABLE:
        return ImageSequence(path.parent, sequence_from(path, warn), fps or DEFAULT_SEQUENCE_FPS)
    if path.suffix.lower() in UNREADABLE:
        raise not_read(path)
    return Movie(path, warn)
