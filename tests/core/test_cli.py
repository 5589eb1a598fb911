# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command line makes of its words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from core.cli import job_of, main, parser
from core.job import Job
from core.messages import InputError

ROOT = Path(__file__).resolve().parents[2]


def asked(*words: object) -> Job:
    """The job that `slow` would run."""
    return job_of(parser().parse_args(["slow", *map(str, words)]), lambda record: None)


@pytest.mark.parametrize("words", [("CLIP", "--output", ""), ("CLIP", "--output", " "), ("", "--output", "OUT")])
def test_empty_name_is_no_folder(clip: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    names = {"CLIP": str(clip), "OUT": str(tmp_path)}
    with pytest.raises(InputError, match="its name is empty, as an unset shell variable is: name a file or a folder"):
        asked(*(names.get(word, word) for word in words))


@pytest.mark.parametrize(
    "words", ["environment create", "environment remove", "engines --weights", "run", "slow CLIP --output o --weights"]
)
def test_empty_name_is_nothing_else(words: str) -> None:
    with pytest.raises(InputError, match="its name is empty, as an unset shell variable is"):
        parser().parse_args([*words.split(), ""])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("doctor --python 3.13", "--python means nothing without --wheels: leave it out, or give --wheels, too."),
        ("doctor --json --set linux-cpu", "--set means nothing without --wheels"),
        ("doctor --wheels --json", "--json means nothing to --wheels, whose list is for pip"),
        ("models list --folder FILE", "is no folder: name one for the models, which need not be there yet."),
    ],
)
def test_word_without_an_effect_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, sentence: str
) -> None:
    (tmp_path / "file").touch()
    assert main([str(tmp_path / "file") if word == "FILE" else word for word in words.split()]) == 2
    told = capsys.readouterr()
    assert sentence in told.err
    assert told.out == ""


@pytest.mark.parametrize("seconds", ["-1", "nan", "soon"])
def test_time_that_a_worker_cannot_wait(seconds: str) -> None:
    with pytest.raises(InputError, match="--idle: '.*' is not a number of seconds from 0 on: give one such as 300"):
        parser().parse_args(["serve", "--idle", seconds])


def test_worker_may_wait_for_ever() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "core", "serve", "--idle", "inf"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_length_and_speed_say_what_sets_the_time(clip: Path, tmp_path: Path) -> None:
    job = asked(clip, "--output", tmp_path, "--length", 96)
    assert (job.time, job.length) == ("fit", 96)
    assert asked(clip, "--output", tmp_path, "--speed", "0:50%").time == "curve"
    plain = asked(clip, "--output", tmp_path)
    assert (plain.time, plain.factor, plain.length) == ("factor", Job.factor, Job.length)


@pytest.mark.parametrize("words", ["--factor 1", "--speed 0:100%", "--time smooth", "--factor 4 --ease in --ramp 20"])
def test_normal_speed_is_the_clips_own(clip: Path, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked_for = ["plan", str(clip), "--range", "0", "24", "--host-fps", "60", "--engine", "blend", *words.split()]
    assert main(asked_for) == 0
    frames = json.loads(capsys.readouterr().out)
    if "ease" not in words:
        assert (len(frames), frames[-1]["source"], frames[-1]["t"]) == (60, 23, "3/5")
    assert frames[1]["source"] + Fraction(frames[1]["t"]) == pytest.approx(24 / 60, abs=0.01)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--time factor --length 96", "--length means nothing to --time factor: leave it out, or choose --time fit"),
        ("--time fit --length 96 --speed 0:50%", "--speed means nothing to --time fit: .* choose --time curve"),
        ("--length 96 --speed 0:50%", "--length means nothing to --time curve"),
        ("--length 96 --factor 4", "--factor means nothing to --time fit"),
        ("--speed 0:50% --ease in", "--ease means nothing to --time curve: .* choose --time factor or fit"),
        ("--ramp 6", "--ramp means nothing without an eased end"),
        ("--no-cut-at 3 --cuts ignore", "--no-cut-at means nothing to --cuts ignore, .* choose --cuts hold or fade"),
        ("--cut-at 3 5 --no-cut-at 4 5", "Frame 5 stands after --cut-at and after --no-cut-at: leave it out of one"),
        ("--fps 30", "--fps means nothing to .*clip.mp4, a movie with a rate of its own: leave it out"),
    ],
)
def test_flag_without_an_effect_is_refused(clip: Path, tmp_path: Path, words: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        asked(clip, "--output", tmp_path, *words.split())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--range 5 5", "^The range 5 to 5 holds no frames, and slow motion needs at least 2: choose a longer range"),
        ("--time curve", "^--time curve needs the points of its curve: name them, such as --speed 0:100% 24:25%"),
        ("--factor 1e400", "--factor: '1e400' is not a number such as 4"),
        ("--factor 1e99", r"^factor: 1e\+99 is too large, the most is 1000"),
        ("--speed 0:1e400%", "--speed: '0:1e400%' is not a frame and a speed"),
    ],
)
def test_sentence_names_what_was_typed(clip: Path, tmp_path: Path, words: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        asked(clip, "--output", tmp_path, *words.split())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("absent", "absent.json cannot be read (No such file or directory): name one that can."),
        ("picture", "picture.json is no text, so it is no job: name another."),
    ],
)
def test_job_file_that_cannot_be_read(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "picture.json").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError) as error:
        job_of(parser().parse_args(["run", str(tmp_path / f"{name}.json")]), lambda record: None)
    assert str(error.value) == f"The job file {tmp_path}/{sentence}"


def test_cuts_of_the_whole_clip_may_be_named_for_a_part(clip: Path, tmp_path: Path) -> None:
    assert asked(clip, "--output", tmp_path, "--range", 0, 6, "--cut-at", 3, 20).cuts_at == (3, 20)
    assert asked(clip, "--output", tmp_path, "--cuts", "ignore", "--cut-at", 3).cuts_at == (3,)


def test_any_gpu_may_be_named(clip: Path, tmp_path: Path) -> None:
    assert asked(clip, "--output", tmp_path, "--device", "cuda:0").device == "cuda:0"
    assert asked(clip, "--output", tmp_path, "--device", "cuda:9").device == "cuda:9"
    with pytest.raises(InputError, match="device: 'toaster' is not one of auto, cuda, .*cpu, cuda:N"):
        asked(clip, "--output", tmp_path, "--device", "toaster")


@pytest.mark.parametrize(
    "words", ["engines", "engines --json", "doctor --wheels --set linux-cpu", "models list --folder .", "slow --help"]
)
def test_reader_that_has_enough_is_no_error(words: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "core", *words.split()], cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_engines_are_one_json_value_as_their_help_says() -> None:
    program = [sys.executable, "-m", "core", "engines"]
    told = subprocess.run([*program, "--json"], cwd=ROOT, capture_output=True, text=True).stdout
    assert {engine["id"] for engine in json.loads(told)} >= {"lento", "rife"}
    about = subprocess.run([*program, "--help"], cwd=ROOT, capture_output=True, text=True).stdout
    assert "as JSON, for programs" in about
    assert "a line" not in about
