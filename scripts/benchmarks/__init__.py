# SPDX-License-Identifier: GPL-3.0-or-later
"""`scripts/bench`: how good and how fast the engines are."""
