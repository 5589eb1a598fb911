# SPDX-License-Identifier: GPL-3.0-or-later
"""Speed curves, lengths, cuts and sound on the timeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from scripts.in_blender import edit, new_file, rendered
from tests.addon.conftest import worker_python
from tests.addon.helpers import add_color, add_movie, layout, lento, number_shown, select, times
from tests.addon.test_bad_input import during_a_job, refused, state

FPS = {"23.976": (24, 1.001), "25": (25, 1.0), "29.97": (30, 1.001), "59.94": (60, 1.001)}
FLASHES = (0, 30, 62, 75)
"""Among them the first and the last frame of the range that is slowed."""

MAKE = f"""
import sys
from fractions import Fraction
from pathlib import Path
from scripts.clips import write_clip
folder = Path(sys.argv[1])
for name, fps in (("23.976", (24000, 1001)), ("25", (25, 1)), ("29.97", (30000, 1001)), ("59.94", (60000, 1001))):
    # with PCM, which has no delay of its own
    write_clip(folder / (name + ".mov"), 80, Fraction(*fps), (160, 90), flashes={FLASHES})
write_clip(folder / "silent.mp4", 48, Fraction(24), (160, 90), sound=False)
write_clip(folder / "at60.mp4", 60, Fraction(60), (320, 180), codec="libx264", sound=False)
"""
LISTEN = """
import sys, json, av, numpy as np
from core.sound import read_sound
from pathlib import Path
from scripts.clips import find_clicks
path, count = Path(sys.argv[1]), int(sys.argv[2])
with av.open(str(path)) as container:
    seconds = container.duration / av.time_base
    light = [float(frame.to_ndarray(format="gray").mean()) for frame in container.decode(video=0)]
wave = read_sound(path, 0, seconds)[0]
print(json.dumps({"light": light, "clicks": find_clicks(wave, count)}))
"""


@pytest.fixture(scope="session")
def flashing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flashing")
    worker_python("-c", MAKE, str(folder))
    return folder


def add_with_sound(scene: Any, path: Path, name: str = "Clip") -> Any:
    """A movie on channel 2 and its sound on channel 1, from frame 1 on."""
    scene.sequence_editor.strips.new_sound("Sound", str(path), 1, 1)
    return add_movie(scene, path, name=name)


def draw_speed(strip: Any, *points: tuple[int, float]) -> None:
    for frame, percent in points:
        strip.lento_speed = percent
        assert strip.keyframe_insert("lento_speed", frame=frame)
    bpy.context.scene.frame_set(1)


def render_movie(scene: Any, path: Path, end: int) -> Any:
    """What a viewer sees and hears: the timeline's first `end` frames as a movie; its flashes and clicks."""
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "VIDEO"
    settings.file_format = "FFMPEG"
    encoder = scene.render.ffmpeg
    encoder.format, encoder.codec, encoder.audio_codec = "MKV", "FFV1", "PCM"
    scene.render.filepath, scene.render.use_file_extension = str(path), False
    scene.frame_start, scene.frame_end = 1, end
    bpy.ops.render.render(animation=True, scene=scene.name)
    return json.loads(worker_python("-c", LISTEN, str(path), str(len(FLASHES))).splitlines()[-1])


@pytest.mark.parametrize("fps", FPS)
def test_flash_and_click_come_out_where_the_curve_says(flashing: Path, tmp_path: Path, fps: str) -> None:
    scene = new_file(tmp_path / "shot.blend", (160, 90), 24.0)
    scene.render.fps, scene.render.fps_base = FPS[fps]
    strip = add_with_sound(scene, flashing / f"{fps}.mov")
    draw_speed(strip, (1, 100), (12, 100), (40, 25), (90, 30), (130, 100))
    assert bpy.ops.lento.slow_motion(engine="blend", range=(1, 77), time="curve") == {"FINISHED"}
    made = scene.sequence_editor.active_strip
    told = lento("addon.provenance").provenance_of(made).times
    sound = next(strip for strip in scene.sequence_editor.strips if "lento_sound_of" in strip)
    assert times(sound) == times(made) == (1, 1 + told.count)
    assert sound.channel == 1
    seen = render_movie(scene, tmp_path / "out.mkv", told.count)
    rate = scene.render.fps / scene.render.fps_base
    for index, flash in enumerate(FLASHES):
        where = told.when(flash)
        around = range(max(0, round(where) - 6), min(told.count, round(where) + 7))
        brightest = max(around, key=lambda frame: seen["light"][frame])
        assert abs(brightest - where) <= 1, (flash, brightest, where)
        assert abs(seen["clicks"][index] * rate - where) <= 1, (flash, seen["clicks"][index] * rate, where)


@pytest.mark.parametrize("ease", ["in", "out", "both"])
def test_ramps_and_what_stands_on_the_range(scene: Any, clips: Path, ease: str) -> None:
    strip = add_with_sound(scene, clips / "clip.mp4")
    for frame, value in ((11, 0.2), (26, 0.6), (41, 1.0)):
        strip.blend_alpha = value
        strip.keyframe_insert("blend_alpha", frame=frame)
    for name, frame in (("before", 5), ("in", 26), ("after", 45)):
        scene.timeline_markers.new(name, frame=frame)
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(11, 41), factor=4, ease=ease, ramp=10) == {"FINISHED"}
    made = scene.sequence_editor.active_strip
    told = lento("addon.provenance").provenance_of(made).times
    start, end = times(made)
    assert (start, end - start) == (11, told.count)
    assert 30 < told.count < 120
    middle = 11 + told.when(15)
    curves = lento("addon.compat").fcurves(scene)
    keys = [key.co[0] for key in curves.find(made.path_from_id() + ".blend_alpha").keyframe_points]
    assert keys == pytest.approx([11, middle, end], abs=1e-3)
    markers = {marker.name: marker.frame for marker in scene.timeline_markers}
    assert markers == {"before": 5, "in": round(middle), "after": 45 + told.count - 30}
    before = layout(scene)
    assert bpy.ops.lento.restore() == {"FINISHED"}
    assert layout(scene) != before
    assert {marker.name: marker.frame for marker in scene.timeline_markers} == {"before": 5, "in": 26, "after": 45}
    sounds = sorted(times(strip) for strip in scene.sequence_editor.strips if strip.type == "SOUND")
    assert sounds == [(1, 11), (11, 41), (41, 50)]
    assert {strip.channel for strip in scene.sequence_editor.strips if strip.type == "SOUND"} == {1}


@pytest.mark.parametrize(
    ("sound", "expected"),
    [
        ("stretch", {(1, 11, "clip.mp4"), (11, 51, "sound-1.wav"), (51, 80, "clip.mp4")}),
        ("tape", {(1, 11, "clip.mp4"), (11, 51, "sound-1.wav"), (51, 80, "clip.mp4")}),
        ("mute", {(1, 11, "clip.mp4"), (51, 80, "clip.mp4")}),
        ("keep", {(1, 21, "clip.mp4"), (51, 80, "clip.mp4")}),
    ],
)
def test_what_becomes_of_the_sound(scene: Any, clips: Path, sound: str, expected: set[tuple[int, int, str]]) -> None:
    add_with_sound(scene, clips / "clip.mp4")
    strips = scene.sequence_editor.strips
    strips["Sound"].volume, strips["Sound"].pan = 0.7, 0.25
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(11, 21), factor=4, sound=sound) == {"FINISHED"}
    sounds = [strip for strip in strips if strip.type == "SOUND"]
    assert {(*times(strip), Path(strip.sound.filepath).name) for strip in sounds} == expected
    assert {(round(strip.volume, 3), strip.pan, strip.channel) for strip in sounds} == {(0.7, 0.25, 1)}
    assert bpy.ops.lento.restore() == {"FINISHED"}
    sounds = [strip for strip in strips if strip.type == "SOUND"]
    whole = {(1, 21), (21, 50)} if sound == "keep" else {(1, 11), (11, 21), (21, 50)}
    assert {times(strip) for strip in sounds} == whole
    assert {Path(strip.sound.filepath).name for strip in sounds} == {"clip.mp4"}
    assert {(round(strip.volume, 3), strip.channel) for strip in sounds} == {(0.7, 1)}


@pytest.mark.parametrize("what", ["strip", "channel"])
@pytest.mark.parametrize("sound", ["auto", "mute", "keep"])
def test_locked_sound_stays_as_it_is(scene: Any, clips: Path, sound: str, what: str) -> None:
    add_with_sound(scene, clips / "clip.mp4")
    locked = scene.sequence_editor.strips["Sound"] if what == "strip" else scene.sequence_editor.channels[1]
    locked.lock = True
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(11, 21), factor=4, sound=sound) == {"FINISHED"}
    expected = {"Sound": (1, 1, 50), "Clip": (2, 1, 11), "Clip 4x": (2, 11, 51), "Clip.001": (2, 51, 79)}
    assert layout(scene) == expected
    assert bpy.ops.lento.restore() == {"FINISHED"}
    assert sorted(layout(scene).values()) == [(1, 1, 50), (2, 1, 11), (2, 11, 21), (2, 21, 49)]


def test_sound_that_is_locked_while_the_job_runs_stays_as_it_is(scene: Any, clips: Path) -> None:
    add_with_sound(scene, clips / "clip.mp4")
    during_a_job(scene, lambda: setattr(scene.sequence_editor.strips["Sound"], "lock", True))
    expected = {"Sound": (1, 1, 50), "Clip": (2, 1, 11), "Clip 4x": (2, 11, 51), "Clip.001": (2, 51, 79)}
    assert layout(scene) == expected


def test_restore_says_what_is_locked_and_changes_nothing(scene: Any, clips: Path) -> None:
    add_with_sound(scene, clips / "clip.mp4")
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(11, 21), factor=4) == {"FINISHED"}
    for channel, name in ((1, "Sound 4x"), (2, "Clip 4x")):
        scene.sequence_editor.channels[channel].lock = True
        before = state(scene)
        with pytest.raises(RuntimeError, match=f"The strip '{name}', or its channel, is locked: unlock it first"):
            bpy.ops.lento.restore()
        assert state(scene) == before
        scene.sequence_editor.channels[channel].lock = False


def test_no_channel_for_the_original_leaves_nothing_half_done(scene: Any, clips: Path) -> None:
    strip = add_with_sound(scene, clips / "clip.mp4")
    strip.use_reverse_frames = True
    for channel in range(4, 129):
        add_color(scene, f"c{channel}", channel, 1, 100)
    select(scene, strip)
    # one channel is free, which the stretched sound takes
    refused(scene, "No channel above 2 is free", range=(11, 21))


def test_sound_that_is_asked_for_and_not_there(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    refused(scene, "'Clip' has no sound strip that plays along", sound="stretch")
    scene.sequence_editor.strips.new_sound("Sound", str(clips / "clip.mp4"), 1, 1)
    refused(scene, "With the placement Overlay the sound of 'Clip' is left alone", sound="tape", placement="overlay")


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        (((1, 100), (20, 0)), "never reaches the end of the range, its last speed is 0%"),
        (((1, -50),), "its last speed is -50%"),
        (((1, 0.0001),), "its last speed is 0%|more than 1000000"),
        (((1, 1e9),), "a speed of 1000000000 % is too large, the most is 10000 %"),
    ],
)
def test_curves_without_an_end(scene: Any, clips: Path, points: Any, sentence: str) -> None:
    draw_speed(add_movie(scene, clips / "clip.mp4"), *points)
    refused(scene, f"The strip 'Clip' cannot be slowed so: .*{sentence}", time="curve")


def test_hold_and_reverse(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    draw_speed(strip, (1, 100), (11, 100), (12, 0), (21, 0), (22, -100), (27, -100), (28, 100))
    for curve in lento("addon.compat").fcurves(scene):
        for key in curve.keyframe_points:
            key.interpolation = "LINEAR"
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(1, 41), time="curve") == {"FINISHED"}
    shown = [number_shown(scene, frame) for frame in range(1, 46)]
    assert shown[:10] == list(range(10))
    assert len(set(shown[12:20])) == 1
    assert shown[22:26] == sorted(shown[22:26], reverse=True)
    assert shown[30:44] == list(range(shown[30], shown[30] + 14))


def test_speed_without_keyframes_is_one_speed(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4").lento_speed = 50
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(1, 21), time="curve") == {"FINISHED"}
    assert layout(scene)["Clip curve"] == (2, 1, 41)
    scene.sequence_editor.active_strip = scene.sequence_editor.strips["Clip.001"]


def test_length_and_until_the_playhead(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    scene.use_preview_range = True
    scene.frame_preview_start, scene.frame_preview_end = 11, 20
    scene.frame_set(11)
    with pytest.raises(RuntimeError, match="The playhead, at frame 11, is not after the range's start"):
        bpy.ops.lento.until_playhead()
    scene.frame_set(48)
    assert bpy.ops.lento.until_playhead() == {"FINISHED"}
    assert (scene.lento.time, scene.lento.length) == ("fit", 37)
    assert bpy.ops.lento.slow_motion(engine="nearest") == {"FINISHED"}
    assert layout(scene)["Clip 37 frames"] == (2, 11, 48)
    assert [number_shown(scene, frame) for frame in (11, 47, 48)] == [10, 20, 20]


def test_shorter_than_the_range_skips_frames(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    assert bpy.ops.lento.slow_motion(engine="flow", range=(1, 41), time="fit", length=10) == {"FINISHED"}
    assert [number_shown(scene, frame) for frame in range(1, 11)] == list(range(0, 40, 4))
    refused(scene, "length: 0 is too small", strip="Clip.001", time="fit", length=0)
    refused(
        scene,
        "'Clip.001' cannot be slowed so: two ramps do not fit into a range of 8 frames that shall last 3: choose a",
        strip="Clip.001",
        range=(11, 19),
        time="fit",
        length=3,
        ease="both",
    )


def test_factor_or_length_of_a_call_is_not_left_out_for_the_scenes_time(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    scene.lento.time = "curve"
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(1, 11), factor=2) == {"FINISHED"}
    assert times(scene.sequence_editor.active_strip) == (1, 21)
    assert bpy.ops.lento.slow_motion(engine="nearest", strip="Clip.001", length=10) == {"FINISHED"}
    assert times(scene.sequence_editor.active_strip) == (21, 31)
    assert scene.lento.time == "curve"
    refused(scene, "factor: it means nothing to the time 'fit': .*choose the time factor", time="fit", factor=2)


def test_hidden_options_of_another_engine_do_no_harm(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    scene.lento.ensemble, scene.lento.device, scene.lento.weights = True, "cuda", "/nowhere.pth"
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(1, 11), factor=2) == {"FINISHED"}


def test_markers_named_cut_and_nocut(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    scene.timeline_markers.new("Cut", frame=15)
    scene.timeline_markers.new("elsewhere", frame=17)
    assert bpy.ops.lento.slow_motion(engine="blend", range=(11, 21), factor=4) == {"FINISHED"}
    folder = Path(bpy.path.abspath(scene.sequence_editor.active_strip.directory))
    frames = json.loads((folder / "result.json").read_text())["frames"]
    assert len(frames) == 40
    held = [(index, frame["source"]) for index, frame in enumerate(frames) if frame["kind"] == "hold"]
    assert held == [(13, 13), (14, 14), (15, 14)]


def test_markers_outside_of_the_strip(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    for frame in (100, 120):
        scene.timeline_markers.new("far", frame=frame).select = True
    refused(scene, "The two selected markers, frames 100 to 119: outside of the strip 'Clip'")
    for marker in scene.timeline_markers:
        marker.select, marker.name = False, "cut"  # a cut elsewhere is none of this strip's business
    assert bpy.ops.lento.slow_motion(engine="blend", range=(11, 15), factor=2) == {"FINISHED"}
    assert scene.sequence_editor.active_strip.elements[0].filename


def test_smooth_in_a_scene_of_another_rate(scene: Any, clips: Path, flashing: Path) -> None:
    """24 fps in a scene of 60: as long as the movie plays, and every frame is of its own."""
    scene.render.fps = 60
    add_movie(scene, clips / "clip.mp4")  # by script: frame by frame, too fast by 2.5
    assert bpy.ops.lento.slow_motion(engine="blend", range=(1, 25), time="smooth") == {"FINISHED"}
    assert layout(scene)["Clip smooth"][1:] == (1, 61)
    folder = Path(bpy.path.abspath(scene.sequence_editor.active_strip.directory))
    told = json.loads((folder / "result.json").read_text())["frames"]
    assert [frame["t"] for frame in told[:6]] == ["0", "2/5", "4/5", "1/5", "3/5", "0"]


@pytest.mark.parametrize("marked", [(1, 25), (5, 21)])
@pytest.mark.parametrize("sound", ["auto", "keep"])
def test_smooth_leaves_the_sound_alone_that_is_right_already(
    scene: Any, clips: Path, sound: str, marked: tuple[int, int]
) -> None:
    scene.render.fps = 60
    add_with_sound(scene, clips / "clip.mp4")
    start, end = marked
    heard = layout(scene)["Sound"]
    assert heard[2] > 121  # two seconds, where the movie's 48 frames take less than one

    def sounds() -> list[tuple[int, int, int]]:
        return [layout(scene)[strip.name] for strip in scene.sequence_editor.strips if strip.type == "SOUND"]

    assert bpy.ops.lento.slow_motion(engine="nearest", range=marked, time="smooth", sound=sound) == {"FINISHED"}
    assert layout(scene)["Clip smooth"] == (2, start, start + (end - start) * 5 // 2)
    assert sounds() == [heard]
    assert bpy.ops.lento.restore() == {"FINISHED"}
    assert sounds() == [heard]


@pytest.mark.parametrize("sound", ["stretch", "mute"])
def test_smooth_does_to_the_sound_what_is_asked_for(scene: Any, clips: Path, sound: str) -> None:
    scene.render.fps = 60
    add_with_sound(scene, clips / "clip.mp4")
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(1, 25), time="smooth", sound=sound) == {"FINISHED"}
    sounds = {strip.name: times(strip) for strip in scene.sequence_editor.strips if strip.type == "SOUND"}
    assert sounds.get("Sound smooth") == ((1, 61) if sound == "stretch" else None)
    assert min(start for start, _ in sounds.values()) == (1 if sound == "stretch" else 61)


def test_real_frames_of_a_fast_movie_are_used_first(scene: Any, flashing: Path) -> None:
    """60 fps in a scene of 15, played in its own time, slowed four times: nothing has to be made."""
    scene.render.fps = 15
    lento("addon.compat").add_movie_in_its_own_time(scene, str(flashing / "at60.mp4"), 2, 1)
    strip = scene.sequence_editor.strips[0]
    select(scene, strip)
    assert times(strip)[1] - times(strip)[0] == 15
    assert bpy.ops.lento.slow_motion(engine="flow", factor=4) == {"FINISHED"}
    folder = Path(bpy.path.abspath(scene.sequence_editor.active_strip.directory))
    told = json.loads((folder / "result.json").read_text())["frames"]
    assert [(frame["kind"], frame["source"]) for frame in told] == [("copy", index) for index in range(60)]


@pytest.mark.parametrize("speed", [50, 25, 200])
def test_one_constant_retiming_becomes_true_frames(scene: Any, clips: Path, speed: int) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    with lento("addon.compat").in_sequencer(scene):
        bpy.ops.sequencer.retiming_segment_speed_set(speed=speed)
    before = layout(scene)["Clip"]
    assert bpy.ops.lento.slow_motion(engine="blend", range=(5, 21), factor=1) == {"FINISHED"}
    made = scene.sequence_editor.active_strip
    assert times(made) == (5, 21)
    folder = Path(bpy.path.abspath(made.directory))
    told = json.loads((folder / "result.json").read_text())["frames"]
    from fractions import Fraction

    shown = [frame["source"] + Fraction(frame["t"]) for frame in told]
    expected = [(4 + index) * speed / 100 for index in range(16)]
    # Blender 4.5 rounds where the last frame is
    assert [float(time) for time in shown] == pytest.approx(expected, rel=0.025)
    assert bpy.ops.lento.restore() == {"FINISHED"}
    restored = scene.sequence_editor.active_strip
    assert times(restored) == (5, 21)
    assert len(restored.retiming_keys) >= 2
    del strip, before


def test_several_speeds_are_rendered_with_a_note(scene: Any, clips: Path, capfd: pytest.CaptureFixture[str]) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    with lento("addon.compat").in_sequencer(scene):
        bpy.ops.sequencer.retiming_segment_speed_set(speed=50)
    strip.retiming_keys.add(timeline_frame=30)
    picture = rendered(scene, 11)
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(11, 15), factor=2) == {"FINISHED"}
    assert "is retimed with several speeds: Blender renders its 4 frames first" in "".join(capfd.readouterr())
    assert np.abs(picture - rendered(scene, 11)).max() <= 1.01 / 255


def test_speed_curve_survives_and_comes_back(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    draw_speed(strip, (11, 100), (31, 25))
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(11, 31), time="curve") == {"FINISHED"}
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath)
    scene = bpy.context.scene
    edit(scene)
    assert bpy.ops.lento.restore(strip="Clip curve") == {"FINISHED"}
    restored = scene.sequence_editor.active_strip
    curves = lento("addon.compat").fcurves(scene)
    keys = curves.find(restored.path_from_id() + ".lento_speed").keyframe_points
    assert [tuple(key.co) for key in keys] == [(11, 100), (31, 25)]
