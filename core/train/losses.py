# SPDX-License-Identifier: GPL-3.0-or-later
"""What a made frame is judged by. Pictures are (B, 3, H, W) in 0..1; every function gives one number a sample, (B,)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-3
GREY = (0.299, 0.587, 0.114)


def charbonnier(made: Tensor, truth: Tensor) -> Tensor:
    """Mean of sqrt(d^2 + e^2) (Charbonnier et al., ICIP 1994)."""
    return torch.sqrt((made - truth) ** 2 + EPSILON**2).mean((1, 2, 3))


def logarithmic(made: Tensor, truth: Tensor, floor: float = 1e-6) -> Tensor:
    """Logarithm of the mean square error: PSNR, but for its scale."""
    return torch.log(((made - truth) ** 2).mean((1, 2, 3)) + floor)


def census(made: Tensor, truth: Tensor) -> Tensor:
    """Difference of soft census transforms of 3 x 3 (Zabih and Woodfill, ECCV 1994; Meister et al., AAAI 2018)."""
    one, other = _ternary(made), _ternary(truth)
    distance = (one - other) ** 2
    return (distance / (0.1 + distance)).mean((1, 2, 3))


def _ternary(image: Tensor) -> Tensor:
    grey = _grey(image) * 255
    around = F.unfold(F.pad(grey, (1, 1, 1, 1), mode="reflect"), 3).view(grey.shape[0], 9, *grey.shape[2:])
    difference = around - grey
    return difference / torch.sqrt(0.81 + difference**2)


def gradients(made: Tensor, truth: Tensor) -> Tensor:
    """The perceptual term, which needs no weights: deviation of gradient magnitude similarity.

    Xue et al., "Gradient Magnitude Similarity Deviation", IEEE TIP 2014, here its mean instead of the deviation, at two
    scales.
    """
    total = torch.zeros(made.shape[0], device=made.device)
    for _ in range(2):
        one, other = _steepness(made), _steepness(truth)
        similar = (2 * one * other + 0.0026) / (one**2 + other**2 + 0.0026)
        total = total + (1 - similar).mean((1, 2, 3))
        made, truth = F.avg_pool2d(made, 2), F.avg_pool2d(truth, 2)
    return total / 2


def _steepness(image: Tensor) -> Tensor:
    grey = _grey(image)
    across, down = grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2], grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]
    return torch.sqrt(across**2 + down**2 + 1e-6)


def _grey(image: Tensor) -> Tensor:
    red, green, blue = image.split(1, dim=1)
    return GREY[0] * red + GREY[1] * green + GREY[2] * blue


def motion(flows: Tensor, shares: Tensor, truth: Tensor, seen: Tensor) -> Tensor:
    """How far the flows are from the true motion, in pixels, where that is known and either end counts.

    `flows` and `shares` are those of a Made; `truth` and `seen` are a Batch's `flows` and `seen`.
    """
    total = torch.zeros(flows.shape[0], device=flows.device)
    for side in (0, 1):
        gap = flows[:, 2 * side : 2 * side + 2] - truth[:, 2 * side : 2 * side + 2]
        length = torch.sqrt((gap**2).sum(1, keepdim=True) + 1e-4)
        # what is far off teaches little by how far it is
        weight = shares[:, side : side + 1] * seen[:, side : side + 1]
        total = total + (torch.log1p(length) * weight).mean((1, 2, 3))
    return total


def across(found: list[Tensor], truth: Tensor, known: Tensor) -> Tensor:
    """How far the motion from end to end is from the true one, where that is known, on the mean of all levels.

    In pixels of each level: a coarse one has to be right within what the next one looks for. `found` is that of a Made,
    `truth` (B, 4, H, W) and `known` are a Batch's `across` and `known`.
    """
    both = torch.cat(truth.chunk(2, dim=1))
    total = torch.zeros(len(truth), device=truth.device)
    for flow in found:
        step = both.shape[-1] / flow.shape[-1]
        # of one pixel each, not their mean: that would be the motion of nothing where two things meet
        picked = F.interpolate(both, flow.shape[-2:], mode="nearest-exact") / step
        length = torch.sqrt(((flow - picked) ** 2).sum(1) + 1e-3)
        total = total + length.mean((1, 2)).view(2, -1).mean(0)
    return total / len(found) * known.view(-1)


def smoothness(changes: Tensor) -> Tensor:
    """Mean step between neighbouring pixels of flows, in pixels."""
    across, down = changes.diff(dim=-1).abs(), changes.diff(dim=-2).abs()
    return across.mean((1, 2, 3)) + down.mean((1, 2, 3))


def warping(candidates: tuple[Tensor, Tensor], shares: Tensor, truth: Tensor) -> Tensor:
    """How far each end, brought to the frame, is from the truth by itself, where it counts."""
    total = torch.zeros(truth.shape[0], device=truth.device)
    for index, one in enumerate(candidates):
        total = total + ((one - truth).abs() * shares[:, index : index + 1]).mean((1, 2, 3))
    return total
