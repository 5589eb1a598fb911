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


def custom_names(strip: Any) -> list[str]:
    """Names of the custom properties that the user and other add-ons gave the strip; not the registered ones."""
    known = strip.bl_rna.properties
    return [name for name in strip.keys() if name not in known and name != "lento" and not name.startswith("lento_")]


def custom(strip: Any) -> dict[str, Any]:
    """The strip's custom properties, but those that point at data-blocks or hold bytes."""
    values = {name: _value(strip[name]) for name in custom_names(strip)}
    return {name: value for name, value in values.items() if value is not None}


def _value(value: Any) -> Any:
    """A custom property's value; None where JSON cannot hold it."""
    if isinstance(value, dict):
        return {name: _value(one) for name, one in value.items() if _value(one) is not None}
    if isinstance(value, list):
        return [_value(one) for one in value]
    if hasattr(value, "to_dict"):
        return _value(value.to_dict())
    if hasattr(value, "to_list"):
        return value.to_list()
    return value if isinstance(value, bool | int | float | str) else None
