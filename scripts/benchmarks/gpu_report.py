# SPDX-License-Identifier: GPL-3.0-or-later
"""What `scripts/bench gpu` tries, and what it tells: a check that fails is told in its place, and the others go on."""

from __future__ import annotations

import gc
import itertools
import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch

from core.engines import Frame, Settings, create
from core.engines.base import Pixels
from core.engines.network import NetworkEngine
from scripts.clips import draw
from scripts.made_weights import LAYOUTS, checkpoint_of

NAMES = ("lento", *LAYOUTS, "superslomo", "superslomo_light", "dain")
LONGEST = 100
"""Characters of an error in its cell."""

Size = tuple[int, int]
"""Width, height."""

_numbers = itertools.count()


@dataclass(frozen=True)
class Cell:
    """What a check found."""

    text: str
    value: Any = None
    """The same for the JSON file."""
    ok: bool = True


class Report:
    """Tables on stdout, a row at once; the same as JSON; what failed."""

    def __init__(self, file: Path | None) -> None:
        self.failed: list[str] = []
        self._file, self._began = file, time.perf_counter()
        self._tables: dict[str, dict[str, dict[str, Any]]] = {}
        self._title, self._columns = "", list[str]()

    def table(self, title: str, about: str, columns: list[str]) -> None:
        """Begin a table, and say what stands in it."""
        self._title, self._columns = title, columns
        self._tables[title] = {}
        print(
            f"\n{title}: {about}\n\n| | {' | '.join(columns)} | seconds |\n|{'---|' * (len(columns) + 2)}", flush=True
        )

    def row(self, name: str, checks: Mapping[str, Callable[[], Cell]]) -> None:
        """Do the checks of a row, each for itself, and tell them; columns without a check stay empty."""
        began = time.perf_counter()
        cells = {column: self._done(f"{self._title}: {name}: {column}", check) for column, check in checks.items()}
        seconds = round(time.perf_counter() - began, 1)
        texts = [cells[column].text if column in cells else "" for column in self._columns]
        print(f"| {name} | {' | '.join(texts)} | {seconds} |", flush=True)
        found = {column: {"text": cell.text, "value": cell.value, "ok": cell.ok} for column, cell in cells.items()}
        self._tables[self._title][name] = {**found, "seconds": seconds}
        self.save()

    def save(self) -> None:
        """Write all that is known so far as JSON, where a file was named."""
        if self._file:
            about = {"seconds": round(time.perf_counter() - self._began, 1), "failed": self.failed}
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(json.dumps({**about, "tables": self._tables}, indent=1) + "\n", encoding="utf-8")

    def end(self) -> None:
        """Say what failed. Raises SystemExit where something did."""
        self.save()
        print(f"\n{time.perf_counter() - self._began:.0f} s; {len(self.failed)} checks failed", flush=True)
        for check in self.failed:
            print(f"- {check}", flush=True)
        if self.failed:
            raise SystemExit(1)

    def _done(self, what: str, check: Callable[[], Cell]) -> Cell:
        try:
            cell = check()
        except Exception as error:  # told in its place, and the other checks are done all the same
            print(f"\n{what}", file=sys.stderr)
            traceback.print_exc()
            sys.stderr.flush()
            lines = str(error).strip().splitlines() or [""]
            cell = Cell(f"{type(error).__name__}: {lines[0][:LONGEST]}".replace("|", "/"), None, False)
        else:
            if not cell.ok:
                cell = Cell(f"**{cell.text}**", cell.value, False)
        if not cell.ok:
            self.failed.append(f"{what}: {cell.text}")
        return cell


@dataclass(frozen=True)
class Network:
    """One that is tried, with the weights that are bundled, named, or made."""

    name: str
    folder: Path
    """For made weights."""
    named: str = ""

    @property
    def engine_id(self) -> str:
        """Of the engine that runs it."""
        return "rife" if self.name in LAYOUTS else self.name

    @property
    def weights(self) -> str:
        """The checkpoint, as a Job names it."""
        if self.named or self.name == "lento":
            return self.named
        file = self.folder / f"{self.name}.pkl"
        if not file.exists():
            torch.save(checkpoint_of(self.name), file)
        return str(file)

    def engine(
        self, device: str, precision: str = "auto", tell: Callable[[str], None] = lambda text: None
    ) -> NetworkEngine:
        """An engine with it."""
        engine = cast(NetworkEngine, create(self.engine_id, Settings(self.weights, device, precision, tell=tell)))
        if hasattr(engine.module, "by_size"):
            engine.module.by_size = True  # type: ignore[assignment]  # made weights leave it to chance which is better
        return engine


def frames(size: Size) -> tuple[Frame, Frame]:
    """Two frames, with new numbers: engines keep what they made of a frame under its number."""
    first, second = (Frame(next(_numbers), picture) for picture in _pictures(size))
    return first, second


@lru_cache(maxsize=4)
def _pictures(size: Size) -> list[Pixels]:
    return [cv2.resize(draw(index, (480, 270)), size).astype(np.float32) / 255 for index in (3, 4)]


def on_cuda(device: str) -> bool:
    """Whether the memory of the device can be asked for and limited."""
    return torch.device(device).type == "cuda"


def release(device: str) -> None:
    """Give back the memory of what is not used any more."""
    gc.collect()
    with suppress(RuntimeError):  # what broke the device is told by the checks
        if on_cuda(device):
            torch.cuda.empty_cache()


def memory_taken(do: Callable[[], object], device: str) -> int | None:
    """Bytes of the device's memory that are in use at the most, beside those that were, while something is done."""
    if not on_cuda(device):
        do()
        return None
    release(device)
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    do()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before
