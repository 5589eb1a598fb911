# SPDX-License-Identifier: GPL-3.0-or-later
"""Training in a box of time, which goes on exactly where it stopped."""

from __future__ import annotations

import copy
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..disk import explained
from ..engines.network import DTYPES, device_of
from ..messages import InputError
from . import losses
from .data.samples import Batch, Recipe, required, stream
from .files import aside
from .students import STUDENTS

STATE = "training.pt"
WEIGHTS = "weights.safetensors"
LOG = "log.jsonl"
KEPT = {"network", "mean", "optimiser", "step"}
"""What a checkpoint holds at least."""
TERMS = {
    "logarithmic": 1.0,
    "charbonnier": 4.0,
    "census": 0.2,
    "gradients": 0.2,
    "across": 0.3,
    "motion": 0.1,
    "smoothness": 0.02,
    "warping": 2.0,
}
"""Weights of the terms."""
MARGIN = 1 / 16
"""Share of a side, at every edge, that is not judged: what is beyond it is missing from samples, not from frames."""
STILL = 1e-5
"""Mean square error below which the logarithm's fall is of no interest: 50 dB."""
WARM = 3
"""Steps before one is recorded, while PyTorch settles what it uses."""
LONGEST = 10.0
"""Gradient; longer ones are shortened to it."""
EVERY = 5.0
"""Seconds between log lines."""


@dataclass(frozen=True)
class Plan:
    """What a training run is told."""

    output: str
    network: str = "lento"
    """One of STUDENTS."""
    minutes: float = 5.0
    steps: int = 0
    """Over which the learning rate falls; a later run may say more. 0: as many as the minutes allow."""
    rate: float = 1e-3
    warmup: int = 200
    decay: float = 0.999
    """Of the exponential mean of the weights, which is what is kept."""
    device: str = "cpu"
    precision: str = "fp32"
    compile: bool = False
    beside: bool = False
    """Whether another process makes the samples."""
    keep_every: float = 60.0
    """Seconds between checkpoints."""
    without: tuple[str, ...] = ()
    """Terms of the loss to leave out; census and gradients take a third of the time on a CPU."""

    def __post_init__(self) -> None:
        """Raise InputError where nothing can be trained so."""
        device_of(self.device)
        required(self.network in STUDENTS, "network", self.network, f"one of {', '.join(STUDENTS)}")
        required(0 < self.minutes < math.inf, "minutes", self.minutes, "more than 0")
        required(self.steps >= 0, "steps", self.steps, "1 or more, or 0 for as many as the minutes allow")
        required(0 < self.rate < math.inf, "rate", self.rate, "more than 0")
        required(bool(self.terms), "without", "nothing to judge by", "at least one term less")

    @property
    def terms(self) -> dict[str, float]:
        """Weights of the terms that are used."""
        return {name: weight for name, weight in TERMS.items() if name not in self.without}


class Trainer:
    """Weights, their exponential mean, optimiser and step."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.student = plan, STUDENTS[plan.network]
        network = self.student.create().train()
        self.device = device_of(plan.device)
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.mean = {name: value.detach().clone() for name, value in network.state_dict().items()}
        on_card = self.device.type == "cuda"
        self.optimiser = torch.optim.AdamW(
            network.parameters(), torch.tensor(plan.rate, device=self.device), betas=(0.9, 0.99), weight_decay=1e-4,
            fused=on_card, capturable=on_card,
        )  # fmt: skip
        self.step = 0
        self.seconds = 0.0
        """Of training, in the runs before this one, too."""
        self.over = 0.0
        """Share of the minutes that is over, where they say how the learning rate falls."""
        self._judge = torch.compile(self.judge) if plan.compile else self.judge
        self.recording: Recording | None = None
        self._record = on_card

    def rate(self) -> float:
        """The learning rate of this step: a rise, then half a cosine over the plan's steps, or over its minutes."""
        if self.step < self.plan.warmup:
            return self.plan.rate * (self.step + 1) / self.plan.warmup
        steps = self.plan.steps
        share = min(1.0, (self.step - self.plan.warmup) / max(1, steps - self.plan.warmup)) if steps else self.over
        return self.plan.rate * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * share)))

    def learn(self, batch: Batch) -> Tensor:
        """One step; what it was judged by: see `told`."""
        for group in self.optimiser.param_groups:
            group["lr"].fill_(self.rate())
        if self._record and self.recording is None:
            try:
                self.recording = Recording(self, batch)
            except RuntimeError as error:
                print(f"This card records no steps, and takes longer for each: {error}", file=sys.stderr, flush=True)
                self._record = False
        judged = self.recording.play(batch) if self.recording else self.move(batch)
        self.step += 1
        decay = min(self.plan.decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.mean.values()), list(self.network.state_dict().values()), 1 - decay)
        return judged

    def move(self, batch: Batch) -> Tensor:
        """Change the weights."""
        terms, gain = self._judge(batch)
        loss = torch.stack([term * self.plan.terms[name] for name, term in terms.items()]).sum()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        length = nn.utils.clip_grad_norm_(self.network.parameters(), LONGEST)
        self.optimiser.step()
        return torch.stack([loss.detach(), gain, length, *(term.detach() for term in terms.values())])

    def told(self, judged: Tensor) -> dict[str, float]:
        """What `learn` returned, or a mean of it, by names: gain in dB over a cross-fade, length of the gradient."""
        return dict(zip(("loss", "gain", "gradient", *self.plan.terms), judged.tolist(), strict=True))

    def judge(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Every term's mean, and the mean gain in dB over a cross-fade."""
        half = None if self.plan.precision == "fp32" else DTYPES[self.plan.precision]
        # without its cache, which a recording must not lead out of
        with torch.autocast(self.device.type, half, half is not None, cache_enabled=False):
            made = self.student.make(self.network, batch)
        faded = (1 - batch.t) * batch.first + batch.t * batch.last
        frame, truth, faded = (_inner(one) for one in (made.frame, batch.middle, faded))
        shares = _inner(made.shares)
        with torch.no_grad():
            gain = losses.logarithmic(faded, truth) - losses.logarithmic(frame, truth)
        terms: dict[str, Callable[[], Tensor]] = {
            "logarithmic": lambda: losses.logarithmic(frame, truth, STILL),
            "charbonnier": lambda: losses.charbonnier(frame, truth),
            "census": lambda: losses.census(frame, truth),
            "gradients": lambda: losses.gradients(frame, truth),
            "across": lambda: losses.across(made.across, batch.across, batch.known),
            "motion": lambda: losses.motion(_inner(made.flows), shares, _inner(batch.flows), _inner(batch.seen)),
            "smoothness": lambda: losses.smoothness(made.rough),
            "warping": lambda: losses.warping((_inner(made.candidates[0]), _inner(made.candidates[1])), shares, truth),
        }
        return {name: terms[name]().mean() for name in self.plan.terms}, gain.mean() * (10 / math.log(10))

    def save(self, folder: Path, recipe: Recipe) -> None:
        """Write everything that going on needs, and the mean weights as they are shipped."""
        state = {
            "network": self.network.state_dict(), "mean": self.mean, "optimiser": self.optimiser.state_dict(),
            "step": self.step, "seconds": self.seconds, "recipe": asdict(recipe),
        }  # fmt: skip
        with aside(folder / STATE) as path:
            torch.save(state, path)
        tensors = {name: value.detach().float().cpu().contiguous() for name, value in self.mean.items()}
        with aside(folder / WEIGHTS) as path:
            save_file(tensors, path, {"step": str(self.step)})

    def load(self, path: Path) -> dict[str, Any]:
        """Go on from a checkpoint that `save` wrote, or begin with the weights of a shipped file.

        Returns the fields of the recipe that it was trained with; of weights, nothing. Raises InputError where the file
        is neither, or of another network.
        """
        if path.suffix == ".safetensors":
            from ..networks.files import read

            tensors = read(path)
            with self._of_this_network(path):
                self.network.load_state_dict(tensors)
            # in the module's order, not the file's: `learn` pairs them by their places
            self.mean = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
            return {}
        try:
            state: Any = torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:  # every kind of damage has its own
            raise InputError(
                f"The checkpoint {path} cannot be read, it is damaged or none: choose another one."
            ) from error
        if not isinstance(state, dict) or not KEPT <= state.keys():
            raise InputError(f"{path} is no checkpoint of a run: choose a {STATE}, or weights (.safetensors).")
        # the rate, and what is known of the device, are this run's
        ours = self.optimiser.state_dict()["param_groups"]
        with self._of_this_network(path):
            self.network.load_state_dict(state["network"])
            self.mean = {name: state["mean"][name] for name in self.network.state_dict()}
            self.optimiser.load_state_dict({**state["optimiser"], "param_groups": ours})
        self.step, self.seconds = state["step"], state.get("seconds", 0.0)
        recipe: dict[str, Any] = state.get("recipe", {})
        return recipe

    @contextmanager
    def _of_this_network(self, path: Path) -> Iterator[None]:
        try:
            yield
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"{path} is of another network than {self.plan.network}: choose another one.") from error


class Recording:
    """A step on a graphics card, recorded once and played again with other samples.

    It is some four thousand small things to do: to ask for them one by one takes the processor longer than the card.
    """

    def __init__(self, trainer: Trainer, batch: Batch) -> None:
        self._batch = Batch(*(getattr(batch, part.name).clone() for part in fields(Batch)))
        weights = [parameter.detach().clone() for parameter in trainer.network.parameters()]
        before = copy.deepcopy(trainer.optimiser.state_dict()["state"])
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM):
                trainer.move(self._batch)
        torch.cuda.current_stream().wait_stream(side)
        with torch.no_grad():
            for number, (parameter, weight) in enumerate(zip(trainer.network.parameters(), weights, strict=True)):
                parameter.copy_(weight)
                for name, value in trainer.optimiser.state[parameter].items():
                    value.copy_(before[number][name]) if number in before else value.zero_()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._judged = trainer.move(self._batch)
        self.taken = torch.cuda.Event()
        """When the last samples were copied, and their memory may serve for others."""

    def play(self, batch: Batch) -> Tensor:
        """The step with these samples."""
        for part in fields(Batch):
            getattr(self._batch, part.name).copy_(getattr(batch, part.name))
        self.taken.record()
        self._graph.replay()
        return self._judged.clone()


def _inner(image: Tensor) -> Tensor:
    """Without what is near the edges."""
    edge = round(image.shape[-1] * MARGIN)
    return image[..., edge : image.shape[-2] - edge, edge : image.shape[-1] - edge]


def ahead(batches: Iterator[Batch], trainer: Trainer) -> Iterator[Batch]:
    """The same batches; those that a graphics card makes, it makes while it still learns from the ones before."""
    if trainer.device.type != "cuda":
        yield from batches
        return
    side, main = torch.cuda.Stream(), torch.cuda.current_stream()
    while True:
        if trainer.recording is None:
            side.wait_stream(main)
        else:
            side.wait_event(trainer.recording.taken)
        with torch.cuda.stream(side):
            batch = next(batches)
        main.wait_stream(side)
        yield batch


def _tell_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """To another recipe one may go on: but not without knowing it."""
    changes = [
        f"{name} {now[name]!r} instead of {value!r}"
        for name, value in before.items()
        if name != "cache" and now.get(name, value) != value
    ]
    if changes:
        print(f"This run goes on with other samples than before: {', '.join(changes)}.", file=sys.stderr, flush=True)


def run(plan: Plan, recipe: Recipe, resume: Path | None) -> Trainer:
    """Train until the time is over or the steps are done; the log goes to standard output and to a file.

    Without steps, the learning rate falls over the minutes of this run and those that were used before it. Raises
    InputError where `resume` cannot be read or has as many steps already, where the folder has a run that this one does
    not go on with, and where it cannot be written.
    """
    folder = Path(plan.output)
    multiple = STUDENTS[plan.network].multiple
    required(recipe.size % multiple == 0, "size", recipe.size, f"for {plan.network} a multiple of {multiple}")
    if resume is None and (there := [name for name in (STATE, WEIGHTS, LOG) if (folder / name).exists()]):
        raise InputError(
            f"{folder} has a run's {', '.join(there)}: go on with it by --resume, or name another folder by --output."
        )
    with explained(f"The folder {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(plan)
    if resume is not None:
        _tell_changes(trainer.load(resume), asdict(recipe))
    if 0 < plan.steps <= trainer.step:
        raise InputError(f"{resume} has {trainer.step} steps already, and {plan.steps} were asked for: name more.")
    began = told = kept = time.monotonic()
    judged, since = None, trainer.step
    before, end = trainer.seconds, trainer.seconds + plan.minutes * 60
    trainer.over = before / end
    with open(folder / LOG, "a", encoding="utf-8") as log:
        for batch in ahead(stream(recipe, trainer.step, plan.beside), trainer):
            one = trainer.learn(batch.to(trainer.device))
            judged = one if judged is None else judged + one
            now = time.monotonic()
            trainer.seconds = before + now - began
            trainer.over = min(1.0, trainer.seconds / end)
            over = trainer.over == 1 or 0 < plan.steps <= trainer.step
            if now - told > EVERY or over:
                means = {name: round(value, 5) for name, value in trainer.told(judged / (trainer.step - since)).items()}
                line = {"step": trainer.step, "seconds": round(now - began, 1), "rate": trainer.rate(), **means}
                print(" ".join(f"{name} {value:.6g}" for name, value in line.items()), flush=True)
                log.write(json.dumps(line) + "\n")
                log.flush()
                told, judged, since = now, None, trainer.step
            if now - kept > plan.keep_every:
                trainer.save(folder, recipe)
                kept = now
            if over:
                break
    trainer.save(folder, recipe)
    return trainer
