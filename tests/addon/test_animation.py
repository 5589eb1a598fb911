# SPDX-License-Identifier: GPL-3.0-or-later
"""F-curves with their modifiers, and drivers: along with picture and sound, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.in_blender import rendered
from tests.addon.helpers import add_color, add_movie, lento, select, times
from tests.addon.test_restore import restore, slow

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
    select(scene, strip)
    made = scene.sequence_editor.strips[slow(range=(1, 11), factor=2)]
    assert {setting: keys_of(scene, made, setting) for setting in curves_of(scene, made)} == {
        "blend_alpha": [(9, 1.0)],
    }
