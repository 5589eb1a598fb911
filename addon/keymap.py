# SPDX-License-Identifier: GPL-3.0-or-later
"""Ctrl+Alt+R in the sequencer: free in Blender's own keymap and in the industry compatible one."""

from __future__ import annotations

from typing import Any

import bpy

_items: list[tuple[Any, Any]] = []


def register() -> None:
    """Add the shortcut to the add-ons' keymap, where the user can change it."""
    configuration = bpy.context.window_manager.keyconfigs.addon
    if configuration is None:
        return
    keymap = configuration.keymaps.new(name="Sequencer", space_type="SEQUENCE_EDITOR")
    _items.append((keymap, keymap.keymap_items.new("lento.slow_motion", "R", "PRESS", ctrl=True, alt=True)))


def unregister() -> None:
    """Take it away."""
    for keymap, item in _items:
        keymap.keymap_items.remove(item)
    _items.clear()


def draw(layout: Any, context: Any) -> None:
    """The shortcut as the preferences show it."""
    import rna_keymap_ui

    configuration = context.window_manager.keyconfigs.user
    for keymap, item in _items:
        users = configuration.keymaps.get(keymap.name)
        for theirs in users.keymap_items if users else ():
            if theirs.idname == item.idname:
                layout.context_pointer_set("keymap", users)
                rna_keymap_ui.draw_kmi([], configuration, users, theirs, layout, 0)
