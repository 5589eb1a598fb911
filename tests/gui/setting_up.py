# SPDX-License-Identifier: GPL-3.0-or-later
"""From an extension that was just installed to slow motion, with the mouse: the worker's environment and the models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bpy

from tests.gui import stage
from tests.gui.driver import (
    Steps,
    click,
    find_button,
    key,
    middle,
    move,
    on_screen,
    picture,
    region,
    settings,
    ticks,
    until,
)


def preferences() -> Any:
    """The extension's."""
    return bpy.context.preferences.addons["bl_ext.user_default.lento"].preferences


def press_create() -> Steps:
    """The panel's button, and the dialog that tells what will be done."""
    region("UI").tag_redraw()
    yield ticks(10)
    place = yield from find_button("lento.create_environment", region("UI"), region("UI").x + 60)
    yield from click(*place)
    yield ticks(20)


def test_models_are_listed_used_and_removed() -> Steps:
    yield from stage.new_film("models")
    setup, tasks, film = stage.extension("setup"), stage.extension("tasks"), stage.scene()
    file = str(settings["pictures"] / "flownet.pkl")
    on_screen(lambda: bpy.ops.lento.import_model("EXEC_DEFAULT", filepath=file, name="my-rife"))
    assert tasks.ended["model"].succeeded, tasks.ended["model"].outcome
    yield until(lambda: [model for model in setup.models() if model["state"] == "there"], "the model is listed")
    yield from move(*middle(region()))
    on_screen(lambda: bpy.ops.wm.call_menu("INVOKE_DEFAULT", name="LENTO_MT_models"))
    yield from picture("models_menu")
    yield from key("RET")
    yield until(lambda: film.lento.engine == "rife", "the menu sets engine and weights", 5)
    assert film.lento.weights.endswith("my-rife.pkl")
    yield from picture("models_panel")
    bpy.ops.preferences.addon_show("INVOKE_DEFAULT", module="bl_ext.user_default.lento")
    bpy.context.preferences.view.ui_scale = 0.6
    yield ticks(20)
    yield from picture("models_preferences")
    bpy.context.preferences.view.ui_scale = 1.0
    on_screen(lambda: bpy.ops.lento.remove_model("EXEC_DEFAULT", name="my-rife"))
    assert not list(setup.models_folder().glob("my-rife*"))


def test_environment_created_with_the_panels_button() -> Steps:
    python = os.environ.pop("LENTO_PYTHON")
    yield from stage.new_film("environment", engine="nearest")
    tasks, setup = stage.extension("tasks"), stage.extension("setup")
    yield from picture("environment_none_offline")
    assert not bpy.ops.lento.create_environment.poll(), "offline, and no folder of wheels"
    preferences().wheels_folder = str(settings["pictures"] / "wheels")
    preferences().base_python = str(Path(python).resolve())
    preferences().package_set = "no-torch"
    yield from press_create()
    yield until(lambda: stage.extension("setup").plan(bpy.context), "this computer is looked at")
    yield ticks(20)
    yield from picture("environment_dialog")
    yield from key("RET")
    yield until(lambda: tasks.running, "the dialog starts the installation", 5)
    yield until(lambda: "numpy" in tasks.running["environment"].text, "packages are installed")
    yield from picture("environment_progress")
    panel = region("UI")
    place = yield from find_button("lento.cancel_task", panel, panel.x + panel.width - 56)
    yield from click(*place)
    yield until(lambda: not tasks.running, "the installation is cancelled", 10)
    assert tasks.ended["environment"].outcome.startswith("Cancelled. What is installed is kept"), tasks.ended
    yield from picture("environment_cancelled")
    yield from press_create()
    yield from key("RET")
    yield until(lambda: tasks.running, "it goes on", 5)
    yield until(lambda: not tasks.running, "the environment is complete", 120)
    assert tasks.ended["environment"].succeeded, tasks.ended["environment"].outcome
    assert setup.worker_python(bpy.context).path == setup.made_environment().python
    yield from picture("environment_complete")
    yield from stage.press_shortcut()
    yield until(stage.jobs, "the shortcut starts a job in it", 5)
    yield stage.job_ends()
    assert "Clip 4x" in stage.layout(), stage.reports()
    yield from move(*middle(region()))
    yield from picture("environment_used")
    bpy.ops.preferences.addon_show("INVOKE_DEFAULT", module="bl_ext.user_default.lento")
    yield ticks(10)
    on_screen(lambda: bpy.ops.lento.check("INVOKE_DEFAULT"))
    yield until(lambda: setup.doctor(bpy.context) and setup.models(), "the worker's Python is examined")
    yield ticks(20)
    yield from picture("environment_preferences")
    bpy.context.preferences.view.ui_scale = 0.6
    yield ticks(20)
    yield from picture("environment_models")
    bpy.context.preferences.view.ui_scale = 1.0
    assert on_screen(lambda: bpy.ops.lento.remove_environment()) == {"FINISHED"}
    assert not setup.made_environment().folder.exists()
    os.environ["LENTO_PYTHON"] = python
