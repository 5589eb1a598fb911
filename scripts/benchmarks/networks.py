# SPDX-License-Identifier: GPL-3.0-or-later
"""What every engine costs on this machine's processor: seconds, and multiply-adds of its convolutions.

A frame by all cores; and of engines that make a pair on each core, a pair and a timestep by themselves.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch

from core.engines import Engine, Frame, Settings, create
from core.engines.base import Parallel
from core.engines.lento import bundled
from core.networks.checkpoints import MULTIPLY_ADDS_AT, Checkpoint, open_checkpoint
from scripts.clips import draw
from scripts.made_weights import LAYOUTS, checkpoint_of

SIZE = (1280, 720)
NAMES = ("flow", "lento", *LAYOUTS, "superslomo_light", "superslomo", "dain")
FACTOR = 4
SLOW = 20.0
"""Seconds a frame from which on one frame of a pair is enough to measure."""
REPEATS = 3


def print_table(names: Sequence[str]) -> None:
    """Print a row for every engine; networks of other people's have made weights, which cost the same."""
    share = SIZE[0] * SIZE[1] / (MULTIPLY_ADDS_AT[0] * MULTIPLY_ADDS_AT[1])
    print(
        f"{SIZE[0]}x{SIZE[1]}, {FACTOR}x, {torch.get_num_threads()} threads, seconds a frame, the pair's part included"
    )
    print(f"{'engine':18} {'GMAC a pair':>12} {'and a frame':>12} {'fp32':>8} {'bf16':>8}")
    parallel = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            checkpoint = _checkpoint(name, Path(folder))
            pair, frame = checkpoint.multiply_adds() if checkpoint else (0, 0)
            gmacs = [f"{share * count / 1e9:.1f}" if checkpoint else "" for count in (pair, frame)]
            seconds = []
            for precision in _precisions(checkpoint):
                engine = _engine(name, checkpoint, precision)
                seconds.append(f"{_seconds(engine):.2f}")
            if isinstance(engine, Parallel) and engine.parallel:
                parallel.append(name)
            cells = [f"{cell:>12}" for cell in gmacs] + [f"{cell:>8}" for cell in seconds]
            print(f"{name:18} {' '.join(cells)}", flush=True)
    if parallel:
        _print_pairs(parallel)


def _precisions(checkpoint: Checkpoint | None) -> tuple[str, ...]:
    return ("fp32", "bf16") if checkpoint else ("fp32",)


def _print_pairs(names: Sequence[str]) -> None:
    """Print a row for every precision of engines that make a pair on each core, as a job has them do.

    And what eight-fold costs beside two-fold.
    """
    cores = os.cpu_count() or 1
    print(f"\n{SIZE[0]}x{SIZE[1]}, {cores} pairs at once, seconds of all by their number")
    print(f"{'engine':18} {'precision':>12} {'a pair':>8} {'a timestep':>12} {'8x by 2x':>10}")
    for name in names:
        checkpoint = _checkpoint(name, Path())
        for precision in _precisions(checkpoint):
            pair, frame = _apart(_engine(name, checkpoint, precision), cores)
            ratio = (pair + 7 * frame) / (pair + frame)
            print(f"{name:18} {precision:>12} {pair:8.2f} {frame:12.3f} {ratio:10.2f}", flush=True)


def _apart(engine: Engine, cores: int) -> tuple[float, float]:
    """Seconds a pair and a timestep, the least of some, `cores` of them made at once."""
    assert isinstance(engine, Parallel)
    engine.one_core()
    times = (0.25, 0.5)
    pair = frame = float("inf")
    with ThreadPoolExecutor(cores) as pool:
        for repeat in range(REPEATS):
            firsts, lasts = zip(*(_frames(2 * (repeat * cores + core)) for core in range(cores)), strict=True)
            began = time.perf_counter()
            states = list(pool.map(engine.prepare, firsts, lasts, [times] * cores))
            pair = min(pair, (time.perf_counter() - began) / cores)
            for t in times:
                began = time.perf_counter()
                list(pool.map(engine.synthesize, states, [t] * cores))
                frame = min(frame, (time.perf_counter() - began) / cores)
    return pair, frame


def _checkpoint(name: str, folder: Path) -> Checkpoint | None:
    if name == "flow":
        return None
    if name == "lento":
        return bundled()
    file = folder / f"{name}.pkl"
    torch.save(checkpoint_of(name), file)
    return open_checkpoint(file)


def _engine(name: str, checkpoint: Checkpoint | None, precision: str) -> Engine:
    if checkpoint is None:
        return create(name)
    weights = "" if name == "lento" else str(checkpoint.path)
    return create(checkpoint.network, Settings(weights, "cpu", precision))


def _seconds(engine: Engine) -> float:
    """The least of some pairs, each with the frames that FACTOR needs, or with one where that is slow."""
    times: Sequence[float] = [step / FACTOR for step in range(1, FACTOR)]
    best = float("inf")
    for repeat in range(REPEATS):
        began = time.perf_counter()
        pair = engine.prepare(*_frames(2 * repeat), times)
        for count, t in enumerate(times, start=1):
            engine.synthesize(pair, t)
            if repeat == 0 and time.perf_counter() - began > SLOW * count:
                return (time.perf_counter() - began) / count
        best = min(best, (time.perf_counter() - began) / len(times))
    return best


def _frames(first: int) -> tuple[Frame, Frame]:
    """Two frames with numbers of their own: engines keep what they made of a frame under its number."""
    pictures = [cv2.resize(draw(first + index, (480, 270)), SIZE).astype(np.float32) / 255 for index in (0, 1)]
    return Frame(first, pictures[0]), Frame(first + 1, pictures[1])
