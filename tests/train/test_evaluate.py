# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured is what the module says."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.engines import create
from core.engines.lento import WEIGHTS
from core.messages import InputError
from core.train.evaluate import add_arguments, contestants, likeness, measured, report, run
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


def test_a_clip_of_few_frames_ends_nothing(tmp_path: Path) -> None:
    for frames in (2, 3, 4, 5):
        write_clip(tmp_path / f"{frames}.mp4", frames, fps=60, size=(160, 96), sound=False)  # type: ignore[arg-type]
    scores = report(tmp_path, {"nearest": create("nearest")})
    found = [(score.clip, score.fold) for score in scores]
    assert found == [("3", 2), ("4", 2), ("5", 2), ("5", 4)]


def test_clips_with_spaces_in_their_names_are_told_apart(tmp_path: Path) -> None:
    worst, picture = Worst("nearest"), draw(1, (160, 96))
    for clip in ("a boat", "a house"):
        worst.add(30, clip, 0, [picture] * 4)
    worst.write(tmp_path / "worst.png")
    sheet = cv2.imread(str(tmp_path / "worst.png"))
    assert sheet is not None
    assert sheet.shape == (2 * 240, 5 * 400, 3)


def test_checkpoints_of_the_same_name_are_all_measured(tmp_path: Path) -> None:
    files = [tmp_path / folder / "weights.safetensors" for folder in ("one", "other")]
    for file in [*files, tmp_path / "lento.safetensors"]:
        file.parent.mkdir(exist_ok=True)
        shutil.copy(WEIGHTS, file)
    assert list(contestants([], [str(file) for file in files])) == ["one/weights", "other/weights"]
    assert list(contestants([], [str(files[0])])) == ["weights"]
    assert list(contestants(["lento"], [str(tmp_path / "lento.safetensors")])) == ["lento", f"{tmp_path.name}/lento"]


def shell(*words: object, module: str = "core.train", command: str = "evaluate") -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", module, command, *map(str, words)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("{folder} --weights /no.pkl", "The weights /no.pkl cannot be read"),
        ("{folder}/none", "none is no folder"),
        ("--footage {folder}/slow.mp4", "slow.mp4 is no folder"),
        ("{empty} --worst {empty}/w.png", "has no clip of 3 frames or more"),
        ("{folder} --json {folder}/none/x.json", "x.json cannot be written"),
        ("{folder} --worst {folder}", "cannot be written"),
        ("{folder} --clips slow typo", "has no clip typo"),
        ("{folder} --footage {folder}", "Name one folder"),
        ("--clips slow", "Name one folder"),
        ("{folder} --engine none", "There is no engine 'none'"),
    ],
)
def test_what_cannot_be_measured_is_told(folder: Path, tmp_path: Path, words: str, sentence: str) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = parser.parse_args([word.format(folder=folder, empty=tmp_path) for word in words.split()])
    with pytest.raises(InputError, match=sentence):
        run(arguments)


@pytest.mark.parametrize(("module", "command"), [("core.train", "evaluate"), ("scripts.benchmarks", "quality")])
def test_from_a_shell(folder: Path, module: str, command: str) -> None:
    few = ("--engine", "blend", "--clips", "slow")
    for where in ((folder,), ("--footage", folder)):
        ended = shell(*where, *few, module=module, command=command)
        assert ended.returncode == 0, ended.stderr
        assert "slow" in ended.stdout
    for words, sentence in (
        (("none",), "Error: none is no folder"),
        ((folder, "--precision", "nonsense"), "invalid choice: 'nonsense'"),
    ):
        ended = shell(*words, *few, module=module, command=command)
        assert ended.returncode == 2
        assert sentence in ended.stderr
