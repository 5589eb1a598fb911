# SPDX-License-Identifier: GPL-3.0-or-later
"""How close the frames that an engine makes are to real ones that were left out.

Two-fold: of a clip's first 400 coded frames, at most ten triplets (i, i+1, i+2), i = floor(linspace(0, n-3, 10)); the
outer two go in, the middle one is the truth. Four-fold, for clips of 50 fps and more: i and i+4 go in, the three
between are the truth, i spread alike over the first 300 frames. Frames with a side over 1300 pixels are first scaled
to 1280 on the long side by area averaging. Results are rounded to 8 bits. PSNR in dB and mean absolute error (IE) in
8-bit steps over all pixels and channels, averaged over the clip's triplets, then over the clips.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from core.color import Encoding, decoded, from_float, to_float
from core.engines import Engine, Frame, Settings, create
from core.images import Image
from core.job import ENGINES, NETWORKS
from core.messages import InputError
from core.source import open_source

TRIPLETS = 10
LONGEST_SIDE, SCALED_SIDE = 1300, 1280
FRAMES = {2: 400, 4: 300}
"""Fold -> frames at a clip's start that are used."""
LEAST_SQUARE = 1e-3
"""Mean square error that stands for none at all: 78 dB."""
FAST = 50
"""Frames per second from which on a clip is used four-fold."""


@dataclass(frozen=True)
class Score:
    """One engine on one clip."""

    clip: str
    engine: str
    fold: int
    psnr: float
    error: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `scripts/bench quality`."""
    parser.add_argument("folder", type=Path, help="movies, and folders of images")
    parser.add_argument("--engine", action="append", choices=[choice.id for choice in ENGINES], help="may be repeated")
    parser.add_argument("--weights", default="", help="checkpoint for an engine with a network")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--clips", nargs="+", metavar="NAME", help="only these, by their names without extension")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every score there, too")


def run(arguments: argparse.Namespace) -> None:
    """Print a table for each fold."""
    engines = arguments.engine or ["blend", "flow"]
    settings = Settings(arguments.weights, precision=arguments.precision)
    clips = [clip for clip in sorted(arguments.folder.iterdir()) if not clip.name.startswith("alpha_")]
    if arguments.clips:
        clips = [clip for clip in clips if clip.stem in arguments.clips]
    scores: list[Score] = []
    for fold in (2, 4):
        print(f"\n{fold}-fold: PSNR in dB, then mean absolute error\n{'clip':30}", *(f"{one:>15}" for one in engines))
        of_fold = []
        for clip in clips:
            found = measured(clip, engines, fold, settings)
            if found:
                print(f"{clip.stem:30}", *(f"{score.psnr:8.2f}{score.error:7.2f}" for score in found), flush=True)
                of_fold += found
        if of_fold:
            means = [_mean([score for score in of_fold if score.engine == engine]) for engine in engines]
            name = f"mean of {len(of_fold) // len(engines)}"
            print(f"{name:30}", *(f"{psnr:8.2f}{error:7.2f}" for psnr, error in means))
        scores += of_fold
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(score) for score in scores], indent=1))


def measured(clip: Path, engines: Sequence[str], fold: int, settings: Settings) -> list[Score]:
    """The scores of every engine on a clip; none for what is no clip, or too slow for the fold."""
    try:
        with open_source(clip) as source:
            fps = source.fps
    except InputError:
        return []
    if fold > 2 and fps < FAST:
        return []
    groups = list(_groups(list(_coded_frames(clip, FRAMES[fold])), fold))
    scores = []
    for name in engines:
        engine = create(name, settings if name in NETWORKS else None)
        results = [_compared(engine, group, number) for number, group in enumerate(groups)]
        psnr, error = (float(np.mean([result[part] for result in results])) for part in (0, 1))
        scores.append(Score(clip.stem, name, fold, psnr, error))
    return scores


def _coded_frames(clip: Path, most: int) -> Iterator[Image]:
    """The frames that are in the file, whatever their times: a source would repeat or drop some to keep its rate."""
    if clip.is_dir():
        with open_source(clip) as source:
            yield from (_scaled(image) for image in source.frames(0, min(most, source.count)))
        return
    with av.open(str(clip)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in islice(container.decode(video=0), most):
            yield _scaled(decoded(frame))


def _groups(frames: Sequence[Image], fold: int) -> Iterator[Sequence[Image]]:
    """Runs of fold + 1 frames, spread over the clip."""
    for start in sorted({int(start) for start in np.linspace(0, len(frames) - fold - 1, TRIPLETS)}):
        yield frames[start : start + fold + 1]


def _scaled(image: Image) -> Image:
    """8-bit colours, at most SCALED_SIDE long."""
    image = image[..., :3] if image.dtype == np.uint8 else np.rint(image[..., :3] / 257).astype(np.uint8)
    height, width = image.shape[:2]
    if max(height, width) <= LONGEST_SIDE:
        return image
    scale = SCALED_SIDE / max(height, width)
    return cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)


def _compared(engine: Engine, group: Sequence[Image], number: int) -> tuple[float, float]:
    """Mean PSNR and mean absolute error of the frames between the first and the last of group `number`."""
    encoding = Encoding()
    # every frame has a number of its own: engines keep what they made of a frame under it
    ends = [
        Frame(number * len(group) + index, to_float(np.ascontiguousarray(group[index]), encoding))
        for index in (0, len(group) - 1)
    ]
    state = engine.prepare(*ends)
    psnrs, errors = [], []
    for index in range(1, len(group) - 1):
        made = from_float(engine.synthesize(state, index / (len(group) - 1)), encoding, group[0].dtype)
        difference = made.astype(np.float64) - group[index]
        psnrs.append(10 * np.log10(255.0**2 / max(float(np.mean(np.square(difference))), LEAST_SQUARE)))
        errors.append(np.abs(difference).mean())
    return float(np.mean(psnrs)), float(np.mean(errors))


def _mean(scores: list[Score]) -> tuple[float, float]:
    return float(np.mean([score.psnr for score in scores])), float(np.mean([score.error for score in scores]))
