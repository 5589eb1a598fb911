# SPDX-License-Identifier: GPL-3.0-or-later
"""Training in a box of time, which goes on exactly where it stopped."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..engines.network import DTYPES
from ..messages import InputError
from . import losses
from .data.samples import Batch, Recipe, stream
from .students import STUDENTS, Made

STATE = "training.pt"
WEIGHTS = "weights.safetensors"
LOG = "log.jsonl"
TERMS = {
    "logarithmic": 1.0,
    "charbonnier": 0.3,
    "census": 0.05,
    "gradients": 0.05,
    "motion": 0.02,
    "smoothness": 0.01,
    "warping": 0.02,
}
"""Weights of the terms; Charbonnier's and the warping's are relative to the classical engine's on the same sample."""
PARTS = 4
"""Steps that a batch is learned from, with a part of its samples each."""
MARGIN = 1 / 16
"""Share of a side, at every edge, that is not judged: what is beyond it is missing from samples, not from frames."""
STEADY = 0.01
"""Error in 0..1 below which a sample counts the less: else those that hardly move would outweigh all others."""
STILL = 1e-5
"""Mean square error below which the logarithm's fall is of no interest: 50 dB."""
EVERY = 5.0
"""Seconds between log lines."""


@dataclass(frozen=True)
class Plan:
    """What a training run is told."""

    output: str
    network: str = "lento"
    """One of STUDENTS."""
    minutes: float = 5.0
    steps: int = 20_000
    """Over which the learning rate falls; a later run may say more."""
    rate: float = 1e-3
    warmup: int = 100
    decay: float = 0.999
    """Of the exponential mean of the weights, which is what is kept."""
    device: str = "cpu"
    precision: str = "fp32"
    compile: bool = False
    workers: int = 1
    keep_every: float = 60.0
    """Seconds between checkpoints."""
    without: tuple[str, ...] = ()
    """Terms of the loss to leave out; census and gradients take a third of the time on a CPU."""

    @property
    def terms(self) -> dict[str, float]:
        """Weights of the terms that are used."""
        return {name: weight for name, weight in TERMS.items() if name not in self.without}


class Trainer:
    """Weights, their exponential mean, optimiser and step."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.student = plan, STUDENTS[plan.network]
        network = self.student.create().train()
        self.device = torch.device(plan.device)
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.mean = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(network.parameters(), plan.rate, betas=(0.9, 0.99), weight_decay=1e-4)
        self.step = 0
        if plan.compile:
            self.network.compile()

    def rate(self) -> float:
        """The learning rate of this step: a rise, then half a cosine over the plan's steps."""
        if self.step < self.plan.warmup:
            return self.plan.rate * (self.step + 1) / self.plan.warmup
        share = min(1.0, (self.step - self.plan.warmup) / max(1, self.plan.steps - self.plan.warmup))
        return self.plan.rate * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * share)))

    def learn(self, batch: Batch) -> dict[str, float]:
        """One step; what it was judged by, and the gain in dB over the frame without anything learned."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        terms, gain = self.judge(batch.to(self.device))
        loss = torch.stack([terms[name] * weight for name, weight in self.plan.terms.items()]).sum()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        decay = min(self.plan.decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.mean[name].lerp_(value, 1 - decay)
        return {
            "loss": float(loss.detach()),
            "gain": gain,
            **{name: float(term.detach()) for name, term in terms.items()},
        }

    def judge(self, batch: Batch) -> tuple[dict[str, Tensor], float]:
        """Every term's mean, and the mean gain in dB over the frame without anything learned."""
        half = self.plan.precision != "fp32"
        with torch.autocast(self.device.type, DTYPES[self.plan.precision]) if half else contextlib.nullcontext():
            made = self.student.make(self.network, batch)
        made, batch = _inner(made, batch)
        truth = batch.middle
        with torch.no_grad():
            least = losses.charbonnier(made.simple, truth) + STEADY
            gain = losses.logarithmic(made.simple, truth) - losses.logarithmic(made.frame, truth)
        terms: dict[str, Callable[[], Tensor]] = {
            "charbonnier": lambda: losses.charbonnier(made.frame, truth) / least,
            "logarithmic": lambda: losses.logarithmic(made.frame, truth, STILL),
            "census": lambda: losses.census(made.frame, truth),
            "gradients": lambda: losses.gradients(made.frame, truth),
            "motion": lambda: losses.motion(made.flows, made.weights, batch.flows, batch.seen),
            "smoothness": lambda: losses.smoothness(made.rough) if made.rough is not None else least.new_zeros(1),
            "warping": lambda: losses.warping(made.candidates, made.weights, truth) / least,
        }
        return {name: terms[name]().mean() for name in self.plan.terms}, float(gain.mean()) * 10 / math.log(10)

    def save(self, folder: Path, recipe: Recipe) -> None:
        """Write everything that going on needs, and the mean weights as they are shipped."""
        state = {
            "network": self.network.state_dict(), "mean": self.mean, "optimiser": self.optimiser.state_dict(),
            "step": self.step, "recipe": asdict(recipe),
        }  # fmt: skip
        _aside(folder / STATE, lambda path: torch.save(state, path))
        tensors = {name: value.detach().float().cpu().contiguous() for name, value in self.mean.items()}
        _aside(folder / WEIGHTS, lambda path: save_file(tensors, path, {"step": str(self.step)}))

    def load(self, path: Path) -> None:
        """Go on from a checkpoint that `save` wrote, or begin with the weights of a shipped file."""
        if path.suffix == ".safetensors":
            from ..networks.checkpoints import read

            tensors = read(path)
            self.network.load_state_dict(tensors)
            self.mean = {name: value.to(self.device) for name, value in tensors.items()}
            return
        try:
            state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        except (OSError, RuntimeError, pickle.UnpicklingError) as error:
            raise InputError(
                f"The checkpoint {path} cannot be read, it is damaged or none: choose another one."
            ) from error
        self.network.load_state_dict(state["network"])
        self.mean = state["mean"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]


def parts_of(batch: Batch) -> Iterator[Batch]:
    """The batch's samples in PARTS batches."""
    for first in range(min(PARTS, len(batch.t))):
        yield Batch(*(getattr(batch, field.name)[first::PARTS] for field in fields(batch)))


def _inner(made: Made, batch: Batch) -> tuple[Made, Batch]:
    """Both without what is near the edges."""
    edge = round(batch.middle.shape[-1] * MARGIN)

    def cut(image: Tensor) -> Tensor:
        return image[..., edge : image.shape[-2] - edge, edge : image.shape[-1] - edge]

    candidates = [cut(one) for one in made.candidates]
    inner = Made(cut(made.frame), candidates, cut(made.weights), cut(made.flows), made.rough, cut(made.simple))
    return inner, replace(batch, middle=cut(batch.middle), flows=cut(batch.flows), seen=cut(batch.seen))


def _aside(path: Path, write: Callable[[Path], None]) -> None:
    part = path.with_name(f"{path.name}.part")
    write(part)
    os.replace(part, path)


def run(plan: Plan, recipe: Recipe, resume: Path | None) -> Trainer:
    """Train until the time is over or the steps are done; the log goes to standard output and to a file."""
    folder = Path(plan.output)
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(plan)
    recipe = replace(recipe, classical=trainer.student.classical)
    parts = min(PARTS, recipe.batch) if trainer.student.parts else 1
    if resume is not None:
        trainer.load(resume)
    began = told = kept = time.monotonic()
    sums: dict[str, float] = {}
    count = 0
    with open(folder / LOG, "a", encoding="utf-8") as log:
        for batch in stream(recipe, trainer.step // parts, plan.workers):
            for part in parts_of(batch) if trainer.student.parts else [batch]:
                for name, value in trainer.learn(part).items():
                    sums[name] = sums.get(name, 0.0) + value
                count += 1
            now = time.monotonic()
            over = now - began > plan.minutes * 60 or trainer.step >= plan.steps
            if now - told > EVERY or over:
                means = {name: round(value / count, 5) for name, value in sums.items()}
                line = {"step": trainer.step, "seconds": round(now - began, 1), "rate": trainer.rate(), **means}
                print(" ".join(f"{name} {value:.6g}" for name, value in line.items()), flush=True)
                log.write(json.dumps(line) + "\n")
                log.flush()
                told, sums, count = now, {}, 0
            if now - kept > plan.keep_every:
                trainer.save(folder, recipe)
                kept = now
            if over:
                break
    trainer.save(folder, recipe)
    return trainer
