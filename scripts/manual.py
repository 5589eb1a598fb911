# SPDX-License-Identifier: GPL-3.0-or-later
"""The manual's tables that are made from the code, and from what the tests in Blender measured last.

python -m scripts.manual          write them into docs/
python -m scripts.manual --check  exit status 1 where docs/ holds other ones
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from core.job import ENGINES, Job, Placement, options

DOCS = Path(__file__).resolve().parents[1] / "docs"
MEASURED = DOCS.parent / "build" / "measured"
BLENDERS = ("4.5", "5.2")


def tables() -> dict[str, str]:
    """Name of a table -> its Markdown."""
    rows = ["| option | default | values | what it does |", "|---|---|---|---|"]
    for field, spec in (*options(Job), *options(Placement)):
        values = ", ".join(f"`{choice.id}`" for choice in spec.choices)
        values += f"; in a shell `{spec.numbered}:N`, too" if spec.numbered else ""
        default = f"`{field.default}`"
        if spec.is_path:
            values, default = "a file", "none"
        elif isinstance(field.default, bool):
            values, default = "on, off", "on" if field.default else "off"
        elif isinstance(field.default, (Fraction, int)):
            values, default = f"{spec.minimum} to {spec.maximum}", str(field.default)
        rows.append(f"| {spec.label} (`{field.name}`) | {default} | {values} | {spec.help} |")
    engines = ["| engine | what it is |", "|---|---|"]
    engines += [f"| `{choice.id}` {choice.label} | {choice.help} |" for choice in ENGINES]
    return {"options": "\n".join(rows), "engines": "\n".join(engines)}


def measured_tables() -> dict[str, str]:
    """The table of colours, where the tests ran in every Blender; else nothing, and the page keeps the last one."""
    files = [MEASURED / f"color-{version}.json" for version in BLENDERS]
    if not all(file.exists() for file in files):
        return {}
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    rows = [
        "| source | target | " + " | ".join(f"Blender {version}" for version in BLENDERS) + " |",
        "|---|---|" + "---|" * len(BLENDERS),
    ]
    for kind, row in found[0].items():
        target = "losses" if row["target"] >= 65535 else f"{row['target']:g}"
        cells = " | ".join(
            f"{of[kind]['max']:.0f} ({of[kind]['mean']:.3g})" if kind in of else "not run" for of in found
        )
        rows.append(f"| {kind} | {target} | {cells} |")
    return {"colors": "\n".join(rows)}


def with_tables(text: str, made: dict[str, str]) -> str:
    """A page with these tables made anew; they stand between <!-- table NAME --> and <!-- end -->."""
    pattern = r"(<!-- table (\w+) -->\n)(.*?\n)(<!-- end -->)"

    def replaced(match: re.Match[str]) -> str:
        body = made.get(match[2])
        return f"{match[1]}{match[3] if body is None else body + chr(10)}{match[4]}"

    return re.sub(pattern, replaced, text, flags=re.DOTALL)


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check every page."""
    parser = argparse.ArgumentParser(prog="python -m scripts.manual", description="Writes the manual's tables.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 for other tables")
    check = parser.parse_args(argv).check
    stale = []
    made = {**tables(), **measured_tables()}
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if with_tables(text, made) != text:
            stale.append(page.name)
            if not check:
                page.write_text(with_tables(text, made), encoding="utf-8")
    if stale:
        print(f"{'other tables in' if check else 'wrote'} {', '.join(stale)}")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
