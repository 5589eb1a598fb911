# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's entry to the extension."""

from __future__ import annotations

from .addon import register, unregister

__all__ = ["register", "unregister"]
