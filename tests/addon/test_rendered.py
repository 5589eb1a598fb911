# SPDX-License-Identifier: GPL-3.0-or-later
"""Strips that only Blender can show: rendered in another Blender, then slowed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from scripts.in_blender import rendered
from tests.addon.conftest import worker_python
from tests.addon.helpers import add_color, add_effect, add_movie, layout, lento, select

START, END = 11, 15


def meta(scene: Any, clips: Path) -> Any:
    strip = scene.sequence_editor.strips.new_meta("It", 3, 1)
    inner = strip.strips.new_movie("Inner", str(clips / "clip.mp4"), 1, 1)
    inner.color_saturation = 0.5
    lento("addon.compat").set_right(strip, 49)
    strip.transform.offset_x = 30
    return strip


def other_scene(scene: Any, clips: Path) -> Any:
    other = bpy.data.scenes.new("Other")
    other.render.engine = "BLENDER_WORKBENCH"
    other.render.resolution_x, other.render.resolution_y = 320, 180
    other.sequence_editor_create().strips.new_movie("Inner", str(clips / "clip.mp4"), 1, 1)
    strip = scene.sequence_editor.strips.new_scene("It", other, 3, 1)
    strip.scene_input = "SEQUENCER"
    lento("addon.compat").set_right(strip, 49)
    return strip


def text(scene: Any, clips: Path) -> Any:
    strip = add_effect(scene, "It", "TEXT", 3)
    strip.text, strip.font_size = "Lento", 40
    for frame, x in ((1, 0.2), (48, 0.8)):
        strip.location[0] = x
        strip.keyframe_insert("location", frame=frame)
    return strip


def adjustment(scene: Any, clips: Path) -> Any:
    add_movie(scene, clips / "clip.mp4")
    strip = add_effect(scene, "It", "ADJUSTMENT", 3)
    strip.modifiers.new("Bright", "BRIGHT_CONTRAST").bright = 0.2
    return strip


def retimed(scene: Any, clips: Path) -> Any:
    strip = add_movie(scene, clips / "clip.mp4", name="It")
    with lento("addon.compat").in_sequencer(scene):
        bpy.ops.sequencer.retiming_segment_speed_set(speed=50)
    strip.retiming_keys.add(timeline_frame=30)  # one speed all through would be read from the file
    return strip


def backwards(scene: Any, clips: Path) -> Any:
    strip = add_movie(scene, clips / "clip.mp4", name="It")
    strip.use_reverse_frames = True
    strip.use_flip_x = True
    strip.transform.offset_y = 20
    strip.crop.min_x = 30
    return strip


def strobed(scene: Any, clips: Path) -> Any:
    strip = add_movie(scene, clips / "clip.mp4", name="It")
    strip.strobe = 3
    return strip


def deinterlaced(scene: Any, clips: Path) -> Any:
    strip = add_movie(scene, clips / "clip.mp4", name="It")
    strip.use_deinterlace = True
    strip.blend_alpha = 0.6
    return strip


def mask(scene: Any, clips: Path) -> Any:
    shape = bpy.data.masks.new("Shape")
    spline = shape.layers.new(name="Layer").splines.new()
    spline.points.add(3)
    for point, place in zip(spline.points, ((0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7)), strict=True):
        point.co = point.handle_left = point.handle_right = place
    spline.use_cyclic = True
    strip = scene.sequence_editor.strips.new_mask("It", shape, 3, 1)
    lento("addon.compat").set_right(strip, 49)
    return strip


def tracked_clip(scene: Any, clips: Path) -> Any:
    clip = bpy.data.movieclips.load(str(clips / "clip.mp4"))
    return scene.sequence_editor.strips.new_clip("It", clip, 3, 1)


REPLACED = (tracked_clip, meta, other_scene, text, adjustment, retimed, backwards, strobed, deinterlaced)


@pytest.mark.parametrize("make", REPLACED, ids=lambda make: make.__name__)
def test_kept_frames_look_as_before_and_the_original_comes_back(scene: Any, clips: Path, make: Any) -> None:
    add_color(scene, "Under", 1, 1, 200).color = (0.1, 0.3, 0.2)
    strip = make(scene, clips)
    select(scene, strip)
    before = {frame: rendered(scene, frame) for frame in (START - 1, START, START + 2, END - 1, END)}
    strips_before = len(scene.sequence_editor.strips)
    end_before = max(right for _, _, right in layout(scene).values())
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(START, END), factor=2) == {"FINISHED"}
    assert layout(scene)["It 2x"][1:] == (START, START + 8)
    times = {START - 1: START - 1, START: START, START + 2: START + 4, END - 1: END + 2, END: END + 4}
    if make is adjustment:  # the movie below it stays where it is
        del times[END]
    for old, new in times.items():
        assert np.abs(before[old] - rendered(scene, new)).max() <= 1.01 / 255, old
    left_over = Path(bpy.path.abspath("//lento"))
    deadline = time.monotonic() + 5
    while list(left_over.glob("*/rendered")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not list(left_over.glob("*/rendered")), "what was rendered for the job is left over"
    assert bpy.ops.lento.restore() == {"FINISHED"}
    for frame, picture in before.items():
        assert np.array_equal(picture, rendered(scene, frame)), frame
    assert len(scene.sequence_editor.strips) == strips_before + 2
    assert max(right for _, _, right in layout(scene).values()) == end_before


@pytest.mark.parametrize("kind", ["GLOW", "SPEED", "GAUSSIAN_BLUR"])
def test_effects_of_other_strips_are_overlaid(scene: Any, clips: Path, kind: str) -> None:
    effect = add_effect(scene, "It", kind, 3, add_movie(scene, clips / "clip.mp4"))
    if kind == "SPEED":
        effect.speed_control, effect.speed_factor = "MULTIPLY", 0.5
    select(scene, effect)
    before = {frame: rendered(scene, frame) for frame in (START, START + 2)}
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(START, END), factor=2, placement="overlay") == {
        "FINISHED"
    }
    for old, new in ((START, START), (START + 2, START + 4)):
        assert np.abs(before[old] - rendered(scene, new)).max() <= 1.01 / 255


def test_mask_strip(scene: Any, clips: Path) -> None:
    """All but a few pixels: Blender 4.5 draws the edge of a mask a little differently every time."""
    select(scene, mask(scene, clips))
    before = {frame: rendered(scene, frame) for frame in (START, START + 2)}
    assert before[START][..., :3].max() > 0.9
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(START, END), factor=2) == {"FINISHED"}
    for old, new in ((START, START), (START + 2, START + 4)):
        different = np.abs(before[old] - rendered(scene, new)).max(axis=-1) > 1.01 / 255
        assert different.sum() < 20


def test_inside_of_meta_strips(scene: Any, clips: Path) -> None:
    compat = lento("addon.compat")
    outer = scene.sequence_editor.strips.new_meta("Outer", 3, 1)
    middle = outer.strips.new_meta("Middle", 2, 1)
    inner = middle.strips.new_movie("It", str(clips / "clip.mp4"), 2, 1)
    beside = middle.strips.new_movie("Beside", str(clips / "clip.mp4"), 3, 1)
    beside.transform.offset_y, beside.blend_type, beside.blend_alpha = 100, "ALPHA_OVER", 0.5
    for meta in (middle, outer):
        compat.set_right(meta, 30)
    inner.use_reverse_frames = True
    outer.transform.offset_x, middle.color_saturation = 20, 0.4
    before = {frame: rendered(scene, frame) for frame in (START - 1, START, START + 2)}
    beside.mute = True
    alone = {frame: rendered(scene, frame) for frame in (START - 1, START, START + 2)}
    beside.mute = False
    assert bpy.ops.lento.slow_motion(strip="It", engine="nearest", range=(START, END), factor=2) == {"FINISHED"}
    made = middle.strips["It 2x"]
    assert (compat.left(made), compat.right(made)) == (START, START + 8)
    assert np.abs(before[START] - rendered(scene, START)).max() <= 1.01 / 255
    middle.strips["Beside"].mute = True
    for old, new in ((START - 1, START - 1), (START, START), (START + 2, START + 4)):
        assert np.abs(alone[old] - rendered(scene, new)).max() <= 1.01 / 255, old


def test_modifiers_are_baked_in_on_request(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    strip.modifiers.new("Bright", "BRIGHT_CONTRAST").bright = 0.2
    before = rendered(scene, START)
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(START, END), factor=2, bake_modifiers=True) == {
        "FINISHED"
    }
    assert len(scene.sequence_editor.active_strip.modifiers) == 0
    assert np.abs(before - rendered(scene, START)).max() <= 1.01 / 255


def test_original_that_was_deleted_cannot_be_restored(scene: Any, clips: Path) -> None:
    select(scene, meta(scene, clips))
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(START, END), factor=2) == {"FINISHED"}
    strips = scene.sequence_editor.strips
    strips.remove(next(strip for strip in strips if "lento_kept" in strip))
    before = layout(scene)
    with pytest.raises(RuntimeError, match="no longer on the timeline, so it cannot be restored"):
        bpy.ops.lento.restore()
    assert layout(scene) == before


def test_high_dynamic_range_video(scene: Any, tmp_path: Path) -> None:
    worker_python(
        "-c",
        "import sys; from pathlib import Path; from scripts.clips import write_clip\n"
        "write_clip(Path(sys.argv[1]), 20, size=(322, 182), codec='libx265', pixel_format='yuv420p10le', sound=False,\n"
        "           transfer='hlg')",
        str(tmp_path / "hlg.mp4"),
    )
    scene.render.resolution_x, scene.render.resolution_y = 322, 182
    strip = add_movie(scene, tmp_path / "hlg.mp4")
    # from 5.0 on Blender reads the tags
    assert strip.colorspace_settings.name in ("sRGB", "Rec.2100-HLG")
    before = {frame: rendered(scene, frame, 16) for frame in (START, START + 2)}
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(START, END), factor=2) == {"FINISHED"}
    for old, new in ((START, START), (START + 2, START + 4)):
        # half floating point has 11 bits
        assert np.abs(before[old] - rendered(scene, new, 16)).max() <= 1 / 1024


def _rendering(scene: Any, clips: Path) -> Any:
    """A job whose source Blender renders now."""
    operators, options = lento("addon.operators"), lento("addon.options")
    select(scene, meta(scene, clips))
    holders = dict.fromkeys(options.OPTIONS, scene.lento)
    job = operators.launch(bpy.context, operators.request(scene, "It", None, holders))
    while job.progress is None:
        job.update()
    assert job.text.startswith("Rendering ")
    return job


def _is_gone(folder: Path) -> bool:
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not folder.exists()


def test_cancelled_while_blender_renders(scene: Any, clips: Path) -> None:
    operators = lento("addon.operators")
    job = _rendering(scene, clips)
    before = layout(scene)
    job.worker.cancel()
    job.wait(lambda job: None)
    with pytest.raises(Exception, match=r"Cancelled\.$"):
        operators.conclude(job)
    assert _is_gone(Path(job.request.job.output)), "no other job can use it"
    assert job.done.code == 4
    assert layout(scene) == before
    assert "lento_id" not in scene.sequence_editor.strips["It"]


def test_another_file_opened_while_blender_renders(scene: Any, clips: Path) -> None:
    job = _rendering(scene, clips)
    bpy.ops.wm.read_homefile(use_empty=True)
    assert lento("addon.jobs").running == []
    assert _is_gone(Path(job.request.job.output)), "no other job can use it"


@pytest.mark.parametrize("make", [meta, text], ids=lambda make: make.__name__)
def test_scene_that_is_looked_at_in_half_its_size(scene: Any, clips: Path, make: Any) -> None:
    strip = make(scene, clips)
    select(scene, strip)
    shown = {share: _at(scene, share, START + 2) for share in (50, 100)}
    scene.render.resolution_percentage = 50
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(START, END), factor=2) == {"FINISHED"}
    assert np.abs(shown[100] - _at(scene, 100, START + 4)).max() <= 1.01 / 255
    # drawn at half the size, and drawn and then shrunk, are alike in what they cover
    assert _at(scene, 50, START + 4)[..., :3].mean() == pytest.approx(shown[50][..., :3].mean(), rel=0.2)


def _at(scene: Any, share: int, frame: int) -> Any:
    scene.render.resolution_percentage = share
    return rendered(scene, frame)


def test_what_is_heard_in_a_meta_strip_is_slowed_and_comes_back(scene: Any, clips: Path) -> None:
    strips = scene.sequence_editor.strips
    strip = meta(scene, clips)
    strip.strips.new_sound("Heard", str(clips / "clip.mp4"), 2, 1).volume = 0.5
    strips.new_sound("Beside", str(clips / "clip.mp4"), 1, 1)
    select(scene, strip)
    before = layout(scene)
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(START, END), factor=4) == {"FINISHED"}
    sound = strips["It sound 4x"]
    assert (*lento("addon.compat").connected(sound),) in ((), (strips["It 4x"],))
    assert layout(scene)["It sound 4x"][1:] == layout(scene)["It 4x"][1:] == (START, START + 16)
    assert _level(sound, 0.0, 16 / 24) == pytest.approx(0.5 * _level(strips["Beside"], 10 / 24, 14 / 24), rel=0.3)
    assert bpy.ops.lento.restore() == {"FINISHED"}
    assert "It sound 4x" not in layout(scene)
    assert [place for name, place in layout(scene).items() if name == "Beside"] == [before["Beside"]]


@pytest.mark.parametrize("options", [{"sound": "mute"}, {"sound": "keep"}, {"placement": "overlay"}], ids=str)
def test_what_is_heard_in_a_meta_strip_and_not_wanted(
    scene: Any, clips: Path, options: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    strip = meta(scene, clips)
    strip.strips.new_sound("Heard", str(clips / "clip.mp4"), 2, 1)
    select(scene, strip)
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(START, END), factor=4, **options) == {"FINISHED"}
    assert [strip.name for strip in scene.sequence_editor.strips if strip.type == "SOUND"] == []
    told = "The sound of the strip 'It' is silent over the range" in capfd.readouterr().out
    assert told == (options == {"sound": "keep"})


def _level(strip: Any, start: float, end: float) -> float:
    """The mean loudness of a sound strip's file between two seconds."""
    program = (
        "import sys; from pathlib import Path; import numpy as np; from core.sound import read_sound\n"
        "print(np.sqrt(np.square(read_sound(Path(sys.argv[1]), *map(float, sys.argv[2:]))).mean()))"
    )
    return float(worker_python("-c", program, bpy.path.abspath(strip.sound.filepath), str(start), str(end)))


def test_what_is_heard_whatever_the_scene_does_to_its_sound(scene: Any, clips: Path) -> None:
    """Also in a scene that the window does not show."""
    edited = bpy.data.scenes.new("Edit")
    edited.render.resolution_x, edited.render.resolution_y = 320, 180
    edited.sequence_editor_create()
    strip = meta(edited, clips)
    strip.strips.new_sound("Heard", str(clips / "clip.mp4"), 2, 1)
    edited.use_audio, edited.audio_volume = False, 0.5
    edited.keyframe_insert("audio_volume", frame=1)
    holders = dict.fromkeys(lento("addon.options").OPTIONS, edited.lento)
    edited.lento.engine = "nearest"
    operators = lento("addon.operators")
    job = operators.launch(bpy.context, operators.request(edited, "It", (START, END), holders))
    job.wait(lambda job: None)
    operators.conclude(job)
    sound = next(strip for strip in edited.sequence_editor.strips if strip.type == "SOUND")
    heard = add_movie(scene, clips / "clip.mp4")
    beside = scene.sequence_editor.strips.new_sound("Beside", heard.filepath, 1, 1)
    assert _level(sound, 0.0, 16 / 24) == pytest.approx(_level(beside, 10 / 24, 14 / 24), rel=0.3)


def test_cancelled_between_rendering_and_slowing(scene: Any, clips: Path) -> None:
    job = _rendering(scene, clips)
    job.worker.ended.wait(60)
    job.worker.cancel()
    job.wait(lambda job: None)
    assert job.done.code == 4
    lento("addon.jobs").finish(job)
    lento("addon.timeline").unstamp(scene, job.request.strip_id)
