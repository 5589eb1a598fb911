# SPDX-License-Identifier: GPL-3.0-or-later
"""Work beside jobs: making the worker's environment, fetching models. Knows nothing of Blender.

One task of a kind runs at a time; what the last one ended with is kept for the interface to show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.messages import ExitCode, Failure, InputError
from .conversation import Conversation
from .job_runner import ROOT
from .worker import start_worker

running: dict[str, Task] = {}
"""By kind: environment, model."""
ended: dict[str, Task] = {}
"""The last of each kind."""


@dataclass(kw_only=True)
class Task(Conversation):
    """A command of the worker that a user started, and sees through."""

    kind: str
    title: str
    """What it does, such as "Creating the environment"."""

    @property
    def outcome(self) -> str:
        """How it ended, as a sentence; empty while it runs."""
        if self.done is None:
            return ""
        if self.done.code == ExitCode.DONE:
            return f"{self.title}: done."
        return self.error or self.status

    @property
    def succeeded(self) -> bool:
        """Whether it did what it was started for."""
        return self.done is not None and self.done.code == ExitCode.DONE

    def check(self) -> None:
        """Raise Failure with the outcome where it did not succeed."""
        if not self.succeeded:
            assert self.done is not None
            failure = Failure(self.outcome)
            failure.code = ExitCode(self.done.code)
            raise failure


def start(kind: str, title: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Task:
    """Start `python -m core ...` as a task.

    Raises InputError where one of that kind runs already, the log's folder cannot be made, or the process not started.
    """
    refuse_while(kind, "start another")
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The folder {log.parent}, where Lento keeps its environment, cannot be made ({error.strerror}): delete "
            "what is in its place, and see that the folder above can be written, on a disk with free space."
        ) from error
    worker = start_worker(command, ROOT, log, environment)
    running[kind] = Task(worker=worker, kind=kind, title=title)
    ended.pop(kind, None)
    return running[kind]


def update() -> tuple[bool, bool]:
    """Take in what the tasks said: whether there was something, and whether one ended. Does not wait."""
    news = any([task.update() for task in running.values()])
    over = [kind for kind, task in running.items() if task.done is not None]
    for kind in over:
        finish(kind)
    return news, bool(over)


def finish(kind: str) -> None:
    """Take a task that is done off the list."""
    ended[kind] = running.pop(kind)


def refuse_while(kind: str, what: str) -> None:
    """Raise InputError while a task of that kind runs."""
    if kind in running:
        raise InputError(f"{running[kind].title} goes on: wait until that is done to {what}, or cancel it.")


def cancel(kind: str) -> None:
    """Ask the task of that kind to stop. Does not wait."""
    if kind in running:
        running[kind].worker.cancel()


def forget() -> None:
    """End everything: the extension is turned off."""
    for task in running.values():
        task.worker.kill()
    running.clear()
    ended.clear()
