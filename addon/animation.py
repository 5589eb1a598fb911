# SPDX-License-Identifier: GPL-3.0-or-later
"""A strip's animation: onto another strip, also by way of plain data where the strip is gone in the meantime."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from . import compat, plain
from .time_options import SPEED

_KEY = ("interpolation", "easing", "back", "amplitude", "period", "type", "handle_left_type", "handle_right_type")
_POINTS = ("co", "handle_left", "handle_right")


def animation_of(scene: Any, strip: Any) -> list[dict[str, Any]]:
    """The strip's F-curves, with their modifiers, and its drivers, as `animate` takes them; JSON holds it."""
    prefix = strip.path_from_id()
    curves = [*(compat.fcurves(scene) or ()), *compat.drivers(scene)]
    return [_curve(curve, strip, prefix) for curve in curves if curve.data_path.startswith(prefix)]


def animate(scene: Any, strip: Any, animation: Iterable[dict[str, Any]], when: Callable[[float], float]) -> None:
    """Give the strip what `animation_of` told of another; what was at frame f goes to frame `when(f)`."""
    prefix = strip.path_from_id()
    for one in animation:
        if not _has(strip, one["setting"]):
            continue  # a text's size, a speed effect's factor: not a setting of the other kind of strip
        path, moved = prefix + one["setting"], when
        if one["driver"] or one["setting"] == f".{SPEED}":
            # a driver's curve is not over time, and Speed is drawn over the time that comes out
            moved = _stays
        if one["driver"]:
            curve = compat.new_driver(scene, path, one["index"])
            _drive(curve.driver, one["driver"], scene, prefix)
        else:
            curve = compat.new_fcurve(scene, path, one["index"])
        plain.put(curve, one["settings"])
        curve.keyframe_points.add(len(one["keys"]))
        for told, key in zip(one["keys"], curve.keyframe_points, strict=True):
            for name in _KEY:
                setattr(key, name, told[name])
            for name in _POINTS:
                x, y = told[name]
                setattr(key, name, (moved(x), y))
        for told in one["modifiers"]:
            _modify(curve, told, moved)
        curve.update()


def copy_animation(scene: Any, source: Any, target: Any, when: Callable[[float], float]) -> None:
    """Copy the strip's F-curves and drivers; a key at frame f goes to frame `when(f)`."""
    animate(scene, target, animation_of(scene, source), when)


def move_animation(scene: Any, strip: Any, frames: int) -> None:
    """Move the strip's keys in time."""
    curves = compat.fcurves(scene) if frames else None
    prefix = strip.path_from_id()
    for curve in curves or ():
        if curve.data_path.startswith(prefix):
            for key in curve.keyframe_points:
                key.co_ui.x += frames  # with its handles


def remove(scene: Any, strips: Any, strip: Any) -> None:
    """Remove the strip with its drivers, which Blender leaves for the next strip that gets its name."""
    prefix = strip.path_from_id()
    strips.remove(strip)
    drivers = compat.drivers(scene)
    for driver in [driver for driver in drivers if driver.data_path.startswith(prefix)]:
        drivers.remove(driver)


def _stays(frame: float) -> float:
    return frame


def _has(strip: Any, setting: str) -> bool:
    try:
        strip.path_resolve(setting.removeprefix("."))
    except ValueError:
        return False
    return True


def _curve(curve: Any, strip: Any, prefix: str) -> dict[str, Any]:
    return {
        "setting": curve.data_path.removeprefix(prefix),
        "index": curve.array_index,
        "settings": plain.told(curve, "data_path", "array_index", "group", "select", "is_valid"),
        "keys": [
            {name: getattr(key, name) for name in _KEY} | {name: tuple(getattr(key, name)) for name in _POINTS}
            for key in curve.keyframe_points
        ],
        "modifiers": [
            {
                "type": modifier.type,
                "settings": plain.told(modifier),
                "points": [plain.told(point) for point in getattr(modifier, "control_points", ())],
            }
            for modifier in curve.modifiers
        ],
        "driver": _driver(curve.driver, strip, prefix) if curve.driver else None,
    }


def _modify(curve: Any, told: dict[str, Any], moved: Callable[[float], float]) -> None:
    """Put the told modifier on the curve, with the frames that it is restricted to moved."""
    settings = dict(told["settings"])
    if any(settings.get(name) for name in ("use_restricted_range", "use_frame_start", "use_frame_end")):
        start, end = settings["frame_start"], settings["frame_end"]
        settings["blend_in"] = moved(start + settings["blend_in"]) - moved(start)
        settings["blend_out"] = moved(end) - moved(end - settings["blend_out"])
        settings["frame_start"], settings["frame_end"] = moved(start), moved(end)
    modifier = curve.modifiers.new(told["type"])
    plain.put(modifier, settings)
    for point in told["points"]:
        plain.put(modifier.control_points.add(moved(point["frame"])), {"min": point["min"], "max": point["max"]})


def _driver(driver: Any, strip: Any, prefix: str) -> dict[str, Any]:
    """What a driver reads of the strip itself is told without the strip's name."""
    variables = []
    for variable in driver.variables:
        targets = []
        for target in variable.targets:
            own = target.id == strip.id_data and target.data_path.startswith(prefix)
            path = target.data_path.removeprefix(prefix) if own else target.data_path
            # the kind of data-block comes before the data-block, which has to be of that kind
            kind = {"id_type": target.id_type}
            targets.append({"own": own, "settings": kind | plain.told(target) | {"data_path": path}})
        variables.append({"settings": plain.told(variable), "targets": targets})
    return {"settings": plain.told(driver, "is_valid"), "variables": variables}


def _drive(driver: Any, told: dict[str, Any], scene: Any, prefix: str) -> None:
    plain.put(driver, told["settings"])
    for one in told["variables"]:
        variable = driver.variables.new()
        plain.put(variable, one["settings"])
        for target, of in zip(variable.targets, one["targets"], strict=True):
            plain.put(target, of["settings"])
            if of["own"]:
                target.id, target.data_path = scene, prefix + of["settings"]["data_path"]
