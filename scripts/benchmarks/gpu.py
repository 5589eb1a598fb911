# SPDX-License-Identifier: GPL-3.0-or-later
"""Every network on the GPU: right against the CPU in fp32, near it in half precision, and how fast at 1920 x 1080.

With `--train` the bundled network's second design is trained there instead, for `--minutes`, from `--resume` on.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from core.engines import Engine, Frame, Settings, create
from core.engines.lento.engine import WEIGHTS
from core.train.data.samples import Recipe
from core.train.pictures import plot
from core.train.run import LOG, Plan
from core.train.run import run as train
from scripts.clips import draw
from scripts.made_weights import LAYOUTS, checkpoint_of

SMALL, LARGE = (384, 256), (1920, 1080)
REPEATS = 20


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
    print(f"{arguments.device}, PyTorch {torch.__version__}; made weights unless a file is named")
    print("| network | fp32 against CPU, max | half against fp32, PSNR | 1080p frames/s, fp32 | half | memory, half |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.networks:
            file = Path(arguments.weights) if arguments.weights else Path(folder, "weights.pkl")
            if name == "lento" and not arguments.weights:
                file = WEIGHTS
            elif not arguments.weights:
                torch.save(checkpoint_of(name), file)
            print(_row(name, file, arguments.device), flush=True)


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


def _row(name: str, file: Path, device: str) -> str:
    engine_id = "rife" if name in LAYOUTS else name
    made, speeds = {}, {}
    memory = 0.0
    for where, precision in (("cpu", "fp32"), (device, "fp32"), (device, "auto")):
        engine = create(engine_id, Settings(str(file), where, precision))
        made[where, precision] = _frame(engine, SMALL)
        if where != "cpu" or device == "cpu":
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            speeds[precision] = _speed(engine)
            memory = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
    worst = float(np.abs(made["cpu", "fp32"] - made[device, "fp32"]).max())
    error = float(np.mean((made[device, "fp32"] - made[device, "auto"]) ** 2))
    near = 10 * np.log10(1 / max(error, 1e-12))
    return f"| {name} | {worst:.1e} | {near:.1f} dB | {speeds['fp32']:.2f} | {speeds['auto']:.2f} | {memory:.0f} MB |"


def _frames(size: tuple[int, int]) -> tuple[Frame, Frame]:
    pictures = [cv2.resize(draw(index, (480, 270)), size) for index in (3, 4)]
    # a number of its own for every size: engines keep what they made of a frame under its number
    first, second = (Frame(size[0] + index, one.astype(np.float32) / 255) for index, one in enumerate(pictures))
    return first, second


def _frame(engine: Engine, size: tuple[int, int]) -> np.ndarray:
    return engine.synthesize(engine.prepare(*_frames(size)), 0.5)


def _speed(engine: Engine) -> float:
    """Frames a second at LARGE, the pair's part included, seven frames a pair, as for 8x."""
    frames = _frames(LARGE)
    engine.synthesize(engine.prepare(*frames), 0.5)
    times = [step / 8 for step in range(1, 8)]
    began, count = time.perf_counter(), 0
    while count < REPEATS and time.perf_counter() - began < 20:
        pair = engine.prepare(*frames, times)
        for t in times:
            engine.synthesize(pair, t)
            count += 1
    return count / (time.perf_counter() - began)
