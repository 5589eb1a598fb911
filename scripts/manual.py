# SPDX-License-Identifier: GPL-3.0-or-later
"""The manual's tables that are made from the code.

python -m scripts.manual          write them into docs/
python -m scripts.manual --check  exit status 1 where docs/ holds other ones
"""

from __future__ import annotations

import re
import sys
from fractions import Fraction
from pathlib import Path

from core.job import ENGINES, Job, Placement, options

DOCS = Path(__file__).resolve().parents[1] / "docs"


def tables() -> dict[str, str]:
    """Name of a table -> its Markdown."""
    rows = ["| option | default | values | what it does |", "|---|---|---|---|"]
    for field, spec in (*options(Job), *options(Placement)):
        values = ", ".join(f"`{choice.id}`" for choice in spec.choices)
        default = f"`{field.default}`"
        if isinstance(field.default, Fraction):
            values, default = f"{spec.minimum} to {spec.maximum}", str(field.default)
        elif isinstance(field.default, bool):
            values, default = "on, off", "on" if field.default else "off"
        rows.append(f"| {spec.label} (`{field.name}`) | {default} | {values} | {spec.help} |")
    engines = ["| engine | what it is |", "|---|---|"]
    engines += [f"| `{choice.id}` {choice.label} | {choice.help} |" for choice in ENGINES]
    return {"options": "\n".join(rows), "engines": "\n".join(engines)}


def with_tables(text: str) -> str:
    """A page with its tables made anew; they stand between <!-- table NAME --> and <!-- end -->."""
    made = tables()
    pattern = r"(<!-- table (\w+) -->\n).*?(<!-- end -->)"
    return re.sub(pattern, lambda match: f"{match[1]}{made[match[2]]}\n{match[3]}", text, flags=re.DOTALL)


def main() -> int:
    """Write or check every page."""
    stale = []
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if with_tables(text) != text:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(with_tables(text), encoding="utf-8")
    if stale:
        print(f"{'other tables in' if '--check' in sys.argv else 'wrote'} {', '.join(stale)}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
