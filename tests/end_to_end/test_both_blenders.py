# SPDX-License-Identifier: GPL-3.0-or-later
"""The same operator call in both Blenders: the same frames, the same timeline."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def demo(part: str, clip: Path, folder: Path) -> dict[str, Any]:
    python = ROOT / f".venv-{part}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{python.parent.parent.name} is not set up: scripts/setup {part} says why")
    ended = subprocess.run(
        [
            str(python),
            "-W",
            "ignore",
            "-m",
            "scripts.demo_in_blender",
            str(clip),
            str(folder),
            "--seconds",
            "0.5",
            "--factor",
            "2.5",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told: dict[str, Any] = json.loads((folder / "demo.json").read_text())
    return told


def test_both_blenders_give_the_same_frames_and_timeline(clip: Path, tmp_path: Path) -> None:
    old, new = demo("bpy4.5", clip, tmp_path / "old"), demo("bpy5.2", clip, tmp_path / "new")
    assert old["timeline"] == new["timeline"]
    assert old["slowed"] == new["slowed"] == [15, 45]
    frames = [{path.name: path.read_bytes() for path in Path(told["frames"]).glob("*.png")} for told in (old, new)]
    assert len(frames[0]) == 30
    assert frames[0] == frames[1]
    assert old["worst_difference"] == old["difference_after_the_range"] == 0
