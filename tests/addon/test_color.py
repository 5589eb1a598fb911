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
from tests.addon.helpers import add_images, add_movie

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


DEEP = """
import sys
from pathlib import Path
from scripts.clips import write_clip
folder = Path(sys.argv[1])
for name, codec, pixels, alpha in (
    ("hevc.mp4", "libx265", "yuv420p10le", False), ("h264.mp4", "libx264", "yuv420p10le", False),
    ("prores.mov", "prores_ks", "yuv422p10le", False), ("ffv1_444.mkv", "ffv1", "yuv444p10le", False),
    ("ffv1_12.mkv", "ffv1", "yuv420p12le", False), ("ffv1_rgb.mkv", "ffv1", "rgb48le", False),
    ("gray.mkv", "ffv1", "gray", False), ("prores4444.mov", "prores_ks", "yuva444p10le", True),
    ("vp9_alpha.webm", "libvpx-vp9", "yuva420p", True), ("animation.mov", "qtrle", "argb", True),
    ("ffv1_alpha.mkv", "ffv1", "bgra", True), ("png.mov", "png", "rgba", True),
):
    write_clip(folder / name, 4, size=(322, 182), codec=codec, pixel_format=pixels, sound=False, alpha=alpha)
"""


@pytest.fixture(scope="session")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deep")
    worker_python("-c", DEEP, str(folder))
    return folder


def compared(scene: Any, view: str, files: str) -> float:
    """Slow the active strip 2x; the largest difference of its kept frames, of 65535."""
    scene.render.resolution_x, scene.render.resolution_y = 322, 182
    scene.render.film_transparent = True
    scene.view_settings.view_transform = view
    before = [rendered(scene, frame, 16) for frame in (1, 2, 3, 4)]
    assert bpy.ops.lento.slow_motion(engine="nearest", factor=2) == {"FINISHED"}
    generated = scene.sequence_editor.active_strip
    assert generated.elements[0].filename.endswith(files)
    after = [rendered(scene, 1 + 2 * index, 16) for index in range(4)]
    assert len({picture.tobytes() for picture in after}) > 1
    return max(float(np.abs(one - other).max()) for one, other in zip(before, after, strict=True)) * 65535


@pytest.mark.parametrize("view", ["Standard", "AgX"])
@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("hevc.mp4", "png"), ("h264.mp4", "png"), ("prores.mov", "png"), ("ffv1_444.mkv", "png"),
        ("ffv1_12.mkv", "png"), ("ffv1_rgb.mkv", "png"), ("gray.mkv", "png"), ("prores4444.mov", "exr"),
        ("vp9_alpha.webm", "png"), ("animation.mov", "png"), ("ffv1_alpha.mkv", "png"), ("png.mov", "png"),
    ],
)  # fmt: skip
def test_kept_frames_of_deep_and_transparent_movies(scene: Any, deep: Path, name: str, files: str, view: str) -> None:
    add_movie(scene, deep / name)
    assert compared(scene, view, files) <= 2


IMAGES = """
import sys
from pathlib import Path
import cv2
import numpy as np
from core.images import FORMATS
from scripts.clips import draw, draw_alpha
folder = Path(sys.argv[1])
for index in range(4):
    rgb = draw(index, (322, 182))
    rgba = np.dstack([rgb, draw_alpha(index, (322, 182))])
    light = (rgb.astype(np.float32) / 255) ** 2.2 * 4 - 0.05
    clear = np.dstack([light, np.ones_like(light[..., 0])]) * (rgba[..., 3:].astype(np.float32) / 255)
    deep, deep_rgba = rgb.astype(np.uint16) * 257 + 3, rgba.astype(np.uint16) * 257
    for name, format_id, image in (
        ("png", "png", rgb), ("png_alpha", "png", rgba), ("png16", "png16", deep), ("png16_alpha", "png16", deep_rgba),
        ("jpeg", "jpeg", rgb), ("tiff", "tiff", rgb), ("tiff16", "tiff", deep),
        ("exr", "exr", light), ("exr_half", "exr", light.astype(np.float16)), ("exr_alpha", "exr", clear),
    ):
        out = folder / name / f"f_{index:03d}{FORMATS[format_id].extension}"
        out.parent.mkdir(exist_ok=True)
        out.write_bytes(FORMATS[format_id].encode(np.ascontiguousarray(image)))
    for name, image in (("webp", rgb), ("webp_alpha", rgba)):
        out = folder / name / f"f_{index:03d}.webp"
        out.parent.mkdir(exist_ok=True)
        code = cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR
        out.write_bytes(cv2.imencode(".webp", cv2.cvtColor(image, code), [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes())
"""


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    worker_python("-c", IMAGES, str(folder))
    return folder


@pytest.mark.parametrize("view", ["Standard", "AgX"])
@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("png", "png"), ("png_alpha", "png"), ("png16", "png"), ("png16_alpha", "png"),
        ("jpeg", "png"), ("tiff", "png"), ("tiff16", "png"), ("webp", "png"),
        ("webp_alpha", "png"), ("exr", "exr"), ("exr_half", "exr"), ("exr_alpha", "exr"),
    ],
)  # fmt: skip
def test_kept_frames_of_images(scene: Any, pictures: Path, name: str, files: str, view: str) -> None:
    add_images(scene, pictures / name)
    assert compared(scene, view, files) == 0
