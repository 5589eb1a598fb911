# SPDX-License-Identifier: GPL-3.0-or-later
"""Lento's worker: frames in, frames at any time between them out. Knows nothing of Blender."""

__version__ = "0.1.0"
