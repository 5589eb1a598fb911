# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's environment and the models, as the panel and the preferences show them."""

from __future__ import annotations

import textwrap
from typing import Any

import bpy

from ..core.messages import InputError
from . import compat, job_runner, preferences, setup, setup_operators, tasks

WIDE = 110
"""Letters that fit into the preferences at their usual width."""
STATES = {"there": "CHECKMARK", "missing": "ERROR", "to download": "IMPORT"}


def draw_worker(layout: Any, context: Any, width: int) -> None:
    """Which Python the worker runs in, and the buttons that change it."""
    column = layout.column(align=True)
    usable = False
    if "environment" not in tasks.running and not bpy.app.background:
        setup.plan(context)  # so that the dialog can tell at once
    try:
        python = setup.worker_python(context)
        usable = True
        about = setup.made_environment().about if python.origin == str(setup.made_environment().folder) else {}
        told = f"{about['label']}, Python {about['python']}" if about else str(python.path)
        column.label(text=f"Worker: {told}", icon="CHECKMARK")
        if not about:
            column.label(text=f"From {python.origin}")
    except InputError as error:
        if "environment" not in tasks.running:
            _wrapped(column, str(error), width, "ERROR")
        if setup.needs_network(context) and not bpy.app.online_access:
            _wrapped(column, f"{setup.OFFLINE}.", width, "INTERNET_OFFLINE")
    draw_task(column, "environment", width)
    row = layout.row(align=True)
    exists = setup.made_environment().exists
    row.operator(
        setup_operators.LENTO_OT_create_environment.bl_idname,
        text="Repair Environment" if exists and usable else "Create Environment",
        icon="PACKAGE",
    )
    if exists:
        row.operator(setup_operators.LENTO_OT_remove_environment.bl_idname, text="", icon="TRASH")
    if usable:
        row.operator(setup_operators.LENTO_OT_check.bl_idname, icon="VIEWZOOM")


def draw_missing(layout: Any, context: Any, width: int) -> bool:
    """For the panel: the environment where there is none to work with, or one is being made. Whether there was need."""
    try:
        setup.worker_python(context)
        needed = "environment" in tasks.running
    except InputError:
        needed = True
    if needed:
        draw_worker(layout.box(), context, width)
    return needed


def draw_task(layout: Any, kind: str, width: int) -> None:
    """How far a task is, or how the last one ended."""
    task = tasks.running.get(kind)
    if task is not None:
        row = layout.row(align=True)
        row.progress(factor=task.share, text=task.text if task.progress else f"{task.title}: {task.status}")
        row.operator(setup_operators.LENTO_OT_cancel_task.bl_idname, text="", icon="CANCEL").kind = kind
    elif kind in tasks.ended:
        ended = tasks.ended[kind]
        _wrapped(layout, ended.outcome, width, "INFO" if ended.succeeded else "ERROR")


def draw_ready(layout: Any) -> None:
    """The workers that stay ready, and what memory they keep."""
    workers = job_runner.ready()
    if not workers:
        return
    row = layout.row(align=True)
    main, card = (sum(memory[index] for memory in workers) for index in (0, 1))
    text = f"Worker ready: {main / 1e6:.0f} MB" + (f", {card / 1e6:.0f} MB on the GPU" if card else "")
    row.label(text=text, icon="SOLO_ON")
    row.operator(setup_operators.LENTO_OT_end_ready.bl_idname, text="", icon="X")


def draw_preferences(layout: Any, context: Any) -> None:
    """Everything that the preferences have on the worker and the models."""
    chosen = preferences.of(context)
    box = layout.box()
    draw_worker(box, context, WIDE)
    if chosen.show_check:
        _draw_check(box, context)
    box.use_property_split = True
    column = box.column()
    for name in ("worker_python", "base_python", "package_set", "wheels_folder", "package_index", "keep_ready"):
        column.prop(chosen, name)
    draw_ready(box)
    box = layout.box()
    box.label(text=f"Models in {setup.models_folder()}")
    draw_task(box, "model", WIDE)
    scene = compat.editing_scene(context)
    for model in setup.models():
        _draw_model(box, model, scene is not None and model["path"] == scene.lento.weights)
    box.operator(setup_operators.LENTO_OT_import_model.bl_idname, text="Import a Checkpoint...", icon="FILE_FOLDER")
    setup.watch()


def _draw_check(layout: Any, context: Any) -> None:
    column = layout.column(align=True)
    try:
        found = setup.doctor(context)
    except InputError:
        return  # said above
    if found is None:
        column.label(text="Checking...", icon="TIME")
        return
    if not found:
        column.label(text="This Python does not answer: choose another, or create the environment", icon="ERROR")
        return
    for device in found["devices"]:
        memory = f", {device['memory'] / 2**30:.1f} GB" if device["memory"] else ""
        column.label(text=f"{device['id']}: {device['name']}{memory}, {device['precision']}, {device['gmacs']} GMAC/s")
    ready = ", ".join(engine["id"] for engine in found["engines"] if not engine["lacks"])
    column.label(text=f"Engines that can run: {ready or 'none'}")
    for text in found["problems"]:
        _wrapped(column, text, WIDE, "ERROR")
    if not found["problems"]:
        column.label(text="No problems found", icon="CHECKMARK")


def draw_models_menu(layout: Any) -> None:
    """The models that are there, to choose one for the scene."""
    there = [model for model in setup.models() if model["state"] == "there"]
    for model in there:
        use = layout.operator(setup_operators.LENTO_OT_use_model.bl_idname, text=f"{model['name']}: {model['network']}")
        use.path, use.engine = model["path"], model["engine"]
    if not there:
        layout.label(text="None yet: import or download one in Lento's preferences")


def _draw_model(layout: Any, model: dict[str, Any], used: bool) -> None:
    row = layout.row(align=True)
    row.label(text=model["name"] + (" (used)" if used else ""), icon=STATES[model["state"]])
    row.label(text=f"{model['network']}, {model['licence']}, {model['bytes'] / 1e6:.0f} MB")
    row.label(text=model["source"])
    if model["state"] == "to download":
        row.operator(setup_operators.LENTO_OT_download_model.bl_idname, icon="IMPORT").name = model["name"]
        return
    if model["state"] == "there":
        use = row.operator(setup_operators.LENTO_OT_use_model.bl_idname)
        use.path, use.engine = model["path"], model["engine"]
    row.operator(setup_operators.LENTO_OT_remove_model.bl_idname, text="", icon="TRASH").name = model["name"]
    place = f"Its file {model['path']} is missing" if model["state"] == "missing" else f"At {model['path']}"
    layout.label(text=f"{place}, SHA-256 {model['sha256'][:16]}...", icon="BLANK1")


def _wrapped(layout: Any, text: str, width: int, icon: str) -> None:
    """A sentence over several lines: labels do not wrap by themselves."""
    for number, line in enumerate(textwrap.wrap(text, width)):
        layout.label(text=line, icon=icon if number == 0 else "BLANK1")
