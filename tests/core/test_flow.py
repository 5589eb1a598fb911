# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from core.engines import Frame, Pixels, create


def textured(height: int = 120, width: int = 180, seed: int = 1) -> Pixels:
    """Smooth noise of several octaves, (H, W, 3) in 0..1."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for size in (8, 16, 32):
        noise = random.random((size, size, 3), np.float32) - 0.5
        total += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) * 8 / size
    return np.clip(total + 0.5, 0, 1)


def shifted(image: Pixels, x: float, y: float = 0.0) -> Pixels:
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return cv2.warpAffine(image, matrix, (image.shape[1], image.shape[0]), flags=cv2.INTER_CUBIC, borderMode=2)


def with_square(background: Pixels, x: float, size: int = 80) -> Pixels:
    """The background with a square of another texture lying over it at column `x`."""
    image = background.copy()
    image[60 : 60 + size, round(x) : round(x) + size] = cv2.resize(textured(60, 60, seed=9)[:40, :40], (size, size))
    return image


def made(engine: str, a: Pixels, b: Pixels, t: float) -> Pixels:
    one = create(engine)
    return one.synthesize(one.prepare(Frame(0, a), Frame(1, b)), t)


def psnr(one: Pixels, other: Pixels) -> float:
    return float(-10 * np.log10(np.mean(np.square(one - other)) + 1e-9))


@pytest.mark.parametrize("t", [0.25, 0.5, 0.75])
def test_a_moved_picture_is_found_where_it_is_at_that_time(t: float) -> None:
    picture = textured()
    a, b, truth = picture, shifted(picture, 8, 4), shifted(picture, 8 * t, 4 * t)
    inner = np.s_[16:-16, 16:-16]
    assert psnr(made("flow", a, b, t)[inner], truth[inner]) > psnr(made("blend", a, b, t)[inner], truth[inner]) + 8


def test_what_is_uncovered_comes_from_the_frame_that_sees_it() -> None:
    background = textured(240, 360)
    a, b, truth = (with_square(background, x) for x in (120, 136, 128))
    assert psnr(made("flow", a, b, 0.5), truth) > psnr(made("blend", a, b, 0.5), truth) + 4


def test_flicker_is_no_worse_than_a_cross_fade() -> None:
    picture = textured()
    a, b = picture * 0.8, np.clip(picture * 1.1, 0, 1)
    truth = (a + b) / 2
    assert psnr(made("flow", a, b, 0.5), truth) > 35


def test_still_frames_stay_as_they_are() -> None:
    picture = np.rint(textured() * 255).astype(np.float32) / 255
    for t in (0.1, 0.5, 0.9):
        assert np.array_equal(np.rint(made("flow", picture, picture.copy(), t) * 255), np.rint(picture * 255))


def test_ends_can_be_swapped() -> None:
    background = textured(240, 360)
    a, b = with_square(background, 120), with_square(shifted(background, 3), 136)
    assert psnr(made("flow", a, b, 0.3), made("flow", b, a, 0.7)) > 45


def test_same_input_same_bits() -> None:
    a, b = textured(), shifted(textured(), 5)
    results = {made("flow", a, b, 0.4).tobytes() for _ in range(3)}
    assert len(results) == 1


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 31), (33, 32), (97, 201)])
def test_any_size(size: tuple[int, int]) -> None:
    a = textured(*size)
    result = made("flow", a, textured(*size, seed=2), 0.5)
    assert result.shape == a.shape
    assert result.dtype == np.float32
    assert np.isfinite(result).all()


@pytest.mark.parametrize("engine", ["flow", "blend", "nearest"])
def test_alpha_moves_with_the_colours(engine: str) -> None:
    background, alphas = textured(240, 360), []
    for x in (120, 136, 128):
        alpha = np.zeros((240, 360, 1), np.float32)
        alpha[60:140, x : x + 80] = 1
        alphas.append(alpha)
    a, b, truth = (np.concatenate([with_square(background, x) * alpha, alpha], axis=2)
                   for x, alpha in zip((120, 136, 128), alphas, strict=True))  # fmt: skip
    result = made(engine, np.ascontiguousarray(a), np.ascontiguousarray(b), 0.5)
    assert result.shape == a.shape
    if engine == "flow":
        assert psnr(result[..., 3:], truth[..., 3:]) > psnr(made("blend", a, b, 0.5)[..., 3:], truth[..., 3:]) + 4


def test_light_above_one_survives() -> None:
    a: Any = textured() * 3 - 0.5
    result = made("flow", a, shifted(a, 2), 0.5)
    assert result.max() > 1.5
    assert result.min() < -0.1
