# SPDX-License-Identifier: GPL-3.0-or-later
"""Which engines the worker's Python can run. Knows nothing of Blender."""

from __future__ import annotations

from pathlib import Path

from ..core.job import NEED_WEIGHTS
from . import answers


def lacking(python: Path, engine: str, weights: str) -> str | None:
    """What the engine cannot run without in that Python, as a part of a sentence; empty where it can run.

    None where nobody knows yet: the Python is asked now.
    """
    if engine in NEED_WEIGHTS and not weights:
        return "a checkpoint, named as Weights"
    listed = answers.of(python, "engines", "--json")
    if listed is None:
        return None
    return next((str(one["lacks"]) for one in listed if one["id"] == engine), "")
