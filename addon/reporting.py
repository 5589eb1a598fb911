# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures -> the operators' reports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bpy

from ..core.messages import ExitCode, Failure


@contextmanager
def reported(operator: Any) -> Iterator[None]:
    """Turn a Failure into the operator's report: a script gets it as a RuntimeError with the same sentence."""
    try:
        yield
    except Failure as failure:
        level = "WARNING" if failure.code == ExitCode.CANCELLED and not bpy.app.background else "ERROR"
        operator.report({level}, str(failure))
