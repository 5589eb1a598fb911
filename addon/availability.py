# SPDX-License-Identifier: GPL-3.0-or-later
"""Which engines the worker's Python can run. Knows nothing of Blender.

A Python is asked once, in a thread, since its answer takes as long as it takes to start; until then nothing is known.
"""

from __future__ import annotations

import json
import logging
import subprocess
import threading
from pathlib import Path

from ..core.job import NEED_WEIGHTS
from . import job_runner

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 60.0
"""Seconds that a Python may take to answer."""

_lacks: dict[Path, dict[str, str]] = {}
_asked: set[Path] = set()


def lacking(python: Path, engine: str, weights: str) -> str | None:
    """What the engine cannot run without in that Python, as a part of a sentence; empty where it can run.

    None where nobody knows yet: the Python is asked now.
    """
    if engine in NEED_WEIGHTS and not weights:
        return "a checkpoint, named as Weights"
    if python in _lacks:
        return _lacks[python].get(engine, "")
    if python not in _asked:
        _asked.add(python)
        threading.Thread(target=_ask, args=(python,), name="lento-engines", daemon=True).start()
    return None


def forget() -> None:
    """Ask again: packages may have been installed."""
    _lacks.clear()
    _asked.clear()


def _ask(python: Path) -> None:
    try:
        answer = job_runner.ask([str(python), "-s", "-m", "core", "engines", "--json"], ROOT, LONGEST)
        _lacks[python] = {engine["id"]: engine["lacks"] for engine in json.loads(answer)}
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        # not a reason to keep anybody from starting a job, which will say what is wrong
        log.warning("%s does not say which engines it can run: %s", python, error)
