# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m core.train data | run | evaluate | ship`: the bundled network's data, training and measurements."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

import torch
from safetensors.torch import save

from ..disk import explained
from ..engines.lento import SUMS, WEIGHTS
from ..messages import InputError
from ..networks.checkpoints import open_checkpoint
from . import evaluate
from .data.samples import DRAWN, SIZE, Recipe, required
from .files import aside
from .pictures import plot, preview
from .run import LOG, TERMS, Plan, run
from .students import STUDENTS

PREVIEW = Path("build/train/preview.png")


def main() -> int:
    """Run one command; 2 where the input is wrong."""
    parser = argparse.ArgumentParser(prog="python -m core.train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    data = commands.add_parser("data", help="look at samples")
    data.add_argument("--preview", type=Path, metavar="FILE.png", nargs="?", default=PREVIEW, const=PREVIEW)
    data.add_argument("--rows", type=int, default=16)
    training = commands.add_parser("run", help="train for a while")
    training.add_argument("--network", choices=list(STUDENTS), default="lento")
    training.add_argument("--minutes", type=float, default=5)
    training.add_argument("--resume", type=Path, metavar="CKPT", help="training.pt of an earlier run, or weights")
    training.add_argument("--output", required=True, metavar="DIR")
    training.add_argument(
        "--steps", type=int, default=0, help="over which the learning rate falls; 0: as many as the minutes allow"
    )
    training.add_argument("--rate", type=float, default=1e-3)
    training.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    training.add_argument("--compile", action="store_true", help="with torch.compile")
    training.add_argument("--beside", action="store_true", help="make the samples in a process of its own, on the CPU")
    training.add_argument("--threads", type=int, help="of this process")
    training.add_argument(
        "--without", nargs="+", default=(), choices=list(TERMS), help="terms of the loss to leave out"
    )
    for command in (data, training):
        command.add_argument("--footage", default="", metavar="DIR", help="clips; without, all samples are drawn")
        command.add_argument("--cache", default="build/train", metavar="DIR")
        command.add_argument("--batch", type=int, default=8)
        command.add_argument("--size", type=int, default=SIZE, help="a sample's side in pixels, a multiple of 8, or 32")
        command.add_argument("--drawn", type=float, default=DRAWN, help="share of drawn samples")
        command.add_argument("--classical", action="store_true", help="samples bring the classical motion along")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--device", default="cpu", help="where samples are made, and learned from")
    shipping = commands.add_parser("ship", help="make a run's weights those that Lento brings")
    shipping.add_argument("weights", type=Path, metavar="FILE.safetensors")
    evaluate.add_arguments(commands.add_parser("evaluate", help="measure engines on clips"))
    arguments = parser.parse_args()
    try:
        if arguments.command == "evaluate":
            evaluate.run(arguments)
            return 0
        if arguments.command == "ship":
            _ship(arguments.weights)
            return 0
        recipe = Recipe(
            arguments.footage,
            arguments.cache,
            arguments.batch,
            arguments.size,
            arguments.drawn,
            arguments.seed,
            "cpu" if getattr(arguments, "beside", False) else arguments.device,
            arguments.classical,
        )
        if arguments.command == "data":
            preview(recipe, arguments.preview, arguments.rows)
            print(f"Samples: {arguments.preview}")
        else:
            _train(arguments, recipe)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return 0


def _ship(path: Path) -> None:
    checkpoint = open_checkpoint(path)
    if checkpoint.network != "lento":
        raise InputError(
            f"{path} is {checkpoint.family}, and what Lento brings is its own network: use this file with "
            f"`--engine {checkpoint.network} --weights` instead."
        )
    checkpoint.load()
    data = save(checkpoint.tensors)
    with explained(f"The folder {WEIGHTS.parent}"):
        WEIGHTS.parent.mkdir(exist_ok=True)
        with aside(WEIGHTS) as weights, aside(SUMS) as sums:
            weights.write_bytes(data)
            sums.write_text(f"{hashlib.sha256(data).hexdigest()}  {WEIGHTS.name}\n", encoding="ascii")
    print(f"{WEIGHTS}: {len(data)} bytes")


def _train(arguments: argparse.Namespace, recipe: Recipe) -> None:
    if arguments.threads is not None:
        required(arguments.threads >= 1, "threads", arguments.threads, "1 or more")
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(recipe.seed)
    names = ("output", "network", "minutes", "steps", "rate", "device", "precision", "compile", "beside")
    plan = Plan(**{name: getattr(arguments, name) for name in names}, without=tuple(arguments.without))
    run(plan, recipe, arguments.resume)
    plot(Path(plan.output) / LOG, Path(plan.output) / "gain.png")


if __name__ == "__main__":
    sys.exit(main())
