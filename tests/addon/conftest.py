# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Blender (the bpy wheel) with the built extension installed and enabled, under user folders of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.in_blender import ROOT, WORKER, bpy, install_extension, new_file
from scripts.manual import MEASURED

Measured = Callable[[str, Sequence[Any], float], float]
"""Notes the differences (of 65535) of a kind of source, with the most that they may be; returns the largest."""


def pytest_configure(config: pytest.Config) -> None:
    """Before any test module is imported: they look the extension's modules up."""
    install_extension()


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clip.mp4 (48 frames, 24 fps, sound) and an image sequence of 24 PNGs in seq/."""
    folder = tmp_path_factory.mktemp("clips and ümläute")
    worker_python("-m", "scripts.clips", str(folder / "clip.mp4"))
    worker_python(
        "-c",
        "import sys, cv2; from pathlib import Path; from scripts.clips import draw\n"
        "out = Path(sys.argv[1]); out.mkdir()\n"
        "for i in range(24): (out / f'shot_{i:04d}.png').write_bytes("
        "cv2.imencode('.png', draw(i)[..., ::-1])[1].tobytes())",
        str(folder / "seq"),
    )
    return folder


def worker_python(*arguments: str) -> str:
    """Run the worker's Python in the repository and return what it prints."""
    return subprocess.run([str(WORKER), *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.fixture
def scene(tmp_path: Path) -> Any:
    """A saved, empty file at 24 fps, 320x180, whose sequencer is the one that is edited."""
    return new_file(tmp_path / "shot.blend", (320, 180), 24.0)


@pytest.fixture(scope="session")
def measured() -> Iterator[Measured]:
    """What is measured goes into build/, where scripts/manual.py takes the manual's table from."""
    found: dict[str, dict[str, float]] = {}

    def note(kind: str, differences: Sequence[Any], target: float) -> float:
        most = float(max(difference.max() for difference in differences))
        mean = float(np.mean([difference.mean() for difference in differences]))
        row = found.setdefault(kind, {"max": 0.0, "mean": 0.0, "cases": 0, "target": target})
        row["mean"] = (row["mean"] * row["cases"] + mean) / (row["cases"] + 1)
        row["max"], row["cases"] = max(row["max"], most), row["cases"] + 1
        return most

    yield note
    MEASURED.mkdir(parents=True, exist_ok=True)
    path = MEASURED / f"color-{bpy.app.version[0]}.{bpy.app.version[1]}.json"
    before = json.loads(path.read_text()) if path.exists() else {}  # a part of the tests leaves the other rows alone
    path.write_text(json.dumps({**before, **found}, indent=1))


@pytest.fixture(autouse=True)
def _no_job_stays() -> Iterator[None]:
    yield
    from tests.addon.helpers import lento

    assert lento("addon.jobs").running == []
