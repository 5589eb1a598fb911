# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures to look at: a contact sheet of samples, the course of a training, the worst frames of an engine."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..disk import explained
from ..messages import InputError
from .data.samples import Recipe, Samples

Picture = NDArray[np.uint8]
"""(H, W, 3), red, green, blue."""
PLOT = (1000, 600)
MARGIN = 60
SHEET = (400, 240)
"""Of one picture of the worst frames, width and height."""


def preview(recipe: Recipe, path: Path, rows: int) -> None:
    """One row a sample: both ends, the middle, the motion from the middle to both ends, where each end is seen.

    Raises InputError where there are no rows, and where the sheet cannot be written.
    """
    if rows < 1:
        raise InputError(f"rows: a sheet of {rows} samples shows nothing: name one or more.")
    with explained(f"The sheet {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
    samples, step = Samples(recipe), 0
    drawn: list[Picture] = []
    while len(drawn) < rows:
        batch = samples.batch(step)
        for index in range(len(batch.t)):
            if len(drawn) == rows:
                break
            pictures = [_picture(one[index]) for one in (batch.first, batch.middle, batch.last)]
            pictures += [colours_of(batch.flows[index, side : side + 2]) for side in (0, 2)]
            pictures += [_picture(batch.seen[index, side : side + 1].expand(3, -1, -1)) for side in (0, 1)]
            row = np.hstack(pictures)
            cv2.putText(row, f"t {float(batch.t[index]):.2f}", (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 0))
            drawn.append(row)
        step += 1
    with explained(f"The sheet {path}"):
        _write(path, np.vstack(drawn))


def _picture(image: Tensor) -> Picture:
    return np.rint(image.permute(1, 2, 0).clamp(0, 1).cpu().numpy() * 255).astype(np.uint8)


def colours_of(flow: Tensor) -> Picture:
    """Motion (2, H, W) in pixels as colours: the hue is its direction, the brightness its length, full at 30 pixels."""
    x, y = flow.cpu().numpy()
    hue = np.arctan2(y, x) * (90 / np.pi) + 90
    value = np.clip(np.hypot(x, y) * (255 / 30), 0, 255)
    return cv2.cvtColor(np.dstack([hue, np.full_like(hue, 200), value]).astype(np.uint8), cv2.COLOR_HSV2RGB)


def plot(log: Path, path: Path) -> None:
    """The gain over a cross-fade, by step: every log line, and their running mean."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = np.array([line["step"] for line in lines], float)
    gains = np.array([line["gain"] for line in lines], float)
    if len(lines) < 2:
        return
    mean = np.convolve(np.pad(gains, 4, mode="edge"), np.ones(9) / 9, "valid")
    width, height = PLOT
    image = np.full((height, width, 3), 255, np.uint8)
    low, high = min(0.0, float(gains.min())), max(0.1, float(gains.max()))
    x = MARGIN + (steps - steps[0]) / max(1.0, steps[-1] - steps[0]) * (width - 2 * MARGIN)

    def y(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return height - MARGIN - (values - low) / (high - low) * (height - 2 * MARGIN)

    for values, colour, thickness in ((gains, (190, 200, 215), 1), (mean, (30, 90, 200), 2)):
        points = np.rint(np.column_stack([x, y(values)])).astype(np.int32)
        cv2.polylines(image, [points], False, colour, thickness, cv2.LINE_AA)
    for value in np.linspace(low, high, 6):
        place = int(y(np.array([value]))[0])
        cv2.line(image, (MARGIN - 5, place), (MARGIN, place), (0, 0, 0))
        cv2.putText(image, f"{value:.2f}", (5, place + 5), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    caption = f"gain over a cross-fade in dB, steps {int(steps[0])} to {int(steps[-1])}"
    cv2.putText(image, caption, (MARGIN, height - 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    _write(path, image)


class Worst:
    """The worst frames of an engine, one of a clip, to look at."""

    def __init__(self, engine: str, most: int = 10) -> None:
        self.engine, self._most = engine, most
        self._rows: dict[str, tuple[float, str, list[Picture]]] = {}

    def add(self, psnr: float, clip: str, number: int, images: list[Picture]) -> None:
        """A frame of a clip's group of that number: the first end, what was made, the truth, the last end."""
        if clip not in self._rows or psnr < self._rows[clip][0]:
            self._rows[clip] = (psnr, f"{clip} {number}", images)

    def write(self, path: Path) -> None:
        """A sheet, the worst one first; the fifth column is four times the difference."""
        rows = []
        for psnr, name, (first, made, truth, last) in sorted(self._rows.values(), key=lambda row: row[0])[: self._most]:
            gap = np.clip(np.abs(made.astype(np.int16) - truth) * 4, 0, 255).astype(np.uint8)
            small = [cv2.resize(one, SHEET, interpolation=cv2.INTER_AREA) for one in (first, made, truth, last, gap)]
            row = np.hstack(small)
            cv2.putText(row, f"{name}: {psnr:.1f} dB", (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255, 255, 0))
            rows.append(row)
        _write(path, np.vstack(rows))


def _write(path: Path, image: Picture) -> None:
    # through memory: cv2.imwrite cannot write to non-ASCII paths on Windows
    path.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
