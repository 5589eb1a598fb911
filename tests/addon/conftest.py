# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Blender (the bpy wheel) with the built extension installed and enabled, under user folders of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKER = ROOT / ".venv" / "bin" / "python"
MODULE = "bl_ext.user_default.lento"

# before bpy is imported, which reads it once
os.environ["BLENDER_USER_RESOURCES"] = tempfile.mkdtemp(prefix="lento-blender-")
os.environ["LENTO_PYTHON"] = str(WORKER)

import bpy  # noqa: E402
import addon_utils  # noqa: E402, I001  (bpy makes it importable)


def pytest_configure(config: pytest.Config) -> None:
    """Install and enable what `scripts/build` made."""
    archives = sorted((ROOT / "dist").glob("lento-*.zip"), key=lambda path: path.stat().st_mtime)
    if not archives:
        raise pytest.UsageError("there is no dist/lento-*.zip: run scripts/build first")
    bpy.ops.extensions.package_install_files(filepath=str(archives[-1]), repo="user_default", enable_on_install=False)
    addon_utils.enable(MODULE, default_set=True, handle_error=print)
    assert MODULE in sys.modules, "the extension could not be enabled"


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clip.mp4 (48 frames, 24 fps, sound) and an image sequence of 24 PNGs in seq/."""
    folder = tmp_path_factory.mktemp("clips and ümläute")
    worker_python("-m", "scripts.clips", str(folder / "clip.mp4"))
    worker_python("-c", "import sys, cv2; from pathlib import Path; from scripts.clips import draw\n"
                        "out = Path(sys.argv[1]); out.mkdir()\n"
                        "for i in range(24): (out / f'shot_{i:04d}.png').write_bytes("
                        "cv2.imencode('.png', draw(i)[..., ::-1])[1].tobytes())", str(folder / "seq"))
    return folder


def worker_python(*arguments: str) -> str:
    """Run the worker's Python in the repository and return what it prints."""
    return subprocess.run([str(WORKER), *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.fixture
def scene(tmp_path: Path) -> Any:
    """A saved, empty file at 24 fps, 320x180, whose sequencer is the one that is edited."""
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 320, 180, 100
    scene.render.fps, scene.render.fps_base = 24, 1.0
    scene.render.dither_intensity = 0.0
    scene.view_settings.view_transform = "Standard"
    scene.sequence_editor_create()
    workspace = bpy.context.window_manager.windows[0].workspace
    if hasattr(workspace, "sequencer_scene"):
        workspace.sequencer_scene = scene
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    return bpy.context.scene


@pytest.fixture(autouse=True)
def _no_job_stays() -> Any:
    yield
    jobs = sys.modules[f"{MODULE}.addon.jobs"]
    assert jobs.running == []
