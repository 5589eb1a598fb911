# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from scripts.clips import write_clip


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames at 24 fps, in a folder with a space and letters that are not ASCII."""
    return write_clip(tmp_path_factory.mktemp("mein Film ü") / "clip.mp4", 40)
