# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be trained: each makes the frame of a batch, and tells enough about it to be judged by `losses.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..networks.lento import Chooser, at_full_size, candidates_at, choice, composed
from ..networks.lento_pure import PureLento
from ..networks.superslomo import MEAN, SuperSloMo, backwarp, separable
from .data.samples import Batch


@dataclass
class Made:
    """A frame, and how it came about. Pictures (B, 3, H, W)."""

    frame: Tensor
    candidates: list[Tensor]
    weights: Tensor
    """(B, N, H, W): of the candidates."""
    flows: Tensor
    """(B, 2K, H, W): of the first K candidates, from the frame's pixels to the first end, the last one, and so on."""
    rough: Tensor | None
    """Flows whose steps between neighbours are to be small; None where none are learned."""
    simple: Tensor
    """The frame without anything learned, which the loss is relative to."""


@dataclass(frozen=True)
class Student:
    """A network to train."""

    create: Callable[[], nn.Module]
    classical: bool
    """Whether it stands on the classical motion, which samples then bring along."""
    parts: bool
    """Whether a batch is learned from in several steps: it is cheap to compute, next to its samples."""
    make: Callable[[nn.Module, Batch], Made]


def _chooser(network: nn.Module, batch: Batch) -> Made:
    size, images = (batch.middle.shape[-2], batch.middle.shape[-1]), (batch.first, batch.last)
    changes = network(batch.features.contiguous(memory_format=torch.channels_last))
    how = at_full_size(choice(batch.logs, batch.motions, changes, batch.t), size)
    candidates = candidates_at(images, how.flows)
    with torch.no_grad():
        before = at_full_size(choice(batch.logs, batch.motions, torch.zeros_like(changes), batch.t), size)
        simple = composed(candidates, before.weights)
    return Made(composed(candidates, how.weights), candidates, how.weights, how.flows, None, simple)


def _pure(network: nn.Module, batch: Batch) -> Made:
    assert isinstance(network, PureLento)
    state = network.prepare(batch.first, batch.last)
    choice_ = network.at(state, batch.t)
    height, width = batch.middle.shape[-2:]
    padded = at_full_size(choice_, (2 * choice_.flows.shape[-2], 2 * choice_.flows.shape[-1]))
    weights, flows = padded.weights[..., :height, :width], padded.flows[..., :height, :width]
    candidates = candidates_at((batch.first, batch.last), flows)
    return Made(composed(candidates, weights), candidates, weights, flows, choice_.flows, _faded(batch))


def _super_slomo(network: nn.Module, batch: Batch) -> Made:
    assert isinstance(network, SuperSloMo)
    mean = batch.first.new_tensor(MEAN).view(1, 3, 1, 1)
    first, last = batch.first - mean, batch.last - mean
    flows = network.flows(first, last)
    found = network.between(first, last, flows, batch.t)
    frame = network.blended(batch.first, batch.last, found, batch.t)
    candidates = [
        backwarp(batch.first, found.flow0, network.by_size),
        backwarp(batch.last, found.flow1, network.by_size),
    ]
    shares = torch.cat([(1 - batch.t) * found.visible, batch.t * (1 - found.visible)], dim=1)
    weights = shares / shares.sum(1, keepdim=True)
    toward = torch.cat([found.flow0, found.flow1], dim=1)
    return Made(frame, candidates, weights, toward, torch.cat(flows, dim=1), _faded(batch))


def _faded(batch: Batch) -> Tensor:
    return (1 - batch.t) * batch.first + batch.t * batch.last


STUDENTS = {
    "lento": Student(Chooser, True, True, _chooser),
    "lento_pure": Student(PureLento, False, False, _pure),
    "superslomo_light": Student(lambda: SuperSloMo(separable, by_size=False), False, False, _super_slomo),
}
