# SPDX-License-Identifier: GPL-3.0-or-later
"""Real clips slowed inside every Blender: how far kept frames look from the source strip's."""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLENDERS = ("4.5", "5.2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="movies, or folders of one image sequence")
    parser.add_argument("--factor", type=int, default=3)


def run(arguments: argparse.Namespace) -> None:
    """Print a table; differences are of 65535, maximum and mean, over the views Standard and AgX."""
    missing = [str(clip) for clip in arguments.clips if not clip.exists()]
    if missing:
        raise SystemExit(f"{', '.join(missing)}: not there (paths are taken from the repository's root)")
    subprocess.run([str(ROOT / "scripts" / "build")], check=True, stdout=subprocess.DEVNULL)
    print("| clip | files | " + " | ".join(f"Blender {version}" for version in BLENDERS) + " |")
    print("|---|---|" + "---|" * len(BLENDERS))
    for clip in arguments.clips:
        cells, files = [], ""
        for version in BLENDERS:
            subprocess.run([str(ROOT / "scripts" / "setup"), f"bpy{version}"], check=True, stdout=subprocess.DEVNULL)
            with tempfile.TemporaryDirectory() as folder:
                told = _measured(version, clip.resolve(), Path(folder), arguments.factor)
            files = str(told["files"])
            unsteady = f", Blender against itself {told['blender_itself']:.0f}" if told["blender_itself"] else ""
            cells.append(f"{told['max']:.0f} ({told['mean']:.3g}{unsteady})")
        print(f"| {clip.name} | {files} | {' | '.join(cells)} |", flush=True)


def _measured(version: str, clip: Path, folder: Path, factor: int) -> dict[str, float | str]:
    python = ROOT / f".venv-bpy{version}" / "bin" / "python"
    command = [str(python), "-W", "ignore", "-m", "scripts.color_in_blender", str(clip), str(folder)]
    ended = subprocess.run([*command, "--factor", str(factor)], cwd=ROOT, capture_output=True, text=True)
    if ended.returncode != 0:
        raise SystemExit(f"{clip} in Blender {version} failed:\n{ended.stdout}{ended.stderr}")
    told: dict[str, float | str] = json.loads(ended.stdout.splitlines()[-1])
    return told
