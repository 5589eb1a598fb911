# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of `scripts/bench`."""

from __future__ import annotations

import argparse
import sys

from core.messages import Failure

from . import color, gpu, quality, speed, time


def main() -> None:
    """Run the benchmark that is named; 2 where the input is wrong, 3 where an engine fails."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure the engines.")
    commands = parser.add_subparsers(required=True)
    for name, module in (("quality", quality), ("speed", speed), ("color", color), ("time", time), ("gpu", gpu)):
        command = commands.add_parser(name, help=(module.__doc__ or "").splitlines()[0])
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except Failure as failure:
        print(f"Error: {failure}", file=sys.stderr)
        sys.exit(failure.code)


if __name__ == "__main__":
    main()
