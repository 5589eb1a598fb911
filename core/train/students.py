# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be trained: each makes the frame of a batch, and tells enough about it to be judged by `losses.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..networks.lento import LentoNet, at_full_size, composed
from ..networks.superslomo import MEAN, SuperSloMo, backwarp, separable
from .data.samples import Batch


@dataclass
class Made:
    """A frame, and how it came about. Pictures (B, 3, H, W)."""

    frame: Tensor
    candidates: tuple[Tensor, Tensor]
    """Both ends along the motion."""
    shares: Tensor
    """(B, 2, H, W): of the candidates in the frame."""
    flows: Tensor
    """(B, 4, H, W): from the frame's pixels to where they are in the first end and in the last one."""
    rough: Tensor
    """(B, 4, h, w): flows whose steps between neighbours are to be small."""
    across: list[Tensor] = field(default_factory=list)
    """(2B, 2, h, w) each, from coarse to fine: the motion from the first end to the last one, of all samples, and then
    back, in pixels of that size."""


def _lento(network: nn.Module, batch: Batch) -> Made:
    assert isinstance(network, LentoNet)
    found = torch.cat(batch.found.chunk(2, dim=1)) if batch.found.numel() else None
    state = network.prepare(batch.first, batch.last, found)
    moment = network.at(state, batch.t)
    full = at_full_size(moment, (batch.middle.shape[-2], batch.middle.shape[-1]))
    frame, first, last = composed((batch.first, batch.last), full)
    shares = torch.cat([full.first, 1 - full.first], dim=1)
    return Made(frame, (first, last), shares, full.flows.unflatten(1, (2, 4)).mean(1), moment.change, state.levels)


def _super_slomo(network: nn.Module, batch: Batch) -> Made:
    assert isinstance(network, SuperSloMo)
    mean = batch.first.new_tensor(MEAN).view(1, 3, 1, 1)
    first, last = batch.first - mean, batch.last - mean
    flows = network.flows(first, last)
    found = network.between(first, last, flows, batch.t)
    frame = network.blended(batch.first, batch.last, found, batch.t)
    candidates = (
        backwarp(batch.first, found.flow0, network.by_size),
        backwarp(batch.last, found.flow1, network.by_size),
    )
    shares = torch.cat([(1 - batch.t) * found.visible, batch.t * (1 - found.visible)], dim=1)
    toward = torch.cat([found.flow0, found.flow1], dim=1)
    return Made(
        frame, candidates, shares / shares.sum(1, keepdim=True), toward, torch.cat(flows, dim=1), [torch.cat(flows)]
    )


@dataclass(frozen=True)
class Student:
    """A network to train."""

    create: Callable[[], nn.Module]
    make: Callable[[nn.Module, Batch], Made]
    multiple: int
    """Of pixels, that a sample's side has to be."""


STUDENTS = {
    "lento": Student(LentoNet, _lento, 8),
    "superslomo_light": Student(lambda: SuperSloMo(separable, by_size=False), _super_slomo, 32),
}
