# SPDX-License-Identifier: GPL-3.0-or-later
"""Run inside an environment by its own Python: which of the requirements on standard input it lacks.

Prints a list of the numbers of requirements that are not there in the version that is pinned, or not whole. A file is
looked at for its size alone: that finds what was deleted or broken off, without reading gigabytes.
"""

import json
import sys
from importlib import metadata
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.version import Version


def is_whole(requirement: Requirement) -> bool:
    """Whether the package is there with all of its files."""
    try:
        found = metadata.distribution(requirement.name)
    except metadata.PackageNotFoundError:
        return False
    (pinned,) = requirement.specifier
    # not specifier.contains(): to it 2.13.0+cpu is a 2.13.0
    if Version(found.version) != Version(pinned.version) or found.files is None:
        return False
    for file in found.files:
        if file.size is None or file.suffix == ".pyc":
            continue
        path = Path(str(found.locate_file(file)))
        if not path.exists() or path.stat().st_size != file.size:
            return False
    return True


wanted = [Requirement(text) for text in json.load(sys.stdin)]
lacking = [
    number
    for number, requirement in enumerate(wanted)
    if (requirement.marker is None or requirement.marker.evaluate()) and not is_whole(requirement)
]
print(json.dumps(lacking))
