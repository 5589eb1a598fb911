# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker process: start it, read its records, stop it. Knows nothing of Blender.

Nothing here waits: records are read by a thread and handed over by `poll`, and a worker that does not stop when it is
asked to is killed by another thread. The worker holds the other end of a pipe that ends with this process, and so does
not outlive it, however it ends.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from ..core.messages import Done, Error, ExitCode, InputError, Record, decode

log = logging.getLogger(__name__)

GRACE = 5.0
"""Seconds that a cancelled worker has to finish the frame it is at."""

_alive: set[Worker] = set()


def ask(command: Sequence[str], folder: Path, seconds: float) -> str:
    """What a short command prints. Waits for it, so it is for threads.

    Raises OSError and subprocess.SubprocessError where it does not start, fails or takes longer than that.
    """
    done = subprocess.run(
        command, cwd=folder, env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, timeout=seconds, check=True, text=True, encoding="utf-8", **_own_group(),
    )  # fmt: skip
    return done.stdout


class Worker:
    """One run of `python -m core run`."""

    def __init__(self, command: Sequence[str], folder: Path, log_path: Path) -> None:
        """Start the process in `folder`; its log goes to `log_path`.

        Raises InputError where the program cannot be started.
        """
        self.log_path = log_path
        self._records: queue.SimpleQueue[Record] = queue.SimpleQueue()
        self._ended = False
        self._cancelled = threading.Event()
        try:
            with open(log_path, "wb") as log_file:
                self._process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=_environment(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log_file,
                    **_own_group(),
                )
        except OSError as error:
            raise InputError(
                f"The worker cannot be started with {command[0]} ({error.strerror}): choose another Python in "
                "Lento's preferences."
            ) from error
        _alive.add(self)
        threading.Thread(target=self._read, args=(self._process.stdout,), name="lento-records", daemon=True).start()

    def poll(self) -> list[Record]:
        """The records that came since the last call; does not wait. The last of all is a Done."""
        records = []
        while not self._records.empty():
            records.append(self._records.get())
        return records

    def cancel(self) -> None:
        """Ask the worker to stop; kill it where it has not after GRACE seconds. Does not wait."""
        if self._cancelled.is_set() or self._process.poll() is not None:
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
            if isinstance(record, Done):
                done = record
            else:
                self._records.put(record)
        code = self._process.wait()
        _alive.discard(self)
        for pipe in (self._process.stdin, stream):
            if pipe:
                pipe.close()
        if done is None:
            done = self._explain(code)
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


def _own_group() -> dict[str, Any]:
    """A process group of its own: else a Ctrl+C in the terminal (on Windows: our break signal) would reach both."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _environment() -> dict[str, str]:
    """The worker's environment: ours, without what would lead its Python into Blender's modules."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return {**inherited, "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}


@atexit.register
def kill_all() -> None:
    """End every worker now: Blender quits."""
    for worker in list(_alive):
        worker.kill()
