# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's environment: what fits this machine, making and mending it, and what is wrong with one.

Standard library only: it runs in a Python that has nothing installed yet.
"""
