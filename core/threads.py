# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes on beside each other: reading ahead, computing, writing behind; what waits between them is bounded."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

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


@contextmanager
def writing(sink: Sink, count: Callable[[], None]) -> Iterator[Callable[[OutputFrame, Image], None]]:
    """Write behind in threads, counting what is written; the first failure is raised at the next frame, or at the end."""
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
