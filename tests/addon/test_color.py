# SPDX-License-Identifier: GPL-3.0-or-later
"""Kept frames look in Blender exactly as the source strip did; the manual's table of colours comes from here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from scripts.in_blender import rendered
from tests.addon.conftest import Measured, worker_python
from tests.addon.helpers import add_images, add_movie, times

VIEWS = ("Standard", "AgX")
FRAMES = (1, 2, 3, 4)


def written(tmp_path_factory: pytest.TempPathFactory, name: str, program: str) -> Path:
    """A folder that a program in the worker's Python fills; `folder`, `write_clip` and `draw` are given to it."""
    folder = tmp_path_factory.mktemp(name)
    opening = (
        "import sys\nfrom fractions import Fraction\nfrom pathlib import Path\n"
        "from scripts.clips import draw, draw_alpha, write_clip\nfolder = Path(sys.argv[1])\n"
    )
    worker_python("-c", opening + program, str(folder))
    return folder


def looks(scene: Any, frames: tuple[int, ...]) -> dict[str, list[Any]]:
    """The renders of these frames, 16 bits deep, by view."""
    found = {}
    for view in VIEWS:
        scene.view_settings.view_transform = view
        found[view] = [rendered(scene, frame, 16) for frame in frames]
    return found


def compared(scene: Any, size: tuple[int, int], files: str, **options: Any) -> list[Any]:
    """Slow the active strip 2x; the differences of its kept frames' renders, of 65535."""
    scene.render.resolution_x, scene.render.resolution_y = size
    scene.render.film_transparent = True
    before = looks(scene, FRAMES)
    assert bpy.ops.lento.slow_motion(engine="nearest", factor=2, **options) == {"FINISHED"}
    strip = scene.sequence_editor.active_strip
    assert (strip.filepath if strip.type == "MOVIE" else strip.elements[0].filename).endswith(files)
    after = looks(scene, tuple(2 * frame - 1 for frame in FRAMES))
    assert len({picture.tobytes() for picture in after["Standard"]}) > 1, "the frames do not differ"
    return [np.abs(one - other) * 65535 for view in VIEWS for one, other in zip(before[view], after[view], strict=True)]


TAGGED = """
for matrix in ("bt709", "bt601", None):
    for full in (False, True):
        for pixels in ("yuv420p", "yuv422p", "yuv444p"):
            write_clip(folder / f"{matrix}_{full}_{pixels}.mkv", 4, size=(322, 182), codec="ffv1", pixel_format=pixels,
                       sound=False, matrix=matrix, full_range=full)
"""


@pytest.fixture(scope="session")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory, "tagged", TAGGED)


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", ["bt709", "bt601", None])
def test_8_bit_movies(
    scene: Any, tagged: Path, measured: Measured, matrix: str | None, full: bool, pixels: str
) -> None:
    add_movie(scene, tagged / f"{matrix}_{full}_{pixels}.mkv")
    kind = "8-bit movies: BT.709, BT.601, untagged; limited and full range; 4:2:0, 4:2:2, 4:4:4"
    assert measured(kind, compared(scene, (322, 182), "png"), 0) == 0


SHAPED = """
for pixels in ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le"):
    write_clip(folder / f"odd_{pixels}.mkv", 4, size=(321, 181), codec="ffv1", pixel_format=pixels, sound=False)
write_clip(folder / "aspect.mp4", 4, size=(322, 182), sound=False, aspect=Fraction(16, 15))
write_clip(folder / "turned.mp4", 4, size=(182, 322), sound=False, rotation=90)
write_clip(folder / "edited.mp4", 9, size=(322, 182), sound=False, times=range(-5, 4))
write_clip(folder / "edited.mov", 9, size=(322, 182), codec="mpeg4", sound=False, times=range(-5, 4))
write_clip(folder / "late.mp4", 4, size=(322, 182), sound=False, times=range(10, 14))
write_clip(folder / "late.mkv", 4, size=(322, 182), sound=False, times=range(10, 14))
write_clip(folder / "uneven.mp4", 3, size=(322, 182), sound=False, times=(0, 2, 3))
write_clip(folder / "interlaced.mkv", 4, size=(322, 182), fps=Fraction(25), codec="mpeg2video", sound=False,
           interlaced=True)
"""


@pytest.fixture(scope="session")
def shaped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory, "shaped", SHAPED)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("odd_yuv420p.mkv", "odd sizes"),
        ("odd_yuv422p.mkv", "odd sizes"),
        ("odd_yuv444p.mkv", "odd sizes"),
        ("aspect.mp4", "pixels that are not square"),
        ("turned.mp4", "rotated as phones write it"),
        ("edited.mp4", "edit lists"),
        ("edited.mov", "edit lists"),
        ("late.mp4", "late starts"),
        ("late.mkv", "late starts"),
        ("uneven.mp4", "variable frame rate"),
        ("interlaced.mkv", "interlaced, as it is"),
    ],
)
def test_8_bit_movies_of_other_shapes(scene: Any, shaped: Path, measured: Measured, name: str, kind: str) -> None:
    strip = add_movie(scene, shaped / name)
    assert times(strip) == (1, 5)
    size = (321, 181) if name.startswith("odd") else (322, 182)
    assert measured(f"8-bit movies: {kind}", compared(scene, size, "png"), 0) == 0


def test_deep_movie_of_odd_size(scene: Any, shaped: Path, measured: Measured) -> None:
    add_movie(scene, shaped / "odd_yuv420p10le.mkv")
    assert measured("10-bit movies: odd sizes", compared(scene, (321, 181), "png"), 2) <= 2


DEEP = """
for name, codec, pixels, alpha in (
    ("hevc.mp4", "libx265", "yuv420p10le", False), ("h264.mp4", "libx264", "yuv420p10le", False),
    ("prores.mov", "prores_ks", "yuv422p10le", False), ("ffv1_444.mkv", "ffv1", "yuv444p10le", False),
    ("ffv1_12.mkv", "ffv1", "yuv420p12le", False), ("ffv1_rgb.mkv", "ffv1", "rgb48le", False),
    ("gray.mkv", "ffv1", "gray", False), ("prores4444.mov", "prores_ks", "yuva444p10le", True),
    ("vp8_alpha.webm", "libvpx", "yuva420p", True), ("vp9_alpha.webm", "libvpx-vp9", "yuva420p", True),
    ("animation.mov", "qtrle", "argb", True), ("ffv1_alpha.mkv", "ffv1", "bgra", True),
    ("png.mov", "png", "rgba", True),
):
    write_clip(folder / name, 4, size=(322, 182), codec=codec, pixel_format=pixels, sound=False, alpha=alpha)
"""


@pytest.fixture(scope="session")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory, "deep", DEEP)


@pytest.mark.parametrize(
    ("name", "kind", "files"),
    [
        ("hevc.mp4", "10-bit movies: H.264, HEVC, ProRes 422, FFV1", "png"),
        ("h264.mp4", "10-bit movies: H.264, HEVC, ProRes 422, FFV1", "png"),
        ("prores.mov", "10-bit movies: H.264, HEVC, ProRes 422, FFV1", "png"),
        ("ffv1_444.mkv", "10-bit movies: H.264, HEVC, ProRes 422, FFV1", "png"),
        ("ffv1_12.mkv", "12 and 16-bit movies: FFV1", "png"),
        ("ffv1_rgb.mkv", "12 and 16-bit movies: FFV1", "png"),
        ("gray.mkv", "8-bit movies: gray", "png"),
        ("prores4444.mov", "movies with alpha: ProRes 4444", "exr"),
        ("vp8_alpha.webm", "movies with alpha: VP8, VP9", "png"),
        ("vp9_alpha.webm", "movies with alpha: VP8, VP9", "png"),
        ("animation.mov", "movies with alpha: QuickTime Animation, PNG, FFV1", "png"),
        ("ffv1_alpha.mkv", "movies with alpha: QuickTime Animation, PNG, FFV1", "png"),
        ("png.mov", "movies with alpha: QuickTime Animation, PNG, FFV1", "png"),
    ],
)
def test_deep_and_transparent_movies(
    scene: Any, deep: Path, measured: Measured, name: str, kind: str, files: str
) -> None:
    add_movie(scene, deep / name)
    assert measured(kind, compared(scene, (322, 182), files), 2) <= 2


IMAGES = """
import cv2
import numpy as np
from core.images import FORMATS
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
    return written(tmp_path_factory, "pictures", IMAGES)


@pytest.mark.parametrize(
    ("name", "kind", "files"),
    [
        ("png", "PNG 8 and 16, with and without alpha", "png"),
        ("png_alpha", "PNG 8 and 16, with and without alpha", "png"),
        ("png16", "PNG 8 and 16, with and without alpha", "png"),
        ("png16_alpha", "PNG 8 and 16, with and without alpha", "png"),
        ("jpeg", "JPEG, TIFF 8 and 16, WebP with and without alpha", "png"),
        ("tiff", "JPEG, TIFF 8 and 16, WebP with and without alpha", "png"),
        ("tiff16", "JPEG, TIFF 8 and 16, WebP with and without alpha", "png"),
        ("webp", "JPEG, TIFF 8 and 16, WebP with and without alpha", "png"),
        ("webp_alpha", "JPEG, TIFF 8 and 16, WebP with and without alpha", "png"),
        ("exr", "OpenEXR half and float, with alpha, below 0 and above 1", "exr"),
        ("exr_half", "OpenEXR half and float, with alpha, below 0 and above 1", "exr"),
        ("exr_alpha", "OpenEXR half and float, with alpha, below 0 and above 1", "exr"),
    ],
)
def test_images(scene: Any, pictures: Path, measured: Measured, name: str, kind: str, files: str) -> None:
    add_images(scene, pictures / name)
    assert measured(kind, compared(scene, (322, 182), files), 0) == 0


@pytest.mark.parametrize(
    ("name", "chosen", "files", "most", "mean"),
    [
        ("odd_yuv420p.mkv", "png16", "png", 2, 2), ("odd_yuv420p.mkv", "tiff", "tif", 0, 0),
        ("odd_yuv420p.mkv", "ffv1", "mkv", 0, 0),
        ("odd_yuv420p.mkv", "exr", "exr", 32, 8), ("odd_yuv420p.mkv", "exr_dwaa", "exr", 65535, 400),
        ("odd_yuv420p.mkv", "jpeg", "jpg", 65535, 700), ("odd_yuv420p.mkv", "prores", "mov", 65535, 200),
        ("odd_yuv420p.mkv", "h264", "mp4", 65535, 500), ("aspect.mp4", "h264", "mp4", 65535, 500),
    ],
)  # fmt: skip
def test_chosen_formats_of_8_bit_movies(
    scene: Any, shaped: Path, measured: Measured, name: str, chosen: str, files: str, most: float, mean: float
) -> None:
    add_movie(scene, shaped / name)
    found = compared(scene, (321, 181) if name.startswith("odd") else (322, 182), files, format=chosen)
    assert measured(f"8-bit movie, written as `{chosen}`", found, most) <= most
    assert np.mean(found) <= mean


def test_transparent_movie_written_as_ffv1(scene: Any, deep: Path, measured: Measured) -> None:
    add_movie(scene, deep / "ffv1_alpha.mkv")
    found = compared(scene, (322, 182), "mkv", format="ffv1")
    assert measured("8-bit movie with alpha, written as `ffv1`", found, 0) == 0


@pytest.mark.parametrize("name", ["ffv1_444.mkv", "prores4444.mov"])
def test_deep_movies_written_as_ffv1(scene: Any, deep: Path, measured: Measured, name: str) -> None:
    add_movie(scene, deep / name)
    found = compared(scene, (322, 182), "mkv", format="ffv1")
    # the file holds the numbers; Blender's reading of 16-bit RGB is that far off
    assert measured("10-bit movies, written as `ffv1`", found, 96) <= 96


def test_transparent_movie_written_as_prores(scene: Any, deep: Path, measured: Measured) -> None:
    add_movie(scene, deep / "prores4444.mov")
    found = compared(scene, (322, 182), "mov", format="prores")
    measured("ProRes 4444 with alpha, written as `prores`", found, 65535)
    assert np.mean(found) <= 200
