# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured is what the module says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.engines import create
from core.train.evaluate import likeness, measured, report
from core.train.pictures import Worst
from scripts.clips import draw, write_clip

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("footage ü")
    write_clip(folder / "slow.mp4", 20, size=(160, 96), sound=False)
    write_clip(folder / "fast.mp4", 30, fps=60, size=(160, 96), sound=False)  # type: ignore[arg-type]
    return folder


def test_a_truth_is_nearest_to_itself() -> None:
    truth = draw(3, (160, 96))
    noisy = np.clip(truth.astype(int) + np.random.default_rng(0).integers(-9, 10, truth.shape), 0, 255).astype(np.uint8)
    assert likeness(truth, truth) == pytest.approx(1)
    assert likeness(truth, noisy) < 0.95
    assert likeness(truth, draw(20, (160, 96))) < likeness(truth, noisy)


def test_every_engine_of_a_clip(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    worst = Worst("nearest", 2)
    scores = report(
        folder, {name: create(name) for name in ("flow", "nearest")}, json_file=tmp_path / "s.json", worst=worst
    )
    assert {(score.clip, score.engine, score.fold) for score in scores} == {
        *((clip, engine, 2) for clip in ("slow", "fast") for engine in ("flow", "nearest")),
        *(("fast", engine, 4) for engine in ("flow", "nearest")),
    }
    by = {(score.clip, score.engine, score.fold): score for score in scores}
    assert by["slow", "flow", 2].ssim > by["slow", "nearest", 2].ssim
    assert by["slow", "flow", 2].error < by["slow", "nearest", 2].error
    assert "mean of 2" in capsys.readouterr().out
    worst.write(tmp_path / "worst.png")
    assert (tmp_path / "worst.png").stat().st_size > 10_000


def test_what_is_no_clip_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no clip")
    assert measured(tmp_path / "a.txt", {"flow": create("flow")}, 2) == []


def test_from_a_shell(folder: Path) -> None:
    words = [sys.executable, "-m", "core.train", "evaluate", str(folder), "--engine", "blend", "--clips", "slow"]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "slow" in ended.stdout
    wrong = subprocess.run([*words[:4], str(folder), "--weights", "/no.pkl"], cwd=ROOT, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "Error: The weights /no.pkl cannot be read" in wrong.stderr
