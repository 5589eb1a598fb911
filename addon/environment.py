# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Python the worker runs in. Knows nothing of Blender; starts no process, so it may be asked at any time."""

from __future__ import annotations

import json
import os
import stat
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..core.messages import InputError

VARIABLE = "LENTO_PYTHON"
FOLDER = "lento-env"
MARKER = "lento.json"
"""Written into an environment when it is complete; see core/environment/installer.py."""
ABSENT = "is not there"


@dataclass(frozen=True)
class WorkerPython:
    """A Python interpreter, and where it was found."""

    path: Path
    origin: str


@dataclass(frozen=True)
class Environment:
    """The environment that Lento makes, there or not."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "Scripts" / "python.exe" if os.name == "nt" else self.folder / "bin" / "python"

    @property
    def exists(self) -> bool:
        """Whether one was begun."""
        return any(os.path.exists(self.folder / name) for name in ("pyvenv.cfg", MARKER))

    @property
    def about(self) -> dict[str, str]:
        """What it says of itself; empty where it is not complete."""
        try:
            told: dict[str, str] = json.loads((self.folder / MARKER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return told

    @property
    def problem(self) -> str:
        """What keeps it from being used, as a sentence; empty where nothing does, or where there is none."""
        if not self.exists:
            return ""
        about = self.about
        if not about:
            return f"The environment {self.folder} is not complete: press Create Environment to go on with it."
        wrong = _what_is_wrong(self.python)  # a link to its base Python, on systems that have links
        if wrong:
            lost = "is gone, as after an update of Blender" if wrong == ABSENT else wrong
            return (
                f"The environment {self.folder} was made with {about.get('base', 'a Python')}, which {lost}: press "
                "Create Environment to make it anew."
            )
        return ""


def _what_is_wrong(python: Path) -> str:
    """Why a Python cannot be used, in a few words; empty where nothing is wrong with its file."""
    try:
        return "" if stat.S_ISREG(python.stat().st_mode) else ABSENT
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    except (OSError, ValueError) as error:
        return f"cannot be looked at ({getattr(error, 'strerror', None) or error})"


def find(preferred: str, user_folder: Path) -> WorkerPython:
    """The worker's Python: LENTO_PYTHON, else the preference, else the environment that Lento made, else our own.

    Raises InputError where a named one is not there, the environment is damaged, or none is left.
    """
    named = ((os.environ.get(VARIABLE, ""), f"the environment variable {VARIABLE}"), (preferred, "Lento's preferences"))
    for text, origin in named:
        if text:
            path = Path(text).expanduser()
            wrong = _what_is_wrong(path)
            if wrong:
                raise InputError(f"The worker's Python {path}, named in {origin}, {wrong}: correct it, or clear it.")
            return WorkerPython(path, origin)
    made = Environment(user_folder / FOLDER)
    if made.problem:
        raise InputError(made.problem)
    if made.exists:
        return WorkerPython(made.python, str(made.folder))
    if sys.executable and all(find_spec(name) for name in ("cv2", "av", "numpy")):
        return WorkerPython(Path(sys.executable), "Blender's own Python")
    raise InputError(
        "Lento has no Python for its worker yet: press Create Environment in its panel or preferences, or name one "
        f"that has the packages there or in {VARIABLE}."
    )
