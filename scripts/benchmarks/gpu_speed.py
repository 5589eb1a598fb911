# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast a GPU makes frames, alone and from files to files, and how much of its memory that takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from threading import Barrier, Event

import cv2
import torch

from core.engines.network import DTYPES, NetworkEngine, precision_of
from core.job import Job
from core.making import threads_for
from core.messages import Cancelled, Progress, Record
from core.pipeline import run as run_job
from core.threads import Crew
from scripts.clips import draw, write_frames

from .gpu_report import Cell, Network, Report, Size, frames, memory_taken, on_cuda, release

LARGE, HUGE = (1920, 1080), (3840, 2160)
STEPS = 8
"""Of a pair: how many times slower the frames are."""
TIMES = tuple(step / STEPS for step in range(1, STEPS))
SOURCE_FRAMES = 12
"""Of the clip that goes from files to files."""
PATIENCE = 4
"""How many times a measurement's seconds a pair, or the first frames of a job, may take before it is given up."""
SQUARE, SQUARE_ON_CPU = 8192, 1024
"""Side of the matrices whose product tells what the device can do."""


def measure(report: Report, networks: Sequence[Network], device: str, seconds: float, folder: Path) -> None:
    """Tell how fast the networks are, each measurement in about `seconds`."""
    machine = _Machine(device)
    report.table(
        "machine",
        "product of matrices in half precision, 10^12 multiply-adds a second; a 1080p frame to the device and back, ms",
        ["matrices", "there", "back", "back, pinned"],
    )
    checks: dict[str, Callable[[], Cell]] = {"matrices": machine.matrices}
    if on_cuda(device):
        checks |= {"there": machine.there, "back": machine.back, "back, pinned": partial(machine.back, pinned=True)}
    report.row(device, checks)

    report.table(
        "speed",
        f"{STEPS}x, frames a second (the pair's part included), share of the matrices' speed, bytes of memory a pixel "
        "(and assumed)",
        [
            "1080p, fp32",
            "memory, fp32",
            "1080p, half",
            "memory, half",
            "share",
            "files",
            "4K, half",
            "memory, 4K, half",
        ],
    )
    for network in networks:
        speed = _Speed(network, device, seconds, machine, folder)
        checks = {
            "1080p, fp32": partial(speed.rate, "fp32", LARGE),
            "memory, fp32": partial(speed.memory, "fp32", LARGE),
            "1080p, half": partial(speed.rate, "auto", LARGE),
            "memory, half": partial(speed.memory, "auto", LARGE),
            "share": speed.share,
            "files": speed.with_files,
            "4K, half": partial(speed.rate, "auto", HUGE),
            "memory, 4K, half": partial(speed.memory, "auto", HUGE),
        }
        report.row(network.name, checks)
        del speed, checks
        release(device)


def try_variants(report: Report, networks: Sequence[Network], device: str, seconds: float) -> None:
    """Tell what the networks would gain by another layout in memory, and by algorithms that cuDNN tries out.

    The second is not for jobs: the clock decides what is chosen, so that the same job would give other bytes.
    """
    report.table(
        "variants",
        f"1080p, {STEPS}x, frames a second in other ways",
        ["fp32, channels first", "half, channels first", "half, cuDNN tries", "fp32, TF32"],
    )
    for network in networks:

        def first(precision: str, network: Network = network) -> Cell:
            engine = network.engine(device, precision)
            engine.module = engine.module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
            return _rate(engine, LARGE, device, seconds)

        def flagged(precision: str, flag: str, network: Network = network) -> Cell:
            engine = network.engine(device, precision)  # it sets the flags
            setattr(torch.backends.cudnn, flag, True)
            try:
                return _rate(engine, LARGE, device, seconds)
            finally:
                setattr(torch.backends.cudnn, flag, False)

        checks: dict[str, Callable[[], Cell]] = {
            "fp32, channels first": partial(first, "fp32"),
            "half, channels first": partial(first, "auto"),
            "half, cuDNN tries": partial(flagged, "auto", "benchmark"),
            "fp32, TF32": partial(flagged, "fp32", "allow_tf32"),
        }
        report.row(network.name, checks)
        release(device)


class _Machine:
    """What the device does at best."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self.peak = 0.0
        """Multiply-adds a second in half precision; 0 where it is not known."""

    def matrices(self) -> Cell:
        """A product of square matrices."""
        side = SQUARE_ON_CPU if self._device.type == "cpu" else SQUARE
        one = torch.randn(side, side, device=self._device).to(DTYPES[precision_of("auto", self._device)])
        self.peak = side**3 / self._least(lambda: one @ one)
        return Cell(f"{self.peak / 1e12:.3g}", self.peak)

    def there(self) -> Cell:
        """A frame to the device."""
        frame = torch.rand(LARGE[1], LARGE[0], 3)
        return _milliseconds(self._least(lambda: frame.to(self._device)))

    def back(self, pinned: bool = False) -> Cell:
        """A frame from the device, into new memory or into pages that are kept for that."""
        frame = torch.rand(LARGE[1], LARGE[0], 3, device=self._device)
        kept = torch.empty(frame.shape, pin_memory=True) if pinned else None
        return _milliseconds(self._least(lambda: frame.cpu() if kept is None else kept.copy_(frame)))

    def _least(self, do: Callable[[], object]) -> float:
        times = []
        for _ in range(8):
            _wait(self._device)
            began = time.perf_counter()
            do()
            _wait(self._device)
            times.append(time.perf_counter() - began)
        return min(times)


class _Speed:
    """A network on the device."""

    def __init__(self, network: Network, device: str, seconds: float, machine: _Machine, folder: Path) -> None:
        self._network, self._device, self._seconds = network, device, seconds
        self._machine, self._folder = machine, folder
        self._rates: dict[tuple[str, Size], float] = {}
        self._made: tuple[str, NetworkEngine] | None = None

    def rate(self, precision: str, size: Size) -> Cell:
        """Frames a second."""
        cell = _rate(self._engine(precision), size, self._device, self._seconds)
        self._rates[precision, size] = cell.value["rate"]
        return cell

    def memory(self, precision: str, size: Size) -> Cell:
        """What a frame alone takes for every pixel of its own, and what the engine goes by; once it has made one."""
        if not on_cuda(self._device):
            return Cell("")
        engine = self._engine(precision)
        width, height = size
        assumed = engine.memory(height, width) / (width * height)
        engine.forget()
        taken = memory_taken(lambda: engine.synthesize(engine.prepare(*frames(size)), TIMES[0]), self._device)
        measured = taken / (width * height) if taken is not None else None
        text = "" if measured is None else f"{measured:.0f} ({assumed:.0f})"
        return Cell(text, {"bytes": taken, "per pixel": measured, "assumed": assumed, "pieces": engine._pieces()})

    def share(self) -> Cell:
        """Of the matrices' speed: convolutions' multiply-adds."""
        if not self._machine.peak or ("auto", LARGE) not in self._rates:
            return Cell("")
        per_pair, per_frame = self._engine("auto").checkpoint.multiply_adds()
        share = self._rates["auto", LARGE] * (per_pair / len(TIMES) + per_frame) / self._machine.peak
        return Cell(f"{share:.1%}", share)

    def with_files(self) -> Cell:
        """Frames a second from PNG files to PNG files at LARGE, the start left out."""
        self._made = None  # the job has its own engine
        release(self._device)
        clip = self._folder / "clip"
        if not clip.exists():
            write_frames(clip, [cv2.resize(draw(index, (480, 270)), LARGE) for index in range(SOURCE_FRAMES)])
        names = tuple(sorted(path.name for path in clip.iterdir()))
        output = self._folder / f"made by {self._network.name}"
        job = Job(
            source=str(clip), files=names, start=0, end=SOURCE_FRAMES, factor=Fraction(STEPS), output=str(output),
            engine=self._network.engine_id, weights=self._network.weights, device=self._device, cuts="ignore",
            repeats="off",
        )  # fmt: skip
        told: list[tuple[float, int]] = []
        cancel, began = Event(), time.perf_counter()

        def tell(record: Record) -> None:
            now = time.perf_counter()
            if isinstance(record, Progress) and record.done > STEPS:
                told.append((now, record.done))
            if now - (told[0][0] if told else began + PATIENCE * self._seconds) > self._seconds:
                cancel.set()

        try:
            run_job(job, tell, cancel)
        except Cancelled:
            pass
        if len(told) < 2:
            return Cell("too slow to tell")
        rate = (told[-1][1] - told[0][1]) / (told[-1][0] - told[0][0])
        return Cell(f"{rate:.2f}", rate)

    def _engine(self, precision: str) -> NetworkEngine:
        if self._made is None or self._made[0] != precision:
            self._made = None
            release(self._device)
            self._made = precision, self._network.engine(self._device, precision)
        return self._made[1]


def _rate(engine: NetworkEngine, size: Size, device: str, seconds: float) -> Cell:
    """Frames a second, the pair's part included, by as many threads as a job would use.

    Of several threads each has made a pair before: at a job's beginning all of them are at the processor's part.
    """
    engine._estimated = False  # what fits together depends on the size
    engine.synthesize(engine.prepare(*frames(size), TIMES), TIMES[0])  # what is done once is done
    threads, begin = threads_for(engine, size)
    _wait(torch.device(device))
    began = time.perf_counter()

    def start() -> None:
        nonlocal began
        began = time.perf_counter()

    ready = Barrier(max(1, threads), start, timeout=600)  # should one of them fail

    def pairs() -> int:
        if threads > 1:
            state = engine.prepare(*frames(size), TIMES)
            for t in TIMES:
                engine.synthesize(state, t)
        ready.wait()
        made = 0
        while True:
            state = engine.prepare(*frames(size), TIMES)
            for t in TIMES:
                engine.synthesize(state, t)
                made += 1
                if threads <= 1 and time.perf_counter() - began > PATIENCE * seconds:
                    return made
            if time.perf_counter() - began > seconds:
                return made

    with Crew(threads, begin) as crew:
        made = sum(done.result() for done in [crew.do(pairs) for _ in range(max(1, threads))])
    _wait(torch.device(device))
    rate = made / (time.perf_counter() - began)
    about = {"rate": rate, "frames": made, "threads": threads, "together": engine.together, "pieces": engine._pieces()}
    return Cell(f"{rate:.2f}", about)


def _milliseconds(seconds: float) -> Cell:
    return Cell(f"{1000 * seconds:.2f}", seconds)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
