# SPDX-License-Identifier: GPL-3.0-or-later
"""F-curves with their modifiers, and drivers: along with picture and sound, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from scripts.in_blender import edit, rendered
from tests.addon.helpers import add_color, add_movie, layout, lento, select, times
from tests.addon.test_restore import add_sound, restore, slow

KEYS = ((1, 0.0), (14, 1.0), (20, 0.25), (48, 0.5))


def curves_of(scene: Any, strip: Any) -> dict[str, Any]:
    """The strip's F-curves by the setting that they move."""
    prefix = strip.path_from_id()
    found = lento("addon.compat").fcurves(scene) or ()
    return {
        curve.data_path.removeprefix(prefix).lstrip("."): curve for curve in found if curve.data_path.startswith(prefix)
    }


def keys_of(scene: Any, strip: Any, setting: str) -> list[tuple[float, float]]:
    return [tuple(key.co) for key in curves_of(scene, strip)[setting].keyframe_points]


def animate(strip: Any, setting: str, keys: tuple[tuple[int, float], ...] = KEYS) -> None:
    for frame, value in keys:
        setattr(strip, setting, value)
        strip.keyframe_insert(setting, frame=frame)


def sound_at(scene: Any, start: int) -> Any:
    """The sound strip that begins at that frame."""
    strips = scene.sequence_editor.strips
    return next(strip for strip in strips if strip.type == "SOUND" and times(strip)[0] == start)


def dangling(scene: Any) -> list[str]:
    """What is animated or driven and is not there."""
    compat = lento("addon.compat")
    animation = scene.animation_data
    paths = [curve.data_path for curve in (*(compat.fcurves(scene) or ()), *(animation.drivers if animation else ()))]
    return [path for path in paths if not path_is_there(scene, path)]


def path_is_there(scene: Any, path: str) -> bool:
    try:
        scene.path_resolve(path)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("ease", ["none", "both"])
def test_volume_and_pan_follow_the_stretched_sound_and_come_back(scene: Any, clips: Path, ease: str) -> None:
    sound = add_sound(scene, clips / "clip.mp4")
    animate(sound, "volume")
    animate(sound, "pan", ((11, -1.0), (21, 1.0)))
    add_movie(scene, clips / "clip.mp4")
    name = slow(range=(11, 21), factor=4, ease=ease, **({"ramp": 3} if ease != "none" else {}))
    stretched = sound_at(scene, 11)
    told = lento("addon.provenance").provenance_of(scene.sequence_editor.strips[name]).times
    when = [11 + told.when(frame - 11) for frame, _ in KEYS]
    assert [frame for frame, _ in keys_of(scene, stretched, "volume")] == pytest.approx(when, abs=1e-3)
    assert [value for _, value in keys_of(scene, stretched, "volume")] == [0.0, 1.0, 0.25, 0.5]
    assert keys_of(scene, stretched, "pan") == [(11, -1.0), (11 + told.count, 1.0)]
    restore(name)
    back = sound_at(scene, 11)
    assert keys_of(scene, back, "volume") == list(KEYS)
    assert keys_of(scene, back, "pan") == [(11, -1.0), (21, 1.0)]
    for frame, value in KEYS[1:3]:
        scene.frame_set(frame)
        assert back.volume == pytest.approx(value)
    assert not dangling(scene)


def test_volume_of_a_muted_sound_comes_back(scene: Any, clips: Path) -> None:
    sound = add_sound(scene, clips / "clip.mp4")
    animate(sound, "volume")
    curves_of(scene, sound)["volume"].modifiers.new("NOISE").strength = 0.3
    driver = sound.driver_add("pan").driver
    driver.expression = "level + height"
    for name, path in (("level", 'sequence_editor.strips_all["Sound"].volume'), ("height", "render.resolution_y")):
        variable = driver.variables.new()
        variable.name, variable.targets[0].id_type = name, "SCENE"
        variable.targets[0].id, variable.targets[0].data_path = scene, path
    sound["take"] = {"name": "B", "marks": [1, 2]}
    add_movie(scene, clips / "clip.mp4")
    # the whole strip, so that no part of the sound stays but what is one frame longer than the picture
    name = slow(sound="mute")
    assert [strip.name for strip in scene.sequence_editor.strips if times(strip)[0] == 1] == [name]
    assert not dangling(scene)
    lento("addon.compat").move(scene.sequence_editor.strips[name], 1000)
    restore(name)
    back = sound_at(scene, 1001)
    assert keys_of(scene, back, "volume") == [(frame + 1000, value) for frame, value in KEYS]
    (noise,) = curves_of(scene, back)["volume"].modifiers
    assert (noise.type, noise.strength) == ("NOISE", pytest.approx(0.3))
    assert back["take"].to_dict() == {"name": "B", "marks": [1, 2]}
    driver = scene.animation_data.drivers.find(back.path_from_id() + ".pan").driver
    targets = [(variable.name, variable.targets[0].id, variable.targets[0].data_path) for variable in driver.variables]
    assert targets == [
        ("level", scene, back.path_from_id() + ".volume"),
        ("height", scene, "render.resolution_y"),
    ]
    assert driver.expression == "level + height"


def test_volume_of_a_sound_whose_stretched_strip_is_gone_comes_back(scene: Any, clips: Path) -> None:
    sound = add_sound(scene, clips / "clip.mp4")
    animate(sound, "volume")
    add_movie(scene, clips / "clip.mp4")
    name = slow(range=(11, 21), factor=4)
    scene.sequence_editor.strips.remove(sound_at(scene, 11))
    restore(name)
    assert keys_of(scene, sound_at(scene, 11), "volume") == list(KEYS)


def test_several_sounds_get_back_each_its_own(scene: Any, clips: Path) -> None:
    for number, channel in enumerate((1, 4, 5)):
        sound = add_sound(scene, clips / "clip.mp4", f"Sound {number}", channel)
        sound.pan = number / 4
        animate(sound, "volume", ((11, number), (21, number)))
    add_movie(scene, clips / "clip.mp4")
    name = slow(range=(11, 21), factor=4)
    scene.sequence_editor.strips.remove(scene.sequence_editor.strips["Sound 1 4x"])
    restore(name)
    strips = scene.sequence_editor.strips
    found = {
        strip.channel: (round(strip.pan, 3), keys_of(scene, strip, "volume"))
        for strip in strips
        if strip.type == "SOUND" and times(strip) == (11, 21)
    }
    expected = {channel: (number / 4, [(11, number), (21, number)]) for number, channel in enumerate((1, 4, 5))}
    assert found == expected


def test_modifiers_of_the_picture_go_along_and_come_back(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    strip.transform.offset_x = 5
    strip.transform.keyframe_insert("offset_x", frame=11)
    curve = curves_of(scene, strip)["transform.offset_x"]
    curve.mute, curve.extrapolation = True, "LINEAR"
    everywhere, restricted, envelope = (curve.modifiers.new(kind) for kind in ("NOISE", "NOISE", "ENVELOPE"))
    everywhere.strength, everywhere.scale, everywhere.phase = 50, 7, 3
    restricted.use_restricted_range = True
    restricted.frame_start, restricted.frame_end, restricted.blend_in, restricted.blend_out = 13, 19, 1, 2
    for frame, most in ((11, 1.5), (16, 2.5)):
        point = envelope.control_points.add(frame)
        point.min, point.max = -1, most

    def told(strip: Any) -> tuple[Any, ...]:
        curve = curves_of(scene, strip)["transform.offset_x"]
        first, second, third = curve.modifiers
        return (
            curve.mute,
            curve.extrapolation,
            (first.type, first.strength, first.scale, first.phase, first.use_restricted_range, first.frame_start),
            (second.type, second.use_restricted_range),
            (second.frame_start, second.frame_end, second.blend_in, second.blend_out),
            (third.type, [(point.frame, point.min, point.max) for point in third.control_points]),
        )

    before = told(strip)
    name = slow(range=(11, 21), factor=4)
    slowed = (
        *before[:4],
        (11 + 2 * 4, 11 + 8 * 4, 1 * 4, 2 * 4),
        ("ENVELOPE", [(11, -1, 1.5), (11 + 5 * 4, -1, 2.5)]),
    )
    assert told(scene.sequence_editor.strips[name]) == slowed
    restore(name)
    assert told(scene.sequence_editor.active_strip) == before


def test_drivers_go_along_come_back_and_leave_nothing_behind(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    animate(strip, "blend_alpha", ((11, 0.0), (21, 1.0)))
    curve = strip.driver_add("color_saturation")
    curve.driver.type = "AVERAGE"
    variable = curve.driver.variables.new()
    variable.targets[0].id_type, variable.targets[0].id = "SCENE", scene
    variable.targets[0].data_path = strip.path_from_id() + ".blend_alpha"
    curve.keyframe_points.clear()
    for modifier in list(curve.modifiers):
        curve.modifiers.remove(modifier)
    for x, y in ((0, 0.5), (1, 1.5)):
        curve.keyframe_points.insert(x, y).interpolation = "LINEAR"

    def driven(strip: Any) -> list[float]:
        found = []
        start, end = times(strip)
        for frame in (start, (start + end) // 2, end):
            scene.frame_set(frame)
            found.append(round(strip.color_saturation, 3))
        return found

    name = slow(factor=2)
    slowed = scene.sequence_editor.strips[name]
    assert [curve.data_path for curve in scene.animation_data.drivers] == [slowed.path_from_id() + ".color_saturation"]
    before = (scene.animation_data.drivers[0].driver.variables[0].targets[0].data_path, driven(slowed))
    assert before == (slowed.path_from_id() + ".blend_alpha", [0.5, 1.5, 1.5])
    restore(name)
    back = scene.sequence_editor.active_strip
    assert [curve.data_path for curve in scene.animation_data.drivers] == [back.path_from_id() + ".color_saturation"]
    assert not dangling(scene)
    scene.frame_set(16)
    assert back.color_saturation == pytest.approx(0.5 + back.blend_alpha, abs=1e-3)


def test_an_overlay_that_is_taken_away_leaves_no_driver(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    strip.driver_add("blend_alpha").driver.expression = "frame / 48"
    name = slow(range=(11, 21), placement="overlay")
    assert len(scene.animation_data.drivers) == 2
    restore(name)
    assert [curve.data_path for curve in scene.animation_data.drivers] == [strip.path_from_id() + ".blend_alpha"]


def test_driven_opacity_of_a_rendered_strip_is_applied_once(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    strip.use_reverse_frames = True
    strip.driver_add("blend_alpha").driver.expression = "0.5"
    before = rendered(scene, 11)
    made = scene.sequence_editor.strips[slow(range=(11, 15), factor=2)]
    assert np.abs(rendered(scene, 11) - before).max() <= 1.01 / 255
    assert made.blend_alpha == pytest.approx(0.5)


def test_what_the_new_strip_does_not_have_is_not_animated(scene: Any, clips: Path) -> None:
    strip = add_color(scene, "Sky", 2, 1, 20)
    strip.keyframe_insert("color", frame=5)
    strip.keyframe_insert("blend_alpha", frame=5)
    strip["mood"] = 0.5
    strip.keyframe_insert('["mood"]', frame=5)
    select(scene, strip)
    made = scene.sequence_editor.strips[slow(range=(1, 11), factor=2)]
    assert {setting: keys_of(scene, made, setting) for setting in curves_of(scene, made)} == {
        "blend_alpha": [(9, 1.0)],
        '["mood"]': [(9, 0.5)],
    }


def test_scenes_that_share_an_action(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4", name="A")
    animate(strip, "blend_alpha")
    other = scene.copy()
    for one in (scene, other):
        edit(one)
        if bpy.context.scene != one:
            bpy.context.window_manager.windows[0].scene = one
        select(one, one.sequence_editor.strips["A"])
        slow(range=(11, 21), factor=4)
        assert "A 4x" in layout(one)
    bpy.context.window_manager.windows[0].scene = scene
    bpy.data.scenes.remove(other)
