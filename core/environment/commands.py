# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m core environment create | remove | plan` and `python -m core doctor`."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

from ..messages import EMPTY_NAME, ExitCode, Failure, InputError, Status
from ..process import Tell, command
from . import doctor, hardware, installer, sets
from .pip import Sources

THIS_PYTHON = ".".join(map(str, sys.version_info[:2]))
PARTLY_REMOVED = Status("Cancelled. A part of it may be removed: remove it again.")
CANCELLED = Status("Cancelled. What is installed is kept: create the environment again to go on after it.")


def add_parsers(commands: Any) -> None:
    """The commands' arguments."""
    environment = commands.add_parser("environment", help="make, mend or remove the worker's environment")
    verbs = environment.add_subparsers(dest="verb", required=True)
    for verb, text in (
        ("create", "make an environment, go on with one, or mend one"),
        ("remove", "delete it"),
        ("plan", "say what `create` would do, as JSON"),
    ):
        verb_parser = verbs.add_parser(verb, help=text)
        verb_parser.add_argument("folder", type=_folder, metavar="DIR", help="the environment's folder")
        verb_parser.add_argument("--json", action="store_true", help="one JSON record a line, for programs")
        verb_parser.add_argument("--until-stdin-closes", action="store_true", help="cancel when standard input ends")
        if verb != "remove":
            verb_parser.add_argument(
                "--base", type=Path, default=Path(sys.executable), metavar="PYTHON", help="Python that it is made of"
            )
            verb_parser.add_argument(
                "--set",
                choices=["auto", *(made.id for made in sets.SETS)],
                default="auto",
                help="packages; auto: those that fit this machine",
            )
            verb_parser.add_argument("--wheels", default="", metavar="DIR", help="take packages from this folder alone")
            verb_parser.add_argument("--index", default="", metavar="URL", help="take packages from this index alone")
    check = commands.add_parser("doctor", help="say what this Python can do, and what is wrong with it")
    check.add_argument("--json", action="store_true", help="as JSON, for programs")
    check.add_argument(
        "--wheels", action="store_true", help="list the packages to fetch for a machine without the internet"
    )
    # no default here: what is given has to be told from what is not
    check.add_argument(
        "--set",
        choices=["auto", *(made.id for made in sets.SETS)],
        help="with --wheels: of which set (auto: of the one that fits this machine)",
    )
    check.add_argument("--python", metavar="VERSION", help=f"with --wheels: for which Python ({THIS_PYTHON})")


def _folder(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{EMPTY_NAME}: name a folder")
    return Path(text)


def run(arguments: argparse.Namespace) -> int:
    """Run one of the commands and return its exit code."""
    try:
        if arguments.command == "doctor":
            return _doctor(arguments)
        if arguments.verb == "plan":
            print(json.dumps(_plan(arguments), indent=1))
            return ExitCode.DONE
    except Failure as failure:
        print(f"Error: {failure}", file=sys.stderr)
        return failure.code

    def work(tell: Tell, cancel: threading.Event) -> str:
        folder = arguments.folder.absolute()
        if arguments.verb == "remove":
            installer.remove(folder)
            return str(folder)
        sources = Sources(arguments.wheels, arguments.index)
        return str(installer.create(folder, arguments.base, _set(arguments)[0], sources, tell, cancel))

    return command(
        arguments.json, arguments.until_stdin_closes, work, PARTLY_REMOVED if arguments.verb == "remove" else CANCELLED
    )


def _set(arguments: argparse.Namespace) -> tuple[sets.Set, str]:
    if arguments.set not in (None, "auto"):
        return sets.named(arguments.set), "As chosen."
    return sets.fitting(hardware.find())


def _plan(arguments: argparse.Namespace) -> dict[str, Any]:
    chosen, why = _set(arguments)
    try:
        installer.check_base(arguments.base, arguments.folder.absolute())
        problem = ""
    except Failure as failure:
        problem = str(failure)
    above = arguments.folder.absolute()
    while not above.exists():
        above = above.parent
    return {
        "set": chosen.id,
        "label": chosen.label,
        "why": why,
        "download": chosen.download,
        "installed": chosen.installed,
        "free": shutil.disk_usage(above).free,
        "folder": str(arguments.folder.absolute()),
        "requirements": installer.digest(chosen),
        "problem": problem,
    }


def _doctor(arguments: argparse.Namespace) -> int:
    if arguments.wheels:
        if arguments.json:
            raise InputError("--json means nothing to --wheels, whose list is for pip: leave one of them out.")
        python = THIS_PYTHON if arguments.python is None else arguments.python
        print(doctor.wheels(_set(arguments)[0], python))
        return ExitCode.DONE
    for name in ("set", "python"):
        if getattr(arguments, name) is not None:
            raise InputError(f"--{name} means nothing without --wheels: leave it out, or give --wheels, too.")
    found = doctor.examine()
    print(json.dumps(found, indent=1) if arguments.json else doctor.readable(found))
    return ExitCode.DONE
