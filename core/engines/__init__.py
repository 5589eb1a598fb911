# SPDX-License-Identifier: GPL-3.0-or-later
"""The engines: one file or folder each, found here by their id and imported only when asked for."""

from __future__ import annotations

from importlib import import_module

from ..job import NETWORKS
from ..messages import InputError
from .base import Engine, EngineInfo, Frame, Parallel, Pixels, Settings

__all__ = ["ENGINES", "Engine", "EngineInfo", "Frame", "Parallel", "Pixels", "Settings", "create"]

# id -> module and class; the modules of engines that need PyTorch are the only ones that import it
ENGINES: dict[str, tuple[str, str]] = {
    "lento": (".lento", "Lento"),
    "flow": (".flow", "Flow"),
    "blend": (".simple", "Blend"),
    "nearest": (".simple", "Nearest"),
    "rife": (".rife", "Rife"),
    "superslomo": (".superslomo", "SuperSloMo"),
    "superslomo_light": (".superslomo", "SuperSloMoLight"),
    "dain": (".dain", "Dain"),
}


def create(engine_id: str, settings: Settings | None = None) -> Engine:
    """The engine of that id, ready for its first pair.

    Raises InputError for an id that is in no list, for settings that it cannot run with, and for wrong weights.
    """
    if engine_id not in ENGINES:
        raise InputError(f"There is no engine {engine_id!r}: choose one of {', '.join(ENGINES)}.")
    module, name = ENGINES[engine_id]
    try:
        made = getattr(import_module(module, __name__), name)
    except ModuleNotFoundError as error:
        if engine_id not in NETWORKS or error.name not in ("torch", "safetensors"):
            raise
        raise InputError(
            f"The engine {engine_id!r} needs {error.name}, which the worker's Python does not have: create an "
            "environment that has PyTorch, or choose the engine flow."
        ) from error
    engine: Engine = made(settings or Settings()) if engine_id in NETWORKS else made()
    return engine
