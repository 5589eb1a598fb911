# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of RIFE's networks a checkpoint holds, read from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Kind = Literal["3.6", "4.0", "4.6"]
EncoderNames = Literal["", "pair", "sequence", "cnn"]


@dataclass(frozen=True)
class Layout:
    """What tells the versions apart; all of it is read from a checkpoint's names and shapes."""

    kind: Kind
    """How a block is built: two heads, one head, one head behind residual units; named by the first that was."""
    widths: tuple[int, ...]
    encoder: tuple[int, ...] = ()
    """Channels within and at the end of the feature encoder; empty without one."""
    encoder_names: EncoderNames = field(default="", compare=False)
    """How its layers are named; versions that differ in nothing else are one family."""
    outputs: int = 6
    """Channels of the head that pixels are shuffled from: flow, mask, features; a sixth alone is of no use."""
    groups: int = 1
    """Parts that the channels of residual units are convolved in, each by itself."""
    prelu: bool = False
    """Whether slopes below zero are learned, one per channel; else all are 0.2."""

    @property
    def scales(self) -> tuple[int, ...]:
        """How many times smaller every block works."""
        if len(self.widths) == 5:
            return (32, 16, 8, 4, 1) if self.widths[-1] == 24 else (16, 8, 4, 2, 1)
        return (8, 4, 2, 1) if len(self.widths) == 4 else (4, 2, 1)

    @property
    def features(self) -> int:
        """Feature channels that go from block to block."""
        return self.outputs - 5 if self.outputs > 6 else 0

    @property
    def multiple(self) -> int:
        """What sides are padded to a multiple of."""
        return 32 if self.kind == "3.6" else 4 * self.scales[0]

    @property
    def safe_multiple(self) -> int:
        """The same for any motion."""
        return 2 * self.multiple if self.restarts else self.multiple

    @property
    def restarts(self) -> bool:
        """Whether it starts again at doubled scales where the motion is big."""
        return self.kind == "4.0" and self.prelu

    @property
    def any_time(self) -> bool:
        """Whether it takes a timestep; 3.6 knows the middle alone."""
        return self.kind != "3.6"

    @property
    def can_ensemble(self) -> bool:
        """Whether it may be run in both directions and averaged, as its authors' code does; 3.6 always is."""
        return self.kind != "3.6" and not self.features

    @property
    def family(self) -> str:
        """The versions that share this network."""
        return FAMILIES.get(self, UNKNOWN)

    def channels(self, block: int) -> int:
        """Input channels of a block, its flow included."""
        if self.kind == "3.6":
            return 11
        encoded = 2 * self.encoder[-1] if self.encoder else 0
        return 7 + encoded if block == 0 else 12 + encoded + self.features


FAMILIES = {
    Layout("3.6", (90, 90, 90), prelu=True): "3.6 to 3.8 (run as 3.6)",
    Layout("4.0", (192, 128, 96, 64), prelu=True): "4.0, 4.1",
    Layout("4.0", (192, 128, 96, 64)): "4.2 to 4.4",
    Layout("4.6", (192, 128, 96, 64), outputs=5): "4.5",
    Layout("4.6", (192, 128, 96, 64)): "4.6",
    Layout("4.6", (192, 128, 96, 64), (16, 4)): "4.7 to 4.9",
    Layout("4.6", (128, 96, 64, 48), (32, 4)): "4.12 lite, 4.13 lite",
    Layout("4.6", (128, 96, 64, 48), (16, 4)): "4.15 lite to 4.17 lite",
    Layout("4.6", (192, 128, 96, 64), (32, 8)): "4.10 to 4.19, 4.24",
    Layout("4.6", (192, 128, 96, 64), (32, 8), groups=2): "4.14 lite",
    Layout("4.6", (384, 192, 96, 48), (32, 8)): "4.20",
    Layout("4.6", (256, 192, 96, 48), (32, 8), outputs=13): "4.21 to 4.23",
    Layout("4.6", (192, 128, 64, 32), (16, 4), outputs=13): "4.22 lite",
    Layout("4.6", (192, 128, 96, 64, 32), (16, 4), outputs=13): "4.25, 4.26",
    Layout("4.6", (192, 128, 96, 64, 24), (16, 4), outputs=13): "4.25 lite",
    Layout("4.6", (384, 256, 192, 128, 64), (16, 4), outputs=13): "4.25 heavy",
    Layout("4.6", (192, 128, 96, 64, 32), (16, 16), outputs=13): "4.26 heavy, 4.26 large",
}
"""A network -> the versions that have it."""
UNKNOWN = "of an unknown version 4.x"
VERSIONS = "3.6 to 3.8 and 4.0 to 4.26 (lite and heavy ones, too)"
TRAINING_ONLY = ("block_tea.", "teacher.", "caltime.", "contextnet.", "unet.")
"""Beginnings of names that official files may hold and inference does not use."""


def layout_of(shapes: Mapping[str, tuple[int, ...]]) -> Layout | None:
    """The Layout of a checkpoint with these names and shapes; None where it is no IFNet.

    One that lacks the last blocks of a known one is taken for that: it is a file of which a part is missing.
    """
    found = None if is_of_the_paper(shapes) else _as_found(shapes)
    if found is None or found.family != UNKNOWN:
        return found
    for known in FAMILIES:
        whole = replace(found, widths=known.widths)
        if whole == known and known.widths[: len(found.widths)] == found.widths:
            return whole
    return found


def is_of_the_paper(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether it is RIFE or RIFEm of the paper's code: the later blocks of both read the frames unwarped, too."""
    return "block0.lastconv.weight" in shapes and shapes.get("block1.conv0.0.0.weight", ())[1:2] in ((17,), (18,))


def _as_found(shapes: Mapping[str, tuple[int, ...]]) -> Layout | None:
    numbers = sorted({int(match[1]) for name in shapes if (match := re.match(r"block(\d+)\.", name))})
    if numbers != list(range(len(numbers))) or not 3 <= len(numbers) <= 5:
        return None
    try:
        widths = tuple(shapes[f"block{number}.conv0.1.0.weight"][0] for number in numbers)
        if "block0.conv1.2.weight" in shapes:
            return Layout("3.6", widths, prelu=True)
        if "block0.lastconv.weight" in shapes:
            return Layout("4.0", widths, prelu="block0.conv0.0.1.weight" in shapes)
        names, encoder = _encoder_of(shapes)
        outputs = max(5, shapes["block0.lastconv.0.weight"][1] // 4)
        return Layout("4.6", widths, encoder, names, outputs, _groups_of(shapes, widths))
    except (KeyError, IndexError):
        return None


def _encoder_of(shapes: Mapping[str, tuple[int, ...]]) -> tuple[EncoderNames, tuple[int, ...]]:
    names: EncoderNames
    if "encode.cnn0.weight" in shapes:
        names, first, last = "cnn", "cnn0", "cnn3"
    elif "encode.6.weight" in shapes:
        names, first, last = "sequence", "0", "6"
    elif "encode.1.weight" in shapes:
        names, first, last = "pair", "0", "1"
    else:
        return "", ()
    return names, (shapes[f"encode.{first}.weight"][0], shapes[f"encode.{last}.weight"][1])


def _groups_of(shapes: Mapping[str, tuple[int, ...]], widths: tuple[int, ...]) -> int:
    """One where the shape is of no convolution that all blocks could have."""
    shape = shapes.get("block0.convblock.0.conv.weight", ())
    groups = widths[0] // max(1, shape[1]) if len(shape) == 4 else 1
    return groups if groups and all(width % groups == 0 for width in widths) else 1
