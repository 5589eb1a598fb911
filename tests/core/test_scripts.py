# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scripts make of words that are wrong: a sentence, exit status 2, and nothing left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.benchmarks import __main__ as benchmarks

ROOT = Path(__file__).resolve().parents[2]
DEMOS = ROOT / "build" / "demo"


def script(name: str, *words: object) -> tuple[int, str]:
    """Its exit status, and what it says to standard error."""
    ended = subprocess.run(
        [str(ROOT / "scripts" / name), *map(str, words)], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    return ended.returncode, ended.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["no such clip.mp4"], "There is no file 'no such clip.mp4': name a movie"),
        ([""], "There is no file '': name a movie"),
        (["--clip"], "There is no option --clip: see scripts/demo --help."),
        (["a.mp4", "b.mp4"], "One clip at a time"),
    ],
)
def test_demo_of_what_is_no_clip(words: list[str], sentence: str) -> None:
    code, told = script("demo", *words)
    assert (code, told.count("\n")) == (2, 1)
    assert sentence in told


@pytest.mark.parametrize(
    ("name", "sentence"), [("text.mp4", "is no movie that can be read"), ("shot_001.png", "is an image: name a movie")]
)
def test_demo_of_a_file_that_is_no_movie(images: Path, tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "text.mp4").write_text("no movie")
    (tmp_path / "shot_001.png").write_bytes((images / "shot_001.png").read_bytes())
    code, told = script("demo", tmp_path / name)
    assert (code, told.count("\n")) == (2, 1)
    assert sentence in told
    assert not (DEMOS / Path(name).stem).exists()


def test_help_of_the_demo() -> None:
    ended = subprocess.run([str(ROOT / "scripts" / "demo"), "--help"], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.endswith("scripts/demo [CLIP]\n")


def test_nothing_to_compare_is_not_right(tmp_path: Path) -> None:
    (tmp_path / "rife.json").write_text("{}")
    code, told = script("check-golden", tmp_path)
    assert (code, told.count("\n")) == (2, 1)
    assert "holds no vectors" in told
    assert script("check-golden") == (2, "Name the folder of the vectors: scripts/check-golden DIR\n")
    assert script("check-golden", tmp_path / "x") == (
        2, f"There is no folder '{tmp_path / 'x'}': name that of the vectors.\n"
    )  # fmt: skip


def test_offline_without_a_command() -> None:
    assert script("offline") == (2, "Name the command to run: scripts/offline COMMAND...\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("speed --engine nearest --clip /no/clip.mp4", "/no/clip.mp4 does not exist: check the name"),
        (
            "speed --engine rife --source-frames 5 --clip CLIP",
            "the engine 'rife' needs a checkpoint from its authors",
        ),
        ("speed --engine nearest --clip /no/clip.mp4 --factor abc", "'abc' is not a number such as 4, 2.5 or 7/3"),
        ("time /no/folder", "There is no folder /no/folder that holds clips"),
    ],
)
def test_benchmark_says_why_it_fails(
    clip: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], words: str, sentence: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *(str(clip) if word == "CLIP" else word for word in words.split())])
    with pytest.raises(SystemExit) as ended:
        benchmarks.main()
    told = capfd.readouterr().err.splitlines()
    assert (ended.value.code, told[-1][:7]) == (2, "Error: ")
    assert sentence in told[-1]
