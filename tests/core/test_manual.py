# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
from pathlib import Path

import pytest

from core import cli
from core.job import Job, options
from scripts import manual
from scripts.manual import DOCS, tables, with_tables


def test_tables_are_those_of_the_code() -> None:
    for page in DOCS.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert with_tables(text, tables()) == text, f"{page.name}: run python -m scripts.manual"


@pytest.mark.parametrize("words", [["--help"], ["--chekc"], ["all"]])
def test_nothing_is_written_where_that_is_not_asked_for(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- table engines -->\nold\n<!-- end -->\n")
    monkeypatch.setattr(manual, "DOCS", tmp_path)
    with pytest.raises(SystemExit):
        manual.main(words)
    assert "old" in page.read_text()
    assert (manual.main(["--check"]), "old" in page.read_text()) == (1, True)
    assert (manual.main([]), "old" in page.read_text()) == (0, False)


def test_every_option_is_a_flag() -> None:
    usage = cli.parser().parse_args(["slow", "in", "--output", "out"])
    assert {field.name for field, _ in options(Job)} <= set(vars(usage))


def test_links_lead_somewhere() -> None:
    for page in [*DOCS.glob("*.md"), DOCS.parent / "README.md"]:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
