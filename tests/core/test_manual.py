# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re

from core import cli
from core.job import Job, options
from scripts.manual import DOCS, tables, with_tables


def test_tables_are_those_of_the_code() -> None:
    for page in DOCS.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert with_tables(text, tables()) == text, f"{page.name}: run python -m scripts.manual"


def test_every_option_is_a_flag() -> None:
    usage = cli.parser().parse_args(["slow", "in", "--output", "out"])
    assert {field.name for field, _ in options(Job)} <= set(vars(usage))


def test_links_lead_somewhere() -> None:
    for page in [*DOCS.glob("*.md"), DOCS.parent / "README.md"]:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
