# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender is started with: blender --python session.py -- MODULE VERDICTS PICTURES FOLDER [TEST...]."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.gui import driver, stage  # noqa: E402

module, *rest = sys.argv[sys.argv.index("--") + 1 :]
stage.listen()
driver.start(importlib.import_module(f"tests.gui.{module}"), *rest)
