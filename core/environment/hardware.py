# SPDX-License-Identifier: GPL-3.0-or-later
"""Which accelerators this machine has, found without PyTorch."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SECONDS = 15.0
"""That a driver's program may take to answer."""
AMD, INTEL = "0x1002", "0x8086"
"""PCI vendors."""
DRIVER_CUDA = ((580, (13, 0)), (525, (12, 0)), (450, (11, 0)))
"""Major version of a driver -> the CUDA version that it runs at least, where it does not say itself."""
Version = tuple[int, int]


@dataclass(frozen=True)
class Nvidia:
    """The first NVIDIA card."""

    name: str
    driver: str
    cuda: Version
    """Newest CUDA version that the driver runs."""
    capability: Version


@dataclass(frozen=True)
class Hardware:
    """A machine, as far as it decides which packages fit."""

    system: str
    """linux, windows or macos; else what Python calls it."""
    machine: str
    """x86_64, arm64, or what the system calls it."""
    nvidia: Nvidia | None = None
    amd: str = ""
    intel: str = ""
    """Names of cards that can compute; empty where there is none."""
    has_rocm_driver: bool = False

    @property
    def machine_label(self) -> str:
        """For people."""
        return "Apple silicon" if (self.system, self.machine) == ("macos", "arm64") else self.machine


def find() -> Hardware:
    """Look at the machine; takes as long as the drivers' programs do, some tenths of a second."""
    system = {"linux": "linux", "win32": "windows", "darwin": "macos"}.get(sys.platform, sys.platform)
    machine = {"amd64": "x86_64", "aarch64": "arm64"}.get(platform.machine().lower(), platform.machine().lower())
    cards = _windows_cards() if system == "windows" else _linux_cards(Path("/sys")) if system == "linux" else {}
    return Hardware(
        system, machine, find_nvidia(), cards.get("amd", ""), cards.get("intel", ""), Path("/dev/kfd").exists()
    )


def find_nvidia() -> Nvidia | None:
    """What the driver's own program says of the first card; None where there is no driver."""
    told = _answer("nvidia-smi", "--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader")
    cells = [cell.strip() for cell in told.strip().splitlines()[0].split(",")] if told.strip() else []
    if len(cells) != 3:
        return None
    name, driver, capability = cells
    said = re.search(r"CUDA[A-Z ]* Version:\s*(\d+)\.(\d+)", _answer("nvidia-smi"))
    major = int(driver.partition(".")[0]) if driver.partition(".")[0].isdigit() else 0
    known = next((cuda for least, cuda in DRIVER_CUDA if major >= least), (0, 0))
    return Nvidia(name, driver, _version(said[1], said[2]) if said else known, _version(*capability.split(".")[:2]))


def _version(major: str, minor: str = "0") -> Version:
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)


def _linux_cards(root: Path) -> dict[str, str]:
    """AMD's cards, and Intel's that the driver of the computing ones (xe) drives."""
    found = {}
    for device in sorted(root.glob("class/drm/card[0-9]*/device")):
        try:
            vendor = (device / "vendor").read_text(encoding="ascii").strip()
        except OSError:
            continue  # not a PCI card
        if vendor == AMD:
            found["amd"] = "AMD graphics"
        if vendor == INTEL and (device / "driver").resolve().name == "xe":
            found["intel"] = "Intel graphics"
    return found


def _windows_cards() -> dict[str, str]:
    """By the names that Windows lists."""
    names = _answer(
        "powershell", "-NoProfile", "-NonInteractive", "-Command", "(Get-CimInstance Win32_VideoController).Name"
    )
    found = {}
    for name in names.splitlines():
        if "Radeon" in name or "AMD" in name:
            found["amd"] = name.strip()
        if "Arc" in name and "Intel" in name:
            found["intel"] = name.strip()
    return found


def _answer(*command: str) -> str:
    """What a program prints; empty where it is not there, fails or hangs: then there is no such hardware to use."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=SECONDS,
            check=True, text=True, encoding="utf-8", errors="replace",
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
