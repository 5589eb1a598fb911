# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs that run now: what the operators start and the panel shows. Knows nothing of Blender.

Plain Python objects: they outlive an undo, which replaces everything in Blender's data.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.messages import ExitCode, Failure, InputError
from . import tasks
from .conversation import Conversation
from .environment import WorkerPython
from .job_runner import start_job
from .worker import GRACE, Worker, start_worker

if TYPE_CHECKING:
    from .request import Request

RENDERED = "rendered"
"""Folder, in the frames' one, for what Blender renders first."""

CLEARED_AFTER = 2 * GRACE
"""Seconds after which a cancelled job's files are removed, whatever its worker does."""

running: list[Running] = []


@dataclass(kw_only=True)
class Running(Conversation):
    """A job: its worker, after the Blender that renders its source where one has to."""

    request: Request

    def result(self) -> dict[str, Any]:
        """The finished job's result.json.

        Raises Failure with the worker's sentence where it failed, and with its exit code.
        """
        assert self.done is not None
        if self.done.code == ExitCode.DONE and self.done.result:
            data: dict[str, Any] = json.loads(Path(self.done.result).read_text(encoding="utf-8"))
            return data
        kept = "" if self.request.task else f" Finished frames are kept in {self.request.job.output}."
        failure = Failure(self.error or f"Cancelled.{kept}")
        failure.code = ExitCode(self.done.code)
        raise failure


def start(
    request: Request,
    python: WorkerPython,
    render: Callable[[Path], list[str]] | None = None,
    minutes: float = 0.0,
) -> Running:
    """Start a worker for the request and list it; `render` gives the command that renders its source first.

    The worker stays ready for `minutes` when it is done. Raises InputError where the strip is being slowed already, the
    worker's environment is being changed, the folder cannot be written or the worker not started.
    """
    tasks.refuse_while("environment", "start the job")
    for other in running:
        if other.request.strip_id == request.strip_id:
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

    def slow() -> Worker:
        return start_job(python.path, job_file, folder / "worker.log", minutes)

    if render is None:
        job = Running(request=request, worker=slow())
    else:
        rendering = start_worker(render(folder / RENDERED), folder, folder / "render.log")
        job = Running(request=request, worker=rendering, then=slow)
    running.append(job)
    return job


def finish(job: Running) -> None:
    """Take the job off the list, and clear away what no other job can use. Does not wait."""
    if job not in running:
        return
    running.remove(job)
    if job.request.task:
        threading.Thread(target=_clear, args=(job,), name="lento-clear").start()


def _clear(job: Running) -> None:
    """Of a job that Blender renders for, which has a folder of its own: remove what was rendered.

    All of the folder, where the job was cancelled.
    """
    job.worker.ended.wait(CLEARED_AFTER)  # it writes there, and Windows removes no folder that somebody uses
    folder = Path(job.request.job.output)
    was_cancelled = job.done is None or job.done.code == ExitCode.CANCELLED
    shutil.rmtree(folder if was_cancelled else folder / RENDERED, ignore_errors=True)


def cancel_all() -> None:
    """Ask every worker to stop and forget their jobs: the file that they belong to is gone. Does not wait."""
    for job in list(running):
        job.worker.cancel()
        finish(job)
