# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender -b shot.blend --command lento --strip NAME ...`: slow motion from a shell, with an exit status."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from fractions import Fraction
from typing import Any, NoReturn

import bpy

from ..core.job import check_engine
from ..core.messages import EMPTY_NAME, ExitCode, Failure, InputError, describe
from ..core.timing import parse_factor
from . import compat, operators, options

NAME = "lento"


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the words in one sentence, as everything else does."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError; argparse would print the usage and end Blender."""
        raise InputError(f"{message[:1].upper()}{message[1:]} (see {self.prog} --help).")


def _parser() -> Parser:
    parser = Parser(
        prog=f"blender -b FILE.blend --command {NAME}",
        description="Slow a range of a strip down and save the file. Exit status: 0 done, 2 bad input, 3 the engine "
        "failed, 4 cancelled.",
    )
    parser.add_argument("--strip", required=True, type=_named, metavar="NAME", help="name of the strip")
    parser.add_argument(
        "--range",
        nargs=2,
        type=int,
        metavar=("A", "B"),
        help="timeline frames, B not included; else what the file marks",
    )
    parser.add_argument(
        "--scene", type=_named, metavar="NAME", help="scene that the strip is in; else the one that the file shows"
    )
    parser.add_argument("--save-as", type=_named, metavar="FILE", help="save here; else over the opened file")
    for name, (declared, spec) in options.OPTIONS.items():
        kind: dict[str, Any] = {"choices": spec.names}
        if spec.numbered:  # checked with the job: a list cannot hold every number
            kind = {"metavar": f"{{{','.join(spec.names)}}}"}
        if spec.is_path:
            kind = {"metavar": "FILE"}
        if isinstance(declared.default, Fraction):
            kind = {"type": _factor}
        elif isinstance(declared.default, bool):
            kind = {"action": argparse.BooleanOptionalAction}
        elif isinstance(declared.default, int):
            kind = {"type": int}
        parser.add_argument(f"--{name.replace('_', '-')}", help=f"{spec.help} (as the scene has it)", **kind)
    return parser


def _named(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{EMPTY_NAME}: give the one that is meant")
    return text


def _factor(text: str) -> float:
    try:
        return float(parse_factor(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main(argv: list[str]) -> int:
    """Run the command and return its exit status; sentences go to standard error, progress to standard output."""
    try:
        print(_run(_parser().parse_args(argv)))
    except SystemExit as error:  # argparse has printed the help
        return int(error.code or 0)
    except Failure as failure:
        print(f"Error: {failure}", file=sys.stderr)
        return int(failure.code)
    return int(ExitCode.DONE)


def _check_target(path: str) -> None:
    """Raise InputError where no file can be saved, before a job that takes long."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise InputError(f"{path} could not be saved: its folder is not there. Make it, or choose another.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise InputError(f"{path} could not be saved: it is no file. Name one.")
    if os.path.exists(path) and not os.access(path, os.W_OK):
        raise InputError(f"{path} could not be saved: the file may not be written. Choose another.")
    try:
        with tempfile.TemporaryFile(dir=folder):  # Blender, too, writes a new file there, and then renames it
            pass
    except OSError as error:
        raise InputError(
            f"{path} could not be saved: its folder cannot be written ({error.strerror}). Choose another."
        ) from error


def _run(arguments: argparse.Namespace) -> str:
    context = bpy.context
    scene = bpy.data.scenes.get(arguments.scene) if arguments.scene else compat.editing_scene(context)
    if scene is None:
        raise InputError(f"There is no scene named {arguments.scene!r} in {bpy.data.filepath}.")
    if not bpy.data.filepath:
        raise InputError("No .blend is open: name one before --command.")
    target = os.path.abspath(arguments.save_as) if arguments.save_as else bpy.data.filepath
    _check_target(target)
    named = [name for name in options.OPTIONS if getattr(arguments, name) is not None]
    holders = options.holders(arguments, named, scene.lento)
    for name in named:
        check_engine(*options.OPTIONS[name], getattr(arguments, name), holders["engine"].engine)
    gathered = operators.request(scene, arguments.strip, arguments.range, holders)
    job = operators.launch(context, gathered)
    job.wait(lambda job: print(describe(job.progress) if job.progress else job.status, flush=True))
    for text in job.warnings:
        print(f"Warning: {text}", file=sys.stderr)
    told = operators.conclude(job)
    try:
        bpy.ops.wm.save_as_mainfile(filepath=target)
    except RuntimeError as error:
        raise InputError(
            f"{target} could not be saved ({str(error).strip()}): the frames are kept in {gathered.job.output}."
        ) from error
    return f"{told}\nSaved {target}"


_handle: Any = None


def register() -> None:
    """Make the command known to Blender."""
    global _handle
    _handle = bpy.utils.register_cli_command(NAME, main)


def unregister() -> None:
    """Take it away."""
    global _handle
    if _handle is not None:
        bpy.utils.unregister_cli_command(_handle)
        _handle = None
