# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m core`: the worker's entry."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
