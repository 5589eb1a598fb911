# SPDX-License-Identifier: GPL-3.0-or-later
"""Making and looking at timelines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from scripts.in_blender import MODULE, rendered

BITS = 12


def lento(name: str) -> Any:
    """A module of the installed extension."""
    return sys.modules[f"{MODULE}.{name}"]


def add_movie(scene: Any, path: Path, channel: int = 2, start: int = 1, name: str = "Clip") -> Any:
    """A movie strip, selected and active."""
    strip = scene.sequence_editor.strips.new_movie(name, str(path), channel, start)
    select(scene, strip)
    return strip


def add_images(scene: Any, folder: Path, channel: int = 2, start: int = 1, name: str = "Shots") -> Any:
    """An image strip of all files in the folder, selected and active."""
    names = sorted(entry.name for entry in folder.iterdir())
    strip = scene.sequence_editor.strips.new_image(name, str(folder / names[0]), channel, start)
    for other in names[1:]:
        strip.elements.append(other)
    select(scene, strip)
    return strip


def add_effect(scene: Any, name: str, kind: str, channel: int, *inputs: Any, start: int = 1, length: int = 48) -> Any:
    """An effect strip; one with inputs lies where they do."""
    strips = scene.sequence_editor.strips
    parameters = strips.bl_rna.functions["new_effect"].parameters
    extent = {"length": length} if "length" in parameters else {"frame_end": start + length}
    extent |= {f"input{number}": strip for number, strip in enumerate(inputs, start=1)}
    return strips.new_effect(name=name, type=kind, channel=channel, frame_start=start, **extent)


def add_color(scene: Any, name: str, channel: int, start: int, length: int) -> Any:
    """A colour strip."""
    return add_effect(scene, name, "COLOR", channel, start=start, length=length)


def select(scene: Any, strip: Any) -> None:
    """Make the strip the only selected one, and active."""
    for other in scene.sequence_editor.strips_all:
        other.select = False
    strip.select = True
    scene.sequence_editor.active_strip = strip


def times(strip: Any) -> tuple[int, int]:
    """First frame of the strip, and the frame after its last."""
    compat = lento("addon.compat")
    return compat.left(strip), compat.right(strip)


def layout(scene: Any) -> dict[str, tuple[int, int, int]]:
    """Every strip's channel, first frame and the frame after its last."""
    return {strip.name: (strip.channel, *times(strip)) for strip in scene.sequence_editor.strips_all}


def number_shown(scene: Any, frame: int) -> int:
    """The number that the clips carry, read from the rendered picture."""
    picture = rendered(scene, frame)
    height, width = picture.shape[:2]
    box, middle = width // BITS, height - height // 16
    bits = [int(picture[middle, bit * box + box // 2, :3].mean() > 0.5) for bit in range(BITS)]
    return int("".join(map(str, bits)), 2)
