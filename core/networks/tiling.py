# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of a network over a large picture piece by piece, with the same result as at once.

A stack of convolutions sees no further than its radius. A piece that is cut out with that much around it, at places
that the stack's strides divide, gives what the whole gives; its edge is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor


def in_tiles(
    part: Callable[..., Tensor], inputs: Sequence[Tensor], tiles: int, radius: int, multiple: int, grown: int = 1
) -> Tensor:
    """`part` of `inputs` (B, C, H, W), all of one size, in `tiles` x `tiles` pieces.

    `radius` is how far an output looks, in pixels of the inputs; pieces begin at multiples of `multiple`. The output is
    `grown` times as large as the inputs.
    """
    if tiles == 1:
        return part(*inputs)
    height, width = inputs[0].shape[-2:]
    made: Tensor | None = None
    for rows, top in spans(height, tiles, radius, multiple):
        for columns, left in spans(width, tiles, radius, multiple):
            piece = part(*(one[..., rows, columns] for one in inputs))
            if made is None:
                made = piece.new_empty(*piece.shape[:2], height * grown, width * grown)
            down, across = rows.start + top.start, columns.start + left.start
            inside = piece[..., _times(top, grown), _times(left, grown)]
            to_rows = slice(down * grown, down * grown + inside.shape[-2])
            made[..., to_rows, across * grown : across * grown + inside.shape[-1]] = inside
    assert made is not None
    return made


def spans(size: int, tiles: int, radius: int, multiple: int) -> Iterator[tuple[slice, slice]]:
    """Parts of a side with what is around them, and within each the part that counts."""
    around = -(-radius // multiple) * multiple
    step = -(-size // (tiles * multiple)) * multiple
    for start in range(0, size, step):
        first, end = max(0, start - around), min(size, start + step)
        yield slice(first, min(size, end + around)), slice(start - first, end - first)


def _times(part: slice, factor: int) -> slice:
    return slice(part.start * factor, part.stop * factor)
