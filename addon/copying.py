# SPDX-License-Identifier: GPL-3.0-or-later
"""What one strip has -> another strip: settings, modifiers, animation.

Through RNA's own description of its properties, so that what a later Blender adds is copied too; the operator that
copies modifiers would need a sequencer on the screen, and the user may have closed it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import compat
from .time_options import SPEED

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
    """Transform, crop, blending, colour, colour space, modifiers, mute, lock, tag; not those in `but`."""
    _copy_rna(source, target, _NOT_SETTINGS | set(but))
    for modifier in source.modifiers if "modifiers" not in but else ():
        _copy_rna(modifier, target.modifiers.new(modifier.name, modifier.type), {"rna_type", "type"})


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


def _stays(frame: float) -> float:
    return frame


def copy_animation(scene: Any, source: Any, target: Any, when: Callable[[float], float]) -> None:
    """Copy the strip's F-curves; a key at frame f goes to frame `when(f)`."""
    curves = compat.fcurves(scene)
    if curves is None:
        return
    prefix, new_prefix = source.path_from_id() + ".", target.path_from_id() + "."
    for curve in [curve for curve in curves if curve.data_path.startswith(prefix)]:
        setting = curve.data_path[len(prefix) :]
        if not hasattr(target, setting.split(".")[0].split("[")[0]):
            continue  # a text's size, a speed effect's factor: not a setting of the other kind of strip
        path, moved = new_prefix + setting, when
        if setting == SPEED:
            moved = _stays  # it is drawn over the time that comes out; restoring brings it back
        copy = curves.find(path, index=curve.array_index) or curves.new(path, index=curve.array_index)
        copy.extrapolation = curve.extrapolation
        copy.keyframe_points.add(len(curve.keyframe_points))
        for key, new in zip(curve.keyframe_points, copy.keyframe_points, strict=True):
            for name in (
                "interpolation",
                "easing",
                "back",
                "amplitude",
                "period",
                "type",
                "handle_left_type",
                "handle_right_type",
            ):
                setattr(new, name, getattr(key, name))
            for name in ("co", "handle_left", "handle_right"):
                x, y = getattr(key, name)
                setattr(new, name, (moved(x), y))
        copy.update()


def move_animation(scene: Any, strip: Any, frames: int) -> None:
    """Move the strip's keys in time."""
    curves = compat.fcurves(scene) if frames else None
    prefix = strip.path_from_id() + "."
    for curve in curves or ():
        if curve.data_path.startswith(prefix):
            for key in curve.keyframe_points:
                key.co_ui.x += frames  # with its handles
