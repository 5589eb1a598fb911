# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's environment and the models, as the preferences have them: what is asked, and what is started."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bpy

from ..core.messages import InputError
from . import answers, environment, job_runner, jobs, preferences, tasks
from .environment import Environment, WorkerPython

MODELS_VARIABLE = "LENTO_MODELS"
OFFLINE = (
    "Blender may not use the internet (Preferences > System > Network > Allow Online Access): allow it, or name a "
    "folder of wheels in Lento's preferences"
)
TICK = 0.2
"""Seconds between looks at tasks and answers."""


_waiting = ""
"""An operator that waits for the plan."""


def own_python() -> Path:
    """Blender's own Python: it runs what needs no packages."""
    return Path(sys.executable)


def made_environment() -> Environment:
    """The environment that Lento makes, there or not."""
    return Environment(preferences.user_folder() / environment.FOLDER)


def worker_python(context: Any) -> WorkerPython:
    """See environment.find."""
    return environment.find(preferences.of(context).worker_python, preferences.user_folder())


def base_python(context: Any) -> Path:
    """The Python that the environment is made of: the one that the user named, else Blender's own."""
    named = preferences.of(context).base_python
    return Path(bpy.path.abspath(named)) if named else own_python()


def models_folder() -> Path:
    """LENTO_MODELS, else a folder among the extension's own files."""
    named = os.environ.get(MODELS_VARIABLE)
    return Path(named).expanduser() if named else preferences.user_folder() / "models"


def variables() -> Mapping[str, str]:
    """What the worker is told beside its arguments."""
    return {MODELS_VARIABLE: str(models_folder())}


def plan(context: Any) -> dict[str, Any] | None:
    """What Create Environment would do: see `core environment plan`. None while nobody knows."""
    base, chosen = base_python(context), preferences.of(context).package_set
    words = ("environment", "plan", str(made_environment().folder), "--base", str(base), "--set", chosen)
    found: dict[str, Any] | None = answers.of(own_python(), *words)
    watch()
    return found


def when_planned(operator: str) -> None:
    """Invoke the operator as soon as `plan` knows."""
    global _waiting
    _waiting = operator
    watch()


def doctor(context: Any) -> dict[str, Any] | None:
    """What the worker's Python can do; None while nobody knows.

    Raises InputError where there is no such Python.
    """
    found: dict[str, Any] | None = answers.of(worker_python(context).path, "doctor", "--json", environment=variables())
    return found


def models() -> list[dict[str, Any]]:
    """The models that are there, and those that can be downloaded; empty while nobody knows."""
    listed = answers.of(own_python(), "models", "list", "--json", environment=variables())
    return list(listed or [])


def needs_network(context: Any) -> bool:
    """Whether Create Environment would use the internet."""
    chosen = preferences.of(context)
    return not chosen.wheels_folder and not chosen.package_index.startswith("file://")


def create_environment(context: Any) -> tasks.Task:
    """Start making, completing or mending the environment.

    Raises InputError while a job runs, or where it cannot be started.
    """
    _refuse_while_jobs_run()
    job_runner.end_ready()
    chosen = preferences.of(context)
    command = [str(own_python()), "-s", "-m", "core", "environment", "create", str(made_environment().folder)]
    command += ["--json", "--until-stdin-closes", "--base", str(base_python(context)), "--set", chosen.package_set]
    if chosen.wheels_folder:
        command += ["--wheels", bpy.path.abspath(chosen.wheels_folder)]
    elif chosen.package_index:
        command += ["--index", chosen.package_index]
    return _start("environment", "Creating the environment", command)


def remove_environment() -> tasks.Task:
    """Start deleting the environment. Raises InputError while a job runs."""
    _refuse_while_jobs_run()
    job_runner.end_ready()
    command = [str(own_python()), "-s", "-m", "core", "environment", "remove", str(made_environment().folder), "--json"]
    return _start("environment", "Removing the environment", command)


def download_model(context: Any, name: str) -> tasks.Task:
    """Start downloading a model of the catalogue. Raises InputError where there is no Python to recognise it with."""
    command = _models_command(context, "download", name)
    return _start("model", f"Downloading {name}", command)


def import_model(context: Any, path: str, name: str) -> tasks.Task:
    """Start copying a checkpoint among the models. Raises InputError where there is no Python to recognise it with."""
    command = _models_command(context, "import", path) + (["--name", name] if name else [])
    return _start("model", f"Importing {os.path.basename(path)}", command)


def remove_model(name: str) -> tasks.Task:
    """Start deleting a model. Raises InputError where another task on models runs."""
    command = [str(own_python()), "-s", "-m", "core", "models", "remove", name, "--json"]
    return _start("model", f"Removing {name}", command)


def _models_command(context: Any, *words: str) -> list[str]:
    python = worker_python(context)
    return [str(python.path), "-s", "-m", "core", "models", *words, "--json", "--until-stdin-closes"]


def _start(kind: str, title: str, command: list[str]) -> tasks.Task:
    return tasks.start(kind, title, command, preferences.user_folder() / f"{kind}.log", variables())


def _refuse_while_jobs_run() -> None:
    if jobs.running:
        raise InputError(
            f"The strip {jobs.running[0].request.strip_name!r} is being slowed with the environment: wait for it, or "
            "cancel it first."
        )


def watch() -> None:
    """Look at tasks and answers until there are none any more."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=TICK, persistent=True)


def _tick() -> float | None:
    global _waiting
    if _waiting and plan(bpy.context) is not None:
        operator, _waiting = _waiting, ""
        with bpy.context.temp_override(window=bpy.context.window_manager.windows[0]):
            getattr(bpy.ops.lento, operator.partition(".")[2])("INVOKE_DEFAULT")
    news, ended = tasks.update()
    if ended:
        answers.forget()
    if news or answers.news():
        redraw()
    return TICK if tasks.running or answers.pending() else None


def redraw() -> None:
    """Draw what shows the environment and the models anew."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in ("SEQUENCE_EDITOR", "PREFERENCES"):
                area.tag_redraw()


def unwatch() -> None:
    """Stop looking: the extension is turned off."""
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
