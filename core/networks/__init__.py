# SPDX-License-Identifier: GPL-3.0-or-later
"""The published networks as PyTorch modules, under their checkpoints' names; and the reading of checkpoints."""
