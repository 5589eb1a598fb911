# SPDX-License-Identifier: GPL-3.0-or-later
"""The engines: one file or folder each, found here by their id and imported only when asked for."""

from __future__ import annotations

from importlib import import_module

from ..messages import InputError
from .base import Engine, EngineInfo, Frame, Pixels

__all__ = ["ENGINES", "Engine", "EngineInfo", "Frame", "Pixels", "create"]

# id -> module and class; the module of an engine that needs PyTorch is the only one that imports it
ENGINES: dict[str, tuple[str, str]] = {
    "flow": (".flow", "Flow"),
    "blend": (".simple", "Blend"),
    "nearest": (".simple", "Nearest"),
}


def create(engine_id: str) -> Engine:
    """The engine of that id, ready for its first pair.

    Raises InputError for an id that is in no list.
    """
    if engine_id not in ENGINES:
        raise InputError(f"There is no engine {engine_id!r}: choose one of {', '.join(ENGINES)}.")
    module, name = ENGINES[engine_id]
    engine: Engine = getattr(import_module(module, __name__), name)()
    return engine
