# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pictures say about time: where a cut is, and which frames only repeat the one before.

A cut is where motion cannot lead from one frame to the next. Two small grey pictures are compared where motion puts
them (DIS flow, Kroeger et al. 2016), by the correlation of their structure in small windows, so that brightness does
not count: pans, flashes and fades pass. What a flash covers for a frame or two is looked for on both of its sides.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .color import Encoding, to_float
from .images import Image
from .job import Job
from .plan import Findings

WIDTH = 192
"""Of the small pictures that cuts are found in."""
FINE_WIDTH = 480
"""Of those that repeats are found in."""
LEAST_SIDE = 32
"""Of both: OpenCV's flow ends the process on smaller ones, for its coarsest level is then smaller than its patches."""
WINDOW = (9, 9)
REACH = 3
"""Frames on either side of a cut that are all unlike each other: a flash of two frames is none."""
UNLIKE = 0.4
"""Likeness that frames of different shots do not exceed."""
ALIKE = 0.6
"""Likeness that does not have to be looked at again."""
SUDDEN = 0.45
"""Part of the likeness around a cut that is left at it: in a whip pan all of them are low."""
NOISE = 5.0
"""Steps of 8 bits by which equal pictures may differ after small losses."""

REPEAT_MEAN, REPEAT_MOST = 0.35, 9.0
"""Mean and largest change, in steps of 8 bits, of a frame that only repeats the one before, after a lossy codec."""
LONGEST_HOLD = 5
"""Repeats in a row up to which they are replaced; a longer run stands still on purpose."""
CADENCE = 0.8
"""Part of the distances between repeats that are the same where they come regularly."""

Gray = NDArray[np.uint8]


@dataclass(frozen=True)
class Look:
    """A frame as it is compared: its picture, and its transparency where it has one."""

    small: tuple[Gray, ...]
    """For cuts: a matte with noise in it must not hide those of the picture."""
    fine: tuple[Gray, ...]
    """For repeats: what is transparent is black, since nobody sees it change."""


def look_at(image: Image, encoding: Encoding) -> Look:
    """A source frame, made small and grey, encoded for a display."""
    height, width = image.shape[:2]
    straight = image.dtype == np.uint8 and not encoding.premultiplied
    if image.dtype != np.uint8:
        image = (np.clip(to_float(image, encoding), 0, 1) * 255).astype(np.uint8)
    gray = cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_RGB2GRAY)
    picture, seen = [gray], [gray]
    if image.shape[2] == 4:
        alpha = np.ascontiguousarray(image[..., 3])
        picture, seen = [gray, alpha], [cv2.multiply(gray, alpha, scale=1 / 255) if straight else gray, alpha]

    def scaled(planes: Sequence[Any], to: int) -> tuple[Gray, ...]:
        scale = min(1, to / width)
        size = (max(LEAST_SIDE, round(width * scale)), max(LEAST_SIDE, round(height * scale)))
        return tuple(np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.uint8) for plane in planes)

    return Look(scaled(picture, WIDTH), scaled(seen, FINE_WIDTH))


class Likeness:
    """How alike two frames are where motion puts them: about 1 for one shot, about 0 for two."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def between(self, one: Gray, other: Gray) -> float:
        """Mean correlation of the structure in small windows, weighted with how much structure there is."""
        found = self._along(one, other, self._flow.calc(one, other, None))
        if found > ALIKE:
            return found
        # a pan may be too fast for the flow, which only looks nearby
        a, b = one.astype(np.float32), other.astype(np.float32)
        shift, _ = cv2.phaseCorrelate(a, b, cv2.createHanningWindow((a.shape[1], a.shape[0]), cv2.CV_32F))
        if max(map(abs, shift)) < 2:
            return found
        start = np.empty((*a.shape, 2), np.float32)
        start[:] = shift
        return max(found, self._along(one, other, self._flow.calc(one, other, start)))

    def _along(self, one: Gray, other: Gray, flow: Any) -> float:
        a = one.astype(np.float32)
        y, x = np.mgrid[0 : a.shape[0], 0 : a.shape[1]].astype(np.float32)
        b = cv2.remap(
            other, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ).astype(np.float32)

        def mean(values: Any) -> Any:
            return cv2.blur(values, WINDOW)

        mean_a, mean_b = mean(a), mean(b)
        spread_a = np.maximum(mean(a * a) - mean_a * mean_a, 0)
        spread_b = np.maximum(mean(b * b) - mean_b * mean_b, 0)
        together = mean(a * b) - mean_a * mean_b
        correlation = together / np.sqrt(spread_a * spread_b + NOISE**2)
        weight = np.minimum(np.sqrt(np.maximum(spread_a, spread_b)), 20)
        # where there is no structure, that they are equally bright has to do: the more, the less of it one of them has
        flat = np.exp(-(((mean_a - mean_b) / 30) ** 2))
        structure = np.sqrt(min(spread_a.mean(), spread_b.mean()))
        plain = 0.5 + 6 * max(0.0, 1 - float(structure) / 2)
        return float((correlation * weight + flat * plain).sum() / (weight + plain).sum())


class Shots:
    """Takes in one plane of frames in their order and says where it begins anew; remembers only a few of them."""

    def __init__(self) -> None:
        self._likeness = Likeness()
        self._recent: deque[Gray] = deque(maxlen=2 * REACH)
        self._line: list[float] = []
        """Likeness of every frame to the next."""
        self._unlike: set[int] = set()
        """Frames so unlike the next that no frame before is like one after it."""

    def add(self, plane: Gray) -> None:
        """The next frame's."""
        self._recent.append(plane)
        if len(self._recent) == 1:
            return
        self._line.append(self._likeness.between(self._recent[-2], plane))
        if len(self._line) >= REACH:
            self._judge(len(self._line) - REACH, REACH)

    def _judge(self, index: int, after: int) -> None:
        """Whether a cut may follow frame `index`, after which `after` frames are known."""
        if self._line[index] > UNLIKE:
            return
        looks = list(self._recent)
        before = looks[max(0, len(looks) - after - REACH) : len(looks) - after]
        pairs = ((one, other) for one in before for other in looks[len(looks) - after :])
        if all(self._likeness.between(one, other) <= UNLIKE for one, other in pairs):
            self._unlike.add(index)

    def cuts(self) -> set[int]:
        """Indices of the frames that begin a new shot, when all frames have been added."""
        for after in range(min(REACH - 1, len(self._line)), 0, -1):
            self._judge(len(self._line) - after, after)
        line = np.array(self._line)
        found = set()
        for index in self._unlike:
            around = np.concatenate([line[max(0, index - REACH) : index], line[index + 1 : index + 1 + REACH]])
            if not len(around) or line[index] <= SUDDEN * np.median(around):
                found.add(index + 1)
        return found


class Analysis:
    """Takes in frames in their order and says what they tell about time; remembers only a few of them.

    `cuts` and `repeats` say what to look for.
    """

    def __init__(self, cuts: bool, repeats: bool) -> None:
        self._cuts, self._repeats = cuts, repeats
        self._shots: list[Shots] = []
        """Of every plane."""
        self._last: Look | None = None
        self.repeated: list[bool] = []
        """For every frame, whether it shows the same as the one before: exactly, or but for what a codec lost."""

    def add(self, look: Look) -> None:
        """The next frame."""
        previous = self._last
        self.repeated.append(self._repeats and previous is not None and all(map(_same, previous.fine, look.fine)))
        self._last = look
        if not self._cuts:
            return
        self._shots = self._shots or [Shots() for _ in look.small]
        for shots, plane in zip(self._shots, look.small, strict=True):
            shots.add(plane)

    def cuts(self) -> set[int]:
        """Indices of the frames that begin a new shot, in any of the planes, when all frames have been added."""
        return set[int]().union(*(shots.cuts() for shots in self._shots))

    def findings(self, job: Job, start: int, rate: Fraction) -> Findings:
        """What the frames say, the first of which is source frame `start`, and what the job knows better."""
        marked, denied = ({round(frame * rate) for frame in frames} for frames in (job.cuts_at, job.no_cuts_at))
        shots = frozenset(({start + index for index in self.cuts()} - denied) | marked)
        repeats = replaceable(self.repeated, job.repeats == "auto")
        return Findings(shots, frozenset(start + index for index in repeats) - shots)


def _same(one: Gray, other: Gray) -> bool:
    change = cv2.absdiff(one, other)
    # single pixels may flicker where a codec spent no bits; a small thing that moves changes a whole block
    return (
        float(change.mean()) <= REPEAT_MEAN and float(cv2.blur(change.astype(np.float32), (8, 8)).max()) <= REPEAT_MOST
    )


def replaceable(repeated: Sequence[bool], regularly: bool) -> set[int]:
    """Indices of the repeats that are to be replaced: not those of a picture that stands still on purpose.

    With `regularly`, none where they do not come in a cadence.
    """
    runs: list[tuple[int, int]] = []
    for index, same in enumerate(repeated):
        if same and runs and runs[-1][1] == index:
            runs[-1] = (runs[-1][0], index + 1)
        elif same:
            runs.append((index, index + 1))
    short = [run for run in runs if run[1] - run[0] <= LONGEST_HOLD]
    chosen = {index for first, end in short for index in range(first, end)}
    if not regularly:
        return chosen
    # a cadence may hold for a part of the clip: it is looked for around every repeat, and a hiccup does not end it
    starts = [first for first, _ in short]
    regular = [place for place in range(len(short)) if _is_regular(starts[max(0, place - 4) : place + 5])]
    if not regular:
        return set()
    part = range(regular[0], regular[-1] + 1)
    if len(regular) < len(part) / 2:
        part = range(0)
    return {index for place in {*regular, *part} for index in range(*short[place])}


def _is_regular(starts: Sequence[int]) -> bool:
    """Whether most of at least three distances are the same."""
    distances = [b - a for a, b in pairwise(starts)]
    usual = max(set(distances), key=distances.count, default=0)
    return len(distances) >= 3 and distances.count(usual) >= CADENCE * len(distances)
