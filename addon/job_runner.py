# SPDX-License-Identifier: GPL-3.0-or-later
"""Which process a job gets: one that stays after its last job, with everything loaded, or a new one.

Knows nothing of Blender.
"""

from __future__ import annotations

import atexit
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import worker
from .worker import EMPTY, Worker, apart, open_log, start_worker

ROOT = Path(__file__).resolve().parent.parent
"""Where `python -m core` works."""


def ask(command: Sequence[str], seconds: float, environment: Mapping[str, str] = EMPTY) -> str:
    """What a short command prints, where `python -m core` works. Waits for it, so it is for threads.

    Raises OSError and subprocess.SubprocessError where it does not start, fails or takes longer than that.
    """
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        timeout=seconds, check=True, text=True, encoding="utf-8", **apart(environment),
    )  # fmt: skip
    return done.stdout


def start_job(python: Path, job_file: Path, log_path: Path, minutes: float) -> Worker:
    """A job in a process that is ready in that Python, else in a new one, which stays for `minutes` after its work.

    Raises InputError where it cannot be started, or the log not be written.
    """
    open_log(log_path).close()
    asked = json.dumps({"job": str(job_file), "log": str(log_path)})
    for process in ready_processes():
        if process.command[0] == str(python) and (job := process.take(log_path)):
            process.send(asked)
            return job
    core = [str(python), "-s", "-m", "core"]
    if minutes <= 0:
        return start_worker([*core, "run", str(job_file), "--json", "--until-stdin-closes"], ROOT, log_path)
    job = start_worker([*core, "serve", "--idle", str(round(60 * minutes))], ROOT, log_path)
    job.process.send(asked)
    return job


def ready_processes() -> list[worker.Process]:
    """Those that have done their job and stay for the next."""
    return [process for process in list(worker.alive) if process.is_ready]


def ready() -> list[tuple[int, int]]:
    """The workers that are ready: main memory and the graphics card's that each keeps, in bytes."""
    return [process.memory for process in ready_processes()]


def end_ready() -> None:
    """End the workers that have nothing to do. Does not wait."""
    for process in ready_processes():
        process.kill()


def kill_all() -> None:
    """End every worker now."""
    for process in list(worker.alive):
        process.kill()


def register() -> None:
    """See to it that no worker outlives Blender."""
    atexit.register(kill_all)


def unregister() -> None:
    """Leave no worker behind: the extension is turned off."""
    atexit.unregister(kill_all)
    kill_all()
