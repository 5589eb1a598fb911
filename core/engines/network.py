# SPDX-License-Identifier: GPL-3.0-or-later
"""What all engines with a PyTorch network share: device, precision, weights, and arrays to tensors and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..memory import free_on_host
from ..messages import InputError
from ..networks.checkpoints import Checkpoint, open_checkpoint
from ..networks.rife import IFNet
from .base import EngineInfo, Frame, Pixels, Settings

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
MOST_PIECES = 64
"""Smaller ones are mostly what is around them."""
MOST_ON_CPU = 6 * 2**30
"""Bytes that a frame may take on a CPU, whose memory is Blender's, too; one that takes more is made in pieces."""
MOST_TOGETHER, MOST_TOGETHER_ON_CPU = 8, 2
"""Timesteps of a pair that are made at once, at the most. More gain nothing on two cores (RIFE 4.6 at 1280x720)."""
MOST_PIXELS = 2**31 // 64
"""Of timesteps that are made at once, at the most: where a layer has 64 channels of them, PyTorch counts no further."""
SHARE = 0.8
"""Of a device's memory, for timesteps that are made at once."""
TOGETHER_ON_CPU = 3 * 2**30
"""Bytes for them on a CPU, whose memory is not ours alone."""
THREADS = torch.get_num_threads()
"""What PyTorch begins with; an engine that ran before in this process may have left another number."""
OUT_OF_MEMORY = ("out of memory", "allocate memory", "alloc_failed", "unable to find an engine")
"""In the texts of errors: the last two are cuDNN's and cuBLAS's, where a convolution gets no memory to work in."""
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


def devices() -> Iterator[tuple[str, str, str, int | None]]:
    """Every device that can be used: its id, the precision that "auto" means there, its name, its memory in bytes."""
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        yield f"cuda:{number}", precision_of("auto", torch.device("cuda", number)), about.name, about.total_memory
    if torch.backends.mps.is_available():
        yield "mps", precision_of("auto", torch.device("mps")), "Apple graphics", free_memory(torch.device("mps"))
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        card = torch.xpu.get_device_properties(0)
        yield "xpu", precision_of("auto", torch.device("xpu")), card.name, card.total_memory
    cpu = torch.device("cpu")
    yield "cpu", precision_of("auto", cpu), f"{torch.get_num_threads()} threads", free_memory(cpu)


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


def be_exact() -> None:
    """Have cuDNN compute what is asked for, and the same every time; as PyTorch has it, for the whole process.

    Left alone, it rounds what fp32 convolutions read to the 10 bits of TF32, and adds up what transposed ones make in
    any order. Where it may try algorithms out (`benchmark`), the clock decides which one a job gets.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def placed(network: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The network on a device, with weights of that type; of one that names `smooth` parts, those alone."""
    smooth: tuple[str, ...] = getattr(network, "smooth", ("",))  # "" is the network itself
    for name in smooth:
        network.get_submodule(name).to(device, dtype)
    return network.to(device)


def _cpu_has_bf16() -> bool:
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check is not None and check() for check in checks)


@dataclass
class Work:
    """A pair of frames, and what the network made of it."""

    a: Frame
    b: Frame
    times: tuple[float, ...] = ()
    """All that will be asked for."""
    state: Any = None
    made: dict[float, Pixels] = field(default_factory=dict)
    """Timesteps that were made with another, and not asked for yet."""

    def group(self, t: float, together: int) -> tuple[float, ...]:
        """The timesteps that are made with `t`, in its place among them."""
        if t not in self.times:
            return (t,)
        first = self.times.index(t) // together * together
        return self.times[first : first + together]


class NetworkEngine:
    """An engine around a network. Subclasses say what a pair and a moment are.

    Where memory runs out, the network works in pieces from then on, or with less detail, and `settings.tell` is told.
    """

    info: EngineInfo
    bytes_per_pixel: tuple[int, int]
    """Of a frame, at the most, with full and with half precision; see `memory`."""
    kept: float
    """The share of them that pieces do not make smaller."""

    def __init__(self, settings: Settings) -> None:
        torch.set_num_threads(THREADS)
        be_exact()
        self.checkpoint = self._checkpoint(settings)
        device = device_of(settings.device)
        self.precision = precision_of(settings.precision, device)
        self.device, self._device, self.dtype = str(device), device, DTYPES[self.precision]
        self.settings = settings
        if self.precision == "bf16" and device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            settings.tell("precision: this CPU computes bf16 many times slower than fp32: choose auto or fp32.")
        module = self.checkpoint.load()
        if isinstance(module, IFNet):
            module.fold()
        module = placed(module, device, self.dtype)
        self.module: nn.Module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._tensors: dict[int, Tensor] = {}
        self._parts = [part for part in self.module.modules() if hasattr(part, "pieces")]
        """Those that can work piece by piece."""
        self._estimated = False
        self.together = 1
        """Timesteps that are made at once."""

    def prepare_pair(self, a: Frame, b: Frame) -> Any:
        """What does not depend on the timestep."""
        raise NotImplementedError

    def at(self, state: Any, t: float) -> Pixels:
        """The frame at timestep `t` of what `prepare_pair` made."""
        raise NotImplementedError

    @property
    def can_batch(self) -> bool:
        """Whether the network makes several timesteps at once, in `at_all`."""
        return False

    def at_all(self, state: Any, times: Sequence[float]) -> list[Pixels]:
        """The frames at several timesteps."""
        return [self.at(state, t) for t in times]

    def forget(self) -> None:
        """Drop what is kept of frames."""
        self._tensors.clear()

    def prepare(self, a: Frame, b: Frame, times: Sequence[float] = ()) -> Work:
        """See Engine.prepare; put off to the first timestep, where running out of memory is dealt with."""
        if not self._estimated:
            self._estimated = True
            self._fit(*a.pixels.shape[:2])
        return Work(a, b, tuple(times))

    def memory(self, height: int, width: int) -> int:
        """Bytes that a frame of that size takes, beside the weights: measured, and a little more to be safe."""
        full, half = self.bytes_per_pixel
        whole = height * width * (full if self.dtype == torch.float32 else half)
        return int(whole * (self.kept + (1 - self.kept) / self._pieces()))

    def _fit(self, height: int, width: int) -> None:
        """Begin in pieces where a frame would not fit into the memory that is free, with several where more would."""
        free = free_memory(self._device)
        self.together = self._fitting_together(height, width, free)
        limit, why = free, "are free"
        if self._device.type == "cpu" and (free is None or free > MOST_ON_CPU):
            limit, why = MOST_ON_CPU, "are the most that is meant to be taken"
        needed = self.memory(height, width)
        if limit is None or needed <= limit:
            return
        less = ""
        while self.memory(height, width) > limit and (smaller := self._smaller_pieces(2)):
            less = smaller
        left = self.memory(height, width)
        if left > limit and left > needed / 2:
            self._divide(1)
            less = "it is made at once all the same, since pieces would save little."
        elif left > limit:
            less += f" It takes about {left / 2**30:.1f} GB even so."
        self.settings.tell(
            f"{width}x{height} takes about {needed / 2**30:.1f} GB on {self.device}, where {limit / 2**30:.1f} GB "
            f"{why}: {less}"
        )

    def _fitting_together(self, height: int, width: int, free: int | None) -> int:
        """Timesteps that are made at once: by what the device has, so that a job that goes on makes the same bytes.

        Only where that is not free now, fewer.
        """
        if not self.can_batch:
            return 1
        on_cpu = self._device.type == "cpu"
        most = MOST_TOGETHER_ON_CPU if on_cpu else min(MOST_TOGETHER, MOST_PIXELS // (height * width))
        rooms = (room_together(self._device), None if free is None else SHARE * free)
        known = [room for room in rooms if room is not None]
        return max(1, min(most, int(min(known) / self.memory(height, width)))) if known else 1

    def _pieces(self) -> int:
        return self._parts[0].pieces if self._parts else 1

    def coarser(self) -> str:
        """Go on with less detail than was asked for, and say so; empty where that cannot be."""
        return ""

    def synthesize(self, state: Work, t: float) -> Pixels:
        """See Engine.synthesize."""
        while t not in state.made:
            group = state.group(t, self.together)
            lacking = self._make(state, group)
            if lacking:
                # not where the error was caught: until then its traceback holds all tensors of the attempt
                self._use_less_memory(state.a, len(group), lacking)
        return state.made.pop(t)

    def _make(self, state: Work, group: tuple[float, ...]) -> str:
        """Make the frames of a group; what the error says where there is not enough memory."""
        try:
            with torch.inference_mode():
                if state.state is None:
                    state.state = self.prepare_pair(state.a, state.b)
                made = self.at_all(state.state, group) if len(group) > 1 else [self.at(state.state, group[0])]
                state.made.update(zip(group, made, strict=True))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            state.state = None
            return str(error) or type(error).__name__
        return ""

    def _use_less_memory(self, frame: Frame, together: int, lacking: str) -> None:
        """Go on in a way that takes less than `together` timesteps of frames such as `frame` took.

        Raises MemoryError with the text `lacking` where there is none.
        """
        self.forget()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        height, width = frame.pixels.shape[:2]
        self.together = together
        less = self._fewer_together() or self._smaller_pieces(4) or self.coarser()
        if not less:
            raise MemoryError(lacking)
        self.settings.tell(f"There is not enough memory on {self.device} for {width}x{height} at once: {less}")

    def _fewer_together(self) -> str:
        """Halve the timesteps that are made at once; empty where they are made one by one already."""
        if self.together == 1:
            return ""
        self.together //= 2
        return f"{self.together} frames are made at once." if self.together > 1 else "frames are made one by one."

    def _smaller_pieces(self, by: int) -> str:
        """Divide the pieces that the large parts of the network work on; empty where they are small already."""
        if not self._parts or self._pieces() >= MOST_PIECES:
            return ""
        self._divide(min(self._pieces() * by, MOST_PIECES))
        return f"the network works in {self._pieces()} pieces, with the same result."

    def _divide(self, pieces: int) -> None:
        for part in self._parts:
            part.pieces = pieces

    def _checkpoint(self, settings: Settings) -> Checkpoint:
        if not settings.weights:
            raise InputError(
                f"weights: the engine {self.info.id!r} needs a checkpoint from its authors: name the file, or choose "
                "the engine lento, which brings its own."
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
        found = self._tensors.get(frame.index)
        if found is None:
            # turned round on the device, which does that faster
            found = torch.from_numpy(frame.pixels).to(self._device).permute(2, 0, 1)[None].contiguous()
            self._tensors[frame.index] = found
            while len(self._tensors) > KEPT:
                del self._tensors[next(iter(self._tensors))]
        return found

    def time(self, *times: float) -> Tensor:
        """Timesteps as networks take them, (B, 1, 1, 1) in fp32."""
        return torch.tensor(times, dtype=torch.float32, device=self._device).view(-1, 1, 1, 1)


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a device; None where nobody says."""
    if device.type == "cuda":
        # what PyTorch keeps of tensors that are gone, as those of a job before, counts as taken there
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return free_on_host()


def room_together(device: torch.device) -> float | None:
    """Bytes for timesteps that are made at once, whatever is free now; None where a card does not say what it has."""
    if device.type == "cuda":
        return SHARE * torch.cuda.get_device_properties(device).total_memory
    return TOGETHER_ON_CPU if device.type == "cpu" else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the host, has no memory left; PyTorch has a type for the first alone."""
    text = str(error).lower()
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(part in text for part in OUT_OF_MEMORY)
    )


def repeated(pair: tuple[Tensor, Tensor], count: int) -> tuple[Tensor, Tensor]:
    """Two tensors (1, C, H, W) as (count, C, H, W), without a copy."""
    first, second = (tensor.expand(count, -1, -1, -1) for tensor in pair)
    return first, second


def pixels_of(tensor: Tensor, width: int, height: int, left: int = 0, top: int = 0) -> Pixels:
    """(1, C, H, W) without its padding as (H, W, C) on the host."""
    inside = tensor[0, :, top : top + height, left : left + width].float()
    return inside.permute(1, 2, 0).contiguous().cpu().numpy()


def padded(image: Tensor, multiple: int, mode: str = "constant") -> Tensor:
    """`image` extended right and below to sides that are multiples; with zeros, or "replicate"."""
    height, width = image.shape[-2:]
    if height % multiple == 0 and width % multiple == 0:
        return image
    return F.pad(image, (0, -width % multiple, 0, -height % multiple), mode=mode)
