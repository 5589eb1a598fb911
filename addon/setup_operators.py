# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators for the worker's environment and the models.

From a button they start their work and let the user go on; from a script they return when it is done.
"""

from __future__ import annotations

from typing import Any

import bpy

from ..core.messages import InputError
from . import answers, compat, job_runner, preferences, setup, tasks
from .reporting import reported


class TaskOperator:
    """What starts a task, and waits for it where nobody is there to look at a panel."""

    options: Any
    report: Any

    def begin(self, context: Any) -> tasks.Task:
        """Start the work. Raises InputError where it cannot be."""
        raise NotImplementedError

    def execute(self, context: Any) -> set[str]:
        """See the module's text."""
        with reported(self):
            task = self.begin(context)
            if self.options.is_invoke and not bpy.app.background:
                setup.watch()
                setup.redraw()
                return {"FINISHED"}
            task.wait(lambda task: print(task.text, flush=True))
            tasks.finish(task.kind)
            answers.forget()
            task.check()
            self.report({"INFO"}, task.outcome)
            return {"FINISHED"}
        return {"CANCELLED"}


class LENTO_OT_create_environment(TaskOperator, bpy.types.Operator):
    """Make the Python environment that the worker runs in, go on with a broken-off one, or mend it"""

    bl_idname = "lento.create_environment"
    bl_label = "Create Environment"

    @classmethod
    def poll(cls, context: Any) -> bool:
        """Whether the packages may be fetched from where they are to come from."""
        if "environment" in tasks.running:
            cls.poll_message_set("It is being made")
            return False
        if setup.needs_network(context) and not bpy.app.online_access:
            cls.poll_message_set(setup.OFFLINE)
            return False
        return True

    def invoke(self, context: Any, event: Any) -> set[str]:
        """Say first what will be downloaded, and to where; as soon as that is known, usually at once."""
        plan = setup.plan(context)
        if plan is None:
            setup.when_planned(self.bl_idname)
            return {"CANCELLED"}
        if not plan:
            self.report(
                {"ERROR"}, f"Blender's own Python, {setup.own_python()}, does not answer: see Blender's console."
            )
            return {"CANCELLED"}
        return set(context.window_manager.invoke_props_dialog(self, width=520, confirm_text="Create"))

    def draw(self, context: Any) -> None:
        """The dialog."""
        for line in plan_lines(context, setup.plan(context) or {}):
            self.layout.label(text=line)

    def begin(self, context: Any) -> tasks.Task:
        """See setup.create_environment."""
        return setup.create_environment(context)


def plan_lines(context: Any, plan: dict[str, Any]) -> list[str]:
    """What Create Environment will do, for people."""
    if not plan:
        return []
    chosen = preferences.of(context)
    source = chosen.wheels_folder or chosen.package_index or "the package index (PyPI, download.pytorch.org)"
    lines = [
        f"Packages: {plan['label']}. {plan['why']}",
        f"To download: about {plan['download'] / 1e6:.0f} MB, from {source}",
        f"Place: {plan['folder']}",
        f"It takes about {plan['installed'] / 1e9:.1f} GB there; {plan['free'] / 1e9:.1f} GB are free",
        f"Python: {setup.base_python(context)}",
    ]
    return [*lines, plan["problem"]] if plan["problem"] else lines


class LENTO_OT_remove_environment(TaskOperator, bpy.types.Operator):
    """Delete the environment that Lento made"""

    bl_idname = "lento.remove_environment"
    bl_label = "Remove Environment"

    @classmethod
    def poll(cls, context: Any) -> bool:
        """Whether there is one, and nobody works on it."""
        if "environment" in tasks.running:
            cls.poll_message_set("It is being made")
            return False
        return setup.made_environment().exists

    def invoke(self, context: Any, event: Any) -> set[str]:
        """Ask first."""
        return set(context.window_manager.invoke_confirm(self, event))

    def begin(self, context: Any) -> tasks.Task:
        """See setup.remove_environment."""
        return setup.remove_environment()


class LENTO_OT_check(bpy.types.Operator):
    """Ask the worker's Python what it can do, and what is wrong with it"""

    bl_idname = "lento.check"
    bl_label = "Check"

    def execute(self, context: Any) -> set[str]:
        """Ask anew; the preferences show the answer. For a script, report it."""
        with reported(self):
            answers.forget()
            python = setup.worker_python(context)
            if bpy.app.background:
                found = answers.now(python.path, "doctor", "--json", environment=setup.variables())
                for text in found["problems"] or [f"No problems found with {python.path}."]:
                    self.report({"WARNING" if found["problems"] else "INFO"}, text)
                return {"FINISHED"}
            preferences.of(context).show_check = True
            setup.doctor(context)
            setup.watch()
            return {"FINISHED"}
        return {"CANCELLED"}


class LENTO_OT_cancel_task(bpy.types.Operator):
    """Stop it; what is there by now is kept for the next time"""

    bl_idname = "lento.cancel_task"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}
    __annotations__ = {"kind": bpy.props.StringProperty(options={"SKIP_SAVE"})}

    def execute(self, context: Any) -> set[str]:
        """See tasks.cancel."""
        tasks.cancel(self.kind)
        return {"FINISHED"}


class LENTO_OT_end_ready(bpy.types.Operator):
    """End the workers that stay ready for the next job, and free their memory"""

    bl_idname = "lento.end_ready"
    bl_label = "End Ready Worker"
    bl_options = {"INTERNAL"}

    def execute(self, context: Any) -> set[str]:
        """See job_runner.end_ready."""
        job_runner.end_ready()
        setup.redraw()
        return {"FINISHED"}


class LENTO_OT_download_model(TaskOperator, bpy.types.Operator):
    """Download this checkpoint from the address in the catalogue"""

    bl_idname = "lento.download_model"
    bl_label = "Download"
    __annotations__ = {"name": bpy.props.StringProperty(name="Model", options={"SKIP_SAVE"})}

    @classmethod
    def poll(cls, context: Any) -> bool:
        """Whether Blender may use the internet."""
        if not bpy.app.online_access:
            cls.poll_message_set(
                "Blender may not use the internet (Preferences > System > Network > Allow Online Access): allow it, or "
                "import a file"
            )
            return False
        return "model" not in tasks.running

    def begin(self, context: Any) -> tasks.Task:
        """See setup.download_model."""
        return setup.download_model(context, self.name)


class LENTO_OT_import_model(TaskOperator, bpy.types.Operator):
    """Copy a checkpoint file among the models, once it is recognised"""

    bl_idname = "lento.import_model"
    bl_label = "Import"
    __annotations__ = {
        "filepath": bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"}),
        "filter_glob": bpy.props.StringProperty(default="*.pkl;*.pth;*.pt;*.ckpt;*.safetensors", options={"HIDDEN"}),
        "name": bpy.props.StringProperty(
            name="Name", description="What it shall be called; empty: as the file is", options={"SKIP_SAVE"}
        ),
    }

    @classmethod
    def poll(cls, context: Any) -> bool:
        """One at a time."""
        return "model" not in tasks.running

    def invoke(self, context: Any, event: Any) -> set[str]:
        """Choose the file."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def begin(self, context: Any) -> tasks.Task:
        """See setup.import_model."""
        if not self.filepath:
            raise InputError("No file is named: choose a checkpoint (.pkl, .pth, .pt, .ckpt or .safetensors).")
        return setup.import_model(context, bpy.path.abspath(self.filepath), self.name)


class LENTO_OT_remove_model(TaskOperator, bpy.types.Operator):
    """Delete this checkpoint"""

    bl_idname = "lento.remove_model"
    bl_label = "Remove"
    __annotations__ = {"name": bpy.props.StringProperty(name="Model", options={"SKIP_SAVE"})}

    @classmethod
    def poll(cls, context: Any) -> bool:
        """One at a time."""
        return "model" not in tasks.running

    def invoke(self, context: Any, event: Any) -> set[str]:
        """Ask first."""
        return set(context.window_manager.invoke_confirm(self, event))

    def begin(self, context: Any) -> tasks.Task:
        """See setup.remove_model."""
        return setup.remove_model(self.name)


class LENTO_OT_use_model(bpy.types.Operator):
    """Slow this scene's strips with this checkpoint"""

    bl_idname = "lento.use_model"
    bl_label = "Use"
    bl_options = {"UNDO"}
    __annotations__ = {
        "path": bpy.props.StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"}),
        "engine": bpy.props.StringProperty(options={"SKIP_SAVE"}),
    }

    def execute(self, context: Any) -> set[str]:
        """Set the scene's engine and weights."""
        scene = compat.editing_scene(context)
        scene.lento.engine, scene.lento.weights = self.engine, self.path
        return {"FINISHED"}


classes = (
    LENTO_OT_create_environment,
    LENTO_OT_remove_environment,
    LENTO_OT_check,
    LENTO_OT_cancel_task,
    LENTO_OT_end_ready,
    LENTO_OT_download_model,
    LENTO_OT_import_model,
    LENTO_OT_remove_model,
    LENTO_OT_use_model,
)
