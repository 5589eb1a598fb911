# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker of ours has said so far. Knows nothing of Blender."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..core.messages import Done, Error, ExitCode, InputError, Progress, Status, Warning, describe
from .worker import Worker


@dataclass(kw_only=True)
class Conversation:
    """A worker, or several one after the other, up to the last `done`."""

    worker: Worker
    then: Callable[[], Worker] | None = None
    """Starts the next worker where the first one has done its part."""
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
                    if code == ExitCode.DONE and self.then and self.worker.is_cancelled:
                        self.done = Done(ExitCode.CANCELLED)
                    elif code == ExitCode.DONE and self.then:
                        self._go_on(self.then)
                    else:
                        self.done = record
        return bool(records)

    def _go_on(self, then: Callable[[], Worker]) -> None:
        self.then, self.progress = None, None
        try:
            self.worker = then()
        except InputError as error:
            self.error, self.done = str(error), Done(error.code)

    def wait(self, tell: Callable[[Any], None]) -> None:
        """Block until it is done; Ctrl+C cancels it. `tell` is called with this when there is news."""
        while self.done is None:
            try:
                if self.update():
                    tell(self)
                time.sleep(0.02)
            except KeyboardInterrupt:
                self.worker.cancel()
