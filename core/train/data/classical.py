# SPDX-License-Identifier: GPL-3.0-or-later
"""The classical motion of real frames, found by threads of the processor ahead of the samples that lie between them.

Of whole frames, as the engine finds it; and since that takes far longer than learning from a sample, of so few pairs
that many samples lie between each.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import cv2
import numpy as np

from ...engines.motion import Grey, coarse_motion_of_greys
from ...engines.splat import Flow
from ...memory import cores
from .footage import GRID, Ends, Footage

STEPS = 256
"""Steps that share pairs."""
USES = 24
"""Samples between a pair, on the mean: elsewhere, at another time, and turned another way."""

Known = list[tuple[Ends, Future[Flow]]]


class Pairs:
    """Pairs of frames by the step that they are for, of nothing but the seed; the next ones are begun beside."""

    def __init__(self, footage: Footage, seed: int, count: int, size: int) -> None:
        self._footage, self._seed, self._size = footage, seed, size
        self._count = -(-count * STEPS // USES)
        cv2.setNumThreads(1)  # a pair has a thread of its own
        self._threads = ThreadPoolExecutor(max(1, cores() - 1), "classical motion")
        self._blocks: dict[int, Known] = {}

    def at(self, step: int) -> Known:
        """Those of that step."""
        block = step // STEPS
        self._blocks = {
            number: self._blocks[number] if number in self._blocks else self._begun(number)
            for number in (block, block + 1)
        }
        return self._blocks[block]

    def close(self) -> None:
        """End the threads, but for the pairs that they are at."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _begun(self, block: int) -> Known:
        dice = np.random.default_rng((self._seed, block))
        ends = self._footage.ends(dice, self._count, self._size)
        return [(one, self._threads.submit(self._found, one)) for one in ends]

    def _found(self, ends: Ends) -> Flow:
        return coarse_motion_of_greys(self._grey(ends, ends.first), self._grey(ends, ends.last))

    def _grey(self, ends: Ends, number: int) -> Grey:
        grey = self._footage.grey(ends.clip, number)
        multiple = GRID * (2 if ends.shrunk else 1)
        height, width = (side // multiple * multiple for side in grey.shape)
        grey = np.ascontiguousarray(grey[:height, :width])
        return cv2.resize(grey, (width // 2, height // 2), interpolation=cv2.INTER_AREA) if ends.shrunk else grey
