# SPDX-License-Identifier: GPL-3.0-or-later
"""For programs inside Blender's Python (the bpy wheel): install the extension, edit a scene, look at its picture.

Importing it gives Blender user folders of its own, so bpy must not have been imported before.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORKER = ROOT / ".venv" / "bin" / "python"
MODULE = "bl_ext.user_default.lento"

if "bpy" in sys.modules:
    raise RuntimeError("import scripts.in_blender before bpy: it sets the folders that bpy reads once")
os.environ["BLENDER_USER_RESOURCES"] = tempfile.mkdtemp(prefix="lento-blender-")
os.environ["LENTO_PYTHON"] = str(WORKER)

import bpy as bpy  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

Picture = NDArray[np.float32]


def install_extension() -> None:
    """Install and enable what `scripts/build` made last, as a user would."""
    import addon_utils  # bpy makes it importable

    archives = sorted((ROOT / "dist").glob("lento-*.zip"), key=lambda path: path.stat().st_mtime)
    if not archives:
        raise FileNotFoundError("there is no dist/lento-*.zip: run scripts/build first")
    bpy.ops.extensions.package_install_files(filepath=str(archives[-1]), repo="user_default", enable_on_install=False)
    addon_utils.enable(MODULE, default_set=True)
    if MODULE not in sys.modules:
        raise RuntimeError("the extension was installed and cannot be enabled")


def new_file(path: Path, size: tuple[int, int], fps: float) -> Any:
    """A saved, empty file whose scene is the one that its sequencer edits; returns the scene."""
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = *size, 100
    scene.render.fps = max(1, round(fps))
    scene.render.fps_base = scene.render.fps / fps
    scene.render.dither_intensity = 0.0
    scene.view_settings.view_transform = "Standard"
    scene.sequence_editor_create()
    edit(scene)
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    return bpy.context.scene


def edit(scene: Any) -> None:
    """Make the scene the one that sequencers edit, where Blender asks for that."""
    workspace = bpy.context.window_manager.windows[0].workspace
    if hasattr(workspace, "sequencer_scene"):
        workspace.sequencer_scene = scene


def rendered(scene: Any, frame: int, depth: int = 8) -> Picture:
    """What Blender's sequencer shows at a frame: (H, W, 4) in 0..1, display encoded, first row on top.

    `depth` is the bits that it is rounded to, 8 or 16.
    """
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    settings.file_format, settings.color_mode, settings.color_depth, settings.compression = "PNG", "RGBA", str(depth), 0
    scene.render.use_sequencer = True
    scene.frame_set(frame)
    with tempfile.TemporaryDirectory() as folder:
        scene.render.filepath = str(Path(folder) / "frame.png")
        bpy.ops.render.render(write_still=True, scene=scene.name)
        return pixels_of(Path(scene.render.filepath))


def pixels_of(path: Path) -> Picture:
    """An image file: (H, W, 4) in 0..1 in the file's own encoding, first row on top."""
    image = bpy.data.images.load(str(path))
    try:
        image.colorspace_settings.name = "Non-Color"
        width, height = image.size
        flat = np.empty(width * height * 4, np.float32)
        image.pixels.foreach_get(flat)
        return flat.reshape(height, width, 4)[::-1]
    finally:
        bpy.data.images.remove(image)
