# SPDX-License-Identifier: GPL-3.0-or-later
"""The sets of packages that an environment can be made of: one for each platform and accelerator.

Which versions of CUDA, ROCm and Python PyTorch 2.13 is built for, and for which cards: its RELEASE.md, "Release
Compatibility Matrix" and "CUDA Support Matrix". What a driver can run: NVIDIA, CUDA Toolkit Release Notes, table "CUDA
Toolkit and Minimum Required Driver Version".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..messages import InputError
from .hardware import Hardware

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements"
TORCH_INDEX = "https://download.pytorch.org/whl"
PYTHONS = ((3, 11), (3, 14))
"""The oldest and the newest Python that all packages have wheels for."""
UNPACKED = 4.2
"""An environment's size over its download's; measured with linux-cpu, and a little more to be safe."""
CUDA_13, CUDA_12 = (13, 0), (12, 0)
TURING, MAXWELL = (7, 5), (5, 0)
"""Compute capabilities from which on PyTorch is built for CUDA 13 and for CUDA 12.6."""


@dataclass(frozen=True)
class Set:
    """One combination of packages."""

    id: str
    label: str
    index: str = ""
    """Where PyTorch comes from, beside PyPI."""
    about: int = 0
    """Bytes of PyTorch's files where the index is not PyPI, which tells."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Its requirements, in the order in which they are installed."""
        torch = () if self.id == NO_TORCH else ("torch-common", f"torch-{self.id}")
        return tuple(REQUIREMENTS / f"{name}.txt" for name in ("pip", "worker", *torch))

    @property
    def download(self) -> int:
        """Bytes to download, about."""
        return sum(self._size(path) for path in self.files)

    def download_of(self, lacking: Sequence[str]) -> int:
        """Bytes to download at the most where only these requirements are lacking."""
        texts = {path: path.read_text(encoding="utf-8") for path in self.files}
        return sum(self._size(path) for path, text in texts.items() if any(one in text for one in lacking))

    def _size(self, path: Path) -> int:
        """What scripts/lock noted in the file, or what is known of PyTorch's own indexes."""
        found = re.search(r"^# Download: (\d+) bytes", path.read_text(encoding="utf-8"), re.MULTILINE)
        return int(found[1]) if found else self.about

    @property
    def installed(self) -> int:
        """Bytes that the environment takes, about."""
        return round(self.download * UNPACKED)


NO_TORCH = "no-torch"
SETS = (
    Set("linux-cpu", "Linux, CPU", f"{TORCH_INDEX}/cpu", 192_000_000),
    Set("linux-cu130", "Linux, NVIDIA (CUDA 13.0)"),
    Set("linux-cu126", "Linux, NVIDIA (CUDA 12.6)", f"{TORCH_INDEX}/cu126", 2_800_000_000),
    Set("linux-rocm72", "Linux, AMD (ROCm 7.2)", f"{TORCH_INDEX}/rocm7.2", 4_500_000_000),
    Set("linux-xpu", "Linux, Intel Arc", f"{TORCH_INDEX}/xpu", 1_500_000_000),
    Set("windows-cpu", "Windows, CPU"),
    Set("windows-cu130", "Windows, NVIDIA (CUDA 13.0)", f"{TORCH_INDEX}/cu130", 2_000_000_000),
    Set("windows-cu126", "Windows, NVIDIA (CUDA 12.6)", f"{TORCH_INDEX}/cu126", 2_700_000_000),
    Set("windows-xpu", "Windows, Intel Arc", f"{TORCH_INDEX}/xpu", 1_500_000_000),
    Set("macos", "macOS, Apple silicon"),
    Set(NO_TORCH, "Without PyTorch: Optical Flow, Blend and Nearest alone"),
)
PYPI_SETS = ("linux-cu130", "windows-cpu", "macos")
"""Those whose files PyPI holds, and which are pinned with hashes."""


def named(set_id: str) -> Set:
    """The set of that id. Raises InputError for one that is in no list."""
    for made in SETS:
        if made.id == set_id:
            return made
    raise InputError(f"There is no set of packages {set_id!r}: choose one of {', '.join(made.id for made in SETS)}.")


def fitting(hardware: Hardware) -> tuple[Set, str]:
    """The set that fits a machine best, and why, as a sentence."""
    system = hardware.system
    if system == "macos" and hardware.machine == "arm64":
        return named("macos"), f"{hardware.machine_label}: PyTorch uses its graphics through Metal."
    if system not in ("linux", "windows") or hardware.machine != "x86_64":
        return named(NO_TORCH), f"PyTorch has no current packages for {system} on {hardware.machine}."
    if nvidia := hardware.nvidia:
        told = f"{nvidia.name}, driver {nvidia.driver} (CUDA {nvidia.cuda[0]}.{nvidia.cuda[1]})"
        if nvidia.cuda >= CUDA_13 and nvidia.capability >= TURING:
            return named(f"{system}-cu130"), f"{told}."
        if nvidia.cuda >= CUDA_12 and nvidia.capability >= MAXWELL:
            newer = "" if nvidia.cuda >= CUDA_13 else " A driver from 580 on would allow the newer packages."
            return named(f"{system}-cu126"), f"{told}.{newer}"
        if nvidia.capability >= MAXWELL:
            return named(f"{system}-cpu"), f"{told}: the driver is too old. Install one from 580 on, then repair."
        return named(f"{system}-cpu"), f"{told}: PyTorch does not support this card any more, so the CPU is used."
    if hardware.amd:
        if system == "linux" and hardware.has_rocm_driver:
            return named("linux-rocm72"), f"{hardware.amd}, with the driver for computing."
        missing = (
            "ROCm's packages are for Linux" if system != "linux" else "its driver for computing (amdkfd) is missing"
        )
        return named(f"{system}-cpu"), f"{hardware.amd}: {missing}, so the CPU is used."
    if hardware.intel:
        return named(f"{system}-xpu"), f"{hardware.intel}."
    return named(f"{system}-cpu"), "No graphics card for computing was found, so the CPU is used."
