# SPDX-License-Identifier: GPL-3.0-or-later
"""Image sequences: which files one is made of, and their frames."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from . import images
from .color import Encoding
from .images import Image
from .messages import InputError

Warn = Callable[[str], None]

MOST_HOLES, MOST_HOLES_EACH = 1000, 10
"""Missing images, in all and for each that is there, beyond both of which numbers are no frames: the time, a date."""


def _number(name: str) -> tuple[str, int, str] | None:
    """A name's last run of digits, with what stands before and after it: "shot_0012.jp2" -> ("shot_", 12, ".jp2")."""
    suffix = Path(name).suffix
    match = re.fullmatch(r"(.*?)(\d+)(\D*)", name.removesuffix(suffix))
    return (match[1], int(match[2]), f"{match[3]}{suffix}") if match else None


def sequence_in(folder: Path, warn: Warn = lambda text: None) -> list[str]:
    """Names of the one image sequence in a folder, in the order of their numbers; holes as in `sequence_from`.

    Hidden files, as macOS puts beside others, do not count. Raises InputError where the folder holds no images, or more
    than one sequence.
    """
    runs: dict[tuple[str, str], dict[int, str]] = {}
    unreadable: list[Path] = []
    for entry in folder.iterdir():
        parts = None if entry.name.startswith(".") else _number(entry.name)
        if parts and entry.suffix.lower() in images.READABLE:
            runs.setdefault((parts[0], parts[2]), {})[parts[1]] = entry.name
        elif parts and entry.suffix.lower() in images.UNREADABLE:
            unreadable.append(entry)
    if not runs and unreadable:
        raise images.not_read(min(unreadable))
    if not runs:
        raise InputError(f"{folder} holds no numbered images: name a movie, or the first file of an image sequence.")
    if len(runs) > 1:
        firsts = ", ".join(sorted(numbered[min(numbered)] for numbered in runs.values())[:5])
        raise InputError(f"{folder} holds several image sequences: name the first file of one ({firsts}).")
    return _without_holes(folder, next(iter(runs.values())), warn)


def sequence_from(first: Path, warn: Warn = lambda text: None) -> list[str]:
    """Names of the image sequence that `first` begins, in the order of their numbers.

    Where a number is missing, the image before it is held, and `warn` is told. Raises InputError where the name has no
    number.
    """
    parts = _number(first.name)
    if parts is None:
        raise InputError(
            f"{first} has no number in its name, so no sequence begins there: name a movie, a folder of numbered "
            "images, or the first of them."
        )
    numbered = {parts[1]: first.name}
    for entry in first.parent.iterdir():
        other = _number(entry.name)
        if other and (other[0], other[2]) == (parts[0], parts[2]) and other[1] > parts[1]:
            numbered[other[1]] = entry.name
    return _without_holes(first.parent, numbered, warn)


def _without_holes(folder: Path, numbered: dict[int, str], warn: Warn) -> list[str]:
    first, last = min(numbered), max(numbered)
    holes = last - first + 1 - len(numbered)
    if holes > max(MOST_HOLES, MOST_HOLES_EACH * len(numbered)):
        raise InputError(
            f"{folder} holds {len(numbered)} images numbered {first} to {last}, so {holes} would be missing: "
            "that is no sequence. Number them one after the other (1, 2, 3), each sequence in a folder of its own."
        )
    numbers = range(first, last + 1)
    missing = [number for number in numbers if number not in numbered]
    if missing:
        some = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        warn(f"{folder} lacks images of its sequence ({some}): for each, the image before it is held.")
    names: list[str] = []
    for number in numbers:
        names.append(numbered.get(number) or names[-1])
    return names


def with_holes_held(folder: Path, files: Sequence[str], warn: Warn) -> list[str]:
    """These files with the one before in the place of each that is not there; `warn` is told which those are.

    Raises InputError where the first is missing.
    """
    names: list[str] = []
    missing = []
    for index, name in enumerate(files):
        if (folder / name).exists():
            names.append(name)
        elif names:
            names.append(names[-1])
            missing.append(f"{name} (frame {index})")
        else:
            raise InputError(f"{folder / name}, the first image of the sequence, is not there: find it first.")
    if missing:
        some = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        warn(f"{folder} lacks images of its sequence, {some}: for each, the image before it is held.")
    return names


class ImageSequence:
    """Image files, one a frame."""

    def __init__(self, folder: Path, files: Sequence[str], fps: Fraction) -> None:
        self.path = folder
        self.files = tuple(files)
        self.fps = fps
        self.count = len(files)
        first = images.read(folder / files[0])
        self.size = (first.shape[1], first.shape[0])
        is_float = np.issubdtype(first.dtype, np.floating)
        self.encoding = Encoding(linear=is_float, premultiplied=is_float)
        self.kind, self.has_alpha, self._shape = first.dtype, first.shape[2] == 4, first.shape

    def frames(self, start: int, end: int) -> Iterator[Image]:
        """See Source.frames."""
        for index in range(start, end):
            image = images.read(self.path / self.files[index])
            if (image.shape, image.dtype) != (self._shape, self.kind):
                raise InputError(
                    f"{self.path / self.files[index]} is {_described(image.shape, image.dtype)}, the first image "
                    f"{_described(self._shape, self.kind)}: a sequence needs images of one kind."
                )
            yield image

    def __enter__(self) -> ImageSequence:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing is held open."""


def _described(shape: tuple[int, ...], kind: np.dtype[Any]) -> str:
    alpha = " with alpha" if shape[2] == 4 else ""
    return f"{shape[1]}x{shape[0]} pixels of {8 * kind.itemsize} bits{alpha}"
