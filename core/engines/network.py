# SPDX-License-Identifier: GPL-3.0-or-later
"""What all engines with a PyTorch network share: device, precision, weights, and arrays to tensors and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..messages import InputError
from ..networks.checkpoints import Checkpoint, open_checkpoint
from .base import EngineInfo, Frame, Pixels, Settings

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
OVERLAP = 64
"""Pixels by which a tile reaches over its edge."""
MOST_TILES = 16
KEPT = 3
"""Frames whose tensors are kept: a pair, and one that comes back after a repeat."""


def device_of(wanted: str) -> torch.device:
    """The device of that name; for "auto" the first of CUDA, Apple's, Intel's that is there, else the CPU.

    Raises InputError where a named one is not there.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "xpu": hasattr(torch, "xpu") and torch.xpu.is_available(),
        "cpu": True,
    }
    if wanted == "auto":
        return torch.device(next(name for name, usable in there.items() if usable))
    name, _, number = wanted.partition(":")
    if not there.get(name, False) or (name == "cuda" and number and int(number) >= torch.cuda.device_count()):
        usable = ", ".join(name for name, is_there in there.items() if is_there)
        raise InputError(
            f"device: {wanted} cannot be used by PyTorch {torch.__version__} here: choose one of {usable}."
        )
    return torch.device(wanted)


def precision_of(wanted: str, device: torch.device) -> str:
    """One of DTYPES; for "auto" half precision where the device has it in hardware.

    Raises InputError for fp16 on a CPU, which only emulates it.
    """
    if wanted == "auto":
        if device.type in ("cuda", "mps", "xpu"):
            return "fp16"
        return "bf16" if _cpu_has_bf16() else "fp32"
    if wanted == "fp16" and device.type == "cpu":
        raise InputError("precision: a CPU computes fp16 far slower than fp32: choose auto, fp32 or bf16.")
    return wanted


def _cpu_has_bf16() -> bool:
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check is not None and check() for check in checks)


@dataclass
class Work:
    """A pair of frames, and what the network made of it; nothing while it is made in tiles."""

    a: Frame
    b: Frame
    state: Any = None


class NetworkEngine:
    """An engine around a network. Subclasses say what a pair and a moment are.

    Where memory runs out, a picture is made in tiles from then on, and `settings.tell` is told.
    """

    info: EngineInfo

    def __init__(self, settings: Settings) -> None:
        self.checkpoint = self._checkpoint(settings)
        device = device_of(settings.device)
        self.precision = precision_of(settings.precision, device)
        self.device, self._device, self.dtype = str(device), device, DTYPES[self.precision]
        self.settings = settings
        module = self.checkpoint.load().to(device, self.dtype)
        self.module: nn.Module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._tensors: dict[int, Tensor] = {}
        self._tiles = 1
        """Along each side."""

    def prepare_pair(self, a: Frame, b: Frame) -> Any:
        """What does not depend on the timestep."""
        raise NotImplementedError

    def at(self, state: Any, t: float) -> Pixels:
        """The frame at timestep `t` of what `prepare_pair` made."""
        raise NotImplementedError

    def forget(self) -> None:
        """Drop what is kept of frames."""
        self._tensors.clear()

    def prepare(self, a: Frame, b: Frame) -> Work:
        """See Engine.prepare; put off to the first timestep, where running out of memory is dealt with."""
        return Work(a, b)

    def synthesize(self, state: Work, t: float) -> Pixels:
        """See Engine.synthesize."""
        while True:
            try:
                with torch.inference_mode():
                    if self._tiles > 1:
                        return self._in_tiles(state, t)
                    if state.state is None:
                        state.state = self.prepare_pair(state.a, state.b)
                    return self.at(state.state, t)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if self._tiles >= MOST_TILES:
                    raise MemoryError(str(error)) from error
            state.state = None
            self.forget()
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            self._tiles *= 2
            height, width = state.a.pixels.shape[:2]
            self.settings.tell(
                f"There is not enough memory on {self.device} for {width}x{height} at once: the picture is made in "
                f"{self._tiles}x{self._tiles} overlapping tiles. A smaller flow scale or network needs less."
            )

    def _in_tiles(self, work: Work, t: float) -> Pixels:
        """Every tile by itself; where they overlap, one runs into the other."""
        made = np.zeros_like(work.a.pixels)
        weights = np.zeros((*made.shape[:2], 1), np.float32)
        for rows, row_ramp in _spans(made.shape[0], self._tiles):
            for columns, column_ramp in _spans(made.shape[1], self._tiles):
                self.forget()  # a tile has the number of its frame
                one, other = (
                    Frame(frame.index, np.ascontiguousarray(frame.pixels[rows, columns])) for frame in (work.a, work.b)
                )
                weight = row_ramp[:, None, None] * column_ramp[None, :, None]
                made[rows, columns] += weight * self.at(self.prepare_pair(one, other), t)
                weights[rows, columns] += weight
        self.forget()
        return np.divide(made, weights, dtype=np.float32)

    def _checkpoint(self, settings: Settings) -> Checkpoint:
        if not settings.weights:
            raise InputError(
                f"weights: the engine {self.info.id!r} needs a checkpoint from its authors: name the file, or choose "
                "the engine flow, which needs none."
            )
        checkpoint = open_checkpoint(settings.weights)
        if checkpoint.network != self.info.id:
            raise InputError(
                f"weights: {settings.weights} is {checkpoint.family}, not for the engine {self.info.id!r}: choose the "
                f"engine {checkpoint.network}, or another file."
            )
        return checkpoint

    def tensor(self, frame: Frame) -> Tensor:
        """A frame's pixels as (1, C, H, W) in fp32 on the device; made once per frame."""
        if frame.index not in self._tensors:
            array = torch.from_numpy(np.ascontiguousarray(frame.pixels.transpose(2, 0, 1)))[None]
            self._tensors[frame.index] = array.to(self._device)
            while len(self._tensors) > KEPT:
                del self._tensors[next(iter(self._tensors))]
        return self._tensors[frame.index]

    def time(self, t: float) -> Tensor:
        """A timestep as networks take it, (1, 1, 1, 1) in fp32."""
        return torch.full((1, 1, 1, 1), t, device=self._device)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the host, has no memory left; PyTorch has a type for the first alone."""
    text = str(error).lower()
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "allocate memory" in text)
    )


def _spans(size: int, tiles: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Parts of a side that overlap, each with weights that fall off within the overlap."""
    step = -(-size // tiles)
    for start in range(0, size, step):
        first, last = max(0, start - OVERLAP), min(size, start + step + OVERLAP)
        ramp = np.ones(last - first, np.float32)
        slope = (np.arange(2 * OVERLAP, dtype=np.float32) + 0.5) / (2 * OVERLAP)
        if first > 0:
            ramp[: 2 * OVERLAP] = slope[: len(ramp)]
        if last < size:
            ramp[-2 * OVERLAP :] = np.minimum(ramp[-2 * OVERLAP :], slope[::-1][-len(ramp) :])
        yield slice(first, last), ramp


def pixels_of(tensor: Tensor, width: int, height: int, left: int = 0, top: int = 0) -> Pixels:
    """(1, C, H, W) without its padding as (H, W, C) on the host."""
    inside = tensor[0, :, top : top + height, left : left + width].float()
    return np.ascontiguousarray(inside.permute(1, 2, 0).cpu().numpy())


def padded(image: Tensor, multiple: int, mode: str = "constant") -> Tensor:
    """`image` extended right and below to sides that are multiples; with zeros, or "replicate"."""
    height, width = image.shape[-2:]
    if height % multiple == 0 and width % multiple == 0:
        return image
    return F.pad(image, (0, -width % multiple, 0, -height % multiple), mode=mode)
