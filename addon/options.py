# SPDX-License-Identifier: GPL-3.0-or-later
"""Options declared in dataclasses -> Blender's properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import bpy

from ..core.job import Job, Option, Placement, options
from ..core.messages import InputError
from ..core.timing import factor_from_float

OPTIONS: dict[str, tuple[Field[Any], Option]] = {
    declared.name: (declared, spec) for cls in (Job, Placement) for declared, spec in options(cls)
}


LONGEST_WRITTEN = 1e9
"""Numbers up to which a message writes all the digits."""
INFINITE = 3.4e38
"""Single precision ends here, and Blender makes that of infinity."""


def properties(**common: Any) -> dict[str, Any]:
    """A Blender property for every option, as a class's annotations."""
    return {name: _property(declared, spec, common) for name, (declared, spec) in OPTIONS.items()}


def _property(declared: Field[Any], spec: Option, common: dict[str, Any]) -> Any:
    if spec.choices:
        items = [(choice.id, choice.label, choice.help) for choice in spec.choices]
        return bpy.props.EnumProperty(
            name=spec.label, description=spec.help, items=items, default=declared.default, **common
        )
    if spec.is_path:
        return bpy.props.StringProperty(name=spec.label, description=spec.help, subtype="FILE_PATH", **common)
    if isinstance(declared.default, bool):
        return bpy.props.BoolProperty(name=spec.label, description=spec.help, default=declared.default, **common)
    if isinstance(declared.default, int):
        return bpy.props.IntProperty(
            name=spec.label,
            description=spec.help,
            default=declared.default,
            soft_min=int(spec.minimum or 0),
            soft_max=int(spec.usual_maximum or 1000),
            **common,
        )
    if isinstance(declared.default, Fraction):
        # soft limits only: a hard one would turn a script's wrong value into a right one without a word
        return bpy.props.FloatProperty(
            name=spec.label,
            description=spec.help,
            default=float(declared.default),
            soft_min=float(spec.minimum or 0),
            soft_max=float(spec.usual_maximum or 100),
            step=50,
            precision=3,
            **common,
        )
    raise TypeError(f"no Blender property for the option {declared.name!r}")


def _in_words(value: float) -> str:
    if abs(value) < INFINITE:
        return f"{value:.3g}"
    return "infinity" if value > 0 else "minus infinity"


def _limits(spec: Option) -> str:
    return f"it goes from {spec.minimum} to {spec.maximum}"


def holders(given: Any, names: Sequence[str], settings: Any) -> dict[str, Any]:
    """Where the value of every option is: in `given` for those `names`, else in the scene's settings.

    A factor, a length or an ease that is given says which time is meant, unless that is given, too. Raises InputError
    for an option that is given and would have no effect.
    """
    found = {name: given if name in names else settings for name in OPTIONS}
    time = found["time"].time
    timed = {name: spec.times for name, (_, spec) in OPTIONS.items() if name in names and spec.times}
    if "time" not in names:
        for times in timed.values():
            time = time if time in times else times[0]
    for name, times in timed.items():
        if time not in times:
            raise InputError(
                f"{name}: it means nothing to the time {time!r}: leave it out, or choose the time {' or '.join(times)}."
            )
    if "ramp" in names and found["ease"].ease == "none":
        raise InputError(
            "ramp: it means nothing without an eased end: leave it out, or choose the ease in, out or both."
        )
    return {**found, "time": SimpleNamespace(time=time)}


def chosen(holders: dict[str, Any]) -> tuple[dict[str, Any], Placement]:
    """The values of all options, each read from its holder: a Job's as its fields, and the host's.

    Raises InputError for a value that is none, or out of its range.
    """
    values = {name: getattr(holder, name) for name, holder in holders.items()}
    for name, value in values.items():
        if type(value) is float:
            if abs(value) > LONGEST_WRITTEN:
                wrong = "large" if value > 0 else "small"
                raise InputError(f"{name}: {_in_words(value)} is too {wrong}, {_limits(OPTIONS[name][1])}.")
            try:
                values[name] = factor_from_float(value)
            except ValueError as error:
                raise InputError(f"{name}: {error}.") from error
    for name, value in values.items():
        declared, spec = OPTIONS[name]
        spec.check(name, value)
        if not spec.is_for(values["engine"]):
            values[name] = declared.default  # the panel hides it, and keeps it for the engine that has it
    hosts = {declared.name for declared, _ in options(Placement)}
    placement = Placement(**{name: value for name, value in values.items() if name in hosts})
    return {name: value for name, value in values.items() if name not in hosts}, placement
