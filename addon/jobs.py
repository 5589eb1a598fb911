# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs that run now: what the operators start and the panel shows. Knows nothing of Blender.

Plain Python objects: they outlive an undo, which replaces everything in Blender's data.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.messages import Done, Error, ExitCode, Failure, InputError, Progress, Status, Warning, describe
from .environment import WorkerPython
from .job_runner import Worker

if TYPE_CHECKING:
    from .selection import Request

EXTENSION_ROOT = Path(__file__).resolve().parent.parent
"""Where `python -m core` works."""

RENDERED = "rendered"
"""Folder, in the frames' one, for what Blender renders first."""

running: list[Running] = []


@dataclass
class Running:
    """A job and its worker."""

    request: Request
    worker: Worker
    then: Callable[[], Worker] | None = None
    """Starts the worker, where `worker` is the Blender that renders its source."""
    status: str = "Starting"
    progress: Progress | None = None
    warnings: list[str] = field(default_factory=list)
    error: str = ""
    done: Done | None = None

    @property
    def text(self) -> str:
        """How far it is, for people."""
        if self.progress is None:
            return self.status
        return describe(self.progress)

    @property
    def share(self) -> float:
        """How far it is, in 0..1."""
        return self.progress.done / max(1, self.progress.total) if self.progress else 0.0

    def update(self) -> bool:
        """Take in what the worker said; True where there was something. Does not wait."""
        records = self.worker.poll()
        for record in records:
            match record:
                case Status(text):
                    self.status = text
                case Progress():
                    self.progress = record
                case Warning(text):
                    self.warnings.append(text)
                case Error(text):
                    self.error = text
                case Done(code):
                    if code == ExitCode.DONE and self.then:
                        self._go_on(self.then)
                    else:
                        self.done = record
        return bool(records)

    def _go_on(self, then: Callable[[], Worker]) -> None:
        """The source is rendered: the worker's turn."""
        self.then, self.progress = None, None
        try:
            self.worker = then()
        except InputError as error:
            self.error, self.done = str(error), Done(error.code)

    def result(self) -> dict[str, Any]:
        """The finished job's result.json.

        Raises Failure with the worker's sentence where it failed, and with its exit code.
        """
        assert self.done is not None
        if self.done.code == ExitCode.DONE and self.done.result:
            data: dict[str, Any] = json.loads(Path(self.done.result).read_text(encoding="utf-8"))
            return data
        failure = Failure(self.error or f"Cancelled. Finished frames are kept in {self.request.job.output}.")
        failure.code = ExitCode(self.done.code)
        raise failure


def start(request: Request, python: WorkerPython, render: Callable[[Path], list[str]] | None = None) -> Running:
    """Start a worker for the request and list it; `render` gives the command that renders its source first.

    Raises InputError where the strip is being slowed already, the folder cannot be written or the worker not started.
    """
    for other in running:
        if (other.request.scene, other.request.strip_id) == (request.scene, request.strip_id):
            raise InputError(
                f"The strip {request.strip_name!r} is being slowed already: wait for it, or cancel it first."
            )
    folder = Path(request.job.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        job_file = folder / "job.json"
        job_file.write_text(request.job.to_json(), encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"The frames' folder {folder} cannot be written ({error.strerror}): save the .blend in a folder that can "
            "be written, on a disk with free space."
        ) from error
    command = [str(python.path), "-s", "-m", "core", "run", str(job_file), "--json", "--until-stdin-closes"]

    def slow() -> Worker:
        return Worker(command, EXTENSION_ROOT, folder / "worker.log")

    if render is None:
        job = Running(request, slow())
    else:
        job = Running(request, Worker(render(folder / RENDERED), folder, folder / "render.log"), then=slow)
    running.append(job)
    return job


def finish(job: Running) -> None:
    """Take the job off the list, and clear away what Blender rendered for it alone. Does not wait."""
    if job in running:
        running.remove(job)
    if job.request.task:
        folder = Path(job.request.job.output) / RENDERED
        threading.Thread(target=shutil.rmtree, args=(folder,), kwargs={"ignore_errors": True}).start()


def wait(job: Running, tell: Callable[[Running], None]) -> None:
    """Block until the job is done; Ctrl+C cancels it. `tell` is called when there is news."""
    while job.done is None:
        try:
            if job.update():
                tell(job)
            time.sleep(0.02)
        except KeyboardInterrupt:
            job.worker.cancel()


def cancel_all() -> None:
    """Ask every worker to stop and forget their jobs: the file that they belong to is gone. Does not wait."""
    for job in running:
        job.worker.cancel()
    running.clear()
