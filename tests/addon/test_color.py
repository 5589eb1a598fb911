# SPDX-License-Identifier: GPL-3.0-or-later
"""Kept frames look in Blender exactly as the source strip did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from scripts.in_blender import rendered
from tests.addon.conftest import worker_python
from tests.addon.helpers import add_movie

MATRICES = ("bt709", "bt601", None)
FORMATS = ("yuv420p", "yuv422p", "yuv444p")

MAKE = """
import sys
from pathlib import Path
from scripts.clips import write_clip
folder = Path(sys.argv[1])
for matrix in ("bt709", "bt601", None):
    for full in (False, True):
        for pixels in ("yuv420p", "yuv422p", "yuv444p"):
            write_clip(folder / f"{matrix}_{full}_{pixels}.mkv", 4, size=(322, 182), codec="ffv1", pixel_format=pixels,
                       sound=False, matrix=matrix, full_range=full)
"""


@pytest.fixture(scope="session")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tagged")
    worker_python("-c", MAKE, str(folder))
    return folder


@pytest.mark.parametrize("pixels", FORMATS)
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", MATRICES)
def test_kept_frames_of_8_bit_movies(scene: Any, tagged: Path, matrix: str | None, full: bool, pixels: str) -> None:
    scene.render.resolution_x, scene.render.resolution_y = 322, 182
    add_movie(scene, tagged / f"{matrix}_{full}_{pixels}.mkv")
    views = ("Standard", "AgX")
    before = {}
    for view in views:
        scene.view_settings.view_transform = view
        before[view] = [rendered(scene, frame) for frame in (1, 2, 3, 4)]
    assert bpy.ops.lento.slow_motion(engine="nearest", factor=2) == {"FINISHED"}
    for view in views:
        scene.view_settings.view_transform = view
        for index, picture in enumerate(before[view]):
            assert np.abs(picture - rendered(scene, 1 + 2 * index)).max() == 0
