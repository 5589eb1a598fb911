# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore Original: what comes back, and what it refuses with nothing changed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests.addon.helpers import add_color, add_images, add_movie, layout, lento, number_shown, select
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
def test_movie_that_is_no_movie_any_more_is_not_restored(scene: Any, clips: Path, tmp_path: Path, sound: bool) -> None:
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


def test_what_blender_refuses_while_restoring_leaves_the_timeline_alone(
    scene: Any, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise TypeError("no such property")

    add_sound(scene, clips / "clip.mp4")
    add_movie(scene, clips / "clip.mp4")
    name = slow(range=(11, 21))
    monkeypatch.setattr(lento("addon.sounds"), "copy_settings", refuse)
    not_restored(scene, name, "no such property")


@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize("rendered", [False, True])
@pytest.mark.parametrize("options", [{"factor": 0.5}, {"time": "fit", "length": 15}])
def test_what_follows_a_shorter_result_stays_on_its_channel(
    scene: Any, clips: Path, options: dict[str, Any], rendered: bool, sound: bool
) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    strip.use_reverse_frames = rendered
    if sound:
        add_sound(scene, clips / "clip.mp4")
    add_color(scene, "Next", 2, 49, 10)
    add_color(scene, "Title", 3, 60, 10)
    select(scene, strip)
    name = slow(range=(11, 41), **options)
    original = {(3, 11, 41)} if rendered else set()
    sounds = {(1, 1, 11), (1, 11, 26), (1, 26, 35)} if sound else set()
    pictures = {(2, 1, 11), (2, 11, 26), (2, 26, 34), (2, 34, 44), (3, 45, 55)}
    assert set(lying(scene)) == pictures | sounds | original
    restore(name)
    sounds = {(1, 1, 11), (1, 11, 41), (1, 41, 50)} if sound else set()
    assert set(lying(scene)) == {(2, 1, 11), (2, 11, 41), (2, 41, 49), (2, 49, 59), (3, 60, 70)} | sounds


def test_whole_strip_that_gets_shorter(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    add_color(scene, "Next", 2, 49, 10)
    select(scene, strip)
    name = slow(factor=0.5)
    assert layout(scene) == {name: (2, 1, 25), "Next": (2, 25, 35)}
    restore(name)
    assert lying(scene) == [(2, 1, 49), (2, 49, 59)]


@pytest.mark.parametrize("rendered", [False, True])
def test_what_had_to_change_its_channel_goes_back(scene: Any, clips: Path, rendered: bool) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    strip.use_reverse_frames = rendered
    add_color(scene, "Over", 3, 15, 24)
    add_color(scene, "Later", 3, 41, 10)
    select(scene, strip)
    name = slow(range=(11, 41), factor=0.5)
    assert layout(scene)["Over"] == (3, 15, 39)
    assert layout(scene)["Later"] == (5 if rendered else 4, 26, 36)  # on 4 lies the original
    restore(name)
    assert lying(scene) == [(2, 1, 11), (2, 11, 41), (2, 41, 49), (3, 15, 39), (3, 41, 51)]


@pytest.mark.parametrize("rendered", [False, True])
@pytest.mark.parametrize("format", ["auto", "ffv1"])
def test_slowed_twice_and_restored_twice(scene: Any, clips: Path, format: str, rendered: bool) -> None:
    sound = add_sound(scene, clips / "clip.mp4")
    sound.volume = 0.5
    add_movie(scene, clips / "clip.mp4")
    untouched = [number_shown(scene, frame) for frame in (10, 11, 20, 21, 48)]
    first = slow(range=(11, 21), factor=4, format=format)
    once = lying(scene)
    shown = [number_shown(scene, frame) for frame in (11, 30, 50, 51)]
    if rendered:
        scene.sequence_editor.strips[first].use_reverse_frames = True
    second = slow(strip=first, factor=2)
    pictures = {(2, 1, 11), (2, 11, 91), (2, 91, 119)} | ({(3, 11, 51)} if rendered else set())
    assert set(lying(scene)) == pictures | {(1, 1, 11), (1, 11, 91), (1, 91, 120)}
    restore(second)
    assert lying(scene) == once
    again = scene.sequence_editor.active_strip
    again.use_reverse_frames = False
    assert [number_shown(scene, frame) for frame in (11, 30, 50, 51)] == shown
    restore(again.name)
    expected = {(2, 1, 11), (2, 11, 21), (2, 21, 49), (1, 1, 11), (1, 11, 21), (1, 21, 50)}
    assert set(lying(scene)) == expected
    assert [number_shown(scene, frame) for frame in (10, 11, 20, 21, 48)] == untouched
    sounds = [strip for strip in scene.sequence_editor.strips if strip.type == "SOUND"]
    assert {(round(strip.volume, 3), Path(strip.sound.filepath).name) for strip in sounds} == {(0.5, "clip.mp4")}


@pytest.mark.parametrize("rendered", [False, True])
@pytest.mark.parametrize(("format", "method"), [("auto", "SOFT"), ("auto", "HARD"), ("ffv1", "SOFT"), ("ffv1", "HARD")])
def test_parts_of_a_slowed_strip_are_not_restored(
    scene: Any, clips: Path, format: str, method: str, rendered: bool
) -> None:
    strips = scene.sequence_editor.strips
    add_movie(scene, clips / "clip.mp4").use_reverse_frames = rendered
    name = slow(range=(11, 21), factor=4, format="exr" if rendered and format == "ffv1" else format)
    other = strips[name].split(frame=20, split_method=method).name
    for part in (name, other):
        not_restored(scene, part, f"The strip '{part}' was trimmed, extended or split, .*undo that, or delete its")
    strips.remove(strips[other])
    compat = lento("addon.compat")
    if method == "SOFT":
        select(scene, strips[name])
        with compat.in_sequencer(scene):
            bpy.ops.sequencer.offset_clear()
        restore(name)
        assert {(2, 1, 11), (2, 11, 21), (2, 21, 49)} == set(lying(scene))


def test_a_trimmed_overlay_can_be_taken_away(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    name = slow(range=(11, 21), placement="overlay")
    lento("addon.compat").set_right(scene.sequence_editor.strips[name], 30)
    restore(name)
    assert layout(scene) == {"Clip": (2, 1, 49)}


def test_file_that_was_saved_in_another_folder_since(scene: Any, clips: Path, tmp_path: Path) -> None:
    """Blender keeps the strips' paths right, and knows nothing of those in the note."""
    path = tmp_path / "clip.mp4"
    shutil.copy(clips / "clip.mp4", path)
    add_sound(scene, Path(bpy.path.relpath(str(path))))
    strip = add_movie(scene, path)
    strip.filepath = bpy.path.relpath(strip.filepath)
    name = slow(range=(11, 21))
    (tmp_path / "elsewhere").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "elsewhere" / "other.blend"))
    restore(name)
    strips = scene.sequence_editor.strips
    assert {strip.filepath for strip in strips if strip.type == "MOVIE"} == {"//../clip.mp4"}
    assert {Path(bpy.path.abspath(strip.sound.filepath)).resolve() for strip in strips if strip.type == "SOUND"} == {
        path.resolve()
    }
    assert number_shown(scene, 15) == 14
