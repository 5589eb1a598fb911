# SPDX-License-Identifier: GPL-3.0-or-later
"""Pixels that renders leave behind: no number, infinite, or absurdly bright. They must not wreck the picture."""

from __future__ import annotations

from functools import cache
from itertools import count

import cv2
import numpy as np
import pytest

from core.analysis import look_at
from core.color import Encoding, from_float, to_float
from core.engines import Engine, Frame, Settings, create
from core.images import Image

LIGHT = Encoding(linear=True, premultiplied=True)
PLACE = (60, 90)
REACH = 12
"""Pixels around a firefly that may be made of it: where the motion takes it, and what cubic interpolation reads."""
VALUES = [np.nan, np.inf, -np.inf, 1e30, -1e30, 3e38, 65504.0]


def rendered(shift: float, channels: int, kind: type, seed: int = 1) -> Image:
    """Scene-linear light in 0.05..2, moved sideways."""
    noise = np.random.default_rng(seed).random((16, 24, channels), np.float32)
    picture = np.clip(cv2.resize(noise, (180, 120), interpolation=cv2.INTER_CUBIC), 0.025, 1)
    picture[..., :3] *= 2
    if channels == 4:
        picture[..., 3] = 1
    matrix = np.array([[1, 0, shift], [0, 1, 0]], np.float32)
    return np.asarray(cv2.warpAffine(picture, matrix, (180, 120), borderMode=cv2.BORDER_REPLICATE), kind)


numbers = count()
"""Of frames: an engine keeps what it finds in one under its number."""


@cache
def engine_of(name: str) -> Engine:
    return create(name, Settings(device="cpu", precision="fp32"))


def made(engine: str, first: Image, second: Image) -> Image:
    one = engine_of(engine)
    a, b = (Frame(next(numbers), to_float(image, LIGHT)) for image in (first, second))
    return from_float(one.synthesize(one.prepare(a, b, (0.5,)), 0.5), LIGHT, first.dtype)


def check(engine: str, value: float, channel: int | slice, channels: int, kind: type) -> None:
    """A firefly in the first frame: the made frame is finite, and differs near it alone."""
    first, second = rendered(0, channels, kind), rendered(3, channels, kind)
    clean = made(engine, first, second)
    with np.errstate(over="ignore"):
        first[(*PLACE, channel)] = np.array(value).astype(kind)
    spoilt = made(engine, first, second)
    assert np.isfinite(spoilt).all()
    differs = np.abs(spoilt.astype(np.float64) - clean).max(axis=2) > 0.02
    differs[PLACE[0] - REACH : PLACE[0] + REACH + 1, PLACE[1] - REACH : PLACE[1] + REACH + 1] = False
    assert not differs.any()


@pytest.mark.parametrize("engine", ["flow", "blend", "nearest"])
@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("value", VALUES)
def test_a_firefly_stays_where_it_is(engine: str, kind: type, value: float) -> None:
    check(engine, value, 0, 3, kind)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_a_firefly_stays_where_it_is_with_the_network(value: float) -> None:
    check("lento", value, 0, 3, np.float16)


@pytest.mark.parametrize("channel", [1, 3, slice(0, 4)], ids=["green", "alpha", "all"])
@pytest.mark.parametrize("value", VALUES)
def test_a_firefly_beside_alpha_stays_where_it_is(value: float, channel: int | slice) -> None:
    check("flow", value, channel, 4, np.float32)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", VALUES)
def test_fireflies_are_looked_at(value: float) -> None:
    picture = rendered(0, 4, np.float32)
    picture[PLACE] = value
    spoilt, clean = look_at(picture, LIGHT).small, look_at(rendered(0, 4, np.float32), LIGHT).small
    assert all(np.count_nonzero(one != other) <= 4 for one, other in zip(spoilt, clean, strict=True))


def test_bright_light_is_not_cut_off() -> None:
    bright = rendered(0, 3, np.float32) * np.float32(1e6)
    assert np.allclose(from_float(to_float(bright, LIGHT), LIGHT, bright.dtype), bright, rtol=1e-4)
