# SPDX-License-Identifier: GPL-3.0-or-later
"""The note on a generated strip: where it comes from."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from ..core.messages import InputError
from ..core.timing import TimeMap, constant
from .selection import absolute, as_named

PROVENANCE = "lento"
"""Custom property of a generated strip: JSON of a Provenance."""


@dataclass(frozen=True)
class Provenance:
    """Where a generated strip comes from, and what it takes to put that back."""

    schema: int
    name: str
    type: str
    media: str
    """The movie, or the folder of the image sequence, as the strip named it."""
    files: tuple[str, ...]
    range: tuple[int, int]
    """Frames of the source strip's content, counted from its hard trim."""
    trim: tuple[int, int]
    """Hard trims at both ends of the media."""
    rate: str
    """Frames of the movie per timeline frame; 1 unless the strip played the movie in its own time."""
    factor: str
    engine: str
    job: str
    """The folder of the frames."""
    placement: str
    kept: str = ""
    """Id of the original, which stays on the timeline, muted, where it cannot be made again from its media."""
    time: dict[str, Any] | None = None
    """The time map (timing.TimeMap.as_json); a constant factor where it is missing."""
    sounds: tuple[dict[str, Any], ...] = ()
    """The sound strips of the range, as sounds.take_out tells them, which stretched ones have taken the place of."""
    mixed: str = ""
    """The file of what was to be heard in the source strip itself, which has a strip of its own now."""
    pushed: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The strips that had to move to another channel, as room.ripple tells them."""
    note: str = ""
    """The source strip's own note, where that was generated, too."""
    base: str = ""
    """Folder of the .blend when this was noted, which paths that begin with // are relative to."""
    proxy: dict[str, Any] | None = None
    """The settings of the source strip's proxies; None where it used none."""

    @property
    def times(self) -> TimeMap:
        """The time map."""
        frames = self.range[1] - self.range[0]
        return TimeMap.from_json(self.time) if self.time else constant(frames, Fraction(self.factor))


def provenance_of(strip: Any) -> Provenance:
    """Where a generated strip comes from, with paths as strips of this file name them.

    Raises InputError where the strip was not made by Lento.
    """
    text = strip.get(PROVENANCE)
    if not text:
        raise InputError(f"The strip {strip.name!r} was not made by Lento, so there is no original to restore.")
    try:
        return _named_now(Provenance(**json.loads(text)))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The note on the strip {strip.name!r} about its original cannot be read ({error})."
        ) from error


def _named_now(origin: Provenance) -> Provenance:
    """The same after the .blend was saved in another folder: Blender changes paths of strips, not what notes say."""

    def now(path: str) -> str:
        there = os.path.join(origin.base, path[2:])
        moved = path.startswith("//") and origin.base and not os.path.exists(absolute(path)) and os.path.exists(there)
        return as_named(os.path.abspath(there)) if moved else path

    sounds = tuple({**told, "path": now(told["path"])} for told in origin.sounds)
    return replace(origin, media=now(origin.media), sounds=sounds)
