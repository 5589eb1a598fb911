# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m core models list | import | download | remove`."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from pathlib import Path
from typing import Any

from ..messages import ExitCode, Failure, InputError, Status
from ..process import Tell, command
from . import catalogue, store
from .download import download

CANCELLED = Status("Cancelled. What was fetched is kept: start again to go on after it.")


def add_parsers(commands: Any) -> None:
    """The commands' arguments."""
    models = commands.add_parser("models", help="list, import, download or remove checkpoints")
    verbs = models.add_subparsers(dest="verb", required=True)
    for verb, text in (
        ("list", "those that are there, and those that can be downloaded"),
        ("import", "copy a checkpoint into the folder, once it is recognised"),
        ("download", "fetch one of the catalogue"),
        ("remove", "delete one"),
    ):
        verb_parser = verbs.add_parser(verb, help=text)
        if verb == "import":
            verb_parser.add_argument("file", type=Path, metavar="FILE")
            verb_parser.add_argument("--name", default="", help="what it shall be called; else as the file is")
        elif verb != "list":
            verb_parser.add_argument("name", metavar="NAME")
        verb_parser.add_argument("--folder", metavar="DIR", help=f"the models' folder; else ${store.VARIABLE}")
        verb_parser.add_argument("--json", action="store_true", help="for programs")
        verb_parser.add_argument("--until-stdin-closes", action="store_true", help="cancel when standard input ends")


def run(arguments: argparse.Namespace) -> int:
    """Run one of the commands and return its exit code."""
    if arguments.verb == "list":
        return _list(arguments)

    def work(tell: Tell, cancel: threading.Event) -> str | None:
        folder = _folder(arguments)
        if arguments.verb == "remove":
            tell(Status(f"Removed the model {arguments.name!r}: {store.remove(arguments.name, folder)}"))
            return None
        if arguments.verb == "import":
            file = arguments.file.absolute()
            return str(store.add(file, arguments.name, folder, str(file), tell, cancel).path)
        return str(download(catalogue.named(arguments.name), folder, tell, cancel).path)

    return command(arguments.json, arguments.until_stdin_closes, work, CANCELLED)


def listed(folder: Path) -> list[dict[str, Any]]:
    """Every model that is there, and every one of the catalogue that is not."""
    there = store.installed(folder)
    found: list[dict[str, Any]] = [
        {
            "name": model.name, "label": model.name, "engine": model.engine, "network": model.family,
            "licence": model.licence, "bytes": model.bytes, "source": model.source, "path": str(model.path),
            "sha256": model.sha256, "state": "there" if model.path.is_file() else "missing",
        }
        for model in there
    ]  # fmt: skip
    names = {model.name for model in there}
    for entry in catalogue.entries():
        if entry.id in names:
            continue
        found.append(
            {
                "name": entry.id, "label": entry.label, "engine": entry.engine, "network": entry.label,
                "licence": entry.licence, "bytes": entry.bytes, "source": entry.url, "path": "",
                "sha256": entry.sha256, "state": "to download",
            }
        )  # fmt: skip
    return found


def _folder(arguments: argparse.Namespace) -> Path:
    """Raises InputError where it is something else than a folder, or named by nothing."""
    folder = store.folder_of(arguments.folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is no folder: name one for the models, which need not be there yet.")
    return folder


def _list(arguments: argparse.Namespace) -> int:
    try:
        found = listed(_folder(arguments))
    except Failure as failure:
        print(f"Error: {failure}", file=sys.stderr)
        return failure.code
    if arguments.json:
        print(json.dumps(found, indent=1))
        return ExitCode.DONE
    for model in found:
        size = f"{model['bytes'] / 1e6:.0f} MB"
        where = model["path"] or model["source"]
        print(f"{model['name']:18} {model['state']:12} {model['network']:20} {model['licence']:8} {size:>7}  {where}")
    return ExitCode.DONE
