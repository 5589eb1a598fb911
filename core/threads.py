# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes on beside each other: reading ahead, computing, writing behind; what waits between them is bounded."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from .images import Image
from .messages import Cancelled
from .plan import OutputFrame
from .sink import Sink
from .source import Source

READ_AHEAD = 3
"""Source frames that wait for the engine, at the most."""
WRITERS = 2
WRITE_BEHIND = 4
"""Finished frames that wait for the disk, at the most."""

T = TypeVar("T")


@contextmanager
def reading(source: Source, wanted: range, cancel: threading.Event) -> Iterator[Iterator[tuple[int, Image]]]:
    """Read ahead in a thread; what it raises is raised where the frames are taken."""
    line: queue.Queue[tuple[int, Image] | BaseException | None] = queue.Queue(READ_AHEAD)
    stop = threading.Event()

    def put(item: tuple[int, Image] | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                line.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def read() -> None:
        try:
            for numbered in zip(wanted, source.frames(wanted.start, wanted.stop), strict=False):
                if not put(numbered):
                    return
            put(None)
        except BaseException as error:  # handed over, not swallowed: take() raises it
            put(error)

    def take() -> Iterator[tuple[int, Image]]:
        while True:
            try:
                item = line.get(timeout=0.1)
            except queue.Empty:
                if cancel.is_set():
                    raise Cancelled("Cancelled.") from None
                continue
            if isinstance(item, BaseException):
                raise item
            if item is None:
                return
            yield item

    thread = threading.Thread(target=read, name="lento-read", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        stop.set()
        thread.join()


class Crew:
    """Does what it is given in threads, beginning in the order given; with no thread, at once, where it is given."""

    def __init__(self, threads: int, begin: Callable[[], None]) -> None:
        """`begin` is called in each of `threads` threads before all else."""
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, "lento-compute", begin) if threads else None

    def __enter__(self) -> Crew:
        """As it is."""
        return self

    def __exit__(self, *error: object) -> None:
        """Begin nothing more; what is being done is not waited for, and nobody will ask for it."""
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def do(self, task: Callable[..., T], *inputs: Any) -> Future[T]:
        """The task's result, some time; or what it raised."""
        if self._pool:
            return self._pool.submit(task, *inputs)
        done: Future[T] = Future()
        try:
            done.set_result(task(*inputs))
        except BaseException as error:  # handed over, not swallowed: result() raises it
            done.set_exception(error)
        return done


def result(done: Future[T], cancel: threading.Event) -> T:
    """What a task made, waited for. Raises Cancelled soon after `cancel` is set, and what the task raised."""
    while True:
        if cancel.is_set():
            raise Cancelled("Cancelled.")
        if wait([done], timeout=0.1).done:
            return done.result()


@contextmanager
def writing(sink: Sink, count: Callable[[], None]) -> Iterator[Callable[[OutputFrame, Image], None]]:
    """Write behind in threads, and count what is written; a failure is raised at the next frame, or at the end."""
    waiting: deque[Future[None]] = deque()

    def settle(limit: int) -> None:
        while len(waiting) > limit or (waiting and waiting[0].done()):
            waiting.popleft().result()
            count()

    with ThreadPoolExecutor(WRITERS, "lento-write") as pool:

        def write(frame: OutputFrame, pixels: Image) -> None:
            waiting.append(pool.submit(sink.write_frame, frame, pixels))
            settle(WRITE_BEHIND)

        try:
            yield write
            settle(0)
        finally:
            for future in waiting:
                future.cancel()
