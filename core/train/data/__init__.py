# SPDX-License-Identifier: GPL-3.0-or-later
"""What the network is trained with: drawn scenes whose motion is known, and real clips."""
