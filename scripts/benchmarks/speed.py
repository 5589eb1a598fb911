# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the worker is and how much memory it takes, from file to files; and what every engine costs a frame."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.cli import job_of, parser
from core.job import ENGINES
from core.messages import Error, ExitCode, Failure, Progress, Ready, decode
from scripts.clips import write_clip

from .networks import NAMES, print_table

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Run:
    """One run of the worker."""

    engine: str
    source_frames: int
    frames: int
    first: float
    """Seconds from the start of the process to its first progress record."""
    again: float
    """The same for a job that a worker which stayed ready does."""
    seconds: float
    peak: float
    """Largest resident memory, MB."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `scripts/bench speed`."""
    parser.add_argument("--clip", type=Path, help="movie to slow; else one is drawn")
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 720), metavar=("W", "H"), help="of the drawn movie")
    parser.add_argument("--factor", default="4")
    parser.add_argument("--engine", action="append", choices=[choice.id for choice in ENGINES], help="may be repeated")
    parser.add_argument("--network", action="append", choices=NAMES, help="of the table of engines; may be repeated")
    parser.add_argument("--weights", default="", help="checkpoint for the engine; scripts.made_weights makes some")
    parser.add_argument("--precision", default="auto")
    parser.add_argument(
        "--source-frames", type=int, nargs="+", default=[50], metavar="N", help="lengths to run, e.g. 50 500"
    )


def run(arguments: argparse.Namespace) -> None:
    """Print a row of the worker for every engine and length, and every engine's cost a frame; or what is asked for."""
    if arguments.engine or not arguments.network:
        _print_worker(arguments)
    if arguments.network or not arguments.engine:
        print_table(arguments.network or NAMES)


def _print_worker(arguments: argparse.Namespace) -> None:
    clip = arguments.clip or _drawn(max(arguments.source_frames), tuple(arguments.size))
    print(f"{clip.name}, {arguments.factor}x, {os.cpu_count()} cores")
    print(
        f"{'engine':10} {'source':>7} {'frames':>7} {'first progress':>15} {'when ready':>11} {'frames/s':>9} "
        f"{'peak memory':>12}"
    )
    options = ["--factor", arguments.factor, "--precision", arguments.precision]
    options += ["--weights", arguments.weights] if arguments.weights else []
    for one in measure(clip, arguments.engine or ["flow"], arguments.source_frames, options):
        print(
            f"{one.engine:10} {one.source_frames:7} {one.frames:7} {one.first:13.2f} s {one.again:9.2f} s "
            f"{one.frames / one.seconds:9.2f} {one.peak:9.0f} MB",
            flush=True,
        )


def measure(clip: Path, engines: list[str], lengths: list[int], options: Sequence[str]) -> Iterator[Run]:
    """Run the worker once for every engine and length. Raises Failure with its sentence where it fails."""
    for engine in engines:
        for length in lengths:
            with tempfile.TemporaryDirectory() as folder:
                yield _measured(clip, engine, length, options, Path(folder) / "frames")


def _measured(clip: Path, engine: str, length: int, options: Sequence[str], output: Path) -> Run:
    words = ["slow", clip, "--output", output, "--range", 0, length, "--engine", engine, "--json", *options]
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "core", *map(str, words)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    first, frames, failure = 0.0, 0, Failure(f"{engine}: the worker ended on {clip} without a word.")
    assert process.stdout is not None
    for line in process.stdout:
        record = decode(line)
        if isinstance(record, Progress):
            first = first or time.monotonic() - began
            frames = record.done
        if isinstance(record, Error):
            failure = Failure(f"{engine}: {record.text}")
            failure.code = ExitCode(record.code)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise failure
    seconds = time.monotonic() - began
    return Run(engine, length, frames, first, _again(words[1:], output), seconds, usage.ru_maxrss / 1024)


def _again(words: Sequence[Any], output: Path) -> float:
    """Seconds to the first progress record of a job whose worker has just done it once."""
    parsed = parser().parse_args(["slow", *map(str, words)])
    command = [sys.executable, "-m", "core", "serve", "--idle", "60"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        for number in (1, 2):
            parsed.range, parsed.output = (0, 3), f"{output}-{number}"
            file = output.parent / f"{number}.json"
            file.write_text(job_of(parsed, lambda record: None).to_json(), encoding="utf-8")
            began, first = time.monotonic(), 0.0
            worker.stdin.write(json.dumps({"job": str(file), "log": os.devnull}) + "\n")
            worker.stdin.flush()
            for line in worker.stdout:
                record = decode(line)
                if isinstance(record, Progress):
                    first = first or time.monotonic() - began
                if isinstance(record, Ready):
                    break
        worker.stdin.close()
    return first


def _drawn(frames: int, size: tuple[int, int]) -> Path:
    """A drawn movie, kept in build/bench for the next time."""
    path = ROOT / "build" / "bench" / f"drawn_{size[0]}x{size[1]}_{frames}.mp4"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"drawing {path.name}", file=sys.stderr)
        write_clip(path, frames, size=size, sound=False)
    return path
