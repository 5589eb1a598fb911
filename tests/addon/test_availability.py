# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panel knows about the engines of the worker's Python."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from helpers import lento

from scripts.in_blender import WORKER

answers, availability = lento("addon.answers"), lento("addon.availability")


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    answers.forget()


def known(python: Path, engine: str, weights: str = "") -> str:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found = availability.lacking(python, engine, weights)
        if found is not None:
            return str(found)
        time.sleep(0.02)
    raise AssertionError("nobody answered")


def test_this_python_runs_every_engine() -> None:
    python = Path(WORKER)
    assert availability.lacking(python, "flow", "") is None, "asking does not wait"
    assert known(python, "flow") == known(python, "lento") == known(python, "rife", "/weights.pkl") == ""
    assert known(python, "rife") == "a checkpoint, named as Weights"


def test_a_python_without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = json.dumps([{"id": "lento", "lacks": "torch in /p"}, {"id": "flow", "lacks": ""}])
    monkeypatch.setattr(answers.job_runner, "ask", lambda *_: answer)
    assert known(Path("/p"), "lento") == "torch in /p"
    assert known(Path("/p"), "flow") == ""


def test_a_python_that_does_not_answer_is_asked_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    python = tmp_path / "no python"
    assert availability.lacking(python, "lento", "") is None
    until = time.monotonic() + 10
    while not caplog.records and time.monotonic() < until:
        time.sleep(0.02)
    assert "does not answer engines" in caplog.text
    assert known(python, "lento") == "", "a reason to start the job, which will say what is wrong"
    assert len(caplog.records) == 1
