# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages are there, and what the engines lack of them."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from ..job import NETWORKS

BASE = {"numpy": "numpy", "opencv-python-headless": "cv2", "av": "av"}
"""What no job runs without: the package, and the module that it brings."""
BETTER = {
    "isal": ("isal", "PNG files are written more slowly"),
    "pedalboard": ("pedalboard", "sound is stretched less exactly, by FFmpeg"),
    "OpenEXR": ("OpenEXR", "EXR files cannot be read or written"),
}
"""What jobs can do without: the module, and what is lost then."""
TORCH = {"torch": "torch", "safetensors": "safetensors"}
MODULES = {**BASE, **{package: module for package, (module, _) in BETTER.items()}, **TORCH}


def is_there(package: str) -> bool:
    """Whether this Python has the module, whichever package brought it: opencv-python has a cv2, too."""
    return find_spec(MODULES[package]) is not None


def lacking(engine_id: str) -> str:
    """What the engine cannot run without in this Python, beside a checkpoint; empty where it can."""
    needed = {**BASE, **TORCH} if engine_id in NETWORKS else BASE
    missing = [package for package in needed if not is_there(package)]
    return f"{' and '.join(missing)} in {sys.executable}" if missing else ""
