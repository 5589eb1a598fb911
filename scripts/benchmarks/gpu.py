# SPDX-License-Identifier: GPL-3.0-or-later
"""Every network on the GPU: right against the CPU in fp32, near it in half precision, and how fast, also with files.

With `--train` the bundled network's second design is trained there instead, for `--minutes`, from `--resume` on.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from threading import Event

import cv2
import numpy as np
import torch

from core.engines import Engine, Frame, Settings, create
from core.engines.lento.engine import WEIGHTS
from core.engines.network import DTYPES, precision_of
from core.job import Job
from core.making import threads_for
from core.messages import Progress, Record
from core.networks.checkpoints import open_checkpoint
from core.pipeline import run as run_job
from core.threads import Crew
from core.train.data.samples import Recipe
from core.train.pictures import plot
from core.train.run import LOG, Plan
from core.train.run import run as train
from scripts.clips import draw, write_frames
from scripts.made_weights import LAYOUTS, checkpoint_of

SMALL, LARGE, HUGE = (384, 256), (1920, 1080), (3840, 2160)
PAIRS, MOST_SECONDS = 3, 20.0
"""That a speed is measured with, in each thread; fewer where they take longer."""
STEPS = 8
"""Of a pair: how many times slower the frames are."""
SOURCE_FRAMES = 12
"""Of the clip that goes from files to files."""
SQUARE = 8192
"""Side of the matrices whose product tells what the device can do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--device", default="cuda")
    names = ["lento", *LAYOUTS, "superslomo", "superslomo_light", "dain"]
    parser.add_argument("--networks", nargs="+", default=names, choices=names)
    parser.add_argument("--weights", help="a checkpoint to use instead of made ones, with one network")
    parser.add_argument("--train", action="store_true", help="train the design with learned motion")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--steps", type=int, default=60_000, help="over which the learning rate falls")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--footage", default="", metavar="DIR", help="clips to train with")
    parser.add_argument("--output", default="build/train/gpu", metavar="DIR")
    parser.add_argument("--resume", type=Path, metavar="CKPT")


def run(arguments: argparse.Namespace) -> None:
    """Print a row for every network. Weights are made ones, so that differences are as large as they get."""
    if arguments.train:
        _train(arguments)
        return
    peak = _peak(torch.device(arguments.device))
    print(
        f"{arguments.device}, PyTorch {torch.__version__}, {STEPS}x; made weights unless a file is named; matrices of "
        f"{SQUARE}: {peak / 1e9:.0f} thousand million multiply-adds a second in half precision"
    )
    print(
        "| network | fp32 against CPU, max | half against fp32, PSNR | 1080p frames/s, fp32 | half | share of the "
        "matrices' speed | with files | 4K, half | memory at 4K |"
    )
    print("|" + "---|" * 9)
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.networks:
            file = Path(arguments.weights) if arguments.weights else Path(folder, "weights.pkl")
            if name == "lento" and not arguments.weights:
                file = WEIGHTS
            elif not arguments.weights:
                torch.save(checkpoint_of(name), file)
            print(_row(name, file, arguments.device, peak), flush=True)


def _train(arguments: argparse.Namespace) -> None:
    device = arguments.device
    recipe = Recipe(arguments.footage, batch=arguments.batch, device=device)
    plan = Plan(
        arguments.output, "lento_pure", arguments.minutes, arguments.steps, 4e-4, 500, 0.9995, device,
        "bf16" if device != "cpu" else "fp32", compile=device != "cpu", workers=0,
    )  # fmt: skip
    torch.manual_seed(0)
    train(plan, recipe, arguments.resume)
    plot(Path(arguments.output) / LOG, Path(arguments.output) / "gain.png")


def _row(name: str, file: Path, device: str, peak: float) -> str:
    engine_id = "rife" if name in LAYOUTS else name
    made, speeds = {}, {}
    for where, precision in (("cpu", "fp32"), (device, "fp32"), (device, "auto")):
        engine = create(engine_id, Settings(str(file), where, precision))
        made[where, precision] = _frame(engine, SMALL)
        if where != "cpu" or device == "cpu":
            speeds[precision] = _speed(engine, LARGE)
    worst = float(np.abs(made["cpu", "fp32"] - made[device, "fp32"]).max())
    error = float(np.mean((made[device, "fp32"] - made[device, "auto"]) ** 2))
    near = 10 * np.log10(1 / max(error, 1e-12))
    per_pair, per_frame = open_checkpoint(file).multiply_adds()
    share = speeds["auto"] * (per_pair / (STEPS - 1) + per_frame) / peak
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    huge = _speed(create(engine_id, Settings(str(file), device, "auto")), HUGE)
    memory = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
    return (
        f"| {name} | {worst:.1e} | {near:.1f} dB | {speeds['fp32']:.2f} | {speeds['auto']:.2f} | {share:.1%} | "
        f"{_speed_with_files(engine_id, file, device):.2f} | {huge:.2f} | {memory:.0f} MB |"
    )


def _peak(device: torch.device) -> float:
    """Multiply-adds a second of a product of square matrices, in half precision."""
    side = SQUARE
    one = torch.randn(side, side, device=device).to(DTYPES[precision_of("auto", device)])
    times = []
    for _ in range(8 if device.type != "cpu" else 1):
        began = time.perf_counter()
        float((one @ one)[0, 0])  # waits for it
        times.append(time.perf_counter() - began)
    return side**3 / min(times)


def _frames(size: tuple[int, int]) -> tuple[Frame, Frame]:
    pictures = [cv2.resize(draw(index, (480, 270)), size) for index in (3, 4)]
    # a number of its own for every size: engines keep what they made of a frame under its number
    first, second = (Frame(size[0] + index, one.astype(np.float32) / 255) for index, one in enumerate(pictures))
    return first, second


def _frame(engine: Engine, size: tuple[int, int]) -> np.ndarray:
    return engine.synthesize(engine.prepare(*_frames(size)), 0.5)


def _speed(engine: Engine, size: tuple[int, int]) -> float:
    """Frames a second of that size, the pair's part included, by as many threads as a job would use."""
    ends = _frames(size)
    times = [step / STEPS for step in range(1, STEPS)]
    numbers = itertools.count(2 * size[0])

    def pair() -> None:
        number = next(numbers)  # as in a clip: what engines keep of a frame serves for two pairs
        first, second = (Frame(number + which, end.pixels) for which, end in enumerate(ends))
        state = engine.prepare(first, second, times)
        for t in times:
            engine.synthesize(state, t)

    engine.synthesize(engine.prepare(*ends), 0.5)
    threads, begin = threads_for(engine, size)
    began, count = time.perf_counter(), 0
    with Crew(threads, begin) as crew:
        while count < PAIRS and time.perf_counter() - began < MOST_SECONDS:
            made = [crew.do(pair) for _ in range(max(1, PAIRS * threads))]
            for done in made:
                done.result()
            count += len(made)
        return count * len(times) / (time.perf_counter() - began)


def _speed_with_files(engine_id: str, weights: Path, device: str) -> float:
    """Frames a second from PNG files to PNG files at LARGE, the start left out."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder, "clip")
        write_frames(clip, [cv2.resize(draw(index, (480, 270)), LARGE) for index in range(SOURCE_FRAMES)])
        names = tuple(sorted(path.name for path in clip.iterdir()))
        job = Job(
            source=str(clip), files=names, start=0, end=SOURCE_FRAMES, factor=Fraction(STEPS), output=f"{folder}/made",
            engine=engine_id, weights=str(weights), device=device, cuts="ignore", repeats="off",
        )  # fmt: skip
        told: list[tuple[float, int]] = []

        def tell(record: Record) -> None:
            if isinstance(record, Progress):
                told.append((time.perf_counter(), record.done))

        run_job(job, tell, Event())
        begun, ended = next(entry for entry in told if entry[1] > STEPS), told[-1]
        return (ended[1] - begun[1]) / (ended[0] - begun[0])
