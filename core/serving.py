# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker that stays: it runs one job after the other, with everything loaded that the last one needed.

Standard input has a line of JSON for each job, such as messages.JOB_LINE. Records go to standard output as in `run`;
after a job's `done` comes a `ready`, also where a line names no job. A cancelled job ends the worker, and so does the
end of standard input, or too long a time without a job.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from . import __version__
from .environment.installer import in_use
from .messages import JOB_LINE, ExitCode, InputError, Messenger, Ready, Status
from .process import begun, read_job, reported

STATM = Path("/proc/self/statm")


def serve(idle: float) -> int:
    """Run jobs until there are none for `idle` seconds; returns the last one's exit code."""
    messenger, cancel = begun(as_json=True)
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(lines, cancel), name="lento-stdin", daemon=True).start()
    code = int(ExitCode.DONE)
    with ExitStack() as environment:  # kept from being changed from the first job to the last
        while line := _next(lines, idle):
            code = reported(messenger, partial(_answer, line, messenger, cancel, environment))
            if cancel.is_set():
                break
            _log_to(os.devnull)  # while it waits, it holds nothing of the job's folder
            messenger.send(Ready(memory(), device_memory()))
    return code


def _next(lines: queue.SimpleQueue[bytes], idle: float) -> bytes:
    """The next job's line; empty where there is none any more."""
    try:
        return lines.get(timeout=min(idle, threading.TIMEOUT_MAX))
    except queue.Empty:
        return b""


def _answer(line: bytes, messenger: Messenger, cancel: threading.Event, environment: ExitStack) -> str:
    """Run the job of a line. Raises InputError where the line names none, too."""
    try:
        asked = json.loads(line)
        job, log = Path(asked["job"]), Path(asked["log"])
    except (ValueError, KeyError, TypeError) as error:
        said = line[:200].decode(errors="replace").strip()
        raise InputError(
            f"The line {said!r} on standard input names no job: write a line such as {JOB_LINE}."
        ) from error
    try:
        _log_to(log)
    except OSError as error:
        raise InputError(
            f"The log {log} cannot be written ({error.strerror}): name a file in a folder that is there."
        ) from error
    return _run(job, messenger, cancel, environment)


def _run(job: Path, messenger: Messenger, cancel: threading.Event, environment: ExitStack) -> str:
    messenger.send(Status(f"Lento {__version__}, {sys.executable}"))
    environment.pop_all().close()
    environment.enter_context(in_use(Path(sys.executable)))
    from . import pipeline  # here, so that a Python without its packages is reported as a record

    return str(pipeline.run(read_job(job), messenger.send, cancel))


def _read(lines: queue.SimpleQueue[bytes], cancel: threading.Event) -> None:
    # os.read, not sys.stdin: a thread that waits inside the buffered reader makes the interpreter abort at its end
    rest = b""
    while got := os.read(0, 65536):
        *whole, rest = (rest + got).split(b"\n")
        for line in filter(bytes.strip, whole):
            lines.put(line)
    lines.put(b"")
    cancel.set()  # whoever started the worker cancels, or is gone


def _log_to(path: str | Path) -> None:
    """From now on what is no record goes there: Python's own messages and those of C libraries alike."""
    sys.stderr.flush()
    with open(path, "wb") as log:
        os.dup2(log.fileno(), 2)
        os.dup2(log.fileno(), 1)


def memory() -> int:
    """Bytes of main memory that this process has now; on systems that do not tell, at the most so far."""
    if STATM.exists():
        return int(STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if sys.platform == "win32":
        import ctypes
        from ctypes import wintypes

        counters = (ctypes.c_size_t * 10)()  # PROCESS_MEMORY_COUNTERS: two 32-bit fields, then sizes
        process = ctypes.windll.kernel32.GetCurrentProcess
        process.restype = wintypes.HANDLE
        get = ctypes.windll.psapi.GetProcessMemoryInfo
        get.argtypes = (wintypes.HANDLE, ctypes.c_void_p, wintypes.DWORD)
        return int(counters[2]) if get(process(), ctypes.byref(counters), ctypes.sizeof(counters)) else 0
    import resource

    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # bytes on macOS


def device_memory() -> int:
    """Bytes that PyTorch keeps on the graphics card, where it was loaded."""
    torch = sys.modules.get("torch")
    return int(torch.cuda.memory_reserved()) if torch and torch.cuda.is_available() else 0
