# SPDX-License-Identifier: GPL-3.0-or-later
"""How close the frames that an engine makes are to real ones that were left out (core/train/evaluate.py says how)."""

from __future__ import annotations

from core.train.evaluate import add_arguments, run

__all__ = ["add_arguments", "run"]
