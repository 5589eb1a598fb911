# SPDX-License-Identifier: GPL-3.0-or-later
"""What `python -m core ...` answers, asked once, in a thread, since it takes as long as a Python takes to start.

Until an answer is there, nothing is known. Knows nothing of Blender.
"""

from __future__ import annotations

import json
import logging
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.messages import InputError
from . import job_runner
from .worker import EMPTY

log = logging.getLogger(__name__)

LONGEST = 60.0
"""Seconds that an answer may take."""

Question = tuple[str, ...]
"""A Python, and the words after `-m core`."""

_answers: dict[Question, Any] = {}
_asked: set[Question] = set()
_news = threading.Event()


def of(python: Path, *words: str, environment: Mapping[str, str] = EMPTY) -> Any:
    """The answer as JSON has it; None where it is not known yet, or will not be: it is asked for now."""
    question = (str(python), *words)
    if question not in _asked:
        _asked.add(question)
        threading.Thread(target=_ask, args=(question, environment), name="lento-ask", daemon=True).start()
    return _answers.get(question)


def now(python: Path, *words: str, environment: Mapping[str, str] = EMPTY) -> Any:
    """The answer, waited for: for scripts. Raises InputError where there is none."""
    _ask((str(python), *words), environment)
    answer = _answers.pop((str(python), *words), FAILED)
    if not answer:
        raise InputError(f"{python} does not answer `-m core {words[0]}`: choose another Python, or repair it.")
    return answer


def pending() -> bool:
    """Whether an answer is on its way."""
    return bool(_asked - set(_answers))


def news() -> bool:
    """Whether an answer came since the last call."""
    came = _news.is_set()
    _news.clear()
    return came


def forget() -> None:
    """Ask again: packages or models may have changed."""
    _answers.clear()
    _asked.clear()


def _ask(question: Question, environment: Mapping[str, str]) -> None:
    python, *words = question
    try:
        text = job_runner.ask([python, "-s", "-m", "core", *words], LONGEST, environment)
        answer = json.loads(text)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        # not a reason to keep anybody from starting a job, which will say what is wrong
        log.warning("%s does not answer %s: %s", python, " ".join(words), error)
        answer = FAILED
    _answers[question] = answer
    _news.set()


FAILED: dict[str, Any] = {}
"""The answer of a Python that gives none."""
