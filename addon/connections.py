# SPDX-License-Identifier: GPL-3.0-or-later
"""Strips that are connected, so that they move together: they still do when they were cut, slowed and restored.

A cut takes the connections of a strip away. So what belongs together is marked before, and a cut copies the mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bpy

from . import compat, selection
from .place import container_of, metas_around

GROUP = "lento_group"
"""Custom property while the timeline is edited: number of the strip's group, and 1 for the strip that leads it."""


def mark(strips: Any, picture: Any) -> None:
    """Mark what is connected with the picture, and what is with each of its sounds."""
    for strip in strips:
        leave(strip)  # an edit that failed in its middle may have left its marks
    sounds = selection.companion_sounds(strips, picture)
    for number, strip in enumerate((picture, *sounds)):
        if GROUP in strip:
            continue
        if compat.tells_connections():
            others = compat.connected(strip)
        else:
            # Blender connects a movie with its sound, and the parts of both; those of earlier cuts play at other times
            middle = (compat.left(picture) + compat.right(picture)) // 2
            others = [sound for sound in sounds if compat.left(sound) <= middle < compat.right(sound)]
            others = others if strip == picture else []
        for other in others:
            other[GROUP] = (number, 0)
        if others:
            strip[GROUP] = (number, 1)


def inherit(old: Any, new: Any) -> None:
    """Let the new strip take the old one's place in its group."""
    if GROUP in old:
        new[GROUP] = tuple(old[GROUP])


def attach(picture: Any, sound: Any) -> None:
    """Take the sound into the picture's group."""
    if GROUP not in picture:
        picture[GROUP] = (-1, 1)
    sound[GROUP] = (picture[GROUP][0], 0)


def leave(strip: Any) -> None:
    """Take the strip out of its group."""
    if GROUP in strip:
        del strip[GROUP]


def together(one: Any, other: Any) -> bool:
    """Whether the two are marked as of one group."""
    return GROUP in one and GROUP in other and one[GROUP][0] == other[GROUP][0]


def join(scene: Any, strips: Any, start: int | None = None, end: int | None = None) -> None:
    """Connect each group's strips and take the marks away; those before frame `start`, and from `end` on, apart."""
    groups: dict[int, list[list[Any]]] = {}
    leading: set[str] = set()
    for strip in strips:
        if GROUP not in strip:
            continue
        number, leads = strip[GROUP]
        del strip[GROUP]
        left = compat.left(strip)
        place = (left >= start) + (left >= end) if start is not None and end is not None else 1
        groups.setdefault(number, [[], [], []])[place].append(strip)
        if leads:
            leading.add(strip.name)
    for before, within, after in groups.values():
        for part in (before, after):
            if leading.isdisjoint(strip.name for strip in part):
                within += part
            elif len(part) > 1:
                connect(scene, part)
        if len(within) > 1:
            connect(scene, within)


def connect(scene: Any, strips: Sequence[Any]) -> None:
    """Connect strips that lie beside each other, and no longer with any others; what is selected stays so."""
    editor = scene.sequence_editor
    metas, beside = metas_around(scene, strips[0]), container_of(scene, strips[0])
    meta, shown = metas[-1] if metas else None, editor.meta_stack[-1] if editor.meta_stack else None
    active, selected = editor.active_strip, {strip.name for strip in beside if strip.select}
    for strip in beside:
        strip.select = strip in strips
    if shown != meta:
        editor.display_stack(meta)  # the operator sees only what the sequencer shows
    try:
        with compat.edited(scene):
            bpy.ops.sequencer.connect(toggle=False)
    finally:
        if shown != meta:
            editor.display_stack(shown)
        editor.active_strip = active
        for strip in beside:
            strip.select = strip.name in selected
