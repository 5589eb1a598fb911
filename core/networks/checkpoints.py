# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoint files: recognised by names and shapes, loaded strictly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..messages import InputError
from . import dain, lento, rife, rife_layout, superslomo
from .files import Tensors, read

NAMED = 5
"""Tensors that a message names, at the most."""
MULTIPLY_ADDS_AT = (1920, 1088)


@dataclass(frozen=True)
class Checkpoint:
    """A file whose network is known."""

    path: Path
    network: str
    """The engine's id."""
    family: str
    """The network and its versions, for people."""
    any_time: bool
    """Whether it takes any timestep, or knows the middle alone."""
    licence: str
    """Of the authors' code and weights, as they state it."""
    tensors: Tensors
    make: Callable[[], nn.Module]

    def load(self) -> nn.Module:
        """The network with its parameters, in fp32 on the CPU.

        Raises InputError that names the tensors that are missing, too many or of another shape.
        """
        module = self.make().eval()
        wanted = module.state_dict()
        wrong = [name for name in wanted if name not in self.tensors and not name.endswith("num_batches_tracked")]
        wrong += [name for name in self.tensors if name not in wanted]
        wrong += [name for name in wanted if name in self.tensors and wanted[name].shape != self.tensors[name].shape]
        if wrong:
            more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
            raise InputError(
                f"{self.path} seems to be {self.family}, but these tensors are missing, unknown or of another shape: "
                f"{', '.join(wrong[:NAMED])}{more}. Get the file again from where its authors publish it"
                f"{f', or another version: {rife_layout.VERSIONS} run' if self.network == 'rife' else ''}."
            )
        for name in wanted:
            if name in self.tensors and not self.tensors[name].isfinite().all():
                raise InputError(f"{self.path} is damaged: {name} holds what is no number. Get the file again.")
        module.load_state_dict(self.tensors, strict=False)
        return module.float().requires_grad_(False)

    def parameters(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.make().parameters())

    def multiply_adds(self) -> tuple[int, int]:
        """Multiply-adds of convolutions at 1920 x 1088: once per pair, and per frame made."""
        from torch.utils.flop_counter import FlopCounterMode

        with torch.device("meta"), torch.inference_mode():
            module = self.make().eval()
            frame = torch.zeros(1, 3, MULTIPLY_ADDS_AT[1], MULTIPLY_ADDS_AT[0])
            counts = []
            with FlopCounterMode(display=False) as counter:
                if isinstance(module, rife.IFNet):
                    features = module.features(frame)
                elif isinstance(module, lento.LentoNet):
                    prepared = module.prepare(frame, frame)
                elif isinstance(module, superslomo.SuperSloMo):
                    flows = module.flows(frame, frame)
                else:
                    assert isinstance(module, dain.DAIN)
                    frame = torch.zeros(1, 3, *(_padded(size) for size in MULTIPLY_ADDS_AT[::-1]))
                    state = module.prepare(frame, frame)
            counts.append(counter.get_total_flops() // 2)
            t = torch.full((1, 1, 1, 1), 0.5)
            with FlopCounterMode(display=False) as counter:
                if isinstance(module, rife.IFNet):
                    module((frame, frame), (features, features), t)
                elif isinstance(module, lento.LentoNet):
                    module.at(prepared, t)
                elif isinstance(module, superslomo.SuperSloMo):
                    module.between(frame, frame, flows, t)
                else:
                    module.rectified(state, module.at(state, 0.5))
            counts.append(counter.get_total_flops() // 2)
        return counts[0], counts[1]


def _padded(size: int) -> int:
    return size + sum(dain.padding(size, size)[:2])


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Read and recognise a checkpoint.

    Raises InputError with a sentence that says what the file seems to be where it is none of a known network.
    """
    path = Path(path)
    tensors = read(path)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(rife_layout.TRAINING_ONLY)}
    layout = rife_layout.layout_of(shapes)
    if layout is not None:
        return Checkpoint(
            path, "rife", f"RIFE {layout.family}", layout.any_time, "MIT", kept, lambda: rife.IFNet(layout)
        )
    if "flowComp.conv1.weight" in shapes:
        return Checkpoint(path, "superslomo", "Super SloMo", True, "MIT", tensors, superslomo.SuperSloMo)
    if "flowComp.conv1.0.weight" in shapes:
        return Checkpoint(
            path, "superslomo_light", "Super SloMo light", True, "GPL-3.0-or-later", tensors,
            lambda: superslomo.SuperSloMo(superslomo.separable),
        )  # fmt: skip
    if "flownets.conv1a.0.weight" in shapes and "depthNet.0.weight" in shapes:
        known = dain.DAIN().state_dict()
        ours = {name: tensor for name, tensor in tensors.items() if name in known}  # the official file has more
        return Checkpoint(path, "dain", "DAIN", True, "MIT", ours, dain.DAIN)
    if "motion.refine.leave.weight" in shapes and "synthesis.leave.weight" in shapes:
        return Checkpoint(path, "lento", "Lento", True, "GPL-3.0-or-later", tensors, lento.LentoNet)
    if rife_layout.is_of_the_paper(shapes):
        raise InputError(
            f"{path} seems to be RIFE or RIFEm as the paper's code has it, not HDv3: it is another network, which does "
            f"not run here. Use HDv3 {rife_layout.VERSIONS}."
        )
    some = ", ".join(sorted(shapes)[:NAMED])
    raise InputError(
        f"{path} is a checkpoint of another network: it has {len(shapes)} tensors such as {some}. Known are those of "
        f"RIFE {rife_layout.VERSIONS}, Super SloMo and DAIN."
    )
