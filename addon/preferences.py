# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension's preferences and the settings that a scene keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from . import options

PACKAGE_SETS = (
    "linux-cpu", "linux-cu130", "linux-cu126", "linux-rocm72", "linux-xpu", "windows-cpu", "windows-cu130",
    "windows-cu126", "windows-xpu", "macos", "no-torch",
)  # fmt: skip
"""Those of core/environment/sets.py, which runs in the worker; a test compares them."""
ADDON = __package__.rpartition(".")[0]
"""The extension's module name, which Blender chooses: bl_ext.<repository>.lento."""


def _check_it(chosen: Any, context: Any) -> None:
    """Another Python was named: the preferences show what the doctor says of it."""
    chosen.show_check = True


class LentoPreferences(bpy.types.AddonPreferences):  # noqa: D101  (its text would be shown nowhere)
    bl_idname = ADDON
    __annotations__ = {
        "worker_python": bpy.props.StringProperty(
            name="Existing Python",
            subtype="FILE_PATH",
            description="A Python that has the worker's packages; empty: the environment that Lento makes",
            update=_check_it,
        ),
        "base_python": bpy.props.StringProperty(
            name="Base Python",
            subtype="FILE_PATH",
            description="The Python that the environment is made of; empty: Blender's own",
        ),
        "package_set": bpy.props.EnumProperty(
            name="Packages",
            description="PyTorch for which accelerator",
            items=[("auto", "Automatic", "What fits this computer"), *((one, one, "") for one in PACKAGE_SETS)],
        ),
        "wheels_folder": bpy.props.StringProperty(
            name="Folder of Wheels",
            subtype="DIR_PATH",
            description="Take all packages from this folder, without the internet. `python -m core doctor --wheels` "
            "lists them",
        ),
        "package_index": bpy.props.StringProperty(
            name="Package Index",
            description="Address of an index that has all packages, such as a studio's mirror; empty: PyPI and "
            "download.pytorch.org, or what this computer's pip is told",
        ),
        "keep_ready": bpy.props.IntProperty(
            name="Keep Worker Ready",
            description="Minutes that a worker stays for the next job when it has done one; 0: it ends",
            default=5,
            min=0,
            soft_max=60,
        ),
        "show_check": bpy.props.BoolProperty(options={"HIDDEN", "SKIP_SAVE"}),
    }

    def draw(self, context: Any) -> None:
        """The worker, the models, and the shortcut for changing it."""
        from . import keymap, setup_ui

        setup_ui.draw_preferences(self.layout, context)
        keymap.draw(self.layout, context)


class LentoSettings(bpy.types.PropertyGroup):
    """What the panel shows and the shortcut uses; kept with the scene."""

    __annotations__ = options.properties()


def of(context: Any) -> Any:
    """The extension's preferences."""
    return context.preferences.addons[ADDON].preferences


def user_folder() -> Path:
    """The extension's own folder among the user's files; it survives an update."""
    return Path(bpy.utils.extension_path_user(ADDON))


classes = (LentoPreferences, LentoSettings)
