# SPDX-License-Identifier: GPL-3.0-or-later
"""What one strip has -> another strip: settings, modifiers, custom properties.

Through RNA's own description of its properties, so that what a later Blender adds is copied too; the operator that
copies modifiers would need a sequencer on the screen, and the user may have closed it.
"""

from __future__ import annotations

from typing import Any

from . import compat, plain

# beside the place: what names the strip or its media, selects it, or is about decoding the original's own files
_NOT_SETTINGS = compat.STRIP_PLACE | {
    "rna_type",
    "name",
    "type",
    "select",
    "select_left_handle",
    "select_right_handle",
    "filepath",
    "directory",
    "stream_index",
    "use_proxy",
    "proxy",
    "use_multiview",
    "views_format",
    "stereo_3d_format",
    "use_deinterlace",
    "use_reverse_frames",
    "strobe",
    "elements",
    "sound",
    "retiming_keys",
    "show_retiming_keys",
    "modifiers",
    "connections",
    "animation_data",
}


def copy_settings(source: Any, target: Any, *but: str) -> None:
    """Transform, crop, blending, colour, colour space, modifiers, mute, lock, tag, custom properties; not `but`."""
    _copy_rna(source, target, _NOT_SETTINGS | set(but))
    for modifier in source.modifiers if "modifiers" not in but else ():
        _copy_rna(modifier, target.modifiers.new(modifier.name, modifier.type), {"rna_type", "type"})
    for name in plain.custom_names(source):
        target[name] = source[name]
        try:
            target.id_properties_ui(name).update_from(source.id_properties_ui(name))
        except TypeError:
            pass  # groups and lists have no limits and no description


def _copy_rna(source: Any, target: Any, left_out: frozenset[str] | set[str]) -> None:
    for prop in source.bl_rna.properties:
        name = prop.identifier
        if name in left_out or not hasattr(target, name):
            continue
        value = getattr(source, name)
        if prop.type == "COLLECTION":
            _copy_collection(value, getattr(target, name))
        elif prop.type == "POINTER" and prop.is_readonly:
            nested = getattr(target, name)
            if value is not None and nested is not None:
                _copy_rna(
                    value,
                    nested,
                    {"rna_type", "name"}
                    if prop.fixed_type.identifier != "ColorManagedInputColorspaceSettings"
                    else {"rna_type", "is_data"},
                )
                if hasattr(nested, "update"):
                    nested.update()  # curves compute their table only when told
        elif not prop.is_readonly:
            setattr(target, name, value)


def _copy_collection(source: Any, target: Any) -> None:
    """Curves and their points: the target's are made as many as the source's."""
    if hasattr(target, "new") and len(source) and hasattr(source[0], "location"):
        while len(target) < len(source):
            target.new(0.0, 0.0)
        while len(target) > len(source):
            target.remove(target[len(target) - 1])
    for one, other in zip(source, target, strict=False):
        _copy_rna(one, other, {"rna_type", "select"})
