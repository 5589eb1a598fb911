# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints with parameters by the golden rule: of every network's form, for tests and for measuring speed.

python -m scripts.made_weights NAME OUT.pkl     NAME: 3.6, 4.0, ... "4.26 heavy", superslomo, superslomo_light or dain

What they make are no good pictures; the authors' files are not ours to ship.
"""

from __future__ import annotations

import argparse
import datetime

import numpy as np
import torch
from torch import Tensor, nn

from core.networks import dain, rife, superslomo
from core.networks.rife_layout import Layout
from scripts.clips import draw
from scripts.golden import value

LAYOUTS = {
    "3.6": Layout("3.6", (90, 90, 90), prelu=True),
    "4.0": Layout("4.0", (192, 128, 96, 64), prelu=True),
    "4.3": Layout("4.0", (192, 128, 96, 64)),
    "4.5": Layout("4.6", (192, 128, 96, 64), outputs=5),
    "4.6": Layout("4.6", (192, 128, 96, 64)),
    "4.7": Layout("4.6", (192, 128, 96, 64), (16, 4), "pair"),
    "4.12": Layout("4.6", (192, 128, 96, 64), (32, 8), "sequence"),
    "4.12 lite": Layout("4.6", (128, 96, 64, 48), (32, 4), "sequence"),
    "4.14 lite": Layout("4.6", (192, 128, 96, 64), (32, 8), "cnn", groups=2),
    "4.15 lite": Layout("4.6", (128, 96, 64, 48), (16, 4), "cnn"),
    "4.18": Layout("4.6", (192, 128, 96, 64), (32, 8), "cnn"),
    "4.22": Layout("4.6", (256, 192, 96, 48), (32, 8), "cnn", 13),
    "4.22 lite": Layout("4.6", (192, 128, 64, 32), (16, 4), "cnn", 13),
    "4.25": Layout("4.6", (192, 128, 96, 64, 32), (16, 4), "cnn", 13),
    "4.25 lite": Layout("4.6", (192, 128, 96, 64, 24), (16, 4), "cnn", 13),
    "4.26 heavy": Layout("4.6", (192, 128, 96, 64, 32), (16, 16), "cnn", 13),
}


NAMES = (*LAYOUTS, "superslomo", "superslomo_light", "dain")


def branch_of(name: str, shape: tuple[int, ...], names: set[str]) -> str:
    """The rule's branch for a parameter."""
    stem, _, last = name.rpartition(".")
    if last == "num_batches_tracked":
        return "zero"
    if f"{stem}.running_var" in names:
        return {"weight": "bn_weight", "bias": "bn_bias", "running_mean": "bn_mean", "running_var": "bn_var"}[last]
    if last == "beta":
        return "beta"
    return "bias" if last == "bias" else "weight" if len(shape) > 1 else "prelu"


def parameters(module: nn.Module, gain: float) -> dict[str, Tensor]:
    """Every parameter of a module by the rule."""
    state = module.state_dict()
    names = set(state)
    return {
        name: value(name, tuple(tensor.shape), branch_of(name, tuple(tensor.shape), names), gain)
        for name, tensor in state.items()
    }


def checkpoint_of(name: str) -> dict[str, object]:
    """What the authors' file of that network holds, with other numbers. Raises ValueError for no name of NAMES."""
    if name not in NAMES:
        raise ValueError(f"{name!r} is no network: choose one of {', '.join(NAMES)}")
    if name in LAYOUTS:
        made = parameters(rife.IFNet(LAYOUTS[name]), 1.25 if name == "3.6" else 0.85)
        return {f"module.{key}": tensor for key, tensor in made.items()}
    if name.startswith("superslomo"):
        # a separable convolution is two, so that its gain counts twice: with more, numbers leave the range of fp16
        light = name.endswith("light")
        net = superslomo.SuperSloMo(superslomo.separable if light else superslomo.plain)
        flow_gain, time_gain = (1.36, 1.25) if light else (1.6, 1.3)
        return {
            "state_dictFC": parameters(net.flowComp, flow_gain),
            "state_dictAT": parameters(net.ArbTimeFlowIntrp, time_gain),
            "Detail": "made by a rule",
            "epoch": 3,
            "timestamp": datetime.datetime(2018, 12, 31, 12),
        }
    gains = {"depthNet": 1.4, "flownets": 1.3, "ctxNet": 1.2, "rectifyNet": 0.75, "initScale": 1.25}
    whole = dain.DAIN().state_dict()
    names = set(whole)
    tensors = {
        key: value(
            key, tuple(tensor.shape), branch_of(key, tuple(tensor.shape), names),
            next(gain for start, gain in gains.items() if key.startswith(start)),
        )
        for key, tensor in whole.items()
    }  # fmt: skip
    return {**tensors, "left_over.weight": torch.zeros(3)}


def pictures(width: int = 96, height: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Two frames of a drawn clip, (H, W, 3) in 0..1."""
    first, second = (draw(index, (width, height)).astype(np.float32) / 255 for index in (3, 5))
    return first, second


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m scripts.made_weights", description="Writes a made checkpoint.")
    parser.add_argument("name", metavar="NAME", choices=NAMES, help=", ".join(NAMES))
    parser.add_argument("out", metavar="OUT.pkl")
    arguments = parser.parse_args()
    torch.save(checkpoint_of(arguments.name), arguments.out)
