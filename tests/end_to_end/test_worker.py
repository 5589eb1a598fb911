# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker as a process: `python -m core` from outside."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.job import Job
from core.messages import Done, Error, Progress, Ready, Record, Status, Warning, decode
from core.source import open_source
from scripts.clips import read_number, write_clip
from tests import failing

ROOT = Path(__file__).resolve().parents[2]


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "core", *map(str, words)]


def core(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), cwd=ROOT, capture_output=True, text=True, **options)  # type: ignore[call-overload, no-any-return]


def records(output: str) -> list[Record]:
    return [decode(line) for line in output.splitlines()]


def read(path: Path) -> np.ndarray:
    return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def frames_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


def test_slow_makes_the_frames_that_plan_lists(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out put ü"
    arguments = (clip, "--output", out, "--range", 4, 10, "--factor", "7/3", "--engine", "blend")
    planned = json.loads(core("plan", *arguments).stdout)
    ended = core("slow", *arguments, "--json")
    assert ended.returncode == 0, ended.stderr
    told = records(ended.stdout)
    assert isinstance(told[0], Status)
    assert told[-1] == Done(0, str(out / "result.json"))
    assert [record.done for record in told if isinstance(record, Progress) and not record.phase] == list(range(15))
    result = json.loads((out / "result.json").read_text())
    assert result["frames"] == planned
    assert (result["engine"], result["device"], result["precision"], result["fps"], result["size"]) == (
        "blend",
        "cpu",
        "fp32",
        "24/1",
        [320, 180],
    )
    assert [entry["file"] for entry in planned] == sorted(frames_in(out)) == [f"{n:06d}.png" for n in range(1, 15)]
    assert [(entry["kind"], entry["source"], entry["t"]) for entry in planned[:4]] == [
        ("copy", 4, "0"),
        ("between", 4, "3/7"),
        ("between", 4, "6/7"),
        ("between", 5, "2/7"),
    ]
    with open_source(clip) as source:
        decoded = dict(zip(range(4, 11), source.frames(4, 11), strict=True))
    for entry in planned:
        pixels, t = read(out / entry["file"]), eval(entry["t"])  # noqa: S307
        exact = (1 - t) * decoded[entry["source"]] + t * decoded[entry["source"] + 1].astype(float)
        assert np.abs(pixels - exact).max() <= (0 if entry["kind"] == "copy" else 0.51)


def test_whole_clip_is_slowed_where_no_range_is_given(clip: Path, tmp_path: Path) -> None:
    assert core("slow", clip, "--output", tmp_path / "o", "--factor", 2, "--engine", "nearest").returncode == 0
    result = json.loads((tmp_path / "o" / "result.json").read_text())
    assert len(result["frames"]) == 80
    assert [entry["kind"] for entry in result["frames"]] == ["copy", "between"] * 39 + ["copy", "hold"]
    assert read_number(read(tmp_path / "o" / "000080.png")) == 39


def test_damaged_sound_of_the_job_is_made_again(clip: Path, tmp_path: Path) -> None:
    arguments = (clip, "--output", tmp_path, "--range", 0, 6, "--factor", 2, "--engine", "nearest")
    assert core("slow", *arguments).returncode == 0
    sound = tmp_path / "sound-1.wav"
    whole = sound.read_bytes()
    sound.write_bytes(whole[:1000])
    assert core("slow", *arguments).returncode == 0
    assert sound.read_bytes() == whole


def test_image_sequence_in_any_folder(tmp_path: Path, clip: Path) -> None:
    out = tmp_path / "first"
    assert core("slow", clip, "--output", out, "--range", 0, 6, "--factor", 1, "--engine", "nearest").returncode == 0
    for given in (out, out / "000001.png"):
        again = tmp_path / f"again {given.suffix}"
        ended = core("slow", given, "--output", again, "--factor", 2, "--fps", "30000/1001", "--engine", "nearest")
        assert ended.returncode == 0, ended.stdout
        result = json.loads((again / "result.json").read_text())
        assert (len(result["frames"]), result["fps"]) == (12, "30000/1001")
        assert frames_in(again)["000003.png"] == frames_in(out)["000002.png"]


def test_holes_of_a_sequence_are_told(tmp_path: Path, clip: Path) -> None:
    out = tmp_path / "first"
    assert core("slow", clip, "--output", out, "--range", 0, 6, "--factor", 1, "--engine", "nearest").returncode == 0
    (out / "000003.png").unlink()
    ended = core("slow", out, "--output", tmp_path / "o", "--factor", 2, "--engine", "nearest", "--json")
    assert ended.returncode == 0
    warnings = [record.text for record in records(ended.stdout) if isinstance(record, Warning)]
    assert warnings == [f"{out} lacks images of its sequence (3): for each, the image before it is held."]


@pytest.mark.parametrize(("chosen", "name"), [("ffv1", "slow.mkv"), ("prores", "slow.mov"), ("h264", "slow.mp4")])
def test_movie_takes_the_place_of_the_frames(clip: Path, tmp_path: Path, chosen: str, name: str) -> None:
    arguments = (clip, "--output", tmp_path / "o", "--range", 0, 6, "--factor", 2, "--engine", "blend")
    ended = core("slow", *arguments, "--format", chosen)
    assert ended.returncode == 0, ended.stdout
    assert "Encoding 12/12 frames" in ended.stdout
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == [
        ".job", ".lock", "result.json", name, "sound-1.wav",
    ]  # fmt: skip
    result = json.loads((tmp_path / "o" / "result.json").read_text())
    assert (result["movie"], len(result["frames"])) == (name, 12)
    assert result["frames"][1] == {"kind": "between", "source": 0, "t": "1/2"}
    with open_source(tmp_path / "o" / name) as made, open_source(clip) as source:
        assert (made.count, made.fps, made.size) == (12, 24, (320, 180))
        kept = [frame / np.iinfo(frame.dtype).max * 255 for frame in made.frames(0, 12)][::2]
        errors = [np.abs(one - two) for one, two in zip(kept, source.frames(0, 6), strict=True)]
    assert np.max(errors) < 1e-9 if chosen == "ffv1" else np.mean(errors) < 3
    before = (tmp_path / "o" / name).stat()
    assert core("slow", *arguments, "--format", chosen).returncode == 0
    assert (tmp_path / "o" / name).stat().st_mtime_ns == before.st_mtime_ns, "a finished movie was made again"


def test_killed_while_it_encodes_it_goes_on(clip: Path, tmp_path: Path) -> None:
    job = replace(job_for(clip, tmp_path / "o"), format="ffv1", engine="nearest")
    process = start_job(job, tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        record = decode(line)
        if isinstance(record, Progress) and record.phase == "Encoding" and record.done > 20:
            break
    process.kill()
    process.wait()
    assert len(frames_in(tmp_path / "o")) == 160
    assert not (tmp_path / "o" / "slow.mkv").exists()
    process = start_job(job, tmp_path)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    phases = [record.phase for record in records(output) if isinstance(record, Progress)]
    assert phases.count("") == 1, "frames were made again"
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == [".job", ".lock", "result.json", "slow.mkv"]
    with open_source(tmp_path / "o" / "slow.mkv") as made:
        assert made.count == 160


def test_cancelled_while_it_encodes(clip: Path, tmp_path: Path) -> None:
    process = start_job(replace(job_for(clip, tmp_path / "o"), format="ffv1", engine="nearest"), tmp_path)
    assert process.stdout is not None
    for line in process.stdout:
        record = decode(line)
        if isinstance(record, Progress) and record.phase == "Encoding" and record.done > 20:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 4
    assert len(frames_in(tmp_path / "o")) == 160
    assert not list((tmp_path / "o").glob("slow*"))


def test_text_for_people(clip: Path, tmp_path: Path) -> None:
    ended = core("slow", clip, "--output", tmp_path / "o", "--range", 0, 4, "--engine", "nearest")
    assert "16/16 frames" in ended.stdout
    assert "{" not in ended.stdout
    assert ended.stdout.endswith(f"Done: {tmp_path / 'o' / 'result.json'}\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["absent.mp4"], "absent.mp4 does not exist"),
        (["CLIP", "--range", "30", "99"], "which has 40 frames"),
        (["CLIP", "--range", "-3", "9"], "which has 40 frames"),
        (["CLIP", "--range", "50", "60"], "which has 40 frames"),
        (["CLIP", "--range", "5", "6"], "slow motion needs at least 2"),
        (["CLIP", "--range", "9", "5"], "slow motion needs at least 2"),
        (["CLIP", "--factor", "0.005"], "factor: 1/200 is too small"),
        (["CLIP", "--speed", "0:100%", "9:0%"], "never reaches the end of the range, its last speed is 0%"),
        (["CLIP", "--speed", "3:100%"], "its times do not rise from 0: begin with frame 0"),
        (["CLIP", "--speed", "fast"], "'fast' is not a frame and a speed such as 24:50%"),
        (["CLIP", "--time", "curve"], "--time curve needs the points of its curve"),
        (["CLIP", "--time", "smooth"], "smooth needs the frame rate to play at"),
        (["CLIP", "--time", "fit", "--length", "0"], "length: 0 is too small"),
        (["CLIP", "--shutter", "500"], "shutter: 500 is too large"),
        (["CLIP", "--factor", "0"], "factor: 0 is too small"),
        (["CLIP", "--factor", "-3"], "factor: -3 is too small"),
        (["CLIP", "--factor", "fast"], "'fast' is not a number"),
        (["CLIP", "--factor", "nan"], "'nan' is not a number"),
        (["CLIP", "--engine", "magic"], "invalid choice: 'magic'"),
        (["CLIP", "--cut-at", "12", "3000"], "Frame 3000 cannot begin a shot: "),
        (["CLIP", "--no-cut-at", "-1"], "Frame -1 cannot begin a shot: "),
        (["CLIP", "--device", "toaster"], "device: 'toaster' is not one of auto, "),
        (["CLIP", "--length", "1.5"], "'1.5' is not a whole number of frames: give one such as 96"),
        (["CLIP", "--range", "0", "end"], "'end' is not a whole number of frames"),
        (["/dev/null"], "/dev/null is no movie"),
        ([str(ROOT / "LICENSE")], "choose a movie or an image, or get the whole file."),
        ([str(ROOT / "docs")], "holds no numbered images"),
    ],
)
def test_bad_input_is_a_sentence_and_changes_nothing(
    clip: Path, tmp_path: Path, words: list[str], sentence: str
) -> None:
    words = [str(clip) if word == "CLIP" else word for word in words]
    for as_json in ([], ["--json"]):
        ended = core("slow", *words, "--output", tmp_path / "o", *as_json)
        assert ended.returncode == 2
        assert sentence in ended.stdout
        assert "Traceback" not in ended.stderr
        assert not (tmp_path / "o").exists()
    told = records(ended.stdout)
    assert [type(record) for record in told[-2:]] == [Error, Done]
    assert told[-1] == Done(2)


def test_sound_of_a_clip(clip: Path, tmp_path: Path) -> None:
    arguments = ("slow", clip, "--output", tmp_path / "o", "--range", 8, 20, "--factor", 3, "--engine", "nearest")
    assert core(*arguments, "--sound", "stretch").returncode == 0
    with wave.open(str(tmp_path / "o" / "sound-1.wav")) as file:
        assert file.getnframes() == 36 * 2000
    silent = write_clip(tmp_path / "silent.mp4", 8, sound=False)
    ended = core("slow", silent, "--output", tmp_path / "none", "--sound", "tape")
    assert (ended.returncode, "silent.mp4 has no sound to stretch: choose auto" in ended.stdout) == (2, True)
    assert not (tmp_path / "none").exists()


def test_curve_and_rate_from_a_shell(clip: Path, tmp_path: Path) -> None:
    curve = ("--speed", "0:100%", "6:25%", "30:25%")
    planned = json.loads(core("plan", clip, "--range", 0, 12, *curve).stdout)
    assert planned[6]["source"] == 3
    assert Fraction(planned[6]["t"]) == Fraction(3, 4)
    planned = json.loads(core("plan", clip, "--range", 0, 12, "--time", "smooth", "--host-fps", 60).stdout)
    assert [entry["t"] for entry in planned[:6]] == ["0", "2/5", "4/5", "1/5", "3/5", "0"]
    assert len(planned) == 30


def test_output_that_cannot_be_written(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = core("slow", clip, "--output", tmp_path / "file" / "o", "--engine", "nearest")
    assert ended.returncode == 2
    assert "choose a folder that can be written" in ended.stdout


def test_job_file_that_is_wrong(tmp_path: Path) -> None:
    for name, text, sentence in (("a", "{", "not JSON"), ("b", '{"schema": 1, "source": "/x"}', "output: missing")):
        (tmp_path / name).write_text(text)
        ended = core("run", tmp_path / name, "--json")
        assert (ended.returncode, sentence in ended.stdout) == (2, True)
    assert core("run", tmp_path / "absent", "--json").returncode == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    with failing.small_disk(tmp_path / "small") as folder:
        yield folder


def test_full_disk(clip: Path, small_disk: Path) -> None:
    arguments = (
        "slow",
        clip,
        "--output",
        small_disk / "o",
        "--range",
        0,
        20,
        "--engine",
        "blend",
        "--json",
        "--sound",
        "mute",
    )
    ended = core(*arguments)
    assert ended.returncode == 2
    error = records(ended.stdout)[-2]
    assert isinstance(error, Error)
    assert "is full: free some space and start again" in error.text
    assert not list((small_disk / "o").glob("*.part"))
    kept = frames_in(small_disk / "o")
    assert len(kept) > 2
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert core(*arguments).returncode == 0
    done = frames_in(small_disk / "o")
    assert len(done) == 80
    assert {name: done[name] for name in kept} == kept


def test_disk_that_fills_up_while_it_encodes(clip: Path, small_disk: Path) -> None:
    arguments = (
        "slow",
        clip,
        "--output",
        small_disk / "o",
        "--range",
        0,
        12,
        "--factor",
        1,
        "--format",
        "ffv1",
        "--sound",
        "mute",
    )
    ended = core(*arguments)
    assert ended.returncode == 2, ended.stdout
    assert "is full: free some space and start again" in ended.stdout
    assert not list((small_disk / "o").glob("slow*"))
    assert len(frames_in(small_disk / "o")) == 12
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert core(*arguments).returncode == 0


def start_job(job: Job, tmp_path: Path, *words: str) -> subprocess.Popen[str]:
    (tmp_path / "job.json").write_text(job.to_json(), encoding="utf-8")
    return subprocess.Popen(
        command("run", tmp_path / "job.json", "--json", *words),
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def job_for(clip: Path, output: Path) -> Job:
    return Job(source=str(clip), output=str(output), start=0, end=40)


def until_frame(process: subprocess.Popen[str], number: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        record = decode(line)
        if isinstance(record, Progress) and not record.phase and record.done >= number:
            return
    raise AssertionError(f"the worker ended before frame {number}")


def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(clip: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    assert start_job(job_for(clip, whole), tmp_path).wait(120) == 0
    chance = random.Random()
    for attempt in range(3):
        folder = tmp_path / f"killed{attempt}"
        moment = chance.uniform(0, 120)
        process = start_job(job_for(clip, folder), tmp_path)
        until_frame(process, int(moment))
        time.sleep(chance.uniform(0, 0.05))
        process.kill()
        process.wait()
        assert not (folder / "result.json").exists()
        assert start_job(job_for(clip, folder), tmp_path).wait(120) == 0
        assert frames_in(folder) == frames_in(whole), f"killed after frame {int(moment)}"
        results = [json.loads((path / "result.json").read_text()) for path in (folder, whole)]
        assert results[0]["frames"] == results[1]["frames"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_cancelled_by_a_signal(clip: Path, tmp_path: Path, how: signal.Signals) -> None:
    before = signal.signal(how, signal.SIG_DFL)  # a program under nohup, as these tests may be, ignores SIGHUP
    try:
        process = start_job(job_for(clip, tmp_path / "o"), tmp_path)
    finally:
        signal.signal(how, before)
    until_frame(process, 5)
    process.send_signal(how)
    output, errors = process.communicate(timeout=10)
    assert process.returncode == 4
    assert records(output)[-1] == Done(4)
    assert "Traceback" not in errors
    assert not list((tmp_path / "o").glob("*.part"))


def test_worker_does_not_outlive_who_started_it(clip: Path, tmp_path: Path) -> None:
    process = start_job(job_for(clip, tmp_path / "o"), tmp_path, "--until-stdin-closes")
    until_frame(process, 3)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(5) == 4


def test_second_worker_in_the_same_folder_is_refused(clip: Path, tmp_path: Path) -> None:
    first = start_job(job_for(clip, tmp_path / "o"), tmp_path)
    until_frame(first, 2)
    second = start_job(job_for(clip, tmp_path / "o"), tmp_path)
    output, _ = second.communicate(timeout=30)
    assert second.returncode == 2
    assert "in use by another worker" in output
    first.communicate(timeout=120)
    assert first.returncode == 0


def test_python_without_the_packages(tmp_path: Path, clip: Path) -> None:
    job = tmp_path / "job.json"
    job.write_text(job_for(clip, tmp_path / "o").to_json())
    # -I and -S: the interpreter without any site-packages
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from core.cli import main; sys.exit(main(sys.argv[1:]))"
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, "run", str(job), "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert ended.returncode == 3
    error = records(ended.stdout)[-2]
    assert isinstance(error, Error)
    assert "has no module" in error.text
    assert "create or repair the environment" in error.text


def test_worker_that_stays_answers_a_line_that_names_no_job(clip: Path, tmp_path: Path) -> None:
    job = Job(source=str(clip), output=str(tmp_path / "o"), start=0, end=3, engine="nearest")
    (tmp_path / "job.json").write_text(job.to_json())
    good = {"job": str(tmp_path / "job.json"), "log": str(tmp_path / "log")}
    nowhere = {**good, "log": str(tmp_path / "absent" / "log")}
    bad = ["no JSON", "[1]", "3", '{"job": "/a"}', '{"job": 3, "log": 4}', json.dumps(nowhere)]
    worker = subprocess.Popen(
        command("serve", "--idle", 60), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert worker.stdin and worker.stdout
    worker.stdin.write("\n".join(["", *bad, json.dumps(good), ""]))
    worker.stdin.flush()
    told: list[Record] = []
    while [type(record) for record in told].count(Ready) < len(bad) + 1:
        told.append(decode(worker.stdout.readline()))
    out, errors = worker.communicate()
    assert (out, errors, worker.returncode) == ("", "", 0)
    sentences = [record.text for record in told if isinstance(record, Error)]
    assert len(sentences) == len(bad)
    assert all("names no job: write a line such as {" in sentence for sentence in sentences[:-1])
    assert "cannot be written (No such file or directory): name a file in a folder that is there" in sentences[-1]
    assert Done(0, str(tmp_path / "o" / "result.json")) in told
    assert '{"job": "/path/job.json"' in " ".join(core("serve", "--help").stdout.split())
