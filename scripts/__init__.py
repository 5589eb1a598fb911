# SPDX-License-Identifier: GPL-3.0-or-later
"""What developers run: set up, build, test, demo, measure."""
