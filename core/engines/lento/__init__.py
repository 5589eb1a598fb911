# SPDX-License-Identifier: GPL-3.0-or-later
"""`lento`: the bundled network, on classical motion."""

from __future__ import annotations

from .engine import Lento

__all__ = ["Lento"]
