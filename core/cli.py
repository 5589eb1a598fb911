# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's command line: `python -m core slow | plan | run | engines`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from . import __version__
from .job import ENGINES, NEED_WEIGHTS, NETWORKS, Job, options
from .messages import (
    Cancelled,
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
from .timing import parse_factor, parse_knot

CANCELLED = Status("Cancelled. Finished frames are kept, and the same job goes on after them.")
PATIENCE = 1.5
"""Seconds that a cancelled job has to end by itself."""


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
            "input", metavar="INPUT", help="a movie, or a folder or the first file of an image sequence"
        )
        command.add_argument("--output", metavar="DIR", required=command is slow, help="folder for the frames")
        command.add_argument(
            "--range",
            nargs=2,
            type=int,
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
            help="points of a speed curve, such as 0:100%% 24:25%%",
        )
        command.add_argument(
            "--cut-at", nargs="+", type=int, default=(), metavar="N", help="frames that begin a new shot"
        )
        command.add_argument("--no-cut-at", nargs="+", type=int, default=(), metavar="N", help="frames that do not")
        for field, spec in options(Job):
            named: dict[str, Any] = {"help": f"{spec.help} ({field.default})", "default": field.default}
            if isinstance(field.default, Fraction):
                named |= {"type": _factor, "metavar": "F"}
            elif isinstance(field.default, bool):
                named |= {"action": argparse.BooleanOptionalAction}
            elif isinstance(field.default, int):
                named |= {"type": int, "metavar": "N"}
            elif spec.is_path:
                named |= {"metavar": "FILE", "type": _path}
            else:
                named |= {"choices": [choice.id for choice in spec.choices]}
            command.add_argument(f"--{field.name.replace('_', '-')}", **named)
    run = commands.add_parser("run", help="run a job file")
    run.add_argument("job", metavar="JOB.json")
    run.add_argument(
        "--until-stdin-closes",
        action="store_true",
        help="cancel when standard input ends: the program that started the worker is gone",
    )
    engines = commands.add_parser("engines", help="list the engines, or say what a checkpoint is")
    engines.add_argument("--weights", metavar="FILE", help="a checkpoint to recognise")
    for command in (slow, run, engines):
        command.add_argument("--json", action="store_true", help="one JSON record a line, for programs")
    return top


def _factor(text: str) -> Fraction:
    try:
        return parse_factor(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _path(text: str) -> str:
    return os.path.abspath(text) if text else ""


def _knot(text: str) -> tuple[Fraction, Fraction]:
    try:
        return parse_knot(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (messages.ExitCode)."""
    words = list(sys.argv[1:] if argv is None else argv)
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
    messenger = Messenger(claim_stdout(), arguments.json)
    cancel = _cancel_on_signals()
    threading.Thread(target=_end_when_cancelled, args=(cancel, messenger), name="lento-cancel", daemon=True).start()
    if arguments.command == "run" and arguments.until_stdin_closes:
        threading.Thread(target=_watch_stdin, args=(cancel,), name="lento-stdin", daemon=True).start()
    return _reported(messenger, lambda: _run(arguments, messenger, cancel))


def _run(arguments: argparse.Namespace, messenger: Messenger, cancel: threading.Event) -> str:
    messenger.send(Status(f"Lento {__version__}, {sys.executable}"))
    from . import pipeline  # here, so that a Python without its packages is reported as a record

    return str(pipeline.run(_job(arguments, messenger.send), messenger.send, cancel))


def _reported(messenger: Messenger, work: Callable[[], str]) -> int:
    """Do the work, whose result is a path; whatever happens, the last record is `done`."""
    code, result = ExitCode.DONE, None
    try:
        result = work()
    except Cancelled:
        code = ExitCode.CANCELLED
        messenger.send(CANCELLED)
    except Failure as failure:
        code = failure.code
        messenger.send(Error(str(failure), code))
    except ModuleNotFoundError as error:
        code = ExitCode.ENGINE_FAILED
        traceback.print_exc()
        messenger.send(
            Error(
                f"The worker's Python ({sys.executable}) has no module {error.name!r}: install the packages listed in "
                f"{Path(__file__).parent / 'requirements' / 'worker.txt'} into it, or choose another Python.",
                code,
            )
        )
    except MemoryError:
        code = ExitCode.ENGINE_FAILED
        traceback.print_exc()
        messenger.send(
            Error(
                "There is not enough memory for frames of this size: close other programs, or scale the "
                "clip down first. Finished frames are kept.",
                code,
            )
        )
    except Exception as error:  # the top of the process: whatever it is, the user gets a sentence and the log the rest
        code = ExitCode.ENGINE_FAILED
        traceback.print_exc()
        messenger.send(
            Error(
                f"The worker failed ({type(error).__name__}: {error}). Finished frames are kept; please report "
                "this with the log.",
                code,
            )
        )
    messenger.send(Done(code, result))
    return code


def _job(arguments: argparse.Namespace, tell: Callable[[Record], None]) -> Job:
    if arguments.command == "run":
        try:
            return Job.from_json(Path(arguments.job).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"The job file {arguments.job} cannot be read ({error}).") from error
    from .sound import has_sound
    from .source import open_source

    path = Path(os.path.abspath(arguments.input))
    # opened to know its length, and which files a sequence has
    with open_source(path, fps=arguments.fps, warn=lambda text: tell(Warning(text))) as source:
        start, end = arguments.range or (0, source.count)
        for frame in (*arguments.cut_at, *arguments.no_cut_at):
            if not 0 < frame < source.count:
                raise InputError(
                    f"Frame {frame} cannot begin a shot: {source.path} has the frames 0 to {source.count - 1}. Name "
                    "frames of the source from 1 on."
                )
        sounds = ((str(source.path), start / source.fps, source.fps),) if has_sound(source.path) else ()
        chosen = {field.name: getattr(arguments, field.name) for field, _ in options(Job)}
        if arguments.speed:
            chosen["time"] = "curve"
        if arguments.host_fps and chosen["time"] == "factor":
            chosen["factor"] *= arguments.host_fps / source.fps
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


def _print_plan(arguments: argparse.Namespace) -> int:
    """The frames of result.json on standard output; an error is a sentence on standard error."""
    try:
        from .pipeline import chosen_format, open_job, plan_job

        def tell(record: Record) -> None:
            print(getattr(record, "text", ""), file=sys.stderr)

        job = _job(arguments, tell)
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
            f"Error: {sys.executable} has no module {error.name!r}: install core/requirements/torch.txt.",
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
    lacks = {choice.id: _lacks(choice.id) for choice in ENGINES}
    if arguments.json:
        listed = [
            {"id": choice.id, "label": choice.label, "help": choice.help, "lacks": lacks[choice.id]}
            for choice in ENGINES
        ]
        print(json.dumps(listed, indent=1))
        return ExitCode.DONE
    for choice in ENGINES:
        needed = [lacks[choice.id]] if lacks[choice.id] else []
        needed += ["a checkpoint: --weights FILE"] if choice.id in NEED_WEIGHTS else []
        print(f"{choice.id:17} {choice.help}{_missing(needed)}")
    return ExitCode.DONE


def _missing(needed: Sequence[str]) -> str:
    return f" (missing: {'; '.join(needed)})" if needed else ""


def _lacks(engine_id: str) -> str:
    """What the engine cannot run without, beside a checkpoint; empty where it can."""
    if engine_id not in NETWORKS:
        return ""
    lacking = [name for name in ("torch", "safetensors") if find_spec(name) is None]
    return f"{' and '.join(lacking)} in {sys.executable}" if lacking else ""


def _cancel_on_signals() -> threading.Event:
    cancel = threading.Event()
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, frame: cancel.set())
    return cancel


def _end_when_cancelled(cancel: threading.Event, messenger: Messenger) -> None:
    """End the process where a cancelled job does not hear it: a slow network may be at one frame for minutes.

    Files are complete or absent whenever a worker ends, so nothing is lost by it.
    """
    cancel.wait()
    time.sleep(PATIENCE)
    messenger.send(CANCELLED)
    messenger.send(Done(ExitCode.CANCELLED))
    os._exit(ExitCode.CANCELLED)


def _watch_stdin(cancel: threading.Event) -> None:
    # os.read, not sys.stdin: a thread that waits inside the buffered reader makes the interpreter abort at its end
    while os.read(0, 1024):
        pass
    cancel.set()
