# SPDX-License-Identifier: GPL-3.0-or-later
"""A process of ours, and the job that it is at: start it, read its records, stop it. Knows nothing of Blender.

Nothing here waits: threads read from the process and write to it, records are handed over by `poll`, and a process that
does not stop when it is asked to is killed. It is asked by the end of its standard input, which comes on every system,
and also where this process is gone, however it ended.
"""

from __future__ import annotations

import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ..core.messages import Done, Error, ExitCode, InputError, Ready, Record, decode

log = logging.getLogger(__name__)

EMPTY: Mapping[str, str] = {}
GRACE = 5.0
"""Seconds that a cancelled worker has to finish the frame it is at."""

alive: list[Process] = []
"""In the order of their start."""


class Worker:
    """One job of a process, which may have others before and after it: what is said of it, and how it is stopped."""

    def __init__(self, process: Process, log_path: Path) -> None:
        self.process = process
        self.log_path = log_path
        self.ended = threading.Event()
        self.is_cancelled = False
        self._records: queue.SimpleQueue[Record] = queue.SimpleQueue()

    def tell(self, record: Record) -> None:
        """For the process: hand a record over."""
        self._records.put(record)
        if isinstance(record, Done):
            self.ended.set()

    def poll(self) -> list[Record]:
        """The records that came since the last call; does not wait. The last of all is a Done."""
        records = []
        while not self._records.empty():
            records.append(self._records.get())
        return records

    def cancel(self) -> None:
        """Ask the process to stop; kill it where it has not after GRACE seconds. Does not wait."""
        self.is_cancelled = True
        if self.process.worker is self:
            self.process.stop()

    def kill(self) -> None:
        """End the process now, whatever it does."""
        if self.process.worker is self:
            self.process.kill()


class Process:
    """A process of ours: it does one job, or stays and is given one after the other."""

    def __init__(
        self, command: Sequence[str], folder: Path, log_path: Path, environment: Mapping[str, str] = EMPTY
    ) -> None:
        """Start it in `folder`; its log goes to `log_path`.

        Raises InputError where the program cannot be started, or the log not be written.
        """
        self.command = list(command)
        self.memory = (0, 0)
        """Main memory and the graphics card's, in bytes, that it keeps when it is ready."""
        self._lock = threading.Lock()
        self._ended = self._stopped = False
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        """What is to be written to it; an empty line ends its standard input."""
        with open_log(log_path) as log_file:
            try:
                self.popen = subprocess.Popen(
                    command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log_file,
                    **apart(environment),
                )  # fmt: skip
            except OSError as error:
                raise InputError(
                    f"The worker cannot be started with {command[0]} ({error.strerror}): choose another Python in "
                    "Lento's preferences."
                ) from error
        self.worker: Worker | None = None
        """The job that it is at."""
        alive.append(self)

    @property
    def is_ready(self) -> bool:
        """Whether it stays, with nothing to do."""
        return self.worker is None and not self._stopped and not self._ended

    def begin(self, log_path: Path) -> Worker:
        """Its first job."""
        worker = self.worker = Worker(self, log_path)
        assert self.popen.stdout and self.popen.stdin
        threading.Thread(target=self._read, args=(self.popen.stdout,), name="lento-records", daemon=True).start()
        threading.Thread(target=self._write, args=(self.popen.stdin,), name="lento-lines", daemon=True).start()
        return worker

    def take(self, log_path: Path) -> Worker | None:
        """Its next job; None where it is not ready for one."""
        with self._lock:  # it may end in this moment, in the thread that reads
            if not self.is_ready or self.popen.poll() is not None:
                return None
            self.worker = Worker(self, log_path)
            return self.worker

    def send(self, line: str) -> None:
        """Write a line to it. Does not wait; where it has ended, its records say why."""
        self._lines.put(f"{line}\n".encode("ascii"))

    def stop(self) -> None:
        """Ask it to stop; kill it where it has not after GRACE seconds. Does not wait."""
        if self._stopped:
            return
        self._stopped = True
        threading.Thread(target=self._kill_later, name="lento-kill", daemon=True).start()
        self._lines.put(b"")

    def kill(self) -> None:
        """End it now, whatever it does."""
        self._stopped = True
        try:
            self.popen.kill()
        except OSError as error:  # on Windows a process that is ending already may refuse
            log.warning("worker %d could not be killed: %s", self.popen.pid, error)

    def _kill_later(self) -> None:
        try:
            self.popen.wait(GRACE)
        except subprocess.TimeoutExpired:
            log.warning("worker %d did not stop and is killed", self.popen.pid)
            self.kill()

    def _write(self, stream: IO[bytes]) -> None:
        with suppress(OSError), stream:  # OSError: it has ended
            while line := self._lines.get():
                stream.write(line)
                stream.flush()

    def _read(self, stream: IO[bytes]) -> None:
        done = None
        for line in stream:
            try:
                record = decode(line.decode("utf-8"))
            except ValueError:
                log.debug("not a record: %r", line)  # Blender, as a renderer, talks before it can be told not to
                continue
            if isinstance(record, Ready):
                self.memory = (record.memory, record.device_memory)
                self._finish(done or Done(ExitCode.ENGINE_FAILED))
                done = None
            elif isinstance(record, Done):
                done = record
            elif self.worker:
                self.worker.tell(record)
        with self._lock:
            self._ended = True
        stream.close()
        code = self.popen.wait()
        alive.remove(self)
        self._lines.put(b"")
        self._finish(done or self._explain(code))

    def _finish(self, done: Done) -> None:
        """The last word of the job that it is at, if any. Once that can be read, the process is ready for the next."""
        worker, self.worker = self.worker, None
        if worker:
            worker.tell(done)

    def _explain(self, code: int) -> Done:
        """For a job whose process ended without its last words."""
        if self._stopped:
            return Done(ExitCode.CANCELLED)
        if self.worker:
            how = f"signal {-code}" if code < 0 else f"exit status {code}"
            self.worker.tell(
                Error(
                    f"The worker ended unexpectedly ({how}). Finished frames are kept: start again to go on after "
                    f"them. What it wrote last is in {self.worker.log_path}.",
                    ExitCode.ENGINE_FAILED,
                )
            )
        return Done(ExitCode.ENGINE_FAILED)


def start_worker(
    command: Sequence[str], folder: Path, log_path: Path, environment: Mapping[str, str] = EMPTY
) -> Worker:
    """A job of a new process, its first or its only one. Raises as Process does."""
    return Process(command, folder, log_path, environment).begin(log_path)


def open_log(path: Path) -> IO[bytes]:
    """The file, empty. Raises InputError where it cannot be written."""
    try:
        return open(path, "wb")
    except OSError as error:
        raise InputError(
            f"The log {path} cannot be written ({error.strerror}): delete what is there, and see that its folder can "
            "be written, on a disk with free space."
        ) from error


def apart(more: Mapping[str, str]) -> dict[str, Any]:
    """What Popen is told for a process that shares little with Blender.

    Its environment is ours, without what would lead its Python into Blender's modules, and more. It has a session (on
    Windows a console) of its own: else a Ctrl+C in the terminal would reach both.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    environment = {**inherited, "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1", **more}
    if sys.platform == "win32":
        return {"env": environment, "creationflags": subprocess.CREATE_NO_WINDOW}
    return {"env": environment, "start_new_session": True}
