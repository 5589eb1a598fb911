# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator, blocking, on an installed extension: timeline and pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from scripts.in_blender import edit, rendered
from tests.addon.conftest import worker_python
from tests.addon.helpers import add_color, add_effect, add_images, add_movie, layout, lento, number_shown, select, times


def slow(**options: Any) -> None:
    """Run the operator with the fast engine."""
    assert bpy.ops.lento.slow_motion(**{"engine": "nearest", **options}) == {"FINISHED"}


def test_range_is_replaced_and_everything_later_moves(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    add_color(scene, "Before", 3, 1, 10)
    add_color(scene, "After", 3, 49, 10)
    scene.timeline_markers.new("early", frame=5)
    scene.timeline_markers.new("late", frame=40)
    slow(range=(11, 21), factor=4)
    assert layout(scene) == {
        "Clip": (2, 1, 11),
        "Clip 4x": (2, 11, 51),
        "Clip.001": (2, 51, 79),
        "Before": (3, 1, 11),
        "After": (3, 79, 89),
    }
    assert [(marker.name, marker.frame) for marker in scene.timeline_markers] == [("early", 5), ("late", 70)]


def test_every_frame_shows_its_source(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    before = {frame: rendered(scene, frame) for frame in (10, 11, 20, 21, 48)}
    slow(range=(11, 21), factor=4)
    shown = {frame: number_shown(scene, frame) for frame in (10, 11, 15, 50, 51, 78)}
    # the last quarter of the range is nearest to the frame after it
    assert shown == {10: 9, 11: 10, 15: 11, 50: 20, 51: 20, 78: 47}
    for old, new in ((10, 10), (11, 11), (20, 47), (21, 51), (48, 78)):
        assert np.array_equal(before[old], rendered(scene, new))


def test_overlay_moves_nothing(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    add_color(scene, "Title", 3, 40, 10)
    add_color(scene, "After", 2, 49, 10)
    slow(range=(11, 21), factor=4, placement="overlay")
    assert layout(scene) == {"Clip": (2, 1, 49), "Clip 4x": (4, 11, 51), "Title": (3, 40, 50), "After": (2, 49, 59)}
    assert number_shown(scene, 15) == 11


def test_image_strip(scene: Any, clips: Path) -> None:
    add_images(scene, clips / "seq")
    slow(range=(5, 9), factor=2.5)
    assert layout(scene) == {"Shots": (2, 1, 5), "Shots 5/2x": (2, 5, 15), "Shots.001": (2, 15, 31)}
    assert [number_shown(scene, frame) for frame in (4, 5, 10, 15)] == [3, 4, 6, 8]


@pytest.mark.parametrize("trim", ["soft", "hard"])
def test_trimmed_strip_shows_the_right_frames(scene: Any, clips: Path, trim: str) -> None:
    compat = lento("addon.compat")
    strip = add_movie(scene, clips / "clip.mp4", start=100)
    if trim == "soft":
        compat.set_left(strip, 110)
        compat.set_right(strip, 130)
    else:
        compat.set_trims(strip, 10, 18, 110)
    expected = [number_shown(scene, frame) for frame in (115, 119)]
    slow(range=(115, 120), factor=2)
    assert [number_shown(scene, frame) for frame in (115, 123)] == expected == [15, 19]


def test_generated_strip_keeps_what_the_source_had(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    strip.transform.offset_x, strip.transform.scale_x, strip.transform.rotation = 40, 0.5, 0.25
    strip.crop.min_x, strip.crop.max_y = 12, 7
    strip.blend_type, strip.blend_alpha, strip.color_saturation = "ALPHA_OVER", 0.75, 0.5
    strip.use_flip_x, strip.mute, strip.color_tag = True, True, "COLOR_04"
    modifier = strip.modifiers.new("Bright", "BRIGHT_CONTRAST")
    modifier.bright = 0.2
    curve = strip.modifiers.new("Curves", "CURVES")
    curve.curve_mapping.curves[3].points.new(0.3, 0.6)
    curve.curve_mapping.update()
    balance = strip.modifiers.new("Balance", "COLOR_BALANCE")
    balance.color_balance.gain = (1.2, 1.0, 0.8)
    slow(range=(11, 21), factor=2)
    new = scene.sequence_editor.strips["Clip 2x"]
    assert (new.transform.offset_x, new.transform.scale_x, new.transform.rotation) == (40, 0.5, 0.25)
    assert (new.crop.min_x, new.crop.max_y) == (12, 7)
    assert (new.blend_type, new.blend_alpha, new.color_saturation) == ("ALPHA_OVER", 0.75, 0.5)
    assert (new.use_flip_x, new.mute, new.color_tag) == (True, True, "COLOR_04")
    assert new.colorspace_settings.name == "sRGB"
    assert [(m.name, m.type) for m in new.modifiers] == [
        ("Bright", "BRIGHT_CONTRAST"),
        ("Curves", "CURVES"),
        ("Balance", "COLOR_BALANCE"),
    ]
    assert new.modifiers["Bright"].bright == pytest.approx(0.2)
    points = new.modifiers["Curves"].curve_mapping.curves[3].points
    assert [tuple(round(x, 3) for x in point.location) for point in points] == [(0.0, 0.0), (0.3, 0.6), (1.0, 1.0)]
    assert tuple(new.modifiers["Balance"].color_balance.gain) == pytest.approx((1.2, 1.0, 0.8))


def test_picture_with_modifiers_is_the_same(scene: Any, clips: Path) -> None:
    strip = add_images(scene, clips / "seq")
    strip.transform.scale_x = 0.6
    strip.blend_alpha = 0.8
    curve = strip.modifiers.new("Curves", "CURVES")
    curve.curve_mapping.curves[3].points.new(0.3, 0.6)
    curve.curve_mapping.update()
    before = rendered(scene, 7)
    slow(range=(5, 10), factor=3)
    assert np.array_equal(before, rendered(scene, 11))


def test_animation_is_stretched_with_the_frames(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    for frame, value in ((11, 0.2), (21, 1.0)):
        strip.blend_alpha = value
        strip.keyframe_insert("blend_alpha", frame=frame)
    slow(range=(11, 21), factor=4)
    curves = lento("addon.compat").fcurves(scene)
    path = scene.sequence_editor.strips["Clip 4x"].path_from_id() + ".blend_alpha"
    assert [round(key.co[0]) for key in curves.find(path).keyframe_points] == [11, 51]


def test_provenance_and_restore_after_reopening(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    strip.transform.offset_x = 25
    add_color(scene, "After", 3, 49, 10)
    before = {frame: rendered(scene, frame) for frame in (10, 11, 15, 20, 21, 48, 55)}
    slow(range=(11, 21), factor=4)
    told = json.loads(scene.sequence_editor.strips["Clip 4x"]["lento"])
    assert (told["range"], told["factor"], told["engine"]) == ([10, 20], "4", "nearest")
    assert told["job"].startswith("//lento/Clip-")
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath)
    scene = bpy.context.scene
    edit(scene)
    assert bpy.ops.lento.restore(strip="Clip 4x") == {"FINISHED"}
    assert sorted(layout(scene).values()) == [(2, 1, 11), (2, 11, 21), (2, 21, 49), (3, 49, 59)]
    for frame, picture in before.items():
        assert np.array_equal(picture, rendered(scene, frame)), frame


def test_restore_of_a_trimmed_image_strip(scene: Any, clips: Path) -> None:
    compat = lento("addon.compat")
    strip = add_images(scene, clips / "seq", start=50)
    compat.set_trims(strip, 4, 3, 50)
    before = [rendered(scene, frame) for frame in range(50, 67)]
    slow(factor=3)
    assert list(layout(scene).values()) == [(2, 50, 101)]
    assert bpy.ops.lento.restore() == {"FINISHED"}
    assert list(layout(scene).values()) == [(2, 50, 67)]
    for frame, picture in enumerate(before, start=50):
        assert np.array_equal(picture, rendered(scene, frame)), frame


def test_network_from_a_checkpoint(scene: Any, clips: Path, tmp_path: Path) -> None:
    worker_python("-m", "scripts.made_weights", "4.25", str(tmp_path / "flownet ü.pkl"))
    add_movie(scene, clips / "clip.mp4")
    before = rendered(scene, 11)
    options = {"engine": "rife", "weights": "//flownet ü.pkl", "precision": "fp32", "device": "cpu"}
    assert bpy.ops.lento.slow_motion(range=(11, 15), factor=2, **options) == {"FINISHED"}
    made = scene.sequence_editor.active_strip
    told = json.loads((Path(bpy.path.abspath(made.directory)) / "result.json").read_text())
    assert (told["engine"], told["device"], told["precision"]) == ("rife", "cpu", "fp32")
    assert np.array_equal(before, rendered(scene, 11))
    assert np.abs(rendered(scene, 11) - rendered(scene, 12)).max() > 0.02


def test_movie_in_the_place_of_the_range_and_back(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    strip.transform.offset_x = 25
    before = {frame: rendered(scene, frame) for frame in (10, 11, 15, 20, 21, 48)}
    slow(range=(11, 21), factor=4, format="ffv1")
    made = scene.sequence_editor.active_strip
    assert (made.type, made.filepath[-9:], made.transform.offset_x, times(made)) == ("MOVIE", "/slow.mkv", 25, (11, 51))
    assert made.filepath.startswith("//lento/Clip-")
    for old, new in ((10, 10), (11, 11), (15, 27), (20, 47), (21, 51), (48, 78)):
        assert np.array_equal(before[old], rendered(scene, new)), old
    assert bpy.ops.lento.restore() == {"FINISHED"}
    assert sorted(layout(scene).values()) == [(2, 1, 11), (2, 11, 21), (2, 21, 49)]
    for frame, picture in before.items():
        assert np.array_equal(picture, rendered(scene, frame)), frame


def test_restore_of_an_overlay_takes_it_away(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    before = layout(scene)
    slow(range=(11, 21), placement="overlay")
    assert bpy.ops.lento.restore() == {"FINISHED"}
    assert layout(scene) == before


def test_marks(scene: Any, clips: Path) -> None:
    selection = lento("addon.selection")
    strip = add_movie(scene, clips / "clip.mp4")
    whole = selection.marked_range(scene, strip)
    assert (whole.start, whole.end, whole.origin) == (1, 49, "the whole strip")
    for frame in (12, 30):
        scene.timeline_markers.new("m", frame=frame).select = True
    markers = selection.marked_range(scene, strip)
    assert (markers.start, markers.end, markers.origin) == (12, 30, "the two selected markers")
    scene.use_preview_range = True
    scene.frame_preview_start, scene.frame_preview_end = 40, 90
    preview = selection.marked_range(scene, strip)
    assert (preview.start, preview.end, preview.origin) == (40, 49, "the preview range")
    slow(factor=2)
    assert layout(scene) == {"Clip": (2, 1, 40), "Clip 2x": (2, 40, 58)}


def test_range_of_zeros_is_what_is_marked(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    scene.use_preview_range = True
    scene.frame_preview_start, scene.frame_preview_end = 11, 20
    slow(range=(0, 0), factor=2)
    assert layout(scene) == {"Clip": (2, 1, 11), "Clip 2x": (2, 11, 31), "Clip.001": (2, 31, 59)}


def test_sound_of_the_movie_stays_in_sync_after_the_range(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    scene.sequence_editor.strips.new_sound("Sound", str(clips / "clip.mp4"), 1, 1)
    slow(range=(11, 21), factor=4, sound="keep")
    strips = layout(scene)
    assert strips["Sound"][:3] == (1, 1, 21)
    assert strips["Sound.001"][:2] == (1, 51)
    assert strips["Clip.001"][:2] == (2, 51)


def test_locked_strips_and_channels_stay(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    add_color(scene, "Locked", 3, 60, 10).lock = True
    add_color(scene, "Logo", 5, 60, 10)
    scene.sequence_editor.channels[5].lock = True
    add_color(scene, "Free", 4, 60, 10)
    slow(range=(11, 21), factor=2)
    strips = layout(scene)
    assert (strips["Locked"], strips["Logo"], strips["Free"]) == ((3, 60, 70), (5, 60, 70), (4, 70, 80))


@pytest.mark.parametrize(("before", "after"), [(48, 78), (60, 78), (250, 250), (30, 30)])
def test_scene_end_follows_where_it_showed_everything(scene: Any, clips: Path, before: int, after: int) -> None:
    scene.frame_end = before
    add_movie(scene, clips / "clip.mp4")
    slow(range=(11, 21), factor=4)
    assert scene.frame_end == after
    assert bpy.ops.lento.restore() == {"FINISHED"}
    assert scene.frame_end == (48 if before == 60 else before)


def test_strip_inside_a_meta_strip(scene: Any, clips: Path) -> None:
    strips = scene.sequence_editor.strips
    meta = strips.new_meta("Meta", 3, 1)
    inner = meta.strips.new_movie("Inner", str(clips / "clip.mp4"), 1, 1)
    later = add_color(scene, "Later", 5, 60, 10)
    select(scene, inner)
    slow(strip="Inner", range=(11, 21), factor=2)
    assert sorted(strip.name for strip in meta.strips) == ["Inner", "Inner 2x", "Inner.001"]
    assert times(meta.strips["Inner.001"]) == (31, 59)
    assert times(later) == (60, 70)


def test_movie_of_another_rate_added_by_the_interface_plays_in_its_own_time(scene: Any, clips: Path) -> None:
    scene.render.fps = 30
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    area.type = "SEQUENCE_EDITOR"
    region = next(region for region in area.regions if region.type == "WINDOW")
    operator = bpy.ops.sequencer.movie_strip_add
    options = {"move_strips": False} if "move_strips" in operator.get_rna_type().properties else {}
    with bpy.context.temp_override(window=window, area=area, region=region):
        operator(
            filepath=str(clips / "clip.mp4"),
            frame_start=1,
            channel=2,
            sound=False,
            use_framerate=False,
            adjust_playback_rate=True,
            **options,
        )
    strip = scene.sequence_editor.strips[0]
    assert times(strip) == (1, 61)
    select(scene, strip)
    slow(range=(11, 21), factor=2)
    generated = next(strip for strip in scene.sequence_editor.strips if strip.name.endswith("2x"))
    assert times(generated) == (11, 31)
    # timeline frame 10 of the content is source frame 8; each of the 20 new ones goes on by 2/5 of a source frame
    assert [number_shown(scene, frame) for frame in (11, 16, 21, 30)] == [8, 10, 12, 16]
    assert bpy.ops.lento.restore() == {"FINISHED"}
    assert sorted(layout(scene).values()) == [(2, 1, 11), (2, 11, 21), (2, 21, 61)]
    assert [number_shown(scene, frame) for frame in (11, 16)] == [8, 12]


def test_strip_of_thousands_of_files(scene: Any, clips: Path) -> None:
    timeline = lento("addon.timeline")
    add_movie(scene, clips / "clip.mp4")
    names = [f"{number:06d}.png" for number in range(1, 5001)]
    strip = timeline.new_image_strip(scene, scene.sequence_editor.strips, "Long", "//lento/a b", names, 2, 11)
    assert (strip.name, strip.channel, *times(strip)) == ("Long", 2, 11, 5011)
    assert strip.directory == "//lento/a b/"
    assert [element.filename for element in strip.elements] == names
    assert layout(scene)["Clip"] == (2, 1, 49)


def test_unregister_and_register_again(scene: Any) -> None:
    import addon_utils

    addon_utils.disable("bl_ext.user_default.lento")
    assert not hasattr(bpy.types.Scene, "lento")
    assert not hasattr(bpy.types, "LENTO_OT_slow_motion")
    addon_utils.enable("bl_ext.user_default.lento", default_set=True)
    assert hasattr(bpy.types, "LENTO_OT_slow_motion")
    keymap = bpy.context.window_manager.keyconfigs.addon.keymaps["Sequencer"]
    assert [
        (item.type, item.ctrl, item.alt, item.shift)
        for item in keymap.keymap_items
        if item.idname == "lento.slow_motion"
    ] == [("R", True, True, False)]


def test_keys_of_later_effects_move_with_them(scene: Any, clips: Path) -> None:
    clip = add_movie(scene, clips / "clip.mp4")
    one, other = (add_color(scene, name, channel, 60, 30) for name, channel in (("One", 4), ("Other", 5)))
    mix = add_effect(scene, "Mix", "ALPHA_OVER", 6, one, other)
    for strip in (mix, one):
        for frame, share in ((60, 0.0), (89, 1.0)):
            strip.blend_alpha = share
            strip.keyframe_insert("blend_alpha", frame=frame)
    select(scene, clip)
    slow(range=(11, 21), factor=4)
    curves = lento("addon.compat").fcurves(scene)
    frames = {
        strip.name: [
            (key.co.x, key.handle_left.x < key.co.x < key.handle_right.x)
            for key in curves.find(f"{strip.path_from_id()}.blend_alpha").keyframe_points
        ]
        for strip in (mix, one)
    }
    assert layout(scene)["Mix"][1:] == (90, 120)
    assert frames == dict.fromkeys(("Mix", "One"), [(90.0, True), (119.0, True)])


def test_locks_of_the_meta_strip_that_a_strip_lies_in(scene: Any, clips: Path) -> None:
    meta = scene.sequence_editor.strips.new_meta("Meta", 5, 1)
    clip = meta.strips.new_movie("Clip", str(clips / "clip.mp4"), 2, 1)
    lento("addon.compat").set_right(meta, 49)
    scene.sequence_editor.channels[2].lock = True
    meta.channels[3].lock = True
    slow(strip="Clip", range=(11, 21), placement="overlay")
    assert layout(scene)["Clip 4x"][0] == 4
    meta.channels[2].lock = True
    with pytest.raises(RuntimeError, match="'Clip' lies on the locked channel 'Channel 2'"):
        slow(strip="Clip", range=(21, 31))
    assert clip.name == "Clip"


def test_what_a_meta_strip_no_longer_shows_is_told(scene: Any, clips: Path, capfd: Any) -> None:
    meta = scene.sequence_editor.strips.new_meta("Meta", 5, 1)
    meta.strips.new_movie("Clip", str(clips / "clip.mp4"), 2, 1)
    lento("addon.compat").set_right(meta, 49)
    slow(strip="Clip", range=(11, 21), factor=4)
    assert "30 frames lie after the end of the meta strip 'Meta': drag that end" in capfd.readouterr().out
