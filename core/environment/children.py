# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that an installation starts, and that end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from ..messages import Cancelled

LOOK = 0.1
"""Seconds between looks at whether the user cancelled."""
PATIENCE = 0.5
"""Seconds that a program has to end by itself: less than ours has, so that none is left behind."""
NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)


@contextmanager
def started(
    command: Sequence[str], cancel: threading.Event, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A program whose output can be read; it and all that it started are ended when the user cancels.

    It has ended when the block is left. Raises Cancelled then, if that was why.
    """
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        encoding="utf-8", errors="replace", env=environment, start_new_session=True, creationflags=NO_WINDOW,
    )  # fmt: skip
    watcher = threading.Thread(target=_end_when_cancelled, args=(process, cancel), daemon=True)
    watcher.start()
    with process:
        try:
            yield process
        except BaseException:
            _end(process)
            raise
    watcher.join()
    if cancel.is_set():
        raise Cancelled("Cancelled.")


def _end_when_cancelled(process: subprocess.Popen[str], cancel: threading.Event) -> None:
    while process.poll() is None:
        if cancel.wait(LOOK):
            _end(process)
            return


def _end(process: subprocess.Popen[str]) -> None:
    """End a program and what it started: venv leaves the work to ensurepip, and that to pip."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, creationflags=NO_WINDOW)
        return
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):  # macOS has the second for a group that has ended
            os.killpg(process.pid, how)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
