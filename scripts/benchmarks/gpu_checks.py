# SPDX-License-Identifier: GPL-3.0-or-later
"""What a GPU makes, against what the CPU makes; and what is made where its memory does not suffice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from core.engines.base import Pixels
from core.engines.network import NetworkEngine

from .gpu_report import Cell, Network, Report, Size, frames, memory_taken, on_cuda, release

SMALL: Size = (384, 256)
SMALL_FOR = {"dain": (224, 112)}
"""Where a processor takes long; DAIN makes 256 x 128 of that."""
TIMES = (0.25, 0.5, 0.75)
STEP = 1 / 255
"""Difference that may be seen in an 8-bit picture."""
JUMPING = ("dain", "lento")
"""Networks of which pixels jump where a position crosses a whole pixel: of them, the mean of fp32 alone is judged.

DAIN with made weights jumps by 1 where its frames differ by 1e-7.
"""
MOST_MEAN = 1e-3
LEAST_PSNR = 25.0
"""Of half precision against full: made weights enlarge every difference, so that this finds what is broken alone."""
LARGE: Size = (1920, 1080)
LIMITS = (1.5, 0.95, 0.85, 0.7, 0.5)
"""Of the memory that a frame takes. At the first, timesteps do not fit together, and have to be made one by one."""


def compare(report: Report, networks: Sequence[Network], device: str) -> None:
    """Tell of every network whether the device makes what it should."""
    report.table(
        "right",
        f"fp32 against the CPU (max, mean), half against fp32 (PSNR), timesteps {TIMES} together against one by one "
        "(max), and the same again (bytes)",
        ["CPU, t = 0.5", "CPU, t = 0.25", "half", "together", "again, fp32", "again, half"],
    )
    for network in networks:
        made = _Made(network, device)
        checks: dict[str, Callable[[], Cell]] = {
            "CPU, t = 0.5": partial(made.against_cpu, 0.5),
            "CPU, t = 0.25": partial(made.against_cpu, 0.25),
            "half": made.in_half,
            "together": made.together,
            "again, fp32": partial(made.again, "fp32"),
            "again, half": partial(made.again, "auto"),
        }
        report.row(network.name, checks)
        del made, checks
        release(device)


class _Made:
    """What a network makes of two frames, once for all checks."""

    def __init__(self, network: Network, device: str) -> None:
        self._network, self._device = network, device
        self._size = SMALL_FOR.get(network.name, SMALL)
        self._engines: dict[tuple[str, str], NetworkEngine] = {}
        self._frames: dict[tuple[str, str, float], Pixels] = {}

    def against_cpu(self, t: float) -> Cell:
        """Differences of fp32."""
        return _compared(self._network, self._frame(self._device, "fp32", t), self._frame("cpu", "fp32", t))

    def in_half(self) -> Cell:
        """How near half precision is."""
        gaps = self._frame(self._device, "auto", 0.5) - self._frame(self._device, "fp32", 0.5)
        near = float(-10 * np.log10(max(float(np.mean(gaps**2)), 1e-12)))
        precision = self._engine(self._device, "auto").precision
        return Cell(f"{precision}: {near:.1f} dB", {"precision": precision, "psnr": near}, near > LEAST_PSNR)

    def together(self) -> Cell:
        """Several timesteps at once."""
        engine = self._engine(self._device, "fp32")
        if not engine.can_batch:
            return Cell("one by one")
        work = engine.prepare(*frames(self._size), TIMES)
        engine.together = len(TIMES)
        made = [engine.synthesize(work, t) for t in TIMES]
        if engine.together != len(TIMES):
            raise MemoryError("too little memory for three small frames")
        gaps = [np.abs(one - self._frame(self._device, "fp32", t)) for one, t in zip(made, TIMES, strict=True)]
        worst = float(np.max(gaps))
        return Cell(f"{worst:.1e}", worst, worst < STEP)

    def again(self, precision: str) -> Cell:
        """Whether the same frames give the same bytes."""
        before = self._frame(self._device, precision, 0.5)
        engine = self._engine(self._device, precision)
        after = engine.synthesize(engine.prepare(*frames(self._size)), 0.5)
        worst = float(np.abs(before - after).max())
        same = before.tobytes() == after.tobytes()
        return Cell("same" if same else f"{worst:.1e}", worst, same)

    def _engine(self, device: str, precision: str) -> NetworkEngine:
        if (device, precision) not in self._engines:
            self._engines[device, precision] = self._network.engine(device, precision)
        return self._engines[device, precision]

    def _frame(self, device: str, precision: str, t: float) -> Pixels:
        if (device, precision, t) not in self._frames:
            engine = self._engine(device, precision)
            made = engine.synthesize(engine.prepare(*frames(self._size)), t)
            if not np.isfinite(made).all():
                raise ValueError(f"{precision} on {device} makes numbers that are none")
            self._frames[device, precision, t] = made
        return self._frames[device, precision, t]


def run_out(report: Report, networks: Sequence[Network], device: str) -> None:
    """Let PyTorch take less memory than a large frame needs, and tell what comes of it."""
    columns = [f"{limit:.0%}" for limit in LIMITS]
    report.table(
        "memory",
        f"{LARGE[0]}x{LARGE[1]}, fp32, {len(TIMES)} timesteps, with that much of the memory that one takes: "
        "differences (max, mean), and what was told",
        ["one takes", *columns],
    )
    if not on_cuda(device):
        print(f"left out: the memory of {device} cannot be limited", flush=True)
        return
    told: list[str] = []
    for network in networks:
        scarce = _Scarce(network, device)
        checks: dict[str, Callable[[], Cell]] = {"one takes": scarce.enough}
        for limit, column in zip(LIMITS, columns, strict=True):
            checks[column] = partial(scarce.limited, limit)
        report.row(network.name, checks)
        told += scarce.told
        del scarce, checks
        release(device)
    print("\n".join(["", *told]), flush=True)


class _Scarce:
    """A network with less and less memory."""

    def __init__(self, network: Network, device: str) -> None:
        self._network, self._device = network, device
        self._whole: list[Pixels] = []
        self._taken = 0
        self.told: list[str] = []

    def enough(self) -> Cell:
        """With all of the memory: what the others are compared with."""
        engine = self._network.engine(self._device, "fp32")
        whole: list[Pixels] = []
        taken = memory_taken(
            lambda: whole.append(engine.synthesize(engine.prepare(*frames(LARGE)), TIMES[0])), self._device
        )
        whole += [engine.synthesize(engine.prepare(*frames(LARGE)), t) for t in TIMES[1:]]
        assert taken is not None
        self._whole, self._taken = whole, taken
        return Cell(f"{taken / 2**20:.0f} MB", taken)

    def limited(self, limit: float) -> Cell:
        """With `limit` of the memory that one frame takes.

        Only where timesteps do not fit together, every engine has a way; below that, one may say that it has none.
        """
        if not self._whole:
            raise ValueError("there is nothing to compare with")
        told: list[str] = []
        engine = self._network.engine(self._device, "fp32", told.append)
        ends = frames(LARGE)
        work = engine.prepare(*ends, TIMES)
        engine.together = len(TIMES)
        release(self._device)
        place = torch.device(self._device).index
        place = torch.cuda.current_device() if place is None else place
        total = torch.cuda.get_device_properties(place).total_memory
        allowed = torch.cuda.memory_allocated(place) + limit * self._taken
        torch.cuda.set_per_process_memory_fraction(allowed / total, place)
        try:
            made = [engine.synthesize(work, t) for t in TIMES]
        except MemoryError as error:
            return Cell(f"does not fit ({len(told)} tried)", {"told": told, "error": str(error)}, limit < 1)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, place)
            self.told += [f"{self._network.name}, {limit:.0%}: {text}" for text in told]
        found = _compared(self._network, np.array(made), np.array(self._whole))
        coarse = any("half the flow scale" in text for text in told)
        how = "less detail" if coarse else f"{engine._pieces()} pieces"
        value = {**found.value, "told": told, "pieces": engine._pieces(), "less detail": coarse}
        return Cell(f"{found.text} ({how}, {len(told)} told)", value, coarse or found.ok)


def _compared(network: Network, made: Pixels, truth: Pixels) -> Cell:
    """The largest and the mean difference in fp32, and whether that is rounding."""
    gaps = np.abs(made - truth)
    worst, mean = float(gaps.max()), float(gaps.mean())
    ok = mean < MOST_MEAN and (worst < STEP or network.name in JUMPING)
    return Cell(f"{worst:.1e}, {mean:.1e}", {"max": worst, "mean": mean}, ok)
