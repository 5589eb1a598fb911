# SPDX-License-Identifier: GPL-3.0-or-later
"""A job while the user works: shortcut, progress, insertion, undo, Esc."""

from __future__ import annotations

import time

import bpy

from tests.gui import stage
from tests.gui.driver import Steps, key, middle, move, picture, region, until

SLOWED = {"Clip": (2, 1, 31), "Clip 4x": (2, 31, 111), "Clip.001": (2, 111, 157), "Before": (4, 1, 9), "Later": (3, 161, 181)}
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
    assert not stage.worker_lives(job)
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
    yield from stage.press_shortcut()
    yield stage.job_ends()
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
