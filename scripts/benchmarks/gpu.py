# SPDX-License-Identifier: GPL-3.0-or-later
"""Every network on the GPU: right against the CPU, right again, right where memory runs out, and how fast.

All of it takes a large card some minutes; a check that fails does not end the others. With `--train` the bundled
network is trained there instead for `--minutes`, from `--resume` on: with `--footage` as it runs, on the classical
motion, and without clips on drawn scenes alone.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from core.memory import cores

from .gpu_checks import compare, run_out
from .gpu_report import NAMES, Network, Report, on_cuda
from .gpu_speed import measure, try_variants

SCARCE = ("4.6", "superslomo")
"""Networks that memory is taken from."""
FAST = ("lento", "4.6", "4.25", "4.26 heavy", "superslomo", "dain")
"""Networks whose speed is measured, unless others are named."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--networks", nargs="*", default=NAMES, choices=NAMES, metavar="NAME", help="to compare")
    parser.add_argument(
        "--scarce", nargs="*", default=SCARCE, choices=NAMES, metavar="NAME", help="to let memory run out"
    )
    parser.add_argument("--speed", nargs="*", default=FAST, choices=NAMES, metavar="NAME", help="to measure")
    parser.add_argument(
        "--variants", nargs="*", default=(), choices=NAMES, metavar="NAME", help="to measure in other ways"
    )
    parser.add_argument("--seconds", type=float, default=1.5, help="for each measurement of speed, about")
    parser.add_argument("--json", type=Path, metavar="FILE", help="to write all that is found to")
    parser.add_argument("--weights", default="", help="a checkpoint to use instead of made ones, with one network")
    parser.add_argument("--train", action="store_true", help="train the bundled network instead")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--steps", type=int, default=0, help="over which the learning rate falls; 0: over the minutes")
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--drawn", type=float, default=0.3, help="share of drawn samples")
    parser.add_argument("--footage", default="", metavar="DIR", help="clips to train with")
    parser.add_argument("--cache", default="build/train", metavar="DIR")
    parser.add_argument("--output", default="build/train/gpu", metavar="DIR")
    parser.add_argument("--resume", type=Path, metavar="CKPT")


def run(arguments: argparse.Namespace) -> None:
    """Print a row for every network. Weights are made ones, so that differences are as large as they get.

    Raises SystemExit where a check failed.
    """
    if arguments.train:
        _train(arguments)
        return
    device = arguments.device
    about = torch.cuda.get_device_name(device) if on_cuda(device) and torch.cuda.is_available() else platform.machine()
    print(
        f"{device}: {about}, {cores()} cores, Python {platform.python_version()}, PyTorch {torch.__version__}, cuDNN "
        f"{torch.backends.cudnn.version()}; made weights unless a file is named",
        flush=True,
    )
    report = Report(arguments.json)
    with tempfile.TemporaryDirectory() as folder:

        def named(names: Sequence[str]) -> list[Network]:
            return [Network(name, Path(folder), arguments.weights) for name in names]

        compare(report, named(arguments.networks), device)
        run_out(report, named(arguments.scarce), device)
        measure(report, named(arguments.speed), device, arguments.seconds, Path(folder))
        if arguments.variants:
            try_variants(report, named(arguments.variants), device, arguments.seconds)
    report.end()


def _train(arguments: argparse.Namespace) -> None:
    # here: the checks do without what training needs
    from core.train.data.samples import Recipe
    from core.train.pictures import plot
    from core.train.run import LOG, Plan
    from core.train.run import run as train

    device = arguments.device
    recipe = Recipe(
        arguments.footage,
        arguments.cache,
        arguments.batch,
        drawn=arguments.drawn,
        device=device,
        classical=bool(arguments.footage),
    )
    plan = Plan(
        arguments.output,
        minutes=arguments.minutes,
        steps=arguments.steps,
        rate=arguments.rate,
        device=device,
        precision="bf16" if device != "cpu" else "fp32",
    )
    torch.manual_seed(0)
    train(plan, recipe, arguments.resume)
    plot(Path(arguments.output) / LOG, Path(arguments.output) / "gain.png")
