# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of `scripts/bench`."""

from __future__ import annotations

import argparse
import sys

from core.messages import InputError

from . import color, gpu, quality, speed, time


def main() -> None:
    """Run the benchmark that is named; 2 where the input is wrong."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure the engines.")
    commands = parser.add_subparsers(required=True)
    for name, module in (("quality", quality), ("speed", speed), ("color", color), ("time", time), ("gpu", gpu)):
        command = commands.add_parser(name, help=(module.__doc__ or "").splitlines()[0])
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.code)


if __name__ == "__main__":
    main()
