# SPDX-License-Identifier: GPL-3.0-or-later
"""Transparency between source frames: it moves with the colours, and hidden colours stay hidden."""

from __future__ import annotations

import numpy as np
import pytest

from core.color import Encoding, from_float, to_float
from core.engines import Frame, create
from core.images import Image

SIZE, RADIUS = (200, 120), 30.0
SPEED = 12.0


def disc(index: float, encoding: Encoding, kind: type) -> Image:
    """A red, textured disc with a soft edge on nothing; the nothing is black, as most programs write it."""
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]].astype(np.float32)
    x = x - (60 + SPEED * index)
    alpha = np.clip((RADIUS - np.hypot(x, y - 60)) / 4 + 0.5, 0, 1)
    red = 0.8 + 0.15 * np.sin(x / 3) * np.sin(y / 4)
    pixels = np.dstack([red, np.full_like(red, 0.1), np.full_like(red, 0.1), alpha])
    pixels[..., :3] *= alpha[..., None] if encoding.premultiplied else alpha[..., None] > 0
    top = np.iinfo(kind).max if np.issubdtype(kind, np.integer) else 1
    return (np.rint(pixels * top) if top > 1 else pixels).astype(kind)


@pytest.mark.parametrize("engine", ["flow", "blend"])
@pytest.mark.parametrize(
    ("encoding", "kind"),
    [
        (Encoding(), np.uint8),
        (Encoding(), np.uint16),
        (Encoding(premultiplied=True), np.float32),
        (Encoding(linear=True, premultiplied=True), np.float32),
    ],
    ids=["straight 8", "straight 16", "premultiplied", "linear"],
)
def test_no_dark_fringes(engine: str, encoding: Encoding, kind: type) -> None:
    made = create(engine)
    first, second = (Frame(i, to_float(disc(i, encoding, kind), encoding)) for i in (0, 1))
    image = from_float(made.synthesize(made.prepare(first, second), 0.5), encoding, np.dtype(kind))
    assert image.dtype == kind
    pixels = image / (np.iinfo(kind).max if np.issubdtype(kind, np.integer) else 1)
    alpha = pixels[..., 3]
    visible = alpha > 0.1
    straight = pixels[..., :3] / alpha[..., None].clip(1e-6) if encoding.premultiplied else pixels[..., :3]
    # mixed in the logarithm of light, a colour may come out a little darker than mixed in light itself
    least = 0.45 if encoding.linear else 0.63
    assert straight[visible][:, 0].min() > least, "a dark fringe"
    assert straight[visible][:, 1:].max() < 0.12
    assert alpha[0].max() == 0
    if engine == "flow":
        middle = (alpha * np.arange(SIZE[0])).sum() / alpha.sum()
        assert abs(middle - (60 + SPEED / 2)) < 0.7, "the transparency does not move with the colours"
        truth = disc(0.5, encoding, kind) / (np.iinfo(kind).max if np.issubdtype(kind, np.integer) else 1)
        assert np.abs(alpha - truth[..., 3]).mean() < 0.01
