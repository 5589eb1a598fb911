# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoint files: read without running anything in them, recognised by names and shapes, loaded strictly."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..messages import InputError
from . import dain, lento, rife, superslomo

WRAPPERS = ("state_dict", "model", "model_state_dict", "params", "params_ema", "net", "flownet")
"""Names under which training code may put a network's tensors."""
NAMED = 5
"""Tensors that a message names, at the most."""
MULTIPLY_ADDS_AT = (1920, 1088)

Tensors = dict[str, Tensor]


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
                f"{', '.join(wrong[:NAMED])}{more}. Get the file again from where its authors publish it."
            )
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
                    module.at(state, 0.5)
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
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(rife.TRAINING_ONLY)}
    layout = rife.layout_of(shapes)
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
    some = ", ".join(sorted(shapes)[:NAMED])
    raise InputError(
        f"{path} is a checkpoint of another network: it has {len(shapes)} tensors such as {some}. Known are those of "
        "RIFE 3.6 and 4.x, Super SloMo and DAIN."
    )


def read(path: Path) -> Tensors:
    """The tensors of a file by name, without `module.` before it; Super SloMo's two parts under their modules' names.

    Raises InputError where the file is none, is damaged, or wants to run code.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as error:
        raise InputError(f"The weights {path} cannot be read ({error.strerror}): choose the file again.") from error
    if reason := _no_checkpoint(head, size):
        raise InputError(f"{path} is no checkpoint: {reason}")
    try:
        if _is_safetensors(head, size):
            from safetensors.torch import load_file

            found: Any = load_file(str(path))
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "nsupported" in str(error) or "weights_only" in str(error).lower() and "GLOBAL" in str(error):
            raise InputError(
                f"{path} wants to run code when it is opened, which is refused: {_short(error)}. Get the file that "
                "holds only tensors (a state_dict)."
            ) from error
        raise InputError(f"{path} is damaged or not complete ({_short(error)}): get it again.") from error
    except Exception as error:  # every library has its own for a damaged file
        raise InputError(f"{path} is damaged or not complete ({_short(error)}): get it again.") from error
    return _named(_unwrapped(found), path)


def _unwrapped(found: Any) -> Any:
    while isinstance(found, Mapping):
        if "state_dictFC" in found and "state_dictAT" in found:
            parts = (("flowComp.", found["state_dictFC"]), ("ArbTimeFlowIntrp.", found["state_dictAT"]))
            return {prefix + name: tensor for prefix, part in parts for name, tensor in part.items()}
        inner = next((name for name in WRAPPERS if isinstance(found.get(name), Mapping)), None)
        if inner is None:
            return found
        found = found[inner]
    return found


def _named(found: Any, path: Path) -> Tensors:
    if not isinstance(found, Mapping) or not any(isinstance(value, Tensor) for value in found.values()):
        raise InputError(f"{path} holds no tensors by name, but a {type(found).__name__}: choose a checkpoint.")
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def _no_checkpoint(head: bytes, size: int) -> str:
    """What a file that cannot be a checkpoint seems to be; empty where it may be one."""
    start = head.lstrip()[:100].lower()
    if size == 0:
        return "it is empty. Get it again."
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return (
            "it is a web page, as a failed download leaves one. Open its address in a browser and save the file itself."
        )
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, which only says where the file is. Get the file itself (git lfs pull)."
    if head[:1] not in (b"\x80", b"P") and not _is_safetensors(head, size):
        text = all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head[:200])
        kind = "it is a text file." if text else "its beginning is that of none."
        return f"{kind} Choose the .pkl, .pth, .ckpt, .pt or .safetensors file that the authors publish."
    return ""


def _is_safetensors(head: bytes, size: int) -> bool:
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 0 < length < max(size, 100_000_000)


def _short(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
