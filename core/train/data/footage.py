# SPDX-License-Identifier: GPL-3.0-or-later
"""Short runs of real frames, cut out of clips once and kept in one file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...analysis import Analysis, look_at
from ...images import Image
from ...messages import InputError
from ...source import Source, open_source

RUN = 5
"""Frames of a run."""
SIDE = 288
"""Pixels of a run's side; a training sample is a part of it."""
RUNS = 40
"""Of one clip, at the most."""
STILL = 0.4
"""Mean change between the ends of a run, in steps of 8 bits, below which there is nothing to learn from it."""
PLACES = 4
"""Places that are looked at for each run; the one that moves most is taken, three times out of four."""

Runs = NDArray[np.uint8]
"""(N, RUN, SIDE, SIDE, 3)"""


def runs_of(folder: Path, cache: Path) -> Runs:
    """Runs of the clips in `folder` and the folders in it, mapped from a file in `cache` that is made where missing.

    Raises InputError where there is no clip.
    """
    clips = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() != ".md")
    stamp = json.dumps([[clip.name, clip.stat().st_size] for clip in clips] + [RUN, SIDE, RUNS])
    path = cache / f"runs-{hashlib.sha256(stamp.encode()).hexdigest()[:8]}.npy"
    if not path.exists():
        found = [run for number, clip in enumerate(clips) for run in _cut(clip, number)]
        if not found:
            raise InputError(f"{folder} holds no clips to train with: name a folder of movies.")
        cache.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".part.npy")
        np.save(aside, np.stack(found))
        aside.replace(path)
    runs: Runs = np.load(path, mmap_mode="r")
    return runs


def _cut(clip: Path, number: int) -> Iterator[Runs]:
    """Runs of one clip without cuts and repeated frames."""
    try:
        source = open_source(clip)
    except InputError:
        return
    with source:
        if min(source.size) < SIDE or source.count < RUN:
            return
        starts = _starts(source)
        dice = np.random.default_rng(number)
        wanted = set(dice.permutation(starts)[:RUNS].tolist()) if starts else set()
        recent: list[Image] = []
        for index, image in enumerate(source.frames(0, source.count)):
            recent = [*recent[-(RUN - 1) :], _eight_bits(image)]
            if index - RUN + 1 in wanted:
                run = _window(recent, dice)
                if np.abs(run[0].astype(np.int16) - run[-1]).mean() >= STILL:
                    yield run


def _starts(source: Source) -> list[int]:
    """First frames of runs with neither a cut nor a repeated frame within."""
    analysis = Analysis(cuts=True, repeats=True)
    for image in source.frames(0, source.count):
        analysis.add(look_at(image, source.encoding))
    broken = analysis.cuts() | {index for index, same in enumerate(analysis.repeated) if same}
    count = len(analysis.repeated)
    return [start for start in range(count - RUN + 1) if not broken & set(range(start + 1, start + RUN))]


def _eight_bits(image: Image) -> NDArray[np.uint8]:
    image = image[..., :3]
    return image if image.dtype == np.uint8 else np.rint(image / (np.iinfo(image.dtype).max / 255)).astype(np.uint8)


def _window(frames: list[NDArray[np.uint8]], dice: np.random.Generator) -> Runs:
    """A part of SIDE x SIDE, of large pictures sometimes of their half."""
    height, width = frames[0].shape[:2]
    if min(height, width) >= 2 * SIDE and dice.random() < 0.4:
        frames = [cv2.resize(frame, (width // 2, height // 2), interpolation=cv2.INTER_AREA) for frame in frames]
        height, width = frames[0].shape[:2]
    parts = []
    for _ in range(PLACES if dice.random() < 0.75 else 1):
        top, left = int(dice.integers(0, height - SIDE + 1)), int(dice.integers(0, width - SIDE + 1))
        parts.append(np.stack([frame[top : top + SIDE, left : left + SIDE] for frame in frames]))
    return max(parts, key=lambda part: float(np.abs(part[0].astype(np.int16) - part[-1]).mean()))
