# SPDX-License-Identifier: GPL-3.0-or-later
"""Clips: what is in them, found once, and all their frames, mapped from files or on a device.

Frames are counted as they are coded, whatever their times: a source would repeat or drop some to keep its rate.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...analysis import Analysis, look_at
from ...color import Encoding, decoded
from ...disk import explained
from ...messages import InputError
from ...movies import open_file
from ..files import aside

VERSION = 1
"""Of the index and of the files of frames; to be raised where they become others."""
NO_CLIPS = (".md", ".txt", ".json")
"""Suffixes of files beside the clips. FFmpeg would draw a text as a terminal does."""
SIDE = 288
"""Pixels of a picture's shorter side; clips with a smaller one are left out."""
LEAST = 3
"""Frames of a stretch."""
SMALL = 8
"""Pixels of a side of what one pixel of a thumbnail shows."""
CHUNK = 16
"""Frames that are sent to a device at once."""

Frames = NDArray[np.uint8]
"""(H, W, 3), or (N, H, W, 3)"""
Thumbnails = NDArray[np.uint8]
"""(N, H / SMALL, W / SMALL), grey"""
Greys = NDArray[np.uint8]
"""(N, H, W)"""


@dataclass(frozen=True)
class Clip:
    """What the index knows of a clip."""

    name: str
    """Its path from the folder on."""
    file_size: int
    """Bytes."""
    frames: int
    height: int
    width: int
    stretches: tuple[tuple[int, int], ...]
    """First frame and length of every part with neither a cut nor a repeated frame within, LEAST long or longer."""

    @property
    def usable(self) -> int:
        """Frames in stretches."""
        return sum(length for _, length in self.stretches)

    @property
    def series(self) -> str:
        """What is one of a kind: all clips of a folder in the folder, or a clip by itself."""
        return Path(self.name).parent.as_posix() if "/" in self.name else self.name

    @property
    def stamp(self) -> str:
        """Names the files that are made of it."""
        return _hash([self.name, self.file_size])


def index(folder: Path, cache: Path) -> list[Clip]:
    """Clips that can be trained with, the largest first, from a file in `cache` that is made where missing.

    Raises InputError where there is none.
    """
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    files = sorted(
        (path.relative_to(folder).as_posix(), path.stat().st_size)
        for path in paths
        if path.suffix.lower() not in NO_CLIPS
    )
    path = cache / f"index-{_hash(files)}.json"
    if not path.exists():
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            looked_at = pool.map(lambda file: _looked_at(folder, *file), files)
            clips = [clip for clip in looked_at if clip.stretches and min(clip.height, clip.width) >= SIDE]
        if not clips:
            raise InputError(f"{folder} holds no clips to train with: name a folder of movies.")
        with explained(f"The cache {cache}"):
            cache.mkdir(parents=True, exist_ok=True)
            with aside(path) as part:
                part.write_text(json.dumps([asdict(clip) for clip in clips]), encoding="utf-8")
    known = json.loads(path.read_text(encoding="utf-8"))
    clips = [Clip(**{**clip, "stretches": tuple(map(tuple, clip["stretches"]))}) for clip in known]
    # threads take them in this order, and none is left with a large one at the end
    return sorted(clips, key=lambda clip: (-clip.frames * clip.height * clip.width, clip.name))


def _looked_at(folder: Path, name: str, size: int) -> Clip:
    analysis = Analysis(cuts=True, repeats=True)
    height = width = 0
    for image in coded(folder / name):
        height, width = image.shape[:2]
        if min(height, width) < SIDE:
            break
        analysis.add(look_at(image, Encoding()))
    count = len(analysis.repeated)
    repeats = {number for number, same in enumerate(analysis.repeated) if same}
    edges = sorted({0, count} | analysis.cuts() | repeats)
    stretches = tuple((first, end - first) for first, end in pairwise(edges) if end - first >= LEAST)
    return Clip(name, size, count, height, width, stretches)


def coded(clip: Path) -> Iterator[Frames]:
    """The frames in a file, in 8 bits, up to where it is damaged or they change their size; none of what is no clip."""
    shape: tuple[int, ...] = ()
    try:
        with open_file(clip) as container:
            if not container.streams.video or container.streams.video[0].codec_context is None:
                return
            container.streams.video[0].thread_type = "AUTO"
            for frame in container.decode(video=0):
                image = decoded(frame)[..., :3]
                if image.dtype != np.uint8:
                    image = cv2.convertScaleAbs(np.ascontiguousarray(image), alpha=1 / 257)
                shape = shape or image.shape
                if image.shape != shape:
                    return
                yield np.ascontiguousarray(image)
    except (av.error.FFmpegError, ValueError):
        return


def mapped(clip: Clip, folder: Path, cache: Path) -> tuple[Tensor, Thumbnails]:
    """A clip's frames and thumbnails, from files in `cache` that are made where missing."""
    path, small = cache / f"frames-{clip.stamp}.npy", cache / f"thumbnails-{clip.stamp}.npy"
    if not (path.exists() and small.exists()):
        with explained(f"The cache {cache}"), aside(path) as part, aside(small) as small_part:
            _write(clip, folder, part, small_part)
    # copied where written to, which nobody does: PyTorch warns of memory that it cannot write to
    return torch.from_numpy(np.load(path, mmap_mode="c")), np.load(small)


def _write(clip: Clip, folder: Path, path: Path, small: Path) -> None:
    thumbnails = _no_thumbnails(clip)
    # not by writing into a map: where the disk is full, that ends the process
    with path.open("wb") as file:
        shape = (clip.frames, clip.height, clip.width, 3)
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for number, image in enumerate(_expected(clip, folder)):
            file.write(image.data)
            thumbnails[number] = _thumbnail(image)
    with small.open("wb") as file:
        np.save(file, thumbnails)


def held(clip: Clip, folder: Path, device: torch.device, greys: Greys | None = None) -> tuple[Tensor, Thumbnails]:
    """A clip's frames, decoded straight into the memory of a device, and its thumbnails; `greys` is written to."""
    frames = torch.empty(clip.frames, clip.height, clip.width, 3, dtype=torch.uint8, device=device)
    thumbnails = _no_thumbnails(clip)
    chunk = torch.empty(CHUNK, *frames.shape[1:], dtype=torch.uint8, pin_memory=device.type == "cuda")
    pixels = chunk.numpy()
    for number, image in enumerate(_expected(clip, folder)):
        thumbnails[number] = _thumbnail(image)
        pixels[number % CHUNK] = image
        if greys is not None:
            cv2.cvtColor(image, cv2.COLOR_RGB2GRAY, greys[number])
        filled = number % CHUNK + 1
        if filled == CHUNK or number == clip.frames - 1:
            frames[number + 1 - filled : number + 1].copy_(chunk[:filled])
    return frames, thumbnails


def _expected(clip: Clip, folder: Path) -> Iterator[Frames]:
    """The frames of a clip. Raises InputError where they are not those that the index tells of."""
    count, shape = 0, (clip.height, clip.width, 3)
    for image in coded(folder / clip.name):
        if image.shape != shape or count == clip.frames:
            break
        count += 1
        yield image
    else:
        if count == clip.frames:
            return
    raise InputError(
        f"{folder / clip.name} does not have the {clip.frames} frames of {clip.width}x{clip.height} pixels that its "
        "index tells of: delete the index, so that it is made anew, or get the whole file."
    )


def _no_thumbnails(clip: Clip) -> Thumbnails:
    return np.empty((clip.frames, clip.height // SMALL, clip.width // SMALL), np.uint8)


def _thumbnail(image: Frames) -> Thumbnails:
    height, width = image.shape[0] // SMALL, image.shape[1] // SMALL
    small = cv2.resize(image[: height * SMALL, : width * SMALL], (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)


def _hash(of: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps([VERSION, *of]).encode()).hexdigest()[:12]
