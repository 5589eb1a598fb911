# SPDX-License-Identifier: GPL-3.0-or-later
"""Pins the packages of the worker's environment: one file for all platforms, and PyTorch's for each that an index has.

The files of PyTorch's own indexes (all but the ones that PyPI holds) get no hashes: those are on the index's pages,
where pip finds and checks them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

from core.environment.sets import PYPI_SETS, SETS

FOLDER = Path(__file__).resolve().parents[1] / "core" / "requirements"
OLDEST = "3.11"
"""Python of the oldest Blender; sizes are those of its wheels."""
PLATFORMS = {"linux": "x86_64-manylinux_2_28", "windows": "x86_64-pc-windows-msvc", "macos": "aarch64-apple-darwin"}
ENVIRONMENT = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"}
HEAD = "# SPDX-License-Identifier: GPL-3.0-or-later\n# Made by scripts/lock of {source}: do not edit.\n"
SIZE = "# Download: {size} bytes\n"

Blocks = dict[str, str]
"""A package's name -> its requirement with hashes, several lines."""


def compiled(uv: str, source: str, *options: str) -> str:
    """What uv makes of an .in file."""
    command = [uv, "pip", "compile", str(FOLDER / source), "--quiet", "--no-config", "--no-header", "--no-annotate"]
    command += ["--python-version", OLDEST, *options]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT).stdout


def size(uv: str, source: str, platform: str, names: set[str]) -> int:
    """Bytes of the wheels for one platform."""
    lock = tomllib.loads(compiled(uv, source, "--python-platform", platform, "--format", "pylock.toml"))
    wheels = [package["wheels"][0]["url"] for package in lock["packages"] if package["name"] in names]
    return sum(content_length(url) for url in wheels)


def content_length(url: str) -> int:
    """Bytes of the file at an address."""
    with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=60) as answer:
        return int(answer.headers["Content-Length"])


def blocks(text: str) -> Blocks:
    """The requirements of a compiled file by name."""
    found = re.findall(r"^[^\s#].*?(?=^[^\s#]|\Z)", text, re.MULTILINE | re.DOTALL)
    merged: Blocks = {}
    for block in found:
        name = re.split(r"[=\s]", block)[0]
        merged[name] = merged.get(name, "") + block
    return merged


def write(name: str, source: str, chosen: Blocks, download: int) -> None:
    """One file of pinned requirements."""
    text = HEAD.format(source=source) + SIZE.format(size=download) + "".join(chosen.values())
    (FOLDER / name).write_text(text, encoding="utf-8")
    print(f"{name:28} {len(chosen):3} packages, {download / 1e6:.0f} MB")


def main(uv: str) -> None:
    """Write every file."""
    for source in ("pip.in", "worker.in"):
        everything = blocks(compiled(uv, source, "--universal", "--generate-hashes"))
        write(source.replace(".in", ".txt"), source, everything, size(uv, source, PLATFORMS["linux"], set(everything)))
    of_set = {
        name: blocks(compiled(uv, "torch.in", "--python-platform", PLATFORMS[name.split("-")[0]], "--generate-hashes"))
        for name in PYPI_SETS
    }
    shared = set.intersection(*(set(found) for found in of_set.values())) - {"torch"}
    common = {name: of_set[PYPI_SETS[0]][name] for name in sorted(shared)}
    write("torch-common.txt", "torch.in", common, size(uv, "torch.in", PLATFORMS["linux"], shared))
    version = ""
    for name, found in of_set.items():
        own = {package: block for package, block in found.items() if package not in shared}
        version = re.split(r"[\s;]", own["torch"].removeprefix("torch=="))[0]
        write(f"torch-{name}.txt", "torch.in", own, size(uv, "torch.in", PLATFORMS[name.split("-")[0]], set(own)))
    for made in SETS:
        if made.index:
            text = (
                f"{HEAD.format(source='torch.in')}# From {made.index}\n--extra-index-url {made.index}\n"
                f"torch=={version}+{made.index.rpartition('/')[2]}\n"
            )
            (FOLDER / f"torch-{made.id}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
