# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender's data says, as plain data that JSON holds; and back."""

from __future__ import annotations

from typing import Any

import bpy


def told(struct: Any, *but: str) -> dict[str, Any]:
    """The struct's own settings, not those in `but`; without collections, and of what it points at only data-blocks."""
    found: dict[str, Any] = {}
    for prop in struct.bl_rna.properties:
        name = prop.identifier
        if name in but or prop.is_readonly or prop.type == "COLLECTION":
            continue
        value = getattr(struct, name)
        if isinstance(value, bpy.types.ID):
            library = value.library.filepath if value.library else None
            found[name] = {"kind": value.id_type, "name": value.name, "library": library}
        elif prop.type != "POINTER":
            found[name] = list(value) if getattr(prop, "is_array", False) else value
    return found


def put(struct: Any, settings: dict[str, Any]) -> None:
    """Give the struct the settings, in their order, as far as it has them."""
    for name, value in settings.items():
        if hasattr(struct, name) and not struct.is_property_readonly(name):
            setattr(struct, name, _data_block(**value) if isinstance(value, dict) else value)


def _data_block(kind: str, name: str, library: str | None) -> Any:
    """The data-block of that name; None where it is gone."""
    for prop in bpy.data.bl_rna.properties:
        if prop.type == "COLLECTION":
            found = getattr(bpy.data, prop.identifier).get((name, library))
            if found is not None and found.id_type == kind:
                return found
    return None
