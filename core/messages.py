# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's side of the conversation: one JSON record a line, and how a worker ends.

Standard library only: Blender imports this module too.

A record is an object with a "kind" and that kind's fields:

    {"kind": "status", "text": "Opening clip.mp4"}
    {"kind": "progress", "done": 12, "total": 80, "fps": 9.3, "remaining": 7.3, "phase": ""}
    {"kind": "warning", "text": "..."}
    {"kind": "error", "text": "...", "code": 2}
    {"kind": "done", "code": 0, "result": "/abs/path/result.json"}
    {"kind": "ready", "memory": 301989888, "device_memory": 0}

`done` is always a job's last record, also after an error, and carries the exit code of the process; only a worker that
stays for the next job (`serve`) says `ready` after it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import IO, ClassVar

JOB_LINE = '{"job": "/path/job.json", "log": "/path/worker.log"}'
"""What such a worker reads: a line like this for each job."""


EMPTY_NAME = "its name is empty, as an unset shell variable is"
"""Why a command line refuses a name, or the first part of it."""


class ExitCode(IntEnum):
    """How a worker ended; the exit status of its process."""

    DONE = 0
    BAD_INPUT = 2
    ENGINE_FAILED = 3
    CANCELLED = 4


class Failure(Exception):  # noqa: N818  (an end, not always an error: Cancelled is one)
    """A job cannot go on. The text is a sentence for the user: what happened, to what, what to do."""

    code = ExitCode.ENGINE_FAILED


class InputError(Failure):
    """The input, an option or the output folder is at fault; another try needs a change by the user."""

    code = ExitCode.BAD_INPUT


class Cancelled(Failure):
    """The user, or the program that started the worker, asked it to stop."""

    code = ExitCode.CANCELLED


@dataclass(frozen=True)
class Status:
    """What the worker is doing now, in a few words."""

    kind: ClassVar[str] = "status"
    text: str


@dataclass(frozen=True)
class Progress:
    """What is finished of all; how much of it a second so far; seconds left, where they can be told."""

    kind: ClassVar[str] = "progress"
    done: int
    total: int
    fps: float
    remaining: float | None
    phase: str = ""
    """What is done where it is not a job's main work: "Rendering", "Encoding"; of a download, the file's name."""
    unit: str = "frames"
    """frames or bytes."""


@dataclass(frozen=True)
class Warning:
    """The job goes on, and the user should know this about its result."""

    kind: ClassVar[str] = "warning"
    text: str


@dataclass(frozen=True)
class Error:
    """Why the job ends without its result."""

    kind: ClassVar[str] = "error"
    text: str
    code: int


@dataclass(frozen=True)
class Done:
    """The last record: the exit code, and the path of result.json where there is one."""

    kind: ClassVar[str] = "done"
    code: int
    result: str | None = None


@dataclass(frozen=True)
class Ready:
    """After a job's `done`, from a worker that stays for the next: the memory that it keeps, in bytes."""

    kind: ClassVar[str] = "ready"
    memory: int
    device_memory: int = 0
    """On the graphics card."""


Record = Status | Progress | Warning | Error | Done | Ready
KINDS: dict[str, type[Record]] = {cls.kind: cls for cls in (Status, Progress, Warning, Error, Done, Ready)}


def encode(record: Record) -> str:
    """One line of JSON, without the line's end."""
    return json.dumps({"kind": record.kind, **asdict(record)}, ensure_ascii=True)


def decode(line: str) -> Record:
    """The record that `encode` wrote.

    Raises ValueError for anything else, so that a reader never takes noise for a message.
    """
    data = json.loads(line)
    if not isinstance(data, dict) or data.get("kind") not in KINDS:
        raise ValueError(f"not a record of the worker: {line[:200]!r}")
    kind = KINDS[data.pop("kind")]
    try:
        return kind(**data)
    except TypeError as error:
        raise ValueError(f"a record with other fields than {kind.__name__}'s: {line[:200]!r}") from error


class Messenger:
    """Writes records for a program (`as_json`) or lines for people, and owns the stream while it does."""

    def __init__(self, stream: IO[str], as_json: bool) -> None:
        self._stream = stream
        self._as_json = as_json
        self._on_progress_line = False
        self._told_part = -1
        self._lock = threading.Lock()
        self._done: Done | None = None

    def begin(self) -> None:
        """A job begins, the first or the next one."""
        with self._lock:
            self._done = None

    def end(self, done: Done, said: Record | None = None) -> int:
        """Write a job's last records, `said` and `done`, and return the exit code.

        Two may come to end it: the job itself, and who watches that it hears of being cancelled. The first is written;
        the other gets its code.
        """
        with self._lock:
            if self._done is None:
                self._done = done
                if said is not None:
                    self._write(said)
                self._write(done)
            return self._done.code

    def send(self, record: Record) -> None:
        """Write one record and flush it.

        After a job's end nothing but Ready is written: a thread that it left behind may still have something to say. A
        reader that has gone away (a closed pipe) is no error of the job's: whoever watches over the worker decides
        whether it goes on.
        """
        with self._lock:
            if self._done is None or isinstance(record, Ready):
                self._write(record)

    def _write(self, record: Record) -> None:
        text = encode(record) + "\n" if self._as_json else self._readable(record)
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # a pipe that is closed, or a terminal that has hung up
            self._stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  (for the rest of the process)

    def _is_due(self, progress: Progress) -> bool:
        """A log gets a line for every twentieth part of the work, a screen every frame."""
        part = 20 * progress.done // max(1, progress.total)
        due, self._told_part = part != self._told_part, part
        return due

    def _readable(self, record: Record) -> str:
        start = "\n" if self._on_progress_line and not isinstance(record, Progress) else ""
        self._on_progress_line = isinstance(record, Progress)
        match record:
            case Status(text):
                return f"{start}{text}\n"
            case Progress():
                line = describe(record)
                if self._stream.isatty():
                    return f"\r{line}\x1b[K"
                self._on_progress_line = False
                return line + "\n" if self._is_due(record) else ""
            case Warning(text):
                return f"{start}Warning: {text}\n"
            case Error(text):
                return f"{start}Error: {text}\n"
            case Done(code, result):
                return f"{start}Done: {result}\n" if code == ExitCode.DONE and result else start
            case Ready():
                return start
        raise TypeError(f"not a record: {record!r}")


def describe(progress: Progress) -> str:
    """A progress record for people: "128/480 frames, 31.0 fps, 0:11 left"."""
    if progress.unit == "bytes":
        text = f"{progress.phase}: {progress.done / 1e6:.0f} of {progress.total / 1e6:.0f} MB"
        text += f", {progress.fps / 1e6:.1f} MB/s" if progress.fps > 0 else ""
    else:
        text = f"{progress.phase} {progress.done}/{progress.total} frames".lstrip()
        text += f", {progress.fps:.1f} fps" if progress.fps > 0 else ""
    if progress.remaining is not None:
        minutes, seconds = divmod(round(progress.remaining), 60)
        hours, minutes = divmod(minutes, 60)
        clock = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
        text += f", {clock} left"
    return text


def claim_stdout() -> IO[str]:
    """Take the process's standard output for records alone and return the stream for them.

    From here on everything else that writes to standard output, Python's print as well as a C library's printf,
    lands on standard error.
    """
    sys.stdout.flush()
    private = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    # a file's name on Linux may hold bytes that are no text
    return open(private, "w", encoding="utf-8", errors="backslashreplace", newline="\n")
