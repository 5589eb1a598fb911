# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import pytest

from scripts.clips import draw, write_clip


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames at 24 fps, with sound."""
    return write_clip(tmp_path_factory.mktemp("clip with ümläut") / "clip.mp4", 30, Fraction(24))


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 12 numbered PNGs."""
    folder = tmp_path_factory.mktemp("images")
    for index in range(12):
        cv2.imwrite(str(folder / f"shot_{index + 1:03d}.png"), draw(index)[..., ::-1])
    return folder
