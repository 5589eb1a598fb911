# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be slowed: a RuntimeError with the user's sentence, and nothing changed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import bpy
import pytest

from scripts.in_blender import edit
from tests.addon.helpers import add_color, add_effect, add_images, add_movie, layout, lento, number_shown, select
from tests.failing import small_disk


def state(scene: Any) -> Any:
    """Everything of the timeline that a failed job could have changed."""
    editor = scene.sequence_editor
    return (
        layout(scene),
        [(strip.name, dict(strip.items())) for strip in editor.strips_all],
        [marker.frame for marker in scene.timeline_markers],
        scene.frame_end,
        scene.frame_preview_end,
    )


def refused(scene: Any, sentence: str, **options: Any) -> None:
    before = state(scene)
    with pytest.raises(RuntimeError, match=sentence):
        bpy.ops.lento.slow_motion(**{"engine": "nearest", **options})
    assert state(scene) == before


def test_no_strip_selected(scene: Any, clips: Path) -> None:
    refused(scene, "No strip is selected")
    add_movie(scene, clips / "clip.mp4").select = False
    refused(scene, "No strip is selected")


def test_no_such_strip(scene: Any) -> None:
    refused(scene, "There is no strip named 'Absent'", strip="Absent")


def test_sound_strip(scene: Any, clips: Path) -> None:
    select(scene, scene.sequence_editor.strips.new_sound("Sound", str(clips / "clip.mp4"), 1, 1))
    refused(scene, "'Sound' is a sound strip: select a strip with a picture")


def test_scene_strip_of_its_own_scene(scene: Any) -> None:
    select(scene, scene.sequence_editor.strips.new_scene("Self", scene, 2, 1))
    refused(scene, "'Self' shows the scene that it is in: choose another scene")


def test_scene_strips_that_show_each_other(scene: Any) -> None:
    other, third = bpy.data.scenes.new("Other"), bpy.data.scenes.new("Third")
    other.sequence_editor_create().strips.new_scene("On", third, 1, 1)
    third.sequence_editor_create().strips.new_scene("Back", scene, 1, 1)
    select(scene, scene.sequence_editor.strips.new_scene("It", other, 2, 1))
    refused(scene, "'It' shows the scene 'Other', whose own strips show the scene 'Scene' again")


def test_image_strip_with_holes_holds_the_image_before_and_says_so(
    scene: Any, clips: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(clips / "seq", tmp_path / "seq")
    add_images(scene, tmp_path / "seq")
    for number in (5, 6, 23):
        (tmp_path / "seq" / f"shot_{number:04d}.png").unlink()
    assert bpy.ops.lento.slow_motion(engine="nearest", factor=2) == {"FINISHED"}
    assert "shot_0005.png (frame 5), shot_0006.png (frame 6), shot_0023.png (frame 23)" in "".join(capfd.readouterr())
    assert [number_shown(scene, 1 + 2 * index) for index in (3, 4, 5, 6, 7, 22, 23)] == [3, 4, 4, 4, 7, 22, 22]


def test_image_strip_with_other_sizes(scene: Any, clips: Path, tmp_path: Path) -> None:
    from tests.addon.conftest import worker_python

    shutil.copytree(clips / "seq", tmp_path / "seq")
    add_images(scene, tmp_path / "seq")
    program = "import cv2, sys; p = sys.argv[1]; cv2.imwrite(p, cv2.resize(cv2.imread(p), (160, 90)))"
    worker_python("-c", program, str(tmp_path / "seq" / "shot_0007.png"))
    refused(scene, "shot_0007.png is 160x90 pixels of 8 bits, the first image 320x180")


def test_codec_that_nobody_knows(scene: Any, tmp_path: Path) -> None:
    from tests.addon.conftest import worker_python

    path = tmp_path / "odd.mkv"
    worker_python("-m", "scripts.clips", str(path), "--codec", "ffv1", "--silent")
    add_movie(scene, path)
    path.write_bytes(path.read_bytes().replace(b"V_FFV1", b"V_XYZ1").replace(b"FFV1", b"XYZ1"))
    refused(scene, "odd.mkv is in a codec that FFmpeg cannot decode: convert it")


def test_movie_formats_for_what_they_cannot_hold(scene: Any, clips: Path) -> None:
    meta = scene.sequence_editor.strips.new_meta("Meta", 3, 1)
    meta.strips.new_movie("Inner", str(clips / "clip.mp4"), 1, 1)
    lento("addon.compat").set_right(meta, 49)
    select(scene, meta)
    refused(scene, "'Meta' is a meta strip, which Blender renders in floating point first", format="h264")


def test_effect_of_other_strips_can_only_be_overlaid(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    select(scene, add_effect(scene, "Glow", "GLOW", 3, strip))
    refused(scene, "'Glow' is an effect of other strips .* choose the placement Overlay")


def test_still_image(scene: Any, clips: Path) -> None:
    strip = scene.sequence_editor.strips.new_image("Still", str(clips / "seq" / "shot_0000.png"), 2, 1)
    lento("addon.compat").set_right(strip, 40)
    select(scene, strip)
    refused(scene, "is one still image")


def test_missing_and_damaged_media(scene: Any, clips: Path, tmp_path: Path) -> None:
    path = tmp_path / "copy.mp4"
    shutil.copy(clips / "clip.mp4", path)
    add_movie(scene, path)
    path.unlink()
    refused(scene, r"copy.mp4, is not there")
    path.write_text("no movie any more")
    refused(scene, "copy.mp4 is no movie that can be read")


def test_truncated_movie(scene: Any, clips: Path, tmp_path: Path) -> None:
    from tests.addon.conftest import worker_python

    path = tmp_path / "cut.mkv"
    worker_python("-m", "scripts.clips", str(path), "--frames", "120", "--silent")
    add_movie(scene, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(scene, "check that the file is complete", range=(10, 115))


def test_range_outside_and_of_one_frame(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    refused(scene, "outside of the strip 'Clip'", range=(100, 120))
    refused(scene, "covers one frame of the strip 'Clip'", range=(48, 120))
    for start, end in ((20, 20), (20, 10), (100, 90), (5, 0)):
        refused(scene, f"The given range, {start} to {end}, has no frame: its end, .*after its", range=(start, end))
    scene.use_preview_range = True
    scene.frame_preview_start, scene.frame_preview_end = 200, 220
    refused(scene, "The preview range, frames 200 to 220: outside")


@pytest.mark.parametrize(
    ("factor", "sentence"),
    [
        (0.005, "factor: 1/200 is too small"),
        (0.0, "factor: 0 is too small"),
        (-2.0, "factor: -2 is too small"),
        (float("nan"), "factor: nan is not a number"),
        (float("inf"), "factor: infinity is too large, it goes from 1/100 to 1000"),
        (float("-inf"), "factor: minus infinity is too small"),
        (1e30, r"factor: 1e\+30 is too large"),
        (5000.0, "too large"),
    ],
)
def test_factor(scene: Any, clips: Path, factor: float, sentence: str) -> None:
    add_movie(scene, clips / "clip.mp4")
    refused(scene, sentence, factor=factor)


def test_kinds_of_strips_have_their_article(scene: Any) -> None:
    for kind, told in (("ADJUSTMENT", "is an adjustment strip"), ("COLOR", "is a color strip")):
        strip = add_effect(scene, kind, kind, 3)
        assert lento("addon.prerender").reason(strip, False) == told


def test_engine_without_weights_and_with_wrong_ones(scene: Any, clips: Path, tmp_path: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    refused(scene, "The engine 'rife' needs a checkpoint from its authors", engine="rife")
    (tmp_path / "page.pkl").write_text("<html>Too many downloads</html>")
    refused(scene, "page.pkl is no checkpoint: it is a web page", engine="rife", weights=str(tmp_path / "page.pkl"))
    assert not list(tmp_path.glob("lento/*/.job"))


def test_locked_strip_and_channel(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    strip.lock = True
    refused(scene, "'Clip' is locked: unlock it first")
    strip.lock = False
    scene.sequence_editor.channels[2].lock = True
    refused(scene, "lies on the locked channel")


def test_strip_that_feeds_an_effect_can_only_be_overlaid(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    add_effect(scene, "Glow", "GLOW", 3, strip)
    select(scene, strip)
    refused(scene, "feeds the effect 'Glow', .* choose the placement Overlay", range=(10, 20))
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(10, 20), placement="overlay") == {"FINISHED"}
    assert layout(scene)["Clip 4x"] == (4, 10, 50)


def test_no_free_channel(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    for channel in range(3, 129):
        add_color(scene, f"c{channel}", channel, 1, 100)
    select(scene, scene.sequence_editor.strips["Clip"])
    refused(scene, "No channel above 2 is free", placement="overlay", range=(5, 9))


def test_folder_that_cannot_be_written(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    Path(bpy.path.abspath("//lento")).write_text("a file where the folder should be")
    refused(scene, "cannot be written .*save the .blend in a folder that can be written")


def test_full_disk(clips: Path, scene: Any, tmp_path: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    with small_disk(tmp_path / "small") as folder:
        bpy.ops.wm.save_as_mainfile(filepath=str(folder / "shot.blend"))
        refused(bpy.context.scene, "is full: free some space")
        bpy.ops.wm.read_homefile(use_empty=True)


def test_worker_python_that_is_not_there_or_lacks_packages(
    scene: Any, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_movie(scene, clips / "clip.mp4")
    monkeypatch.setenv("LENTO_PYTHON", "/nowhere/python")
    refused(scene, "/nowhere/python, named in the environment variable LENTO_PYTHON, is not there")
    path = f"/tmp/{'x' * 300}/python"  # as in a folder that cannot be read, which there is none of for root
    monkeypatch.setenv("LENTO_PYTHON", path)
    refused(scene, f"{path}, named in the .* LENTO_PYTHON, cannot be looked at .File name too long.: correct it")
    monkeypatch.setenv("LENTO_PYTHON", sys.executable)
    refused(scene, "has no module 'cv2'|has no module 'av'")
    monkeypatch.delenv("LENTO_PYTHON")
    refused(scene, "Lento has no Python for its worker yet: press Create Environment")


def test_the_variable_goes_before_the_preferred_python(
    scene: Any, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preferences = bpy.context.preferences.addons["bl_ext.user_default.lento"].preferences
    add_movie(scene, clips / "clip.mp4")
    preferences.worker_python = "/nowhere/python"
    try:
        assert bpy.ops.lento.slow_motion(engine="nearest", range=(5, 9)) == {"FINISHED"}
        monkeypatch.delenv("LENTO_PYTHON")
        refused(scene, "/nowhere/python, named in Lento's preferences, is not there")
    finally:
        preferences.worker_python = ""


def test_environment_among_the_users_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LENTO_PYTHON")
    environment = lento("addon.environment")
    folder = tmp_path / "lento-env"
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text("")
    python.symlink_to(sys.executable)
    with pytest.raises(Exception, match="is not complete: press Create Environment to go on"):
        environment.find("", tmp_path)
    (folder / "lento.json").write_text('{"base": "/old/blender/python"}')
    assert environment.find("", tmp_path).path == python
    python.unlink()
    python.symlink_to(f"/tmp/{'x' * 300}")
    with pytest.raises(Exception, match="which cannot be looked at .File name too long.: press Create Environment"):
        environment.find("", tmp_path)
    python.unlink()
    python.symlink_to("/old/blender/python")
    with pytest.raises(Exception, match="made with /old/blender/python, which is gone.*press Create Environment"):
        environment.find("", tmp_path)


def test_two_jobs_on_one_strip(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    operators, options = lento("addon.operators"), lento("addon.options")
    holders = {name: scene.lento for name in options.OPTIONS}
    scene.lento.engine = "nearest"
    job = operators.launch(bpy.context, operators.request(scene, "Clip", (5, 30), holders))
    stamped = strip["lento_id"]
    with pytest.raises(RuntimeError, match="'Clip' is being slowed already"):
        bpy.ops.lento.slow_motion(range=(35, 40))
    assert strip["lento_id"] == stamped
    job.wait(lambda job: None)
    operators.conclude(job)
    assert "Clip 4x" in layout(scene)


def during_a_job(scene: Any, action: Any, **more: Any) -> Any:
    """Start a job, do something, let it finish and conclude it."""
    operators, options = lento("addon.operators"), lento("addon.options")
    scene.lento.engine = "nearest"
    holders = {name: scene.lento for name in options.OPTIONS}
    job = operators.launch(bpy.context, operators.request(scene, "Clip", (11, 21), holders))
    action()
    job.wait(lambda job: None)
    return operators.conclude(job)


def test_strip_that_is_gone_leaves_the_frames_and_says_where(scene: Any, clips: Path) -> None:
    strips = scene.sequence_editor.strips
    add_movie(scene, clips / "clip.mp4")
    with pytest.raises(
        Exception, match="'Clip' is gone, so nothing was inserted. The frames are finished and kept in .*lento/Clip-"
    ):
        during_a_job(scene, lambda: strips.remove(strips["Clip"]))
    assert layout(scene) == {}
    assert len(list(Path(bpy.path.abspath("//lento")).glob("Clip-*/*.png"))) == 40


def test_strip_that_was_trimmed_is_left_alone(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    with pytest.raises(Exception, match="was changed and no longer shows the range"):
        during_a_job(scene, lambda: lento("addon.compat").set_right(strip, 15))
    assert layout(scene) == {"Clip": (2, 1, 15)}
    assert "lento_id" not in strip


def test_strip_that_was_moved_is_found_where_it_is(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    during_a_job(scene, lambda: lento("addon.compat").move(strip, 100))
    assert layout(scene) == {"Clip": (2, 101, 111), "Clip 4x": (2, 111, 151), "Clip.001": (2, 151, 179)}


def test_strip_that_lost_its_id_by_an_undo_is_found_by_its_name(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    during_a_job(scene, lambda: strip.pop("lento_id"))
    assert "Clip 4x" in layout(scene)


def test_a_copy_of_the_strip_is_not_taken_for_it(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4", channel=2)

    def duplicate() -> None:
        with lento("addon.compat").in_sequencer(scene):
            bpy.ops.sequencer.duplicate()

    during_a_job(scene, duplicate)
    assert layout(scene)["Clip 4x"][1:] == (11, 51)
    assert sorted(layout(scene)) == ["Clip", "Clip 4x", "Clip.001", "Clip.002"]
    assert not any("lento_id" in strip for strip in scene.sequence_editor.strips)


def test_scene_that_is_gone(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    other = bpy.data.scenes.new("Other")
    with pytest.raises(Exception, match="The scene 'Scene' is gone, so nothing was inserted"):
        during_a_job(scene, lambda: bpy.data.scenes.remove(scene))
    assert other.name == "Other"


def test_killed_worker_is_explained_and_the_next_start_goes_on(
    scene: Any, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_movie(scene, clips / "clip.mp4")
    process = lento("addon.worker").Process
    original = process.__init__

    def doomed(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        threading.Timer(0.6, os.kill, (self.popen.pid, signal.SIGKILL)).start()

    with monkeypatch.context() as patched:
        lento("addon.job_runner").end_ready()
        patched.setattr(process, "__init__", doomed)
        refused(scene, "ended unexpectedly .signal 9.. Finished frames are kept", engine="flow", factor=30)
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(5, 9)) == {"FINISHED"}


def test_opening_another_file_ends_the_worker(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    operators, options, jobs = lento("addon.operators"), lento("addon.options"), lento("addon.jobs")
    holders = {name: scene.lento for name in options.OPTIONS}
    scene.lento.factor = 60
    job = operators.launch(bpy.context, operators.request(scene, "Clip", None, holders))
    bpy.ops.wm.read_homefile(use_empty=True)
    assert jobs.running == []
    deadline = time.monotonic() + 10
    while job.worker.process.popen.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert job.worker.process.popen.poll() is not None


def test_blender_that_is_killed_takes_its_worker_along(clips: Path, tmp_path: Path) -> None:
    program = f"""
import os, signal, sys, time
sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
from scripts.in_blender import install_extension
install_extension()
from tests.addon import helpers
import bpy
scene = bpy.context.scene
scene.sequence_editor_create()
scene.lento.factor = 60
helpers.add_movie(scene, {str(clips / "clip.mp4")!r})
operators, options, jobs = (helpers.lento("addon." + name) for name in ("operators", "options", "jobs"))
holders = dict.fromkeys(options.OPTIONS, scene.lento)
job = operators.launch(bpy.context, operators.request(scene, "Clip", None, holders))
while job.progress is None or job.progress.done < 3:
    job.update()
print("WORKER", job.worker.process.popen.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    worker = int(ended.stdout.split("WORKER")[1])
    deadline = time.monotonic() + 12
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()


def test_what_blender_refuses_while_copying_leaves_the_timeline_alone(
    scene: Any, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise TypeError("no such property")

    add_movie(scene, clips / "clip.mp4")
    before = layout(scene)
    monkeypatch.setattr(lento("addon.timeline"), "copy_settings", refuse)
    with pytest.raises(RuntimeError):
        bpy.ops.lento.slow_motion(engine="nearest", range=(11, 21))
    assert layout(scene) == before


def test_restoring_what_is_not_ours(scene: Any, clips: Path) -> None:
    add_images(scene, clips / "seq")
    with pytest.raises(RuntimeError, match="was not made by Lento"):
        bpy.ops.lento.restore()


def test_unsaved_file_uses_the_temporary_folder_and_says_so(scene: Any, clips: Path, capfd: Any) -> None:
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    scene.sequence_editor_create()
    edit(scene)
    add_movie(scene, clips / "clip.mp4")
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(5, 9)) == {"FINISHED"}
    assert scene.sequence_editor.strips["Clip 4x"].directory.startswith(bpy.app.tempdir)
    assert "This file is not saved" in capfd.readouterr().out


def _save_elsewhere(folder: Path) -> None:
    folder.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "other.blend"))


@pytest.mark.parametrize("relative", [False, True], ids=["absolute path", "relative path"])
def test_file_that_is_saved_elsewhere_during_a_job(scene: Any, clips: Path, tmp_path: Path, relative: bool) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    if relative:
        strip.filepath = bpy.path.relpath(strip.filepath)
    before = Path(bpy.data.filepath).parent / "lento"
    during_a_job(scene, lambda: _save_elsewhere(tmp_path / "elsewhere"))
    made = scene.sequence_editor.strips["Clip 4x"]
    assert made.directory.startswith("//")
    assert Path(bpy.path.abspath(made.directory)).resolve().parent == before.resolve()
    assert number_shown(scene, 15) == 11


def test_file_that_is_saved_for_the_first_time_during_a_job(clips: Path, tmp_path: Path) -> None:
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    scene.sequence_editor_create()
    edit(scene)
    add_movie(scene, clips / "clip.mp4")
    said = during_a_job(scene, lambda: _save_elsewhere(tmp_path / "first"))
    assert "Clip 4x" in layout(scene)
    assert re.search(r"deletes its temporary folder when it quits", said)


def test_paths_made_relative_during_a_job(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    during_a_job(scene, bpy.ops.file.make_paths_relative)
    assert "Clip 4x" in layout(scene)


def test_scene_that_was_renamed_during_a_job(scene: Any, clips: Path) -> None:
    add_movie(scene, clips / "clip.mp4")

    def rename() -> None:
        scene.name = "Edit"
        bpy.data.scenes.new("Scene")

    during_a_job(scene, rename)
    assert "Clip 4x" in layout(scene)


def test_strip_and_scene_renamed_while_they_are_slowed_are_still_refused(scene: Any, clips: Path) -> None:
    strip = add_movie(scene, clips / "clip.mp4")
    copy = scene.copy()

    def rename() -> None:
        strip.name, scene.name = "Other", "Edit"
        operators, options = lento("addon.operators"), lento("addon.options")
        holders = dict.fromkeys(options.OPTIONS, scene.lento)
        with pytest.raises(Exception, match="'Other' is being slowed already"):
            operators.launch(bpy.context, operators.request(scene, "Other", (11, 21), holders))

    during_a_job(scene, rename)
    assert "Other 4x" in layout(scene)
    bpy.data.scenes.remove(copy)
