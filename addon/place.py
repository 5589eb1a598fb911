# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a strip lies: in the sequencer, or in a meta strip. Both hold strips, and channels that can be locked."""

from __future__ import annotations

from typing import Any


def metas_around(scene: Any, strip: Any) -> list[Any]:
    """The meta strips that the strip lies in, the outermost first; none where it lies in the sequencer itself."""

    def search(strips: Any) -> list[Any] | None:
        if strip in strips.values():
            return []
        for other in strips:
            if other.type == "META" and (inner := search(other.strips)) is not None:
                return [other, *inner]
        return None

    return search(scene.sequence_editor.strips) or []


def holder_of(scene: Any, strip: Any) -> Any:
    """The innermost of them, else the sequencer."""
    return [scene.sequence_editor, *metas_around(scene, strip)][-1]


def container_of(scene: Any, strip: Any) -> Any:
    """The collection of strips that the strip lies in."""
    return holder_of(scene, strip).strips


def channels_of(scene: Any, strips: Any) -> Any:
    """The channels that a collection of strips lies on."""
    return holder_of(scene, strips[0]).channels
