# SPDX-License-Identifier: GPL-3.0-or-later
"""How close the frames that an engine makes are to real ones that were left out.

Two-fold: of a clip's first 400 coded frames, at most ten triplets (i, i+1, i+2), i = floor(linspace(0, n-3, 10)); the
outer two go in, the middle one is the truth. Four-fold, for clips of 50 fps and more: i and i+4 go in, the three
between are the truth, i spread alike over the first 300 frames. Frames with a side over 1300 pixels are first scaled
to 1280 on the long side by area averaging. Results are rounded to 8 bits. PSNR in dB, SSIM (Wang et al., IEEE TIP
2004, of the luma, in windows of 11 pixels) and mean absolute error in 8-bit steps over all pixels and channels,
averaged over the clip's triplets, then over the clips.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np

from ..color import Encoding, decoded, from_float, to_float
from ..engines import Engine, Frame, Settings, create
from ..engines.network import DTYPES
from ..images import Image
from ..messages import InputError
from ..movies import open_file
from ..source import open_source
from .pictures import Worst

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
    ssim: float
    error: float


@runtime_checkable
class Forgetful(Protocol):
    """An engine that keeps what it made of frames, under their numbers."""

    def forget(self) -> None:
        """Drop it."""
        ...


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `python -m core.train evaluate` and `scripts/bench quality`."""
    parser.add_argument("folder", type=Path, nargs="?", help="of movies, and of folders of images")
    parser.add_argument("--footage", type=Path, metavar="DIR", help="the same")
    parser.add_argument("--engine", action="append", metavar="ID", help="may be repeated (blend, flow, lento)")
    parser.add_argument("--weights", action="append", default=[], metavar="FILE", help="a checkpoint; may be repeated")
    parser.add_argument("--precision", default="auto", choices=["auto", *DTYPES])
    parser.add_argument("--clips", nargs="+", default=(), metavar="NAME", help="only these, without extension")
    parser.add_argument("--worst", type=Path, metavar="FILE.png", help="a sheet of the last engine's ten worst frames")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every score there, too")


def run(arguments: argparse.Namespace) -> None:
    """Print the tables.

    Raises InputError where the folder has nothing to measure, an engine cannot run, or a file cannot be written.
    """
    if (arguments.folder is None) == (arguments.footage is None):
        raise InputError("Name one folder of clips, by itself or after --footage.")
    for path in (arguments.json, arguments.worst):
        if path and (path.is_dir() or not path.parent.is_dir()):
            raise InputError(f"{path} cannot be written: name a file in a folder that is there.")
    chosen = arguments.engine or ([] if arguments.weights else ["blend", "flow", "lento"])
    engines = contestants(chosen, arguments.weights, arguments.precision)
    worst = Worst(list(engines)[-1]) if arguments.worst else None
    report(arguments.folder or arguments.footage, engines, arguments.clips, arguments.json, worst)
    if worst:
        worst.write(arguments.worst)


def contestants(engines: Sequence[str], checkpoints: Sequence[str], precision: str = "auto") -> dict[str, Engine]:
    """Engines by name: those that need no file, and one for each checkpoint, which says itself whose it is.

    Raises InputError for files that are no checkpoint.
    """
    made = {name: create(name, Settings(precision=precision)) for name in engines}
    for name, path in zip(_names(checkpoints, engines), checkpoints, strict=True):
        from ..networks.checkpoints import open_checkpoint  # here: it needs PyTorch

        made[name] = create(open_checkpoint(path).network, Settings(path, precision=precision))
    return made


def _names(checkpoints: Sequence[str], taken: Sequence[str]) -> list[str]:
    """Of files: without suffix, and with as many folders before it as tell them from each other and what is taken."""
    paths = [Path(path).with_suffix("").parts for path in checkpoints]
    for count in range(1, max(map(len, paths), default=0) + 1):
        names = ["/".join(parts[-count:]) for parts in paths]
        if len({*names, *taken}) == len(names) + len(set(taken)):
            return names
    return list(checkpoints)


def report(
    folder: Path,
    engines: dict[str, Engine],
    names: Sequence[str] = (),
    json_file: Path | None = None,
    worst: Worst | None = None,
) -> list[Score]:
    """Print a table for each fold of the clips in `folder`, or of those named, and return every score.

    Raises InputError where there is none to measure, or not one of those named.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: name one of movies, and of folders of images.")
    clips = [clip for clip in sorted(folder.iterdir()) if not clip.name.startswith("alpha_")]
    clips = [clip for clip in clips if clip.stem in names] if names else clips
    if missing := sorted({*names} - {clip.stem for clip in clips}):
        raise InputError(f"{folder} has no clip {', '.join(missing)}: name clips without extension.")
    scores: list[Score] = []
    for fold in (2, 4):
        print(f"\n{fold}-fold: PSNR in dB, SSIM, mean absolute error")
        print(f"{'clip':30}", *(f"{name[-22:]:>22}" for name in engines))
        of_fold = []
        for clip in clips:
            found = measured(clip, engines, fold, worst)
            if found:
                print(f"{clip.stem:30}", *(f"{_cells(score)}" for score in found), flush=True)
                of_fold += found
        if of_fold:
            means = [mean([score for score in of_fold if score.engine == engine]) for engine in engines]
            print(f"{f'mean of {len(of_fold) // len(engines)}':30}", *(f"{_cells(one)}" for one in means))
        scores += of_fold
        if not scores:
            raise InputError(f"{folder} has no clip of {fold + 1} frames or more to measure: name another folder.")
    if json_file:
        json_file.write_text(json.dumps([asdict(score) for score in scores], indent=1))
    return scores


def _cells(score: Score) -> str:
    return f"{score.psnr:8.2f}{score.ssim:7.3f}{score.error:7.2f}"


def mean(scores: Sequence[Score]) -> Score:
    """Their mean."""
    psnr, ssim, error = (
        float(np.mean([getattr(score, part) for score in scores])) for part in ("psnr", "ssim", "error")
    )
    return Score("mean", scores[0].engine, scores[0].fold, psnr, ssim, error)


def measured(clip: Path, engines: dict[str, Engine], fold: int, worst: Worst | None = None) -> list[Score]:
    """The scores of every engine on a clip; none for what is no clip, or too slow or too short for the fold."""
    try:
        with open_source(clip) as source:
            fps = source.fps
    except InputError:
        return []
    if fold > 2 and fps < FAST:
        return []
    groups = list(_groups(list(_coded_frames(clip, FRAMES[fold])), fold))
    if not groups:
        return []
    scores = []
    for name, engine in engines.items():
        if isinstance(engine, Forgetful):
            engine.forget()
        results = []
        for number, group in enumerate(groups):
            psnr, ssim, error, made = _compared(engine, group, number)
            results.append((psnr, ssim, error))
            if worst and worst.engine == name and fold == 2:
                worst.add(psnr, clip.stem, number, [group[0], made, group[1], group[2]])
        psnr, ssim, error = (float(np.mean([result[part] for result in results])) for part in (0, 1, 2))
        scores.append(Score(clip.stem, name, fold, psnr, ssim, error))
    return scores


def _coded_frames(clip: Path, most: int) -> Iterator[Image]:
    """The frames that are in the file, whatever their times: a source would repeat or drop some to keep its rate."""
    if clip.is_dir():
        with open_source(clip) as source:
            yield from (_scaled(image) for image in source.frames(0, min(most, source.count)))
        return
    with open_file(clip) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in islice(container.decode(video=0), most):
            yield _scaled(decoded(frame))


def _groups(frames: Sequence[Image], fold: int) -> Iterator[Sequence[Image]]:
    """Runs of fold + 1 frames, spread over the clip; none of fewer frames."""
    if len(frames) <= fold:
        return
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


def _compared(engine: Engine, group: Sequence[Image], number: int) -> tuple[float, float, float, Image]:
    """Mean PSNR, SSIM and absolute error of the frames between the ends of group `number`, and the last of them."""
    encoding = Encoding()
    # every frame has a number of its own: engines keep what they made of a frame under it
    ends = [
        Frame(number * len(group) + index, to_float(np.ascontiguousarray(group[index]), encoding))
        for index in (0, len(group) - 1)
    ]
    state = engine.prepare(ends[0], ends[1])
    psnrs, likenesses, errors = [], [], []
    for index in range(1, len(group) - 1):
        made = from_float(engine.synthesize(state, index / (len(group) - 1)), encoding, group[0].dtype)
        difference = made.astype(np.float64) - group[index]
        psnrs.append(10 * np.log10(255.0**2 / max(float(np.mean(np.square(difference))), LEAST_SQUARE)))
        errors.append(np.abs(difference).mean())
        likenesses.append(likeness(made, group[index]))
    return float(np.mean(psnrs)), float(np.mean(likenesses)), float(np.mean(errors)), made


def likeness(one: Image, other: Image) -> float:
    """SSIM of two 8-bit pictures' luma."""
    a, b = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64) for image in (one, other))

    def blurred(values: Any) -> Any:
        return cv2.GaussianBlur(values, (11, 11), 1.5)

    mean_a, mean_b = blurred(a), blurred(b)
    spread_a, spread_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    together = blurred(a * b) - mean_a * mean_b
    steady, contrast = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    found = (2 * mean_a * mean_b + steady) * (2 * together + contrast)
    return float((found / ((mean_a**2 + mean_b**2 + steady) * (spread_a + spread_b + contrast))).mean())
