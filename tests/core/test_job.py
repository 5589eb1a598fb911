# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import fields
from fractions import Fraction
from pathlib import Path

import pytest

from core.engines import ENGINES as REGISTRY
from core.job import ENGINES, Job, JobError, options

SOUND = {"schema": 1, "source": "/a.mp4", "output": "/o", "start": 0, "end": 4}


def test_json_there_and_back() -> None:
    job = Job(
        source="/a",
        files=("x1.png", "ü2.png"),
        output="/o",
        start=3,
        end=9,
        shown_start=1,
        shown_end=20,
        fps=Fraction(30000, 1001),
        factor=Fraction(7, 3),
        engine="blend",
        device="cpu",
        time="curve",
        speeds=((Fraction(0), Fraction(1)), (Fraction(12), Fraction(1, 4))),
        sounds=(("/a.wav", Fraction(1, 3), Fraction(24)),),
        cuts_at=(4,),
        retimed=Fraction(99),
        shutter=Fraction(180),
    )
    assert Job.from_json(job.to_json()) == job


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": 2}, "schema: 2"),
        ({"source": "a.mp4"}, "source: 'a.mp4' is not an absolute path"),
        ({"start": "0"}, "start: '0' is not a whole number"),
        ({"end": 1}, "The range 0 to 1 holds 1 frame, and slow motion needs at least 2: choose a longer range"),
        ({"end": -5}, "The range 0 to -5 holds no frames, and slow motion needs at least 2"),
        ({"factor": "1/200"}, "factor: 1/200 is too small, the least is 1/100"),
        ({"time": "warp"}, "time: 'warp' is not one of factor, fit, curve, smooth"),
        ({"time": "curve"}, "speeds: the time 'curve' needs the speeds"),
        ({"speeds": [["0"]]}, "speeds, sounds: every entry must be a list|not enough values"),
        ({"speeds": [["0", "x"]]}, "speeds: 'x' is not a number"),
        ({"length": 0}, "length: 0 is too small"),
        (
            {"engine": "flow", "ensemble": True},
            "ensemble: on means nothing to the engine 'flow': leave it out, or choose rife",
        ),
        ({"engine": "dain", "flow_scale": "2"}, "flow_scale: '2' means nothing to the engine 'dain'"),
        (
            {"engine": "flow", "device": "cuda"},
            "device: 'cuda' means nothing to the engine 'flow': leave it out, or choose lento, .* or dain",
        ),
        ({"engine": "flow", "weights": "/w.pth"}, "weights: '/w.pth' means nothing to the engine 'flow'"),
        ({"length": 2.5}, "length: 2.5 is not a whole number"),
        ({"shutter": "400"}, "shutter: 400 is too large"),
        ({"shutter": None}, "shutter: None is not a number"),
        ({"sounds": [["/a.wav", "0"]]}, "sounds: .* is not made of str, Fraction, Fraction"),
        ({"cuts_at": ["a"]}, "cuts_at: every entry must be a whole number"),
        ({"retimed": "0"}, "retimed: 0 is not a number above 0: give one such as 24"),
        ({"factor": 0}, "factor: 0 is too small"),
        ({"factor": "x"}, "factor: 'x' is not a number"),
        ({"factor": True}, "factor: True is not a number"),
        ({"factor": float("nan")}, "factor: 'nan' is not a number"),
        ({"fps": float("inf")}, "fps: 'inf' is not a number"),
        ({"ensemble": "off", "engine": "rife"}, "ensemble: 'off' is neither true nor false"),
        ({"ensemble": 0}, "ensemble: 0 is neither true nor false"),
        ({"retimed_to_end": "no"}, "retimed_to_end: 'no' is neither true nor false"),
        ({"length": None}, "length: None is not a whole number"),
        ({"ramp": None}, "ramp: None is not a whole number"),
        ({"factor": "2000"}, "factor: 2000 is too large"),
        ({"engine": "magic"}, "engine: 'magic' is not one of flow, lento"),
        ({"device": "toaster"}, "device: 'toaster' is not one of auto"),
        ({"fps": 0}, "fps: "),
        ({"files": "x.png"}, "files: 'x.png' is not a list"),
        ({"shown_start": 5, "shown_end": 5}, "shown_end: 5"),
        ({"speed": 3}, "speed: there is no such field"),
    ],
)
def test_wrong_field_is_named(change: dict[str, object], sentence: str) -> None:
    Job.from_json(json.dumps(SOUND))
    with pytest.raises(JobError, match=sentence.replace("(", r"\(")):
        Job.from_json(json.dumps({**SOUND, **change}))


@pytest.mark.parametrize("name", sorted({declared.name for declared in fields(Job)}))
@pytest.mark.parametrize("value", [None, True, 7, 2.5, "x", [], [None], [[None]], {}])
def test_any_value_is_accepted_or_explained(name: str, value: object) -> None:
    with suppress(JobError):
        Job.from_json(json.dumps({**SOUND, name: value}))


def test_numbers_are_read_as_they_are_written() -> None:
    numbers = '"factor": 2.5, "fps": 23.976, "host_fps": 60, "retimed": 99.5, "shutter": 1.8e2, "speeds": [[0.5, 0.1]]'
    job = Job.from_json(f'{json.dumps(SOUND)[:-1]}, {numbers}, "sounds": [["/a.wav", 0.1, 24]]}}')
    assert (job.factor, job.fps, job.host_fps) == (Fraction(5, 2), Fraction(23976, 1000), 60)
    assert (job.retimed, job.shutter) == (Fraction(199, 2), 180)
    assert job.speeds == ((Fraction(1, 2), Fraction(1, 10)),)
    assert job.sounds == (("/a.wav", Fraction(1, 10), Fraction(24)),)
    assert Job.from_json(job.to_json()) == job


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1", "cuda:7", "cuda:12"])
def test_any_gpu_may_be_named(device: str) -> None:
    assert Job.from_json(json.dumps({**SOUND, "device": device})).device == device


@pytest.mark.parametrize("device", ["cuda:", "cuda:-1", "cuda:01", "cuda:x", "cuda:1\n", "cpu:0", ["cuda"], 3])
def test_what_is_no_device(device: object) -> None:
    with pytest.raises(JobError, match="device: .* is not one of auto, cuda, cuda:1, .*, cpu, cuda:N."):
        Job.from_json(json.dumps({**SOUND, "device": device}))


@pytest.mark.parametrize("name", ["source", "output", "start", "end"])
def test_missing_field_is_named(name: str) -> None:
    with pytest.raises(JobError, match=f"{name}: missing"):
        Job.from_json(json.dumps({key: value for key, value in SOUND.items() if key != name}))


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_what_is_no_job(text: str) -> None:
    with pytest.raises(JobError):
        Job.from_json(text)


def test_digest_tells_frames_apart_and_not_folders(tmp_path: Path) -> None:
    media = tmp_path / "a.mp4"
    media.write_bytes(b"one")

    def digest(**change: object) -> str:
        return Job(**{"source": str(media), "output": "/o", "start": 0, "end": 4, **change}).digest()  # type: ignore[arg-type]

    first = digest()
    assert digest(output="/other") == first
    assert digest(factor=Fraction(3)) != first
    assert digest(end=5) != first
    media.write_bytes(b"other")
    assert digest() != first


@pytest.mark.parametrize("changed", ["shot_0001.png", "shot_0500.png", "shot_0505.png", "sound.wav"])
def test_digest_sees_every_file_that_the_job_may_look_at(tmp_path: Path, changed: str) -> None:
    names = tuple(f"shot_{number:04d}.png" for number in range(1, 1001))
    for name in (*names, "sound.wav"):
        (tmp_path / name).write_bytes(b"one")
    sounds = ((str(tmp_path / "sound.wav"), Fraction(0), Fraction(24)),)
    job = Job(source=str(tmp_path), files=names, sounds=sounds, output="/o", start=2, end=500)
    first = job.digest()
    (tmp_path / "shot_1000.png").write_bytes(b"made anew")
    (tmp_path / "of another.png").write_bytes(b"one")
    assert job.digest() == first
    written = (tmp_path / changed).stat().st_mtime_ns
    os.utime(tmp_path / changed, ns=(written, written + 1000))
    second = job.digest()
    (tmp_path / changed).unlink()
    assert len({first, second, job.digest()}) == 3


def test_every_option_says_what_surfaces_need() -> None:
    names = [field.name for field, spec in options(Job) if spec.label and spec.help and not spec.help.endswith(".")]
    assert names == [
        "time", "factor", "length", "ease", "ramp", "cuts", "repeats", "shutter", "sound", "engine", "weights",
        "format", "device", "precision", "flow_scale", "ensemble",
    ]  # fmt: skip


def test_engines_offered_are_the_engines_there_are() -> None:
    assert {choice.id for choice in ENGINES} == set(REGISTRY)
