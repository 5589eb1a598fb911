# SPDX-License-Identifier: GPL-3.0-or-later
"""Frames -> files: complete or absent, and never over the frames of another job.

A folder of frames:

    000001.png ...   contiguous
    .job             digest of the job that the folder belongs to, written before the first frame
    sound-1.wav      the stretched sound, where the clip has one
    slow.mkv         the frames as a movie, where the job asks for one; it takes the place of their files
    result.json      what every frame is, written after the last one
    .lock            held while a worker writes here; the operating system lets go of it when the worker ends
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import locks
from .encode import MOVIES, MovieFormat
from .images import FORMATS, READABLE, Format, Image
from .job import Job
from .messages import InputError
from .plan import OutputFrame, file_name
from .whole import is_whole

OWNER, RESULT, LOCK, MOVIE = ".job", "result.json", ".lock", "slow"
PART = ".part"


def sound_name(number: int | str) -> str:
    """The file of a stretched sound, counted from 1."""
    return f"sound-{number}.wav"


def _one_of(made: Iterable[Format | MovieFormat]) -> str:
    return f"({'|'.join(sorted({re.escape(one.extension) for one in made}))})"


MADE = rf"[0-9]{{6,}}{_one_of(FORMATS.values())}|{MOVIE}{_one_of(MOVIES.values())}"
"""Names of the frames and the movie that jobs make, in any format."""
BESIDE = "|".join(map(re.escape, (OWNER, RESULT, sound_name("N")))).replace("N", "[0-9]+")
"""Names of what they write beside those."""
HALF_WRITTEN = rf"({MADE}|{BESIDE}){re.escape(PART)}"
DIGEST = "[0-9a-f]{8}"


class Sink:
    """The output folder of one job. Frames may be written from several threads."""

    def __init__(self, job: Job, image_format: Format, movie: MovieFormat | None = None) -> None:
        self.folder = Path(job.output)
        self._format = image_format
        self._movie = f"{MOVIE}{movie.extension}" if movie else ""
        self._job = job

    @contextmanager
    def opened(self) -> Iterator[Sink]:
        """Make the folder, take it for this job and process, and clear away what a killed worker left half-written.

        Raises InputError where the folder cannot be written, belongs to another job, or is in use by another worker.
        """
        with self._explained("prepare the folder"):
            self.folder.mkdir(parents=True, exist_ok=True)
            is_new = not (self.folder / LOCK).exists()
            # appending: a file of that name that is somebody else's stays as it is
            lock = open(self.folder / LOCK, "ab")  # noqa: SIM115  (closed below; closing it lets the lock go)
        try:
            if not locks.take(lock):  # without locks, atomic renames still keep the frames whole
                raise InputError(
                    f"{self.folder} is in use by another worker that slows the same range: wait for it, or cancel it."
                )
            try:
                with self._explained("prepare the folder"):
                    self._claim()
            except BaseException:
                lock.close()  # first: Windows deletes no open file
                if is_new:
                    (self.folder / LOCK).unlink(missing_ok=True)
                raise
            yield self
        finally:
            lock.close()

    def _claim(self) -> None:
        digest, owner = self._job.digest(), self._owner()
        if owner == digest:
            self._remove(HALF_WRITTEN)
            return
        if owner and not re.fullmatch(DIGEST, owner):
            raise InputError(
                f"{self.folder} holds a file {OWNER} that is not Lento's: choose another folder, or an empty one."
            )
        if owner and self._files(MADE):
            raise InputError(
                f"{self.folder} holds the frames of another job (other media, range, factor or engine): choose "
                "another folder, or delete this one if its frames are not needed."
            )
        if owner:  # that job ended before its first frame
            self._remove(f"{BESIDE}|{HALF_WRITTEN}")
        if foreign := sorted(path.name for path in self.folder.iterdir() if self._is_of_a_job(path)):
            raise InputError(
                f"{self.folder} holds {foreign[0]}, and images, movies, sounds or results there are not this job's: "
                "choose another folder, or an empty one."
            )
        self.write_file(OWNER, digest.encode())

    def _owner(self) -> str:
        """The digest of the job that the folder belongs to; empty where there is none."""
        try:
            return (self.folder / OWNER).read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return ""

    def _files(self, names: str) -> list[Path]:
        """What the folder holds under names that match the pattern."""
        return [path for path in self.folder.iterdir() if re.fullmatch(names, path.name)]

    def _remove(self, names: str) -> None:
        for path in self._files(names):
            path.unlink()

    def _is_of_a_job(self, path: Path) -> bool:
        """Whether a job may write, or take over, a file of that name."""
        return path.suffix in READABLE or path.name in (self._movie, RESULT) or path.match(sound_name("[0-9]*"))

    def missing(self, frames: Sequence[OutputFrame]) -> list[OutputFrame]:
        """Those of the job's frames that are not there yet, in order."""
        if self.movie_is_written():
            return []
        return [frame for frame in frames if not self._is_written(file_name(frame.number, self._format.extension))]

    def _is_written(self, name: str) -> bool:
        try:
            with open(self.folder / name, "rb") as file:
                return is_whole(file, self._format.extension)
        except OSError:
            return False

    def write_frame(self, frame: OutputFrame, image: Image) -> None:
        """Write one frame in the job's format."""
        self.write_file(
            file_name(frame.number, self._format.extension), self._format.encode(self._format.converted(image))
        )

    def path_of(self, frame: OutputFrame) -> Path:
        """A frame's file."""
        return self.folder / file_name(frame.number, self._format.extension)

    def movie_is_written(self) -> bool:
        """Whether the job's movie is complete."""
        return bool(self._movie) and (self.folder / self._movie).exists()

    def write_movie(self, write: Callable[[Path], None]) -> None:
        """Have `write` write the job's movie aside and rename it, so that it is complete or absent."""
        part = self.folder / f"{self._movie}{PART}"
        try:
            with self._explained(f"write {self._movie}"):
                write(part)
                os.replace(part, self.folder / self._movie)
        finally:
            part.unlink(missing_ok=True)

    def remove_images(self, frames: Sequence[OutputFrame]) -> None:
        """Remove the frames' files: the movie has them."""
        for frame in frames:
            self.path_of(frame).unlink(missing_ok=True)

    def write_result(self, result: dict[str, Any], frames: Sequence[OutputFrame]) -> Path:
        """Write result.json with the entry of every frame; the job is then complete."""
        extension, named = ("", {"movie": self._movie}) if self._movie else (self._format.extension, {})
        result = {**result, **named, "frames": [frame.as_json(extension) for frame in frames]}
        self.write_file(RESULT, json.dumps(result, indent=1).encode())
        return self.folder / RESULT

    def write_file(self, name: str, data: bytes) -> None:
        """Write a file aside and rename it, so that it is complete or absent.

        Raises InputError where the disk is full or the folder cannot be written; nothing half-written stays.
        """
        part = self.folder / f"{name}{PART}"
        with self._explained(f"write {name}", lambda: part.unlink(missing_ok=True)):
            with open(part, "wb") as file:
                file.write(data)
            os.replace(part, self.folder / name)

    @contextmanager
    def _explained(self, doing: str, undo: Callable[[], object] = lambda: None) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            undo()
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise InputError(
                    f"The disk of {self.folder} is full: free some space and start again. Finished frames are kept, "
                    "and the job goes on after them."
                ) from error
            raise InputError(
                f"Cannot {doing} in {self.folder} ({error.strerror}): choose a folder that can be written."
            ) from error
