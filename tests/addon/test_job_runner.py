# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes and the jobs that they are given, mostly with a worker of ten lines."""

from __future__ import annotations

import atexit
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import addon_utils
import pytest
from helpers import lento

from scripts.in_blender import MODULE, WORKER

job_runner, tasks = (lento(f"addon.{name}") for name in ("job_runner", "tasks"))
Done = lento("core.messages").Done

OBEDIENT = """
for line in sys.stdin:
    say(kind="done", code=0, result=json.loads(line)["job"])
    say(kind="ready", memory=1)
"""
"""What a worker that stays does, at once."""
AT_WORK = """
sys.stdin.readline()
say(kind="status", text="At work")
"""


@pytest.fixture(autouse=True)
def nothing_ready() -> Iterator[None]:
    job_runner.end_ready()
    yield
    job_runner.end_ready()


@pytest.fixture
def worker_that(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a Python whose `-m core` is the lines that are given; `say` writes a record."""

    def make(lines: str) -> Path:
        program, body = tmp_path / "python", tmp_path / "worker.py"
        body.write_text(f"import json, sys, time\ndef say(**record): print(json.dumps(record), flush=True)\n{lines}")
        # by way of a shell: the path of a Python that a first line names must not hold a space
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{body}"\n')
        program.chmod(0o755)
        return program

    return make


@pytest.fixture
def clip_job(clips: Path, tmp_path: Path) -> Path:
    """The file of a job that takes longer than any test here."""
    job = {"source": str(clips / "clip.mp4"), "output": str(tmp_path / "o"), "start": 0, "end": 48, "factor": "100"}
    path = tmp_path / "job.json"
    path.write_text(json.dumps({"schema": 1, **job, "engine": "flow"}))
    return path


def until(happened: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def last_words(worker: Any) -> Any:
    """What the worker says at the end of its job."""
    told: list[Any] = []
    until(lambda: told.extend(worker.poll()) or (told and told[-1].kind == "done"))
    return told[-1]


def test_log_that_cannot_be_written(worker_that: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    python = worker_that(OBEDIENT)
    sentence = r"The log .*/log cannot be written \(Is a directory\): delete what is there"
    for minutes in (0, 5):
        with pytest.raises(Exception, match=sentence):
            job_runner.start_job(python, tmp_path / "job", tmp_path / "log", minutes)
    last_words(job_runner.start_job(python, tmp_path / "job", tmp_path / "another log", 5))
    with pytest.raises(Exception, match=sentence):
        job_runner.start_job(python, tmp_path / "job", tmp_path / "log", 5)
    assert len(job_runner.ready()) == 1, "the worker is still good for another job"
    with pytest.raises(Exception, match=sentence):
        tasks.start("model", "Importing x", [str(python)], tmp_path / "log", {})
    with pytest.raises(Exception, match=r"The folder .*/python, where .* cannot be made \(File exists\): delete"):
        tasks.start("model", "Importing x", [str(python)], python / "log", {})
    assert tasks.running == {}


def test_next_job_takes_nothing_of_one_that_is_done_and_not_looked_at(
    worker_that: Callable[[str], Path], tmp_path: Path
) -> None:
    python = worker_that(OBEDIENT)
    first = job_runner.start_job(python, Path("first"), tmp_path / "first log", 5)
    until(job_runner.ready)
    second = job_runner.start_job(python, Path("second"), tmp_path / "second log", 5)
    until(job_runner.ready)
    assert [worker.poll() for worker in (first, second)] == [[Done(0, "first")], [Done(0, "second")]]
    assert (first.log_path, second.log_path) == (tmp_path / "first log", tmp_path / "second log")


def test_job_that_is_done_does_not_stop_the_next(worker_that: Callable[[str], Path], tmp_path: Path) -> None:
    python = worker_that(OBEDIENT)
    first = job_runner.start_job(python, Path("first"), tmp_path / "log", 5)
    until(job_runner.ready)
    second = job_runner.start_job(python, Path("second"), tmp_path / "log", 5)
    first.cancel()
    first.kill()
    assert last_words(second) == Done(0, "second")
    assert len(job_runner.ready()) == 1


def at_work(worker: Any) -> None:
    until(lambda: any(record.kind == "status" for record in worker.poll()))


def test_cancel_is_the_end_of_standard_input(
    worker_that: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows no signal reaches a process that has a console of its own."""

    def unreachable(*arguments: Any) -> None:
        raise OSError("The handle is invalid")

    python = worker_that(f"{AT_WORK}sys.stdin.read()\nsay(kind='done', code=4)\nsay(kind='ready', memory=1)")
    worker = job_runner.start_job(python, tmp_path / "job", tmp_path / "log", 5)
    at_work(worker)
    monkeypatch.setattr(subprocess.Popen, "send_signal", unreachable)
    worker.cancel()
    assert last_words(worker) == Done(4)
    assert job_runner.ready() == [], "it ends, whatever it says"
    until(lambda: worker.process.popen.poll() is not None)


def test_worker_that_does_not_hear_is_killed(
    worker_that: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lento("addon.worker"), "GRACE", 0.1)
    python = worker_that(f"{AT_WORK}time.sleep(60)")
    for minutes in (0, 5):
        worker = job_runner.start_job(python, tmp_path / "job", tmp_path / "log", minutes)
        worker.cancel()
        assert last_words(worker) == Done(4)
        assert worker.process.popen.returncode == -signal.SIGKILL


def test_blender_does_not_wait_for_a_worker_that_does_not_read(
    worker_that: Callable[[str], Path], tmp_path: Path
) -> None:
    python = worker_that("time.sleep(3)")
    began = time.monotonic()
    worker = job_runner.start_job(python, Path("long" * 100_000), tmp_path / "log", 5)
    worker.cancel()
    assert time.monotonic() - began < 1
    worker.kill()
    assert last_words(worker) == Done(4)


@pytest.mark.parametrize("minutes", [0, 5])
def test_job_cancelled_before_a_worker_took_it(tmp_path: Path, clip_job: Path, minutes: float) -> None:
    worker = job_runner.start_job(WORKER, clip_job, tmp_path / "log", minutes)
    began = time.monotonic()
    worker.cancel()
    assert last_words(worker) == Done(4)
    assert time.monotonic() - began < 4, "it was not killed"
    assert job_runner.ready() == []


@pytest.mark.parametrize("minutes", [0, 5])
def test_running_job_ends_within_two_seconds(tmp_path: Path, clip_job: Path, minutes: float) -> None:
    worker = job_runner.start_job(WORKER, clip_job, tmp_path / "log", minutes)
    until(lambda: any(record.kind == "progress" and record.done > 3 for record in worker.poll()), 30)
    began = time.monotonic()
    worker.cancel()
    assert last_words(worker) == Done(4)
    until(lambda: worker.process.popen.poll() is not None)
    assert time.monotonic() - began < 2
    assert job_runner.ready() == []
    assert not list(tmp_path.rglob("*.part"))


def test_turned_off_it_is_not_called_when_blender_quits(monkeypatch: pytest.MonkeyPatch) -> None:
    called_at_exit = {job_runner.kill_all}
    monkeypatch.setattr(atexit, "register", called_at_exit.add)
    monkeypatch.setattr(atexit, "unregister", called_at_exit.discard)
    addon_utils.disable(MODULE)
    turned_off = set(called_at_exit)
    addon_utils.enable(MODULE, default_set=True)
    assert (turned_off, called_at_exit) == (set(), {job_runner.kill_all})
