# SPDX-License-Identifier: GPL-3.0-or-later
"""For scripts that take a movie: whether a file is one that can be slowed.

python -m scripts.is_movie FILE     exit status 2, and a sentence, where it is none
"""

from __future__ import annotations

import sys
from pathlib import Path

from core.messages import InputError
from core.source import open_source


def main(path: Path) -> int:
    """See the module's text."""
    try:
        with open_source(path) as source:
            if source.files:
                raise InputError(f"{path} is an image: name a movie.")
            if source.count < 2:
                raise InputError(f"{path} has one frame, in which nothing moves: name another movie.")
            for _ in source.frames(0, 2):
                pass
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
