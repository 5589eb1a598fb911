# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints that the user has, and those that can be downloaded. Standard library, but for recognising a file."""
