# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Python the worker runs in. Knows nothing of Blender; starts no process, so it may be asked at any time."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..core.messages import InputError

MANUAL = Path(__file__).resolve().parent.parent / "docs" / "installation.md"
"""The page on the worker's Python; the manual is part of the extension."""
VARIABLE = "LENTO_PYTHON"
FOLDER = "lento-env"


@dataclass(frozen=True)
class WorkerPython:
    """A Python interpreter, and where it was found."""

    path: Path
    origin: str


def find(preferred: str, user_folder: Path) -> WorkerPython:
    """The worker's Python: the preference, else LENTO_PYTHON, else `lento-env` in the user's folder, else our own.

    Raises InputError where a named one is not there, or none is left.
    """
    named = ((preferred, "Lento's preferences"), (os.environ.get(VARIABLE, ""), f"the environment variable {VARIABLE}"))
    for text, origin in named:
        if text:
            path = Path(text).expanduser()
            if not path.is_file():
                raise InputError(
                    f"The worker's Python {path}, named in {origin}, is not there: correct it, or clear it."
                )
            return WorkerPython(path, origin)
    for path in (user_folder / FOLDER / "bin" / "python", user_folder / FOLDER / "Scripts" / "python.exe"):
        if path.is_file():
            return WorkerPython(path, str(user_folder / FOLDER))
    if sys.executable and all(find_spec(name) for name in ("cv2", "av", "numpy")):
        return WorkerPython(Path(sys.executable), "Blender's own Python")
    raise InputError(
        "Lento has no Python for its worker: name one with opencv-python-headless and av in Lento's preferences, or "
        f"set {VARIABLE}. How to make one: {MANUAL}"
    )
