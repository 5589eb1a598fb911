# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's command line: `python -m core slow | plan | run | serve | engines | environment | models | doctor`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from . import __version__, process
from .environment import commands as environment_commands
from .environment.installer import in_use
from .environment.packages import lacking
from .job import ENGINES, NEED_WEIGHTS, Job, options
from .messages import (
    EMPTY_NAME,
    JOB_LINE,
    Done,
    Error,
    ExitCode,
    Failure,
    InputError,
    Messenger,
    Record,
    Status,
    Warning,
    claim_stdout,
)
from .models import commands as models_commands
from .models import store
from .process import Tell, read_job
from .timing import parse_factor, parse_knot

MEANT_FOR = {"speed": ("curve",), **{field.name: spec.times for field, spec in options(Job) if spec.times}}
"""The choices of --time with which a flag has an effect."""


class Parser(argparse.ArgumentParser):
    """Complains the way everything else does: an InputError with a sentence."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError instead of printing to standard error."""
        raise InputError(f"{message[:1].upper()}{message[1:]} (see {self.prog} --help).")


def parser() -> Parser:
    """The command line. The flags of `slow` and `plan` are the options of a Job."""
    top = Parser(prog="python -m core", description="Lento: slow motion by AI. Works without Blender, too.")
    top.add_argument("--version", action="version", version=f"Lento {__version__}")
    commands = top.add_subparsers(dest="command", required=True)
    slow = commands.add_parser("slow", help="make the frames of a slowed range")
    plan = commands.add_parser("plan", help="list the frames that `slow` would make, as JSON, without making them")
    for command in (slow, plan):
        command.add_argument(
            "input", metavar="INPUT", type=_named, help="a movie, or a folder or the first file of an image sequence"
        )
        command.add_argument(
            "--output", metavar="DIR", type=_named, required=command is slow, help="folder for the frames"
        )
        command.add_argument(
            "--range",
            nargs=2,
            type=_whole,
            metavar=("A", "B"),
            help="source frames from 0, B not included; else the whole clip",
        )
        command.add_argument("--fps", type=_factor, metavar="F", help="frame rate of an image sequence (24)")
        command.add_argument(
            "--host-fps", type=_factor, metavar="F", help="frame rate that the result is played at; else the clip's own"
        )
        command.add_argument(
            "--speed",
            nargs="+",
            type=_knot,
            metavar="FRAME:SPEED",
            help="points of a speed curve, such as 0:100%% 24:25%%; sets --time curve",
        )
        command.add_argument(
            "--cut-at", nargs="+", type=_whole, default=(), metavar="N", help="frames that begin a new shot"
        )
        command.add_argument("--no-cut-at", nargs="+", type=_whole, default=(), metavar="N", help="frames that do not")
        for field, spec in options(Job):
            # no default here: what is given has to be told from what is not
            named: dict[str, Any] = {"help": f"{spec.help} ({field.default})", "default": None}
            if isinstance(field.default, Fraction):
                named |= {"type": _factor, "metavar": "F"}
            elif isinstance(field.default, bool):
                named |= {"action": argparse.BooleanOptionalAction}
            elif isinstance(field.default, int):
                named |= {"type": _whole, "metavar": "N"}
            elif spec.is_path:
                named |= {"metavar": "FILE", "type": _path}
            elif spec.numbered:  # the job checks it: a list cannot hold every number
                named |= {"metavar": f"{{{','.join(spec.names)}}}"}
            else:
                named |= {"choices": spec.names}
            command.add_argument(f"--{field.name.replace('_', '-')}", **named)
    run = commands.add_parser("run", help="run a job file")
    run.add_argument("job", metavar="JOB.json", type=_named)
    run.add_argument(
        "--until-stdin-closes",
        action="store_true",
        help="cancel when standard input ends: the program that started the worker is gone",
    )
    serve = commands.add_parser(
        "serve",
        help="run job files that standard input names, one after the other",
        description=f"Each line of standard input names a job, and where its log goes: {JOB_LINE}",
    )
    serve.add_argument(
        "--idle", type=_seconds, default=300.0, metavar="SECONDS", help="end after so long without a job (%(default)g)"
    )
    engines = commands.add_parser("engines", help="list the engines, or say what a checkpoint is")
    engines.add_argument(
        "--weights", metavar="FILE", type=_path, help="a checkpoint to recognise, or an installed model's name"
    )
    environment_commands.add_parsers(commands)
    models_commands.add_parsers(commands)
    for command in (slow, run):
        command.add_argument("--json", action="store_true", help="one JSON record a line, for programs")
    engines.add_argument("--json", action="store_true", help="as JSON, for programs")
    return top


def _factor(text: str) -> Fraction:
    try:
        return parse_factor(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of frames: give one such as 96") from error


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:  # not a number is none either
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 on: give one such as 300")
    return seconds


def _named(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{EMPTY_NAME}: name a file or a folder")
    return text


def _path(text: str) -> str:
    """A file, or the name of an installed model."""
    if os.path.exists(_named(text)):
        return os.path.abspath(text)
    return str(store.path_of(text) or os.path.abspath(text))


def _knot(text: str) -> tuple[Fraction, Fraction]:
    try:
        return parse_knot(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (messages.ExitCode)."""
    try:
        try:
            return _run_command(list(sys.argv[1:] if argv is None else argv))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever reads, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # where Python writes what is left when it ends
        return ExitCode.DONE


def _run_command(words: Sequence[str]) -> int:
    try:
        arguments = parser().parse_args(words)
    except InputError as error:
        messenger = Messenger(claim_stdout(), as_json="--json" in words)
        messenger.send(Error(str(error), error.code))
        messenger.send(Done(error.code))
        return error.code
    if arguments.command == "plan":
        return _print_plan(arguments)
    if arguments.command == "engines":
        return _print_engines(arguments)
    if arguments.command in ("environment", "doctor"):
        return environment_commands.run(arguments)
    if arguments.command == "models":
        return models_commands.run(arguments)
    if arguments.command == "serve":
        from .serving import serve  # here: every other command would load it for nothing

        return serve(arguments.idle)
    until_stdin_closes = arguments.command == "run" and arguments.until_stdin_closes
    return process.command(arguments.json, until_stdin_closes, partial(_run, arguments))


def _run(arguments: argparse.Namespace, tell: Tell, cancel: threading.Event) -> str:
    tell(Status(f"Lento {__version__}, {sys.executable}"))
    from . import pipeline  # here, so that a Python without its packages is reported as a record

    with in_use(Path(sys.executable)):
        job = job_of(arguments, tell)
        if arguments.command == "slow" and job.engine in NEED_WEIGHTS and not job.weights:
            raise InputError(_about_weights(job.engine))
        return str(pipeline.run(job, tell, cancel))


def _about_weights(engine: str) -> str:
    names = store.names_for(engine)
    return (
        f"weights: the engine {engine!r} needs a checkpoint from its authors: name its file"
        + (f" or an installed model ({', '.join(names)})" if names else "")
        + " with --weights, or choose the engine lento, which brings its own."
    )


def job_of(arguments: argparse.Namespace, tell: Tell) -> Job:
    """The job that the command line asks for. Raises InputError where the media cannot be read."""
    if arguments.command == "run":
        return read_job(Path(arguments.job))
    from .sound import has_sound
    from .source import open_source

    path = Path(os.path.abspath(arguments.input))
    # opened to know its length, and which files a sequence has
    with open_source(path, fps=arguments.fps, warn=lambda text: tell(Warning(text))) as source:
        start, end = arguments.range or (0, source.count)
        _check_cuts(arguments, source.path, source.count)
        sounds = ((str(source.path), start / source.fps, source.fps),) if has_sound(source.path) else ()
        if arguments.fps and not source.files:
            raise InputError(f"--fps means nothing to {source.path}, a movie with a rate of its own: leave it out.")
        chosen = {field.name: getattr(arguments, field.name) for field, _ in options(Job)}
        chosen = {name: value for name, value in chosen.items() if value is not None}
        chosen["time"] = _time_of(arguments)
    return Job(
        source=str(source.path),
        files=source.files,
        fps=arguments.fps,
        host_fps=arguments.host_fps,
        start=start,
        end=end,
        speeds=tuple(arguments.speed or ()),
        cuts_at=tuple(arguments.cut_at),
        no_cuts_at=tuple(arguments.no_cut_at),
        sounds=sounds,
        output=os.path.abspath(arguments.output or os.curdir),
        **chosen,
    )


def _check_cuts(arguments: argparse.Namespace, path: Path, count: int) -> None:
    """Raise InputError for shots that begin nowhere in a clip of `count` frames, and for flags that contradict."""
    for frame in (*arguments.cut_at, *arguments.no_cut_at):
        if not 0 < frame < count:
            raise InputError(
                f"Frame {frame} cannot begin a shot: {path} has the frames 0 to {count - 1}. Name frames of the source "
                "from 1 on."
            )
        if frame in arguments.cut_at and frame in arguments.no_cut_at:
            raise InputError(f"Frame {frame} stands after --cut-at and after --no-cut-at: leave it out of one of them.")
    if arguments.no_cut_at and arguments.cuts == "ignore":
        raise InputError(
            "--no-cut-at means nothing to --cuts ignore, which looks for no cuts: leave it out, or choose --cuts hold "
            "or fade."
        )


def _time_of(arguments: argparse.Namespace) -> str:
    """What sets the speed: --time, or what a speed curve or a length that is given says.

    Raises InputError for a flag that would have no effect.
    """
    implied = "curve" if arguments.speed is not None else "fit" if arguments.length is not None else "factor"
    time: str = arguments.time or implied
    if time == "curve" and arguments.speed is None:
        raise InputError("--time curve needs the points of its curve: name them, such as --speed 0:100% 24:25%.")
    for name, times in MEANT_FOR.items():
        if getattr(arguments, name) is not None and time not in times:
            raise InputError(
                f"--{name} means nothing to --time {time}: leave it out, or choose --time {' or '.join(times)}."
            )
    if arguments.ramp is not None and arguments.ease in (None, "none"):
        raise InputError("--ramp means nothing without an eased end: leave it out, or choose --ease in, out or both.")
    return time


def _print_plan(arguments: argparse.Namespace) -> int:
    """The frames of result.json on standard output; an error is a sentence on standard error."""
    try:
        from .pipeline import chosen_format, open_job, plan_job

        def tell(record: Record) -> None:
            print(getattr(record, "text", ""), file=sys.stderr)

        job = job_of(arguments, tell)
        source, rate, times = open_job(job, tell)
        with source:
            frames = plan_job(job, source, rate, times, lambda record: None, threading.Event())
            image_format, movie = chosen_format(job, source)
            extension = "" if movie else image_format.extension
            print(json.dumps([frame.as_json(extension) for frame in frames], indent=1))
    except Failure as failure:
        print(f"Error: {failure}", file=sys.stderr)
        return failure.code
    return ExitCode.DONE


def _print_checkpoint(path: str, as_json: bool) -> int:
    """What a checkpoint is; an error is a sentence on standard error."""
    try:
        from .networks.checkpoints import open_checkpoint

        checkpoint = open_checkpoint(path)
        checkpoint.load()
    except ModuleNotFoundError as error:
        print(
            f"Error: {sys.executable} has no module {error.name!r}: create an environment that has PyTorch.",
            file=sys.stderr,
        )
        return ExitCode.BAD_INPUT
    except Failure as failure:
        print(f"Error: {failure}", file=sys.stderr)
        return failure.code
    pair, frame = checkpoint.multiply_adds()
    told = {
        "network": checkpoint.family,
        "engine": checkpoint.network,
        "parameters": checkpoint.parameters(),
        "licence": checkpoint.licence,
        "timesteps": "any" if checkpoint.any_time else "the middle; others by halving",
        "gmac_per_pair_1080p": round(pair / 1e9, 1),
        "gmac_per_frame_1080p": round(frame / 1e9, 1),
    }
    print(json.dumps(told, indent=1) if as_json else "\n".join(f"{name:22} {value}" for name, value in told.items()))
    return ExitCode.DONE


def _print_engines(arguments: argparse.Namespace) -> int:
    if arguments.weights:
        return _print_checkpoint(arguments.weights, arguments.json)
    lacks = {choice.id: lacking(choice.id) for choice in ENGINES}
    models = {choice.id: store.names_for(choice.id) for choice in ENGINES}
    if arguments.json:
        listed = [
            {"id": choice.id, "label": choice.label, "help": choice.help, "lacks": lacks[choice.id],
             "weights": models[choice.id]}
            for choice in ENGINES
        ]  # fmt: skip
        print(json.dumps(listed, indent=1))
        return ExitCode.DONE
    for choice in ENGINES:
        needed = [lacks[choice.id]] if lacks[choice.id] else []
        names = models[choice.id]
        needed += ["a checkpoint: --weights FILE"] if choice.id in NEED_WEIGHTS and not names else []
        ready = f" (ready: --weights {' | '.join(names)})" if names and not needed else ""
        print(f"{choice.id:17} {choice.help}{_missing(needed)}{ready}")
    return ExitCode.DONE


def _missing(needed: Sequence[str]) -> str:
    return f" (missing: {'; '.join(needed)})" if needed else ""
