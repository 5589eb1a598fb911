# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension's preferences and the settings that a scene keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from . import options

ADDON = __package__.rpartition(".")[0]
"""The extension's module name, which Blender chooses: bl_ext.<repository>.lento."""


class LentoPreferences(bpy.types.AddonPreferences):  # noqa: D101  (its text would be shown nowhere)
    bl_idname = ADDON
    __annotations__ = {
        "worker_python": bpy.props.StringProperty(
            name="Worker Python",
            subtype="FILE_PATH",
            description="A Python with opencv-python-headless and av, for the worker; empty: found automatically",
        ),
    }

    def draw(self, context: Any) -> None:
        """The path, and the shortcut for changing it."""
        from . import keymap

        self.layout.prop(self, "worker_python")
        keymap.draw(self.layout, context)


class LentoSettings(bpy.types.PropertyGroup):
    """What the panel shows and the shortcut uses; kept with the scene."""

    __annotations__ = options.properties()


def worker_python(context: Any) -> str:
    """The preferred Python; empty for none."""
    addon = context.preferences.addons.get(ADDON)
    return addon.preferences.worker_python if addon else ""


def user_folder() -> Path:
    """The extension's own folder among the user's files; it survives an update."""
    return Path(bpy.utils.extension_path_user(ADDON))


classes = (LentoPreferences, LentoSettings)
