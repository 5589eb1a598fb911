# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of a network over a large picture piece by piece, with the same result as at once.

A stack of convolutions sees no further than its radius. A piece that is cut out with that much around it, at places
that the stack's strides divide, gives what the whole gives; its edge is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

Place = tuple[slice, slice]
"""Rows and columns."""


@dataclass(frozen=True)
class Piece:
    """A part of a picture: with what is around it, and alone."""

    around: Place
    alone: Place

    @property
    def inside(self) -> Place:
        """Where the part is in what is cut out with its surroundings."""
        rows, columns = (
            slice(alone.start - around.start, alone.stop - around.start)
            for alone, around in zip(self.alone, self.around, strict=True)
        )
        return rows, columns


def in_pieces(
    part: Callable[..., Tensor], inputs: Sequence[Tensor], pieces: int, radius: int, multiple: int = 1
) -> Tensor:
    """`part` of `inputs` (B, C, H, W), in `pieces` pieces.

    Inputs are of one size, or a whole number of times as large as the smallest one. `radius` is how far an output
    looks, in pixels of the smallest; pieces begin at multiples of `multiple` there. The output may have another size.
    """
    if pieces == 1:
        return part(*inputs)
    height, width = min((one.shape[-2], one.shape[-1]) for one in inputs)
    made: Tensor | None = None
    for piece in divided(height, width, pieces, radius, multiple):
        cut = [one[(..., *_scaled(piece.around, one.shape[-1], width))] for one in inputs]
        got = part(*cut)
        wide, cut_width = got.shape[-1], piece.around[1].stop - piece.around[1].start
        if made is None:
            made = got.new_empty(*got.shape[:2], height * wide // cut_width, width * wide // cut_width)
        made[(..., *_scaled(piece.alone, wide, cut_width))] = got[(..., *_scaled(piece.inside, wide, cut_width))]
    assert made is not None
    return made


def divided(height: int, width: int, pieces: int, radius: int, multiple: int = 1) -> Iterator[Piece]:
    """A picture in `pieces` pieces, a power of two: the longer side of a piece is halved again and again."""
    rows = columns = 1
    while rows * columns < pieces:
        if height / rows > width / columns:
            rows *= 2
        else:
            columns *= 2
    for down, around_down in _spans(height, rows, radius, multiple):
        for across, around_across in _spans(width, columns, radius, multiple):
            yield Piece((around_down, around_across), (down, across))


def _spans(size: int, count: int, radius: int, multiple: int) -> Iterator[tuple[slice, slice]]:
    """Parts of a side, and the same with what is around them."""
    around = -(-radius // multiple) * multiple
    step = -(-size // (count * multiple)) * multiple
    for start in range(0, size, step):
        end = min(size, start + step)
        yield slice(start, end), slice(max(0, start - around), min(size, end + around))


def _scaled(place: Place, size: int, of: int) -> Place:
    """A place where `of` pixels are `size`."""
    rows, columns = (slice(part.start * size // of, part.stop * size // of) for part in place)
    return rows, columns
