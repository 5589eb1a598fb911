# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command line makes of its words."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.cli import job_of, parser
from core.job import Job
from core.messages import InputError


def asked(*words: object) -> Job:
    """The job that `slow` would run."""
    return job_of(parser().parse_args(["slow", *map(str, words)]), lambda record: None)


@pytest.mark.parametrize("words", [("CLIP", "--output", ""), ("CLIP", "--output", " "), ("", "--output", "OUT")])
def test_empty_name_is_no_folder(clip: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    names = {"CLIP": str(clip), "OUT": str(tmp_path)}
    with pytest.raises(InputError, match="its name is empty, as an unset shell variable is: name a file or a folder"):
        asked(*(names.get(word, word) for word in words))
