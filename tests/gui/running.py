# SPDX-License-Identifier: GPL-3.0-or-later
"""A job while the user works: shortcut, progress, insertion, undo, Esc."""

from __future__ import annotations

import time

import bpy

from tests.gui import stage
from tests.gui.driver import (
    Steps,
    click,
    find_button,
    key,
    longest,
    middle,
    move,
    on_screen,
    picture,
    region,
    settings,
    ticks,
    until,
    watch,
    write,
)

SLOWED = {
    "Clip": (2, 1, 31),
    "Clip 4x": (2, 31, 111),
    "Clip.001": (2, 111, 157),
    "Before": (4, 1, 9),
    "Later": (3, 161, 181),
}
"""The film after Clip's marked range was slowed 4 times."""


def test_shortcut_slows_the_marked_range_while_the_user_goes_on() -> Steps:
    yield from stage.new_film("shortcut")
    job = yield from stage.start_job()
    assert stage.layout() == stage.LAYOUT, "the timeline changed before the frames were complete"
    assert stage.status_text().startswith("Slow Motion, Clip: "), stage.status_text()
    yield from picture("running")
    yield from stage.drag_by_keys("Before", 20)
    assert stage.layout()["Before"] == (4, 21, 29), stage.layout()
    frame = stage.scene().frame_current
    yield from key("RIGHT_ARROW")
    assert stage.scene().frame_current == frame + 1
    assert stage.jobs() == [job], "the job should still run: it is too short for this test"
    yield stage.job_ends()
    assert stage.layout() == {**SLOWED, "Before": (4, 21, 29)}, stage.layout()
    assert stage.status_text() is None
    assert stage.reports()[-1].startswith("Clip 4x: 80 frames from //lento/Clip-"), stage.reports()
    assert stage.extension("job_runner").ready_processes() == [job.worker.process], "it stays ready for the next job"
    yield from picture("inserted")


def test_one_undo_takes_the_job_back_and_one_redo_brings_it_again() -> Steps:
    yield from stage.new_film("undo")
    before = stage.properties()
    yield from stage.start_job()
    yield from stage.drag_by_keys("Before", 20)
    edited = {**stage.LAYOUT, "Before": (4, 21, 29)}
    yield stage.job_ends()
    yield from stage.undo()
    assert stage.layout() == edited, stage.layout()
    assert stage.properties() == before, stage.properties()
    yield from picture("undone")
    yield from stage.redo()
    assert stage.layout() == {**SLOWED, "Before": (4, 21, 29)}, stage.layout()
    assert len(stage.strip("Clip 4x").elements) == 80
    yield from stage.undo()
    yield from stage.undo()
    assert stage.layout() == stage.LAYOUT, stage.layout()
    # and once more from there: nothing of the first job is in the way
    stage.select("Clip")
    yield from stage.press_shortcut()
    yield until(lambda: "Clip 4x" in stage.layout(), "the second job, whose frames are there, inserts them", 10)
    assert stage.layout() == SLOWED, stage.layout()


def test_undo_of_an_earlier_edit_while_a_job_runs() -> Steps:
    yield from stage.new_film("undo_while_running")
    yield from stage.drag_by_keys("Before", 20)
    stage.select("Clip")
    job = yield from stage.start_job()
    yield from stage.undo()
    assert stage.layout() == stage.LAYOUT, stage.layout()
    assert stage.jobs() == [job] and stage.worker_lives(job)
    yield stage.job_ends()
    assert stage.layout() == SLOWED, stage.layout()
    yield from stage.undo()
    assert stage.layout() == stage.LAYOUT, stage.layout()


def test_escape_cancels_and_changes_nothing() -> Steps:
    yield from stage.new_film("escape", factor=16.0)
    before = stage.properties()
    job = yield from stage.start_job()
    yield from move(*middle(region()))
    yield from key("ESC")
    began = time.monotonic()
    yield until(lambda: not stage.worker_lives(job), "the worker ends after Esc", 2)
    print(f"the worker was gone {time.monotonic() - began:.2f} s after Esc")
    yield stage.job_ends()
    assert stage.layout() == stage.LAYOUT and stage.properties() == before, stage.properties()
    assert stage.modal() == [] and stage.status_text() is None
    assert "Finished frames are kept" in stage.reports()[-1], stage.reports()
    yield from picture("cancelled")


def test_escape_during_playback_stops_that_alone() -> Steps:
    yield from stage.new_film("playback", factor=16.0)
    job = yield from stage.start_job()
    yield from move(*middle(region()))
    yield from key("SPACE")
    assert bpy.context.screen.is_animation_playing
    yield from key("ESC")
    assert not bpy.context.screen.is_animation_playing
    assert stage.jobs() == [job] and stage.worker_lives(job)
    yield from key("ESC")
    yield stage.job_ends()
    assert stage.layout() == stage.LAYOUT, stage.layout()


def test_file_that_cannot_be_opened_leaves_the_job_alone() -> Steps:
    yield from stage.new_film("not_opened", factor=16.0)
    job = yield from stage.start_job()
    broken = settings["folder"] / "broken.blend"
    broken.write_bytes(b"no Blender file")
    try:
        bpy.ops.wm.open_mainfile(filepath=str(broken))
    except RuntimeError as error:
        print(error)
    yield ticks(10)
    assert stage.jobs() == [job] and stage.worker_lives(job)
    yield from move(*middle(region()))
    yield from key("ESC")
    yield stage.job_ends()
    assert stage.layout() == stage.LAYOUT, stage.layout()


def test_extension_turned_off_while_a_job_runs() -> Steps:
    yield from stage.new_film("turned_off", factor=16.0)
    before = stage.properties()
    job = yield from stage.start_job()
    assert stage.properties() != before
    module = stage.extension("").__package__.removesuffix(".addon")
    bpy.ops.preferences.addon_disable(module=module)
    try:
        yield until(lambda: not stage.worker_lives(job), "the worker ends", 5)
        yield ticks(10)
        assert stage.status_text() is None
        assert stage.modal() == [] and stage.properties() == before, stage.properties()
    finally:
        bpy.ops.preferences.addon_enable(module=module)


def test_strip_deleted_while_the_job_runs() -> Steps:
    yield from stage.new_film("deleted")
    job = yield from stage.start_job()
    stage.select("Clip")
    yield from move(*middle(region()))
    yield from key("DEL")
    remaining = {name: place for name, place in stage.LAYOUT.items() if name != "Clip"}
    assert stage.layout() == remaining, stage.layout()
    yield stage.job_ends()
    assert stage.layout() == remaining, stage.layout()
    assert "is gone" in stage.reports()[-1] and job.request.job.output in stage.reports()[-1], stage.reports()
    assert len(stage.frames_of(job)) == 80
    yield from picture("deleted")
    yield from key("ESC")  # closes the message
    assert bpy.data.filepath


def test_no_call_of_ours_keeps_blender_waiting() -> Steps:
    """Everything of ours that Blender calls, measured while a job runs: Blender's main thread is the user's."""
    operators, ui, addon = stage.extension("operators"), stage.extension("ui"), stage.extension("")
    watch(operators.LENTO_OT_slow_motion, "invoke", "invoke")
    watch(operators.LENTO_OT_slow_motion, "modal", "modal")
    watch(ui.LENTO_PT_slow_motion, "draw", "panel")
    for handler in ("_forget_old_ids", "_leave_file"):
        watch(addon, handler, handler)
    yield from stage.new_film("waiting")
    yield from stage.start_job()
    yield from stage.drag_by_keys("Before", 20)
    yield stage.job_ends()
    assert stage.layout() == {**SLOWED, "Before": (4, 21, 29)}, stage.layout()
    assert {"invoke", "modal", "panel"} <= set(longest), longest
    slow = {label: round(seconds * 1000) for label, seconds in longest.items() if seconds > 0.05}
    assert not slow, f"longer than 50 ms: {slow}"


def test_buttons_of_the_panel_start_and_cancel() -> Steps:
    yield from stage.new_film("button", factor=16.0)
    before = stage.properties()
    place = yield from find_button("lento.slow_motion", region("UI"))
    yield from click(*place)
    yield until(stage.jobs, "the button starts a job", 5)
    job = stage.jobs()[0]
    yield until(lambda: job.progress is not None and job.progress.done > 0, "the worker makes frames")
    yield from picture("button")
    panel = region("UI")
    place = yield from find_button("lento.cancel", panel, panel.x + panel.width - 40)
    yield from click(*place)
    yield stage.job_ends()
    assert not stage.worker_lives(job)
    assert stage.layout() == stage.LAYOUT
    assert stage.properties() == before


def test_menus_and_search_offer_it() -> Steps:
    yield from stage.new_film("menus", engine="nearest")
    yield from move(*stage.strip_place("Clip"))
    on_screen(lambda: bpy.ops.wm.call_menu("INVOKE_DEFAULT", name="SEQUENCER_MT_context_menu"))
    yield from picture("context_menu")
    yield from key("ESC")
    on_screen(lambda: bpy.ops.wm.call_menu("INVOKE_DEFAULT", name="SEQUENCER_MT_strip_retiming"))
    yield from picture("retiming_menu")
    yield from key("ESC")
    yield from move(*middle(region()))
    yield from key("F3")
    yield ticks(10)
    yield from write("Slow Motion")
    yield ticks(10)
    yield from picture("search")
    yield from key("RET")
    yield until(lambda: "Clip 4x" in stage.layout(), "the search starts a job that ends")
    assert stage.layout() == SLOWED


def test_engines_that_cannot_run_are_not_offered() -> Steps:
    yield from stage.new_film("engines")
    ui, film = stage.extension("ui"), stage.scene()
    film.lento.weights = ""
    film.lento.engine = "rife"
    yield until(
        lambda: ui.lacking(bpy.context, film, "flow") == "" and stage.extension("answers")._answers, "an answer"
    )
    assert ui.lacking(bpy.context, film, "rife") == "a checkpoint, named as Weights"
    yield from move(*middle(region()))
    yield from picture("engine_panel")
    on_screen(lambda: bpy.ops.wm.call_menu("INVOKE_DEFAULT", name="LENTO_MT_engines"))
    yield ticks(5)
    yield from picture("engine_menu")
    yield from key("ESC")
    film.lento.engine = "flow"


def test_another_file_opened_while_a_job_runs() -> Steps:
    for name, leave in (
        ("open", lambda: bpy.ops.wm.read_homefile(app_template="Video_Editing")),
        ("revert", lambda: bpy.ops.wm.revert_mainfile()),
    ):
        yield from stage.new_film(f"leave_{name}", factor=16.0)
        job = yield from stage.start_job()
        leave()
        yield until(lambda job=job: not stage.worker_lives(job), f"the worker ends after {name}", 8)
        yield ticks(10)
        assert stage.jobs() == []
        assert stage.modal() == []


def test_panel_in_every_state() -> Steps:
    yield from stage.new_film("panel")
    yield from picture("panel_marked")
    film = stage.scene()
    film.use_preview_range = False
    film.sequence_editor.strips.new_sound("Sound", str(settings["folder"] / "clip.mp4"), 1, 1)
    stage.select("Sound")
    yield from picture("panel_sound")
    stage.select("")
    yield from picture("panel_nothing")
    bpy.ops.preferences.addon_show("INVOKE_DEFAULT", module="bl_ext.user_default.lento")
    yield ticks(20)
    yield from picture("preferences")


def test_speed_curve_with_sound() -> Steps:
    yield from stage.new_film("curve", time="curve", engine="nearest")
    film = stage.scene()
    film.sequence_editor.strips.new_sound("Sound", str(settings["folder"] / "clip.mp4"), 1, 1)
    clip = stage.strip("Clip")
    for frame, percent in ((31, 100), (43, 20), (90, 20), (110, 150)):
        clip.lento_speed = percent
        clip.keyframe_insert("lento_speed", frame=frame)
    film.timeline_markers.new("here", frame=45)
    stage.select("Clip")
    on_screen(lambda: bpy.ops.ed.undo_push(message="Curve"))
    yield from picture("panel_curve")
    yield from stage.press_shortcut()
    yield until(stage.jobs, "the shortcut starts a job", 5)
    yield stage.job_ends()
    made = next(one for name, one in stage.layout().items() if name.startswith("Clip curve"))
    sound = next(one for name, one in stage.layout().items() if name.startswith("Sound curve"))
    assert made[1:] == sound[1:], (made, sound)
    assert made[2] - made[1] > 60, made
    assert sound[0] == 1, sound
    assert 60 < film.timeline_markers["here"].frame < made[2]
    yield from picture("curve_inserted")
    yield from stage.undo()
    yield until(lambda: "Clip curve" not in stage.layout(), "Ctrl+Z takes the curve back", 5)
    assert stage.layout()["Sound"][1] == 1


def test_panel_with_other_times() -> Steps:
    yield from stage.new_film("times", time="fit", ease="both", ramp=10, length=90)
    yield from picture("panel_fit")
    stage.scene().lento.time = "smooth"
    yield from picture("panel_smooth")
    stage.scene().lento.time = "factor"
    yield from picture("panel_ramps")


def test_strip_that_blender_renders_first() -> Steps:
    yield from stage.new_film("rendered", engine="nearest")
    stage.strip("Clip").use_reverse_frames = True
    on_screen(lambda: bpy.ops.ed.undo_push(message="Reverse"))
    yield from stage.press_shortcut()
    yield until(stage.jobs, "the shortcut starts a job", 5)
    job = stage.jobs()[0]
    yield until(lambda: job.text.startswith("Rendering "), "another Blender renders")
    yield from picture("rendering")
    yield stage.job_ends()
    assert {name: stage.layout()[name] for name in ("Clip", "Clip 4x")} == {"Clip": (2, 1, 31), "Clip 4x": (2, 31, 111)}
    kept = [one for one in stage.scene().sequence_editor.strips if "lento_kept" in one]
    assert [(one.mute, one.left_handle, one.right_handle) for one in kept] == [(True, 31, 51)]
    yield from picture("rendered")
    yield from stage.undo()
    assert stage.layout() == stage.LAYOUT, stage.layout()


def test_quitting_while_a_job_runs() -> Steps:
    """The last one: the session quits now, and run.py sees that no worker is left."""
    yield from stage.new_film("quit", factor=16.0)
    yield from stage.start_job()
