# SPDX-License-Identifier: GPL-3.0-or-later
"""The checkpoints that can be downloaded: core/models.toml, or another file of the same form."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from ..messages import InputError

FILE = Path(__file__).resolve().parents[1] / "models.toml"
VARIABLE = "LENTO_CATALOGUE"
"""A studio's own catalogue, with addresses inside its network."""


@dataclass(frozen=True)
class Entry:
    """One checkpoint of the catalogue."""

    id: str
    label: str
    engine: str
    licence: str
    bytes: int
    """Of the file, about."""
    url: str
    source: str
    """The authors' page."""
    sha256: str = ""
    """Empty where it is not known."""


def entries() -> list[Entry]:
    """Every checkpoint that can be downloaded. Raises InputError where the catalogue cannot be read."""
    path = Path(os.environ.get(VARIABLE) or FILE)
    try:
        listed = tomllib.loads(path.read_text(encoding="utf-8"))["model"]
        return [Entry(**entry) for entry in listed]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"The catalogue of models {path} cannot be read ({error}): correct it, or clear {VARIABLE}."
        ) from error


def named(model_id: str) -> Entry:
    """The entry of that id. Raises InputError for one that is in no list."""
    found = entries()
    for entry in found:
        if entry.id == model_id:
            return entry
    raise InputError(f"There is no model {model_id!r} to download: choose one of {', '.join(one.id for one in found)}.")
