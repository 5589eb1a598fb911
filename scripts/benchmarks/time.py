# SPDX-License-Identifier: GPL-3.0-or-later
"""How well cuts and repeated frames are found in real clips, where it is known which there are.

For cuts there is a second table: shots of all the clips, joined, so that every join is a cut for certain. It works with
any folder of clips, such as one that nobody had in view when the thresholds were chosen.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from core.analysis import Analysis, look_at, replaceable
from core.color import Encoding
from core.messages import InputError
from core.source import open_source

CUTS = {
    # by eye, over every frame; frames that begin a shot. At 320 of tos_cuts something explodes within one.
    "tos_cuts_800x332_24.webm": {33, 85, 127, 180, 226, 273, 305, 344},
    "citylapse_486x284_24.mpg": {104},
    # by eye, where a list of frame differences or the detector sees one; nobody looked at the frames between
    "bbb_720p24_lowrate.webm": {283, 376, 551},
    "rooftops_360p30.mp4": {18, 45, 276},
    "sintel_trailer_480p24.mp4": {46, 108, 116, 132, 283, 333, 370, 384},
    "tos_battle_800x332_24.webm": {
        *(52, 122, 158, 221, 309, 715, 788, 872, 901, 987, 1127, 1157, 1203, 1234, 1246, 1284)
    },
}
"""Clips with cuts; every other clip of the folder has none."""
MOVING = frozenset(
    {"highway_540p25.mp4", "juggle_720p24.mp4", "toy_rabbit_480p30.mp4", "gopro_walk_480p30.mp4", "flower_540p30.mp4"}
)
"""Clips that never stand still."""
FADES = frozenset({"sintel_snow_480p24.mp4"})
"""Clips with fades and titles, of which nobody can say where a shot begins."""


DERIVED = frozenset({"bbb_720p25_on_twos.mp4", "highway_540p30_dup1in6.mp4"})
"""Clips that show what another one shows."""
SHOT, SHOTS = 12, 4
"""Frames of a joined shot, and how many are taken from a clip."""
JOINED_SIZE = (640, 360)


@dataclass
class Score:
    """What was found of what is there."""

    right: int = 0
    found: int = 0
    there: int = 0

    def add(self, found: set[int], there: set[int]) -> Score:
        """Count one clip's and return its own score."""
        one = Score(len(found & there), len(found), len(there))
        self.right, self.found, self.there = self.right + one.right, self.found + one.found, self.there + one.there
        return one

    def __str__(self) -> str:
        """Precision and recall as a table's cells."""
        precision = f"{self.right / self.found:.3f}" if self.found else "-"
        recall = f"{self.right / self.there:.3f}" if self.there else "-"
        return f"{self.there} | {self.found} | {self.right} | {precision} | {recall}"


def repeats_of(clip: Path, folder: Path, count: int) -> set[int] | None:
    """The frames of a clip that are known to repeat the one before; None where that is not known."""
    if clip.name == "highway_540p30_dup1in6.mp4":
        nearest = _nearest(_frames(clip), _frames(folder / "highway_540p25.mp4"))
        return {index for index, (one, other) in enumerate(pairwise(nearest), start=1) if one == other}
    if clip.name in ("bbb_720p25_on_twos.mp4", "rooftop_240p60.mp4"):
        # 12.5 frames a second at 25, 30 at 60 from frame 300 on, with a hiccup here and there; frames of the one differ
        # by 0.07 of 255 or less, or by 0.7 and more, of the other by 0.23 or less, or by 1.4 and more
        changes = [float(np.abs(one - other).mean()) for one, other in pairwise(_frames(clip))]
        return {index for index, change in enumerate(changes, start=1) if change < 0.5}
    return set() if clip.name in MOVING else None


def _frames(clip: Path) -> list[NDArray[np.int16]]:
    with open_source(clip) as source:
        return [image[::2, ::2].astype(np.int16) for image in source.frames(0, source.count)]


def _nearest(frames: list[NDArray[np.int16]], originals: list[NDArray[np.int16]]) -> list[int]:
    """For every frame the original that it shows; both move along together."""
    found = []
    for index, frame in enumerate(frames):
        middle = index * len(originals) // len(frames)
        near = range(max(0, middle - 3), min(len(originals), middle + 4))
        found.append(min(near, key=lambda number: float(np.abs(frame - originals[number]).mean())))
    return found


def joined(clips: Sequence[Path]) -> tuple[Analysis, list[tuple[Path, int]]]:
    """Shots of the clips one after the other, a clip's own never side by side; looked at, and where they are from."""
    rows: list[list[tuple[Path, int, list[NDArray[np.uint8]]]]] = [[] for _ in range(SHOTS)]
    for clip in clips:
        with open_source(clip) as source:
            if source.count < SHOT * SHOTS or clip.name in DERIVED:
                continue
            for number in range(SHOTS):
                first = (source.count - SHOT) * number // (SHOTS - 1)
                frames = [_plain(image) for image in source.frames(first, first + SHOT)]
                rows[number].append((clip, first, frames))
    analysis, shots = Analysis(cuts=True, repeats=False), []
    for row in rows:
        for clip, first, frames in row:
            shots.append((clip, first))
            for frame in frames:
                analysis.add(look_at(frame, Encoding()))
    return analysis, shots


def _plain(image: NDArray[Any]) -> NDArray[np.uint8]:
    """8 bits, of one size."""
    small = cv2.resize(image[..., :3], JOINED_SIZE, interpolation=cv2.INTER_AREA)
    return np.asarray(small >> 8 if small.dtype == np.uint16 else small, np.uint8)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("folder", type=Path, help="the folder of clips")


def run(arguments: argparse.Namespace) -> None:
    """Print the tables."""
    clips = sorted(path for path in arguments.folder.glob("*") if path.suffix in (".mp4", ".webm", ".mpg"))
    if not clips:
        raise InputError(
            f"There is no folder {arguments.folder} that holds clips (paths are taken from the repository's root)."
        )
    looked = {clip.name: analysed(clip) for clip in clips if clip.name not in FADES}
    print("| clip | cuts | found | right | precision | recall |\n|---|---|---|---|---|---|")
    total = Score()
    for name, analysis in looked.items():
        one = total.add(analysis.cuts(), CUTS.get(name, set()))
        if one.there or one.found:
            print(f"| {name} | {one} |")
    print(f"| all {len(looked)} clips | {total} |")
    analysis, shots = joined(clips)
    seen, there = analysis.cuts(), set(range(SHOT, SHOT * len(shots), SHOT))
    for place, (clip, first) in enumerate(shots):
        inside = CUTS.get(clip.name, set()) & set(range(first + 1, first + SHOT))
        there |= {place * SHOT + cut - first for cut in inside}
    print(f"| {len(shots)} shots of {SHOT} frames, joined | {Score().add(seen, there)} |\n")
    for what, indices in (("missed", there - seen), ("false", seen - there)):
        for index in sorted(indices):
            place, frame = divmod(index, SHOT)
            print(
                f"{what}: frame {frame} of {shots[place][0].name} {shots[place][1]}, after {shots[place - 1][0].name}"
            )
    print("| clip | repeats | found | right | precision | recall | replaced with Automatic |")
    print("|---|---|---|---|---|---|---|")
    total = Score()
    for name, analysis in looked.items():
        known = repeats_of(arguments.folder / name, arguments.folder, len(analysis.repeated))
        if known is not None:
            one = total.add(_indices(analysis.repeated), known)
            print(f"| {name} | {one} | {len(replaceable(analysis.repeated, regularly=True))} |")
    print(f"| all | {total} | |")


def _indices(flags: Iterable[bool]) -> set[int]:
    return {index for index, flag in enumerate(flags) if flag}


def analysed(clip: Path) -> Analysis:
    """All frames of a clip, looked at."""
    analysis = Analysis(cuts=True, repeats=True)
    with open_source(clip) as source:
        for image in source.frames(0, source.count):
            analysis.add(look_at(image, source.encoding))
    return analysis
