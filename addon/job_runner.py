# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker process: start it, read its records, stop it. Knows nothing of Blender.

A worker that has done its job stays for the next one, with everything loaded. Nothing here waits: records are read by a
thread and handed over by `poll`, and a worker that does not stop when it is asked to is killed by another thread. The
worker holds the other end of a pipe that ends with this process, and so does not outlive it, however it ends.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ..core.messages import Done, Error, ExitCode, InputError, Ready, Record, decode

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent
"""Where `python -m core` works."""
EMPTY: Mapping[str, str] = {}
GRACE = 5.0
"""Seconds that a cancelled worker has to finish the frame it is at."""

_alive: set[Worker] = set()
_ready: list[Worker] = []
"""Those that have done their job and stay for the next, the last used at the end."""


def ask(command: Sequence[str], seconds: float, environment: Mapping[str, str] = EMPTY) -> str:
    """What a short command prints, where `python -m core` works. Waits for it, so it is for threads.

    Raises OSError and subprocess.SubprocessError where it does not start, fails or takes longer than that.
    """
    done = subprocess.run(
        command, cwd=ROOT, env=_environment(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, timeout=seconds, check=True, text=True, encoding="utf-8", **_own_group(),
    )  # fmt: skip
    return done.stdout


def start_job(python: Path, job_file: Path, log_path: Path, minutes: float) -> Worker:
    """A worker for a job: one that is ready in that Python, else a new one, which stays for `minutes` after its work.

    Raises InputError where it cannot be started, or the log not be written.
    """
    open_log(log_path).close()
    worker = next((worker for worker in reversed(_ready) if worker.command[0] == str(python)), None)
    if worker is not None:
        _ready.remove(worker)
        if worker.take(job_file, log_path):
            return worker
    if minutes <= 0:
        command = [str(python), "-s", "-m", "core", "run", str(job_file), "--json", "--until-stdin-closes"]
        return Worker(command, ROOT, log_path)
    command = [str(python), "-s", "-m", "core", "serve", "--idle", str(round(60 * minutes))]
    worker = Worker(command, ROOT, log_path, stays=True)
    worker.take(job_file, log_path)  # where it is gone already, its records say why
    return worker


def ready() -> list[tuple[int, int]]:
    """The workers that are ready: main memory and the graphics card's that each keeps, in bytes."""
    return [worker.memory for worker in _ready]


def end_ready() -> None:
    """End the workers that have nothing to do. Does not wait."""
    for worker in _ready:
        worker.kill()
    _ready.clear()


class Worker:
    """A process of ours, and what it says: one `python -m core run`, or one job of a worker that stays."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        log_path: Path,
        stays: bool = False,
        environment: Mapping[str, str] = EMPTY,
    ) -> None:
        """Start the process in `folder`; its log goes to `log_path`.

        Raises InputError where the program cannot be started, or the log not be written.
        """
        self.command = list(command)
        self.log_path = log_path
        self.memory = (0, 0)
        """Main memory and the graphics card's, in bytes, that it keeps when it is ready."""
        self._stays = stays
        self._records: queue.SimpleQueue[Record] = queue.SimpleQueue()
        self._busy = not stays
        self._finished = threading.Event()
        self._cancelled = threading.Event()
        with open_log(log_path) as log_file:
            try:
                self._process = subprocess.Popen(
                    command, cwd=folder, env=_environment(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=log_file, **_own_group(),
                )  # fmt: skip
            except OSError as error:
                raise InputError(
                    f"The worker cannot be started with {command[0]} ({error.strerror}): choose another Python in "
                    "Lento's preferences."
                ) from error
        _alive.add(self)
        threading.Thread(target=self._read, args=(self._process.stdout,), name="lento-records", daemon=True).start()

    def take(self, job_file: Path, log_path: Path) -> bool:
        """Hand the next job to a worker that stays; False where it has ended in the meantime."""
        self.log_path = log_path
        self._records = queue.SimpleQueue()
        self._finished.clear()
        self._busy = True
        line = json.dumps({"job": str(job_file), "log": str(log_path)}) + "\n"
        assert self._process.stdin
        try:
            self._process.stdin.write(line.encode("ascii"))
            self._process.stdin.flush()
        except (OSError, ValueError):  # ValueError: closed, since it has ended
            return False
        return True

    def poll(self) -> list[Record]:
        """The records that came since the last call; does not wait. The last of all is a Done."""
        records = []
        while not self._records.empty():
            records.append(self._records.get())
        return records

    def cancel(self) -> None:
        """Ask the worker to stop; kill it where it has not after GRACE seconds. Does not wait."""
        if self._cancelled.is_set() or self._finished.is_set():
            return
        self._cancelled.set()
        self._interrupt()
        threading.Thread(target=self._kill_later, name="lento-kill", daemon=True).start()

    def kill(self) -> None:
        """End the process now, whatever it does."""
        self._cancelled.set()
        self._process.kill()

    def _interrupt(self) -> None:
        try:
            if sys.platform == "win32":
                self._process.send_signal(signal.CTRL_BREAK_EVENT)
            else:
                self._process.send_signal(signal.SIGINT)
        except ProcessLookupError:
            pass  # it ended in this moment, which is what was wanted

    def _kill_later(self) -> None:
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            log.warning("worker %d did not stop and was killed", self._process.pid)
            self._process.kill()

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
                if not self._cancelled.is_set():
                    _ready.append(self)
                self._finish(done or Done(ExitCode.ENGINE_FAILED))
                done = None
            elif isinstance(record, Done):
                done = record
            else:
                self._records.put(record)
        code = self._process.wait()
        _alive.discard(self)
        if self in _ready:
            _ready.remove(self)
        for pipe in (self._process.stdin, stream):
            if pipe:
                pipe.close()
        if self._busy:
            self._finish(done or self._explain(code))

    def _finish(self, done: Done) -> None:
        """The job's last word."""
        self._busy = False
        self._finished.set()
        self._records.put(done)

    def _explain(self, code: int) -> Done:
        """For a worker that ended without its last words."""
        if self._cancelled.is_set():
            return Done(ExitCode.CANCELLED)
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        self._records.put(
            Error(
                f"The worker ended unexpectedly ({how}). Finished frames are kept: start again to go on after them. "
                f"What it wrote last is in {self.log_path}.",
                ExitCode.ENGINE_FAILED,
            )
        )
        return Done(ExitCode.ENGINE_FAILED)


def open_log(path: Path) -> IO[bytes]:
    """The file, empty. Raises InputError where it cannot be written."""
    try:
        return open(path, "wb")
    except OSError as error:
        raise InputError(
            f"The log {path} cannot be written ({error.strerror}): delete what is there, and see that its folder can "
            "be written, on a disk with free space."
        ) from error


def _own_group() -> dict[str, Any]:
    """A process group of its own: else a Ctrl+C in the terminal (on Windows: our break signal) would reach both."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """The worker's environment: ours, without what would lead its Python into Blender's modules, and more."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return {**inherited, "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1", **more}


@atexit.register
def kill_all() -> None:
    """End every worker now: Blender quits."""
    for worker in list(_alive):
        worker.kill()
