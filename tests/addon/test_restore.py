# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore Original: what comes back, and what it refuses with nothing changed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests.addon.helpers import add_images, add_movie, layout
from tests.addon.test_bad_input import state


def slow(**options: Any) -> str:
    """Slow with the fast engine and return the new strip's name."""
    assert bpy.ops.lento.slow_motion(**{"engine": "nearest", **options}) == {"FINISHED"}
    return str(bpy.context.scene.sequence_editor.active_strip.name)


def restore(name: str) -> None:
    assert bpy.ops.lento.restore(strip=name) == {"FINISHED"}


def not_restored(scene: Any, name: str, sentence: str) -> None:
    before = state(scene)
    with pytest.raises(RuntimeError, match=sentence):
        bpy.ops.lento.restore(strip=name)
    assert state(scene) == before


def add_sound(scene: Any, path: Path, name: str = "Sound", channel: int = 1) -> Any:
    return scene.sequence_editor.strips.new_sound(name, str(path), channel, 1)


def lying(scene: Any) -> list[tuple[int, int, int]]:
    """Channel, first frame and the frame after the last of every strip, without their names."""
    return sorted(layout(scene).values())


def test_movie_that_is_missing_is_not_restored(scene: Any, clips: Path, tmp_path: Path) -> None:
    path = tmp_path / "gone.mp4"
    shutil.copy(clips / "clip.mp4", path)
    add_sound(scene, path)
    add_movie(scene, path)
    before = lying(scene)
    name = slow(range=(11, 21))
    path.rename(tmp_path / "elsewhere.mp4")
    not_restored(scene, name, "The original of 'Clip 4x' plays .*gone.mp4, which is not there.*put the file back")
    (tmp_path / "elsewhere.mp4").rename(path)
    restore(name)
    assert lying(scene) != before
    assert (2, 11, 21) in lying(scene)


def test_images_or_a_sound_that_are_missing_are_not_restored(scene: Any, clips: Path, tmp_path: Path) -> None:
    shutil.copytree(clips / "seq", tmp_path / "seq")
    add_images(scene, tmp_path / "seq")
    name = slow(range=(5, 9))
    shutil.rmtree(tmp_path / "seq")
    not_restored(scene, name, "The original of 'Shots 4x' plays .*shot_0000.png, which is not there")
    path = tmp_path / "moved ü.mp4"
    shutil.copy(clips / "clip.mp4", path)
    add_sound(scene, path, channel=4)
    add_movie(scene, path, channel=5).use_reverse_frames = True
    name = slow(strip="Clip", range=(30, 34), factor=2)
    path.unlink()
    # the picture was kept, the sound was not
    not_restored(scene, name, "The original of 'Clip 2x' plays .*moved ü.mp4, which is not there")


@pytest.mark.parametrize("sound", [False, True])
def test_movie_that_is_no_movie_any_more_is_not_restored(
    scene: Any, clips: Path, tmp_path: Path, sound: bool
) -> None:
    path = tmp_path / "other.mp4"
    shutil.copy(clips / "clip.mp4", path)
    if sound:
        add_sound(scene, path)
    add_movie(scene, path)
    name = slow(range=(11, 21))
    path.write_text("no movie")
    before = state(scene)
    try:
        bpy.ops.lento.restore(strip=name)
    except RuntimeError as error:
        assert "no longer has the frames of the original" in str(error)
        assert state(scene) == before
    else:
        assert (2, 11, 21) in lying(scene)
