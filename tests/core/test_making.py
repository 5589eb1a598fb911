# SPDX-License-Identifier: GPL-3.0-or-later
"""Several pairs at once: order, failures, cancelling, memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from core import making
from core.engines import Engine, Frame, Pixels, create
from core.images import Image
from core.job import Job
from core.messages import Cancelled, Failure
from core.pipeline import open_job, plan_job
from scripts.clips import draw, write_frames

PAIRS = 8


class Team:
    """An engine for several threads, that gives the first frame a little brighter."""

    info = create("blend").info
    device, precision, parallel = "cpu", "fp32", True

    def __init__(self, meet: int = 1) -> None:
        self.meeting = threading.Barrier(meet)
        self.waited_for = threading.Event()
        self.waited_for.set()
        self.threads: set[str] = set()
        self.fails_at = -1

    def one_core(self) -> None:
        self.threads.add(threading.current_thread().name)

    def prepare(self, a: Frame, b: Frame, times: Sequence[float] = ()) -> Frame:
        assert threading.current_thread().name in self.threads
        if a.index < self.meeting.parties:
            self.meeting.wait(20)
        if a.index == self.fails_at:
            raise ValueError("torn")
        return a

    def synthesize(self, state: Frame, t: float) -> Pixels:
        assert self.waited_for.wait(20)
        time.sleep(0.02 if state.index % 2 else 0)
        return np.minimum(state.pixels + np.float32(t / 10), 1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(tmp_path_factory.mktemp("clip ü"), [draw(index, (96, 64)) for index in range(PAIRS + 1)])


def frames(clip: Path, engine: Engine, cancel: threading.Event | None = None) -> Iterator[tuple[int, Image]]:
    """Number and pixels of every frame, in the order in which they are made."""
    names = tuple(sorted(path.name for path in clip.iterdir()))
    job = Job(
        source=str(clip), files=names, start=0, end=PAIRS, output="/o", engine="flow", factor=Fraction(3),
        cuts="ignore", repeats="off",
    )  # fmt: skip
    source, rate, times = open_job(job, lambda record: None)
    cancel = cancel or threading.Event()
    with source:
        plan = plan_job(job, source, rate, times, lambda record: None, cancel)
        for frame, image in making.make_frames(engine, source, plan, plan, cancel):
            yield frame.number, image


def test_pairs_are_prepared_at_once_and_come_in_order(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "cores", lambda: 3)
    engine = Team(meet=3)  # none of three comes out before all are in
    numbers, images = zip(*frames(clip, engine), strict=True)
    assert list(numbers) == list(range(1, 3 * PAIRS + 1))
    assert len(engine.threads) == 3
    alone = [image for _, image in frames(clip, _one_by_one(Team()))]
    assert all(np.array_equal(one, other) for one, other in zip(images, alone, strict=True))


def _one_by_one(engine: Team) -> Team:
    engine.parallel = False
    engine.one_core()  # this thread is the one that computes
    return engine


def test_flow_is_the_same_on_any_number_of_cores(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for count in (1, 4):
        monkeypatch.setattr(making, "cores", lambda count=count: count)
        made.append(dict(frames(clip, create("flow"))))
    assert made[0].keys() == made[1].keys()
    assert all(np.array_equal(made[0][number], made[1][number]) for number in made[0])


@pytest.mark.parametrize("parallel", [True, False])
def test_a_failure_names_its_pair_and_keeps_what_came_before(clip: Path, parallel: bool) -> None:
    engine = Team() if parallel else _one_by_one(Team())
    engine.fails_at = 5
    came = []
    with pytest.raises(Failure, match="failed between source frames 5 and 6 .ValueError: torn."):
        came.extend(number for number, _ in frames(clip, engine))
    assert came == list(range(1, 17)), "of the pair that failed, the frame that is the source's, too"


def test_cancelling_does_not_wait_for_what_is_being_made(clip: Path) -> None:
    engine, cancel = Team(), threading.Event()
    engine.waited_for.clear()
    timer = threading.Timer(0.3, cancel.set)
    timer.start()
    began = time.monotonic()
    try:
        with pytest.raises(Cancelled):
            list(frames(clip, engine, cancel))
        assert time.monotonic() - began < 2
    finally:
        engine.waited_for.set()
        timer.join()


def test_as_many_threads_as_memory_is_there_for(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "cores", lambda: 6)
    assert making.threads_for(create("blend"), (96, 64))[0] == 0
    for free, expected in ((0, 1), (4 * 3 * 96 * 64 * making.BYTES_PER_PIXEL, 3), (1 << 40, 6), (None, 6)):
        monkeypatch.setattr(making, "free_on_host", lambda free=free: free)
        engine = Team(meet=expected)
        assert len(list(frames(clip, engine))) == 3 * PAIRS
        assert len(engine.threads) == expected
