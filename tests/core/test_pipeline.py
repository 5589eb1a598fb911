# SPDX-License-Identifier: GPL-3.0-or-later
"""From a plan to frames: order, cuts, repeats, and what an open shutter sees."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.color import Encoding, from_light, to_light
from core.engines import Engine, Frame, create
from core.images import Image
from core.job import Job
from core.making import make_frames
from core.messages import InputError, Record
from core.pipeline import open_job, plan_job, run
from scripts.clips import draw, read_number, write_clip, write_frames

F = Fraction


def frames_of(job: Job, engine: Engine | None = None) -> tuple[list[str], list[Image]]:
    """Kind and pixels of every output frame, in playing order."""
    told: list[Record] = []
    source, rate, times = open_job(job, told.append)
    with source:
        plan = plan_job(job, source, rate, times, told.append, threading.Event())
        made = {
            frame.number: image
            for frame, image in make_frames(engine or create(job.engine), source, plan, plan, threading.Event())
        }
    assert sorted(made) == list(range(1, len(plan) + 1))
    return [frame.moment.kind for frame in plan], [made[number] for number in sorted(made)]


def job(folder: Path, end: int, **more: object) -> Job:
    names = tuple(sorted(entry.name for entry in folder.iterdir()))
    chosen = {"engine": "blend", "factor": F(2), "output": "/o", **more}
    return Job(source=str(folder), files=names, start=0, end=end, **chosen)  # type: ignore[arg-type]


def test_length_that_leaves_the_engine_nothing(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "a", [draw(index, (64, 36)) for index in range(8)])
    more = {"time": "fit", "engine": "rife", "weights": "/w.pth", "flow_scale": "2", "ensemble": True}
    sentence = (
        "length: 8 frames in 4 show nothing but frames of the source.* flow_scale and ensemble would change nothing"
    )
    with pytest.raises(InputError, match=sentence):
        run(job(folder, 8, length=4, output=str(tmp_path / "o"), **more), lambda record: None, threading.Event())
    assert not (tmp_path / "o").exists()
    # where something is to be made, it goes on to the weights
    with pytest.raises(InputError, match="weights /w.pth cannot be read"):
        run(job(folder, 8, length=5, output=str(tmp_path / "o"), **more), lambda record: None, threading.Event())


def test_after_a_sound_that_cannot_be_read_the_same_folder_is_muted(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "a", [draw(index, (64, 36)) for index in range(3)])
    (tmp_path / "noise.wav").write_bytes(b"no sound at all")
    sounds = ((str(tmp_path / "noise.wav"), F(0), F(24)),)
    failing = job(folder, 3, engine="nearest", output=str(tmp_path / "o"), sounds=sounds)
    with pytest.raises(InputError, match="noise.wav cannot be read"):
        run(failing, lambda record: None, threading.Event())
    assert run(replace(failing, sound="mute"), lambda record: None, threading.Event()).exists()


class Counting:
    """An engine that notes what it is asked for, and gives the first frame."""

    info = create("blend").info

    def __init__(self) -> None:
        self.pairs: list[tuple[int, int]] = []
        self.steps: list[float] = []

    def prepare(self, a: Frame, b: Frame, times: Sequence[float] = ()) -> Frame:
        self.pairs.append((a.index, b.index))
        return a

    def synthesize(self, state: Frame, t: float) -> np.ndarray:
        self.steps.append(t)
        return state.pixels


def test_backwards_reads_forwards_and_makes_every_moment_once(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "s", [draw(index) for index in range(12)])
    there_and_back = (
        (F(0), F(1, 2)),
        (F(12), F(1, 2)),
        (F(12) + F(1, 10**6), F(-1, 2)),
        (F(20), F(-1, 2)),
        (F(21), F(1)),
    )
    wanted = job(folder, 12, time="curve", speeds=there_and_back, cuts="ignore", repeats="off")
    engine = Counting()
    _, images = frames_of(wanted, engine)
    assert engine.pairs == sorted(engine.pairs)
    assert len(engine.pairs) == len(set(engine.pairs))
    assert [read_number(image) for image in images[:13:2]] == [0, 1, 2, 3, 4, 5, 6]
    assert read_number(images[19]) < read_number(images[13])


def other_shot(index: int) -> Image:
    world = cv2.resize(np.random.default_rng(7).integers(0, 256, (40, 90, 3), np.uint8), (720, 320))
    return np.ascontiguousarray(world[60:240, 100 + 2 * index : 420 + 2 * index])


def test_a_cut_is_found_and_not_mixed(tmp_path: Path) -> None:
    shots = [draw(index) if index < 6 else other_shot(index) for index in range(12)]
    folder = write_frames(tmp_path / "s", shots)
    kinds, images = frames_of(job(folder, 12, factor=F(4)))
    assert len(kinds) == 48
    assert kinds[20:25] == ["copy", "hold", "hold", "hold", "copy"]
    assert np.array_equal(images[21], shots[5])
    assert np.array_equal(images[22], images[23])
    assert np.array_equal(images[23], shots[6])
    kinds, images = frames_of(job(folder, 12, factor=F(4), cuts="fade"))
    assert kinds[21:24] == ["fade"] * 3
    assert np.abs(images[22].astype(float) - (shots[5].astype(float) + shots[6]) / 2).max() <= 0.51
    assert frames_of(job(folder, 12, factor=F(4), cuts="ignore"))[0][21:24] == ["between"] * 3
    assert frames_of(job(folder, 12, factor=F(4), no_cuts_at=(6,)))[0][21:24] == ["between"] * 3
    assert frames_of(job(folder, 12, factor=F(4), cuts="ignore", cuts_at=(3,)))[0][9:12] == ["hold"] * 3


def test_repeats_are_replaced_and_the_length_stays(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "s", [draw(index // 2) for index in range(16)])
    kinds, images = frames_of(job(folder, 16, factor=F(1), repeats="on"))
    assert kinds[:14] == ["copy", "between"] * 7
    assert len(images) == 16
    middle = (draw(2).astype(float) + draw(3)) / 2
    assert np.abs(images[5] - middle).max() <= 0.51
    assert frames_of(job(folder, 16, factor=F(1), repeats="auto"))[0] == kinds
    assert frames_of(job(folder, 16, factor=F(1), repeats="off"))[0] == ["copy"] * 16


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_light_and_back(kind: type) -> None:
    top = np.iinfo(kind).max
    every = np.arange(0, top + 1, max(1, top // 4095), dtype=kind).reshape(1, -1, 1).repeat(3, axis=2)
    back = from_light(to_light(every, Encoding()), Encoding(), np.dtype(kind))
    assert np.abs(back.astype(int) - every).max() <= (0 if kind == np.uint8 else 1)


def test_an_open_shutter_averages_light(tmp_path: Path) -> None:
    black, white = np.zeros((36, 64, 3), np.uint8), np.full((36, 64, 3), 255, np.uint8)
    folder = write_frames(tmp_path / "s", [black, white] * 6)
    wanted = job(folder, 12, engine="nearest", factor=F(1, 2), shutter=F(360), cuts="ignore", repeats="off")
    _, images = frames_of(wanted)
    # half of the light of white, which a display is told with 188
    assert {int(image.max()) for image in images[1:-1]} == {188}
    _, sharp = frames_of(job(folder, 12, engine="nearest", factor=F(1, 2), cuts="ignore", repeats="off"))
    assert {int(image.max()) for image in sharp} == {0}


def test_motion_blur_of_a_moving_clip(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 24, F(24), sound=False)
    base = Job(source=str(clip), output="/o", start=0, end=24, engine="flow", factor=F(1, 4), shutter=F(180))
    _, blurred = frames_of(base)
    _, sharp = frames_of(Job(source=str(clip), output="/o", start=0, end=24, engine="flow", factor=F(1, 4)))
    assert len(blurred) == len(sharp) == 6

    def detail(image: Image) -> float:
        return float(cv2.Laplacian(image[:150].astype(np.float32), cv2.CV_32F).std())

    assert all(detail(one) < 0.8 * detail(other) for one, other in zip(blurred[1:], sharp[1:], strict=True))
