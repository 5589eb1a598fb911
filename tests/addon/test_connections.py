# SPDX-License-Identifier: GPL-3.0-or-later
"""Strips that are connected stay so with what stands in for them, and no others are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests.addon.helpers import add_color, add_movie, lento, select, times
from tests.addon.test_restore import add_sound, restore, slow

TELLS = "connections" in bpy.types.Strip.bl_rna.properties
"""Blender 5.2 tells which strips are connected; before, Lento takes it that a movie is with the sound that it plays."""


def together(scene: Any) -> set[frozenset[str]]:
    """Names of the strips that are connected: a cut through one of them cuts the others, too."""
    found = set()
    for name in [strip.name for strip in scene.sequence_editor.strips_all if strip.type != "META"]:
        copy = scene.copy()
        strips = copy.sequence_editor.strips_all
        for strip in strips:
            strip.lock = False
        before = {strip.name: times(strip) for strip in strips}
        # near its end, where all of the strips that these tests make play, and where nothing else is cut by chance
        strips[name].split(frame=times(strips[name])[1] - 1, split_method="SOFT")
        group = [other for other, extent in before.items() if times(strips[other]) != extent]
        if len(group) > 1:
            found.add(frozenset(group))
        bpy.data.scenes.remove(copy)
    return found


def groups(*names: str) -> set[frozenset[str]]:
    """The expected groups, the strips of each with a bar between them."""
    return {frozenset(group.split("|")) for group in names}


def connect(scene: Any, *strips: Any) -> None:
    for strip in scene.sequence_editor.strips_all:
        strip.select = strip in strips
    with lento("addon.compat").edited(scene):
        assert bpy.ops.sequencer.connect(toggle=False) == {"FINISHED"}
    select(scene, strips[0])


def add_connected(scene: Any, clips: Path, channel: int = 2) -> tuple[Any, Any]:
    """A movie and its sound, equally long and connected, as Blender adds them."""
    sound = add_sound(scene, clips / "clip.mp4", channel=channel - 1)
    movie = add_movie(scene, clips / "clip.mp4", channel)
    lento("addon.compat").set_right(sound, 49)
    connect(scene, movie, sound)
    return movie, sound


@pytest.mark.parametrize("options", [{"sound": "auto"}, {"sound": "auto", "factor": 0.5}, {"sound": "mute"}])
def test_parts_and_the_slowed_strip_are_connected_with_their_sound(
    scene: Any, clips: Path, options: dict[str, Any]
) -> None:
    add_connected(scene, clips)
    assert together(scene) == groups("Clip|Sound")
    name = slow(range=(11, 21), **options)
    speed = name.removeprefix("Clip ")
    expected = groups("Clip|Sound", "Clip.001|Sound.001")
    assert together(scene) == expected | (groups(f"{name}|Sound {speed}") if options["sound"] == "auto" else set())
    restore(name)
    assert together(scene) == groups("Clip|Sound", "Clip.001|Sound.001", "Clip.002|Sound.002")


def test_a_whole_strip_and_its_sound_are_connected_again(scene: Any, clips: Path) -> None:
    add_connected(scene, clips)
    name = slow(factor=2)
    assert together(scene) == groups("Clip 2x|Sound 2x")
    restore(name)
    assert together(scene) == groups("Clip|Sound")


def test_an_original_that_was_kept_is_connected_only_when_it_is_back(scene: Any, clips: Path) -> None:
    movie, _ = add_connected(scene, clips)
    movie.use_reverse_frames = True
    name = slow(range=(11, 21), factor=2)
    kept = next(strip.name for strip in scene.sequence_editor.strips if "lento_kept" in strip)
    expected = groups("Clip|Sound", "Clip 2x|Sound 2x", "Clip.001|Sound.001")
    assert together(scene) == expected
    restore(name)
    back = scene.sequence_editor.active_strip
    assert back.name == kept
    sound = next(strip for strip in scene.sequence_editor.strips if strip.type == "SOUND" and times(strip) == (11, 21))
    assert together(scene) == groups("Clip|Sound", f"{kept}|{sound.name}", "Clip.001|Sound.001")


def test_slowed_twice_and_restored_twice(scene: Any, clips: Path) -> None:
    add_connected(scene, clips)
    first = slow(range=(11, 21), factor=4)
    second = slow(strip=first, range=(11, 31), factor=2)
    outer = groups("Clip|Sound", "Clip.001|Sound.001")
    assert together(scene) == outer | groups("Clip 4x 2x|Sound 4x 2x", "Clip 4x.001|Sound 4x.001")
    restore(second)
    assert together(scene) == outer | groups("Clip 4x|Sound 4x", "Clip 4x.001|Sound 4x.001")


@pytest.mark.parametrize("shown", ["", "Meta", "Other"])
def test_inside_of_a_meta_strip_whatever_the_sequencer_shows(scene: Any, clips: Path, shown: str) -> None:
    compat = lento("addon.compat")
    editor = scene.sequence_editor
    metas = [editor.strips.new_meta(name, channel, 1) for name, channel in (("Meta", 5), ("Other", 6))]
    sound = metas[0].strips.new_sound("Sound", str(clips / "clip.mp4"), 1, 1)
    movie = metas[0].strips.new_movie("Clip", str(clips / "clip.mp4"), 2, 1)
    for strip in (sound, *metas):
        compat.set_right(strip, 49)
    editor.display_stack(metas[0])
    connect(scene, movie, sound)
    editor.display_stack(editor.strips_all.get(shown))
    name = slow(strip="Clip", range=(11, 21), factor=4)
    assert together(scene) == groups("Clip|Sound", "Clip 4x|Sound 4x", "Clip.001|Sound.001")
    assert [strip.name for strip in editor.meta_stack] == ([shown] if shown else [])
    restore(name)
    assert together(scene) == groups("Clip|Sound", "Clip.001|Sound.001", "Clip.002|Sound.002")


def test_connecting_keeps_what_is_selected_active_and_shown(scene: Any, clips: Path) -> None:
    editor = scene.sequence_editor
    parts = [add_color(scene, name, channel, 1, 10) for name, channel in (("A", 1), ("B", 2), ("Other", 5))]
    meta = editor.strips.new_meta("Meta", 6, 1)
    for shown in (None, meta):
        select(scene, parts[2])
        editor.display_stack(shown)
        editor.active_strip = parts[2]
        lento("addon.connections").connect(scene, parts[:2])
        assert [strip.name for strip in editor.strips if strip.select] == ["Other"]
        assert [strip.name for strip in editor.meta_stack] == (["Meta"] if shown else [])
        assert editor.active_strip == parts[2]
        assert together(scene) == groups("A|B")
        editor.display_stack(None)
        connect(scene, *parts)


def test_connecting_in_a_scene_that_no_window_shows(scene: Any) -> None:
    other = bpy.data.scenes.new("Other")
    other.sequence_editor_create()
    parts = [add_color(other, name, channel, 1, 10) for name, channel in (("A", 1), ("B", 2))]
    lento("addon.connections").connect(other, parts)
    assert together(other) == groups("A|B")
    assert bpy.context.scene == scene


def test_sounds_of_earlier_cuts_are_left_alone(scene: Any, clips: Path) -> None:
    """All of them play the movie in step, each at its own time; the cut of the first sound comes later."""
    compat = lento("addon.compat")
    movie, sound = add_connected(scene, clips)
    later, later_sound = compat.split(movie, 21), compat.split(sound, 26)
    connect(scene, movie, sound)
    connect(scene, later, later_sound)
    name = slow(strip=later.name, range=(31, 36), factor=2)
    assert frozenset({"Clip", "Sound"}) in together(scene)
    assert frozenset({name, f"{later_sound.name} 2x"}) in together(scene)
    assert len(together(scene)) == 4


@pytest.mark.skipif(not TELLS, reason="Blender tells what is connected from 5.2 on")
def test_only_what_was_connected_is_connected(scene: Any, clips: Path) -> None:
    sound = add_sound(scene, clips / "clip.mp4")
    movie = add_movie(scene, clips / "clip.mp4")
    title = add_color(scene, "Title", 5, 1, 49)
    connect(scene, sound, title)
    select(scene, movie)
    name = slow(range=(11, 21), factor=4)
    assert together(scene) == groups("Sound|Title")
    restore(name)
    assert together(scene) == groups("Sound|Title")


@pytest.mark.skipif(not TELLS, reason="Blender tells what is connected from 5.2 on")
@pytest.mark.parametrize(("start", "partner"), [(1, "Clip"), (15, "Clip 4x"), (41, "Clip.001")])
def test_another_strip_stays_with_the_part_over_which_it_begins(
    scene: Any, clips: Path, start: int, partner: str
) -> None:
    movie, sound = add_connected(scene, clips)
    title = add_color(scene, "Title", 5, start, 5)
    connect(scene, movie, sound, title)
    name = slow(range=(11, 21), factor=4)
    connected = {strip.name: {other.name for other in strip.connections} for strip in scene.sequence_editor.strips}
    assert connected["Title"] == {partner, partner.replace("Clip", "Sound")}
    if partner == name:
        restore(name)
        back = scene.sequence_editor.active_strip
        assert {other.name for other in scene.sequence_editor.strips["Title"].connections} == {
            back.name,
            back.name.replace("Clip", "Sound"),
        }


@pytest.mark.skipif(not TELLS, reason="Blender tells what is connected from 5.2 on")
def test_a_sound_that_begins_before_the_slowed_strip_stays_with_it(scene: Any, clips: Path) -> None:
    movie, _ = add_connected(scene, clips)
    lento("addon.compat").set_left(movie, 11)
    name = slow(factor=2)
    assert {other.name for other in scene.sequence_editor.strips[name].connections} == {"Sound", "Sound 2x"}


def test_a_note_of_the_first_version_is_read(scene: Any, clips: Path) -> None:
    add_connected(scene, clips)
    strip = scene.sequence_editor.strips[slow(range=(11, 21), factor=4)]
    note = json.loads(strip["lento"])
    del note["proxy"]
    for told in note["sounds"]:
        for name in ("start", "animation", "custom", "connected", "stretched"):
            del told[name]
    strip["lento"] = json.dumps(note)
    restore(strip.name)
    assert len([strip for strip in scene.sequence_editor.strips if times(strip) == (11, 21)]) == 2
