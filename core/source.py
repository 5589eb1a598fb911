# SPDX-License-Identifier: GPL-3.0-or-later
"""Files -> frames: movies and image sequences, streamed, so that memory does not grow with the clip.

Frame k of a movie is the last decoded frame with a timestamp of at most first + k / fps, as Blender has it: it is right
for constant and variable frame rates, start offsets and dropped frames, where "the k-th decoded frame" is not.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Protocol, cast

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from .color import decoded_rgb
from .messages import InputError

IMAGE_EXTENSIONS = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".tga"}
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

    def frames(self, start: int, end: int) -> Iterator[NDArray[np.uint8]]:
        """Frames `start` to `end` (not included) in order: (H, W, 3) red, green, blue in 0..255.

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
        return ImageSequence(path, files, fps or DEFAULT_SEQUENCE_FPS)
    if not path.exists():
        raise InputError(f"{path} does not exist: check the name, or find the missing file first.")
    if path.is_dir():
        return ImageSequence(path, sequence_in(path), fps or DEFAULT_SEQUENCE_FPS)
    if path.suffix.lower() in IMAGE_EXTENSIONS:
        return ImageSequence(path.parent, sequence_from(path, warn), fps or DEFAULT_SEQUENCE_FPS)
    return Movie(path, warn)


# ----------------------------------------------------------------------------------------------------------------
# images


def _number(name: str) -> tuple[str, int, str] | None:
    """A name's last run of digits, with what stands before and after it: "shot_0012.png" -> ("shot_", 12, ".png")."""
    match = re.fullmatch(r"(.*?)(\d+)(\D*)", name)
    return (match[1], int(match[2]), match[3]) if match else None


def sequence_in(folder: Path) -> list[str]:
    """Names of the one image sequence in a folder, in the order of their numbers.

    Raises InputError where the folder holds no images, or more than one sequence.
    """
    names = sorted(entry.name for entry in folder.iterdir() if entry.suffix.lower() in IMAGE_EXTENSIONS)
    runs: dict[tuple[str, str], list[str]] = {}
    for name in names:
        if parts := _number(name):
            runs.setdefault((parts[0], parts[2]), []).append(name)
    if not runs:
        raise InputError(f"{folder} holds no numbered images: name a movie, or the first file of an image sequence.")
    if len(runs) > 1:
        firsts = ", ".join(sorted(run[0] for run in runs.values())[:5])
        raise InputError(f"{folder} holds several image sequences: name the first file of one ({firsts}).")
    return sequence_from(folder / next(iter(runs.values()))[0])


def sequence_from(first: Path, warn: Warn = lambda text: None) -> list[str]:
    """Names of the image sequence that `first` begins, in the order of their numbers.

    Raises InputError where the name has no number.
    """
    parts = _number(first.name)
    if parts is None:
        raise InputError(f"{first} has no number in its name, so no sequence begins there.")
    numbered: dict[int, str] = {}
    for entry in first.parent.iterdir():
        other = _number(entry.name)
        if other and other[0] == parts[0] and other[2] == parts[2] and other[1] >= parts[1]:
            numbered[other[1]] = entry.name
    missing = [number for number in range(min(numbered), max(numbered)) if number not in numbered]
    if missing:
        some = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        warn(
            f"{first.parent} lacks {len(missing)} numbers of the sequence ({some}): the files that are there follow "
            "each other."
        )
    return [numbered[number] for number in sorted(numbered)]


class ImageSequence:
    """Image files, one a frame."""

    def __init__(self, folder: Path, files: Sequence[str], fps: Fraction) -> None:
        self.path = folder
        self.files = tuple(files)
        self.fps = fps
        self.count = len(files)
        first = self._read(0)
        self.size = (first.shape[1], first.shape[0])

    def frames(self, start: int, end: int) -> Iterator[NDArray[np.uint8]]:
        """See Source.frames."""
        for index in range(start, end):
            pixels = self._read(index)
            if (pixels.shape[1], pixels.shape[0]) != self.size:
                raise InputError(
                    f"{self.path / self.files[index]} is {pixels.shape[1]}x{pixels.shape[0]} pixels, the first image "
                    f"is {self.size[0]}x{self.size[1]}: a sequence needs images of one size."
                )
            yield pixels

    def _read(self, index: int) -> NDArray[np.uint8]:
        path = self.path / self.files[index]
        try:
            # not cv2.imread: on Windows it cannot open a path outside of the system's code page
            data = np.fromfile(path, np.uint8)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}): check that the file is there.") from error
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if data.size else None
        if pixels is None:
            raise InputError(f"{path} is no image that can be read, or only a part of one.")
        return cast(NDArray[np.uint8], cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))

    def __enter__(self) -> ImageSequence:
        return self

    def __exit__(self, *exc: object) -> None:
        """Nothing is held open."""


# ----------------------------------------------------------------------------------------------------------------
# movies


class Movie:
    """The first video stream of a movie file."""

    files: tuple[str, ...] = ()

    def __init__(self, path: Path, warn: Warn) -> None:
        self.path = path
        self._warn = warn
        self._container = self._open()
        try:
            if not self._container.streams.video:
                raise InputError(f"{path} has no picture: choose a movie, not a sound.")
            self._stream = self._container.streams.video[0]
            # frame threads give the same frames as one thread, sooner
            self._stream.thread_type = "AUTO"
            rate = self._stream.guessed_rate or self._stream.average_rate
            if not rate or self._stream.time_base is None:
                raise InputError(f"{path} has no frame rate: convert it to a movie with one.")
            self.fps = Fraction(rate)
            # timestamps from one frame to the next
            self._step = 1 / (self.fps * self._stream.time_base)
            first = next(self._decode(), None)
            if first is None:
                raise InputError(f"{path} holds no frame that can be decoded: the file is damaged or not complete.")
            self._first_pts = first.pts or 0
            shown = _to_rgb(first)
            self.size = (shown.shape[1], shown.shape[0])
            self.count = self._count()
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> Movie:
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the file."""
        self._container.close()

    def frames(self, start: int, end: int) -> Iterator[NDArray[np.uint8]]:
        """See Source.frames."""
        if start >= end:
            return
        wanted = start
        current: VideoFrame | None = None
        for frame in self._from(self._pts(start)):
            while current is not None and wanted < end and self._pts(wanted) < _pts_of(frame):
                yield _to_rgb(current)
                wanted += 1
            if wanted >= end:
                return
            current = frame
        # the last frame stands until the end of the stream
        while current is not None and wanted < min(end, self.count):
            if wanted > self._slot(_pts_of(current)) + max(1, self._slots(current.duration or 0)):
                break
            yield _to_rgb(current)
            wanted += 1
        if wanted < end:
            raise InputError(
                f"{self.path} ends at frame {wanted}, before frame {end - 1} that the range needs: the file is not "
                "complete. Choose a range that ends earlier, or get the whole file."
            )

    def _open(self) -> InputContainer:
        try:
            return av.open(os.fspath(self.path))
        except av.error.FFmpegError as error:
            raise InputError(f"{self.path} is no movie that can be read ({error.strerror}).") from error
        except OSError as error:
            raise InputError(f"{self.path} cannot be opened ({error.strerror}).") from error

    def _pts(self, index: int) -> int:
        """The latest timestamp that frame `index` may have."""
        # rounded, as containers round: Matroska keeps milliseconds, and 1/24 s stands there as 42; halves up, as
        # Blender does
        return self._first_pts + math.floor(index * self._step + Fraction(1, 2))

    def _slots(self, pts_distance: int) -> int:
        return round(pts_distance / self._step)

    def _slot(self, pts: int) -> int:
        return self._slots(pts - self._first_pts)

    def _decode(self) -> Iterator[VideoFrame]:
        """Frames from where the file stands, in playing order; damaged ones are left out, with a warning."""
        for packet in self._container.demux(self._stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                self._warn(f"{self.path} has a damaged frame near {self._seconds(packet.pts)}: the one before is held.")
                continue
            for frame in frames:
                if frame.pts is not None:
                    yield frame

    def _seconds(self, pts: int | None) -> str:
        return "its start" if pts is None else f"{float(pts * (self._stream.time_base or 1)):.2f} s"

    def _from(self, pts: int) -> Iterator[VideoFrame]:
        """Frames from the last one at or before `pts` on, without decoding the file from its start."""
        one_second = round(1 / (self._stream.time_base or 1))
        # Seeking goes to a key frame before, or, in containers without an index, somewhere near: then further back.
        for back in (0, 2 * one_second, 10 * one_second, None):
            target = self._first_pts if back is None else max(self._first_pts, pts - back)
            self._seek(None if target <= self._first_pts else target)
            frames = self._decode()
            first = next(frames, None)
            if first is not None and (_pts_of(first) <= pts or target <= self._first_pts):
                yield first
                yield from frames
                return
            if target <= self._first_pts:
                return

    def _seek(self, pts: int | None) -> None:
        """Go to a key frame at or before `pts`, or to the start of the file."""
        if pts is None:
            # by opening anew: not every container can seek to before its first key frame
            self._container.close()
            self._container = self._open()
            self._stream = self._container.streams.video[0]
            self._stream.thread_type = "AUTO"
        else:
            self._container.seek(pts, stream=self._stream, backward=True)

    def _count(self) -> int:
        """Number of frames, from the packets at the end of the file: headers tell more than a truncated file holds."""
        nominal = self._stream.duration or 0
        last = None
        if nominal:
            # two seconds before: a stream without an index is entered anywhere, and the last frame may come before
            # others
            self._seek(self._first_pts + max(0, nominal - round(2 / (self._stream.time_base or 1))))
            last = self._last_pts()
        if last is None:
            self._seek(None)
            last = self._last_pts()
        # not rounded: entered in the middle, an MPEG program stream tells times that are late by half a frame
        return math.floor((last - self._first_pts) / self._step + Fraction(1, 4)) + 1 if last is not None else 1

    def _last_pts(self) -> int | None:
        """The largest timestamp from where the file stands to its end; None for no packet."""
        return max(
            (
                packet.pts
                for packet in self._container.demux(self._stream)
                if packet.pts is not None and not packet.is_discard
            ),
            default=None,
        )


def _pts_of(frame: VideoFrame) -> int:
    assert frame.pts is not None  # _decode lets no other through
    return frame.pts


def _to_rgb(frame: VideoFrame) -> NDArray[np.uint8]:
    """(H, W, 3) as it is shown: the rotation that phones write into the file is carried out."""
    pixels = decoded_rgb(frame)
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))
