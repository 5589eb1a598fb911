# SPDX-License-Identifier: GPL-3.0-or-later
"""How a command of the worker runs as a process: what cancels it, and how it ends with a record."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from .job import Job
from .messages import Cancelled, Done, Error, ExitCode, Failure, InputError, Messenger, Record, Status, claim_stdout

Tell = Callable[[Record], None]
CANCELLED = Status("Cancelled. Finished frames are kept, and the same job goes on after them.")
PATIENCE = 1.0
"""Seconds that a cancelled job has to end by itself."""


def reported(messenger: Messenger, work: Callable[[], str | None], cancelled: Status = CANCELLED) -> int:
    """Do the work, whose result is a path, if anything; whatever happens, the last record is `done`."""
    messenger.begin()
    code, result = ExitCode.DONE, None
    said: Record | None = None
    try:
        result = work()
    except Cancelled:
        code, said = ExitCode.CANCELLED, cancelled
    except Failure as failure:
        code = failure.code
        said = Error(str(failure), code)
    except ModuleNotFoundError as error:
        code = ExitCode.ENGINE_FAILED
        traceback.print_exc()
        said = Error(
            f"The worker's Python ({sys.executable}) has no module {error.name!r}: create or repair the environment in "
            "Lento's preferences (or with `python -m core environment create DIR`), or choose another Python.",
            code,
        )
    except MemoryError:
        code = ExitCode.ENGINE_FAILED
        traceback.print_exc()
        said = Error(
            "There is not enough memory for frames of this size: close other programs, or scale the clip down first. "
            "Finished frames are kept.",
            code,
        )
    except Exception as error:  # the top of the process: whatever it is, the user gets a sentence and the log the rest
        code = ExitCode.ENGINE_FAILED
        traceback.print_exc()
        said = Error(
            f"The worker failed ({type(error).__name__}: {error}). Finished frames are kept; please report this with "
            "the log.",
            code,
        )
    return messenger.end(Done(code, result), said)


def begun(as_json: bool, cancelled: Status = CANCELLED) -> tuple[Messenger, threading.Event]:
    """What a command tells its records to, and what is set when it shall stop; soon after that the process ends."""
    messenger = Messenger(claim_stdout(), as_json)
    cancel = threading.Event()
    cancel_on_signals(cancel)
    end_when_cancelled(cancel, messenger, cancelled)
    return messenger, cancel


def command(
    as_json: bool,
    until_stdin_closes: bool,
    work: Callable[[Tell, threading.Event], str | None],
    cancelled: Status = CANCELLED,
) -> int:
    """Run a command that tells records and can be cancelled; its exit code. `work` is given where to tell them."""
    messenger, cancel = begun(as_json, cancelled)
    if until_stdin_closes:
        cancel_when_stdin_closes(cancel)
    return reported(messenger, lambda: work(messenger.send, cancel), cancelled)


def read_job(path: Path) -> Job:
    """The job in a file. Raises InputError where it is none."""
    try:
        return Job.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"The job file {path} cannot be read ({error.strerror}): name one that can.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"The job file {path} is no text, so it is no job: name another.") from error


def cancel_on_signals(cancel: threading.Event) -> None:
    """Set `cancel` when the process is asked to stop."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None and not (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):  # nohup
            signal.signal(number, lambda number, frame: cancel.set())


def end_when_cancelled(cancel: threading.Event, messenger: Messenger, cancelled: Status = CANCELLED) -> None:
    """In a thread: end the process where a cancelled command does not hear it.

    A slow network may be at one frame for minutes. Files are complete or absent whenever a worker ends, so nothing is
    lost by it.
    """

    def watch() -> None:
        cancel.wait()
        time.sleep(PATIENCE)
        os._exit(messenger.end(Done(ExitCode.CANCELLED), cancelled))

    threading.Thread(target=watch, name="lento-cancel", daemon=True).start()


def cancel_when_stdin_closes(cancel: threading.Event) -> None:
    """In a thread: set `cancel` when whoever started the process closes that, or is gone."""

    def watch() -> None:
        # os.read, not sys.stdin: a thread that waits inside the buffered reader makes the interpreter abort at its end
        while os.read(0, 1024):
            pass
        cancel.set()

    threading.Thread(target=watch, name="lento-stdin", daemon=True).start()
