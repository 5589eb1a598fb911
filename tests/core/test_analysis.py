# SPDX-License-Identifier: GPL-3.0-or-later
"""Cuts and repeated frames, in drawn clips that are made to be mistaken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.analysis import LONGEST_HOLD, Analysis, look_at, replaceable
from core.color import Encoding
from core.images import Image

ROOT = Path(__file__).resolve().parents[2]
SIZE = (320, 180)


def scene(seed: int, shift: float = 0.0) -> Image:
    """A view of a textured world, moved sideways."""
    texture = np.random.default_rng(seed).integers(0, 256, (140, 900, 3), np.uint8)
    world = cv2.GaussianBlur(cv2.resize(texture, (3600, 420), interpolation=cv2.INTER_CUBIC), (0, 0), 3)
    shot = np.float32([[1, 0, -400 - shift], [0, 1, -40]])
    return np.asarray(cv2.warpAffine(world, shot, SIZE), np.uint8)


def cuts_of(frames: list[Image]) -> set[int]:
    analysis = Analysis(cuts=True, repeats=False)
    for frame in frames:
        analysis.add(look_at(frame, Encoding()))
    return analysis.cuts()


def repeats_of(frames: list[Image]) -> list[bool]:
    analysis = Analysis(cuts=False, repeats=True)
    for frame in frames:
        analysis.add(look_at(frame, Encoding()))
    return analysis.repeated


def brighter(image: Image, gain: float, lift: float = 0.0) -> Image:
    return np.asarray(np.clip(image * gain + lift, 0, 255), np.uint8)


@pytest.mark.parametrize("place", [1, 2, 10, 18, 19])
def test_a_cut_anywhere(place: int) -> None:
    frames = [scene(0 if index < place else 5, 2.0 * index) for index in range(20)]
    assert cuts_of(frames) == {place}


def test_no_cut_in_a_fast_pan() -> None:
    assert cuts_of([scene(1, 28.0 * index) for index in range(20)]) == set()


@pytest.mark.parametrize("length", [1, 2])
def test_no_cut_in_a_flash(length: int) -> None:
    frames = [scene(2, 1.5 * index) for index in range(20)]
    for index in range(9, 9 + length):
        frames[index] = brighter(frames[index], 0.15, 215)
    assert cuts_of(frames) == set()


def test_no_cut_in_a_fade_to_black_and_back() -> None:
    gains = [1 - index / 10 for index in range(11)] + [0] * 5 + [index / 10 for index in range(11)]
    assert cuts_of([brighter(scene(3, index), gain) for index, gain in enumerate(gains)]) == set()


def test_two_cuts_a_few_frames_apart() -> None:
    frames = [scene(0 if index < 8 else 5 if index < 12 else 9, index) for index in range(24)]
    assert cuts_of(frames) == {8, 12}


def test_a_still_picture_has_no_cut() -> None:
    assert cuts_of([scene(4)] * 8) == set()
    assert cuts_of([scene(4)]) == set()


SHAPES = [
    *((1920, 300), (400, 8), (640, 4), (2000, 16), (1, 96), (160, 1), (1, 1), (3840, 400), (192, 31), (192, 32)),
    *((8, 1000), (2, 2), (16, 16), (31, 33), (33, 31), (300, 40), (5000, 1), (1, 5000), (1000, 33), (100, 15)),
]
FEW_FRAMES = """
import sys, numpy as np
from core.analysis import Analysis, look_at
from core.color import Encoding
for shape in sys.argv[1:]:
    width, height = map(int, shape.split("x"))
    print(shape, end=" ", flush=True)
    dice = np.random.default_rng(0)
    first, second = (dice.integers(0, 256, (height, width, 3), np.uint8) for _ in range(2))
    analysis = Analysis(cuts=True, repeats=True)
    for frame in [first, first, np.roll(first, 40, axis=1), second, second, np.roll(second, 3, axis=0)]:
        analysis.add(look_at(frame, Encoding()))
    assert analysis.cuts() <= set(range(6))
print("all", flush=True)
"""


def test_pictures_of_any_shape_are_looked_at() -> None:
    """In a process of its own, for what OpenCV cannot work on ends the process."""
    shapes = [f"{width}x{height}" for width, height in SHAPES]
    done = subprocess.run([sys.executable, "-c", FEW_FRAMES, *shapes], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == [*shapes, "all"], done.stderr


@pytest.mark.parametrize("size", [(1920, 200), (24, 180)])
def test_a_cut_in_a_clip_of_an_odd_shape(size: tuple[int, int]) -> None:
    frames = [cv2.resize(scene(0 if index < 6 else 5, 2.0 * index), size) for index in range(12)]
    assert cuts_of(frames) == {6}


def noisy(image: Image, seed: int) -> Image:
    """What a good codec leaves of a frame: a few pixels are off by a step."""
    steps = np.random.default_rng(seed).choice([-1, 0, 1], image.shape, p=[0.1, 0.8, 0.1])
    return np.asarray(np.clip(image + steps, 0, 255), np.uint8)


def test_repeats_exact_and_compressed_again() -> None:
    moving = [scene(1, 1.0 * (index // 2)) for index in range(16)]
    expected = [index % 2 == 1 for index in range(16)]
    assert repeats_of(moving) == expected
    assert repeats_of([noisy(frame, index) for index, frame in enumerate(moving)]) == expected


def test_a_small_thing_that_moves_is_no_repeat() -> None:
    frames = [scene(1) for _ in range(6)]
    for index, frame in enumerate(frames):
        cv2.circle(frame, (100 + 2 * index, 90), 6, (255, 255, 255), -1)
    assert repeats_of(frames) == [False] * 6


def with_matte(colours: Image, seed: int, shift: float = 0.0, kind: type = np.uint8) -> Image:
    """Straight colours that are seen where a matte of soft blots lets them be."""
    blots = np.clip(scene(seed, shift)[..., 0].astype(np.int32) * 8 - 900, 0, 255).astype(np.uint8)
    image = np.dstack([colours, blots])
    return image if kind == np.uint8 else image.astype(np.uint16) * np.uint16(257)


KINDS = pytest.mark.parametrize("kind", [np.uint8, np.uint16])


@KINDS
@pytest.mark.parametrize("level", [0, 90, 255])
def test_a_matte_that_moves_is_no_repeat(kind: type, level: int) -> None:
    still = np.full((*SIZE[::-1], 3), level, np.uint8)
    assert repeats_of([with_matte(still, 1, 1.0 * index, kind) for index in range(6)]) == [False] * 6
    on_twos = [with_matte(still, 1, 2.0 * (index // 2), kind) for index in range(8)]
    assert repeats_of(on_twos) == [index % 2 == 1 for index in range(8)]


@KINDS
@pytest.mark.parametrize("level", [0, 255])
def test_a_cut_in_the_matte(kind: type, level: int) -> None:
    still = np.full((*SIZE[::-1], 3), level, np.uint8)
    frames = [with_matte(still, 1 if index < 6 else 5, 2.0 * index, kind) for index in range(12)]
    assert cuts_of(frames) == {6}


def test_colours_that_are_hidden_are_not_looked_at() -> None:
    frames = [np.dstack([scene(index), np.zeros(SIZE[::-1], np.uint8)]) for index in range(6)]
    assert repeats_of(frames) == [False] + [True] * 5
    assert cuts_of(frames) == set()


def test_opaque_frames_are_seen_as_those_without_alpha() -> None:
    frames = [scene(0 if index < 6 else 5, 2.0 * (index // 2)) for index in range(12)]
    opaque = [np.dstack([frame, np.full(SIZE[::-1], 255, np.uint8)]) for frame in frames]
    assert repeats_of(opaque) == repeats_of(frames)
    assert cuts_of(opaque) == cuts_of(frames) == {6}


def flags(text: str) -> list[bool]:
    return [letter == "r" for letter in text]


def test_automatic_wants_a_cadence() -> None:
    on_twos, one_in_six, one = flags(".r" * 12), flags(".....r" * 5), flags("......r........")
    assert replaceable(on_twos, regularly=True) == set(range(1, 24, 2))
    assert replaceable(one_in_six, regularly=True) == set(range(5, 30, 6))
    assert replaceable(one, regularly=True) == set()
    assert replaceable(one, regularly=False) == {6}
    hiccup = flags(".r" * 8 + "..r" + ".r" * 8)
    assert replaceable(hiccup, regularly=True) == {index for index, flag in enumerate(hiccup) if flag}


def test_a_long_run_stands_still_on_purpose() -> None:
    hold = flags("." + "r" * (LONGEST_HOLD + 1) + "...")
    assert replaceable(hold, regularly=False) == set()
    assert replaceable(flags("." + "r" * LONGEST_HOLD + "..."), regularly=False) == set(range(1, LONGEST_HOLD + 1))


@pytest.mark.parametrize(("noise", "base"), [(20, 220), (8, 10), (12, 20)])
def test_a_matte_with_noise_hides_no_cut_of_the_picture(noise: int, base: int) -> None:
    random = np.random.default_rng(3)
    pan = [scene(1 if index < 6 else 5, 2.0 * index) for index in range(12)]
    mattes = [np.clip(random.normal(base, noise, (*frame.shape[:2], 1)), 0, 255).astype(np.uint8) for frame in pan]
    assert cuts_of([np.dstack([frame, matte]) for frame, matte in zip(pan, mattes, strict=True)]) == {6}
