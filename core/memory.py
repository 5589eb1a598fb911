# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host has of memory, and of cores."""

from __future__ import annotations

import os
from pathlib import Path


def free_on_host() -> int | None:
    """Bytes of memory that are free; None where nobody says."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # there is such a file on Linux alone
    return None


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
