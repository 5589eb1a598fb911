# SPDX-License-Identifier: GPL-3.0-or-later
"""Drawn scenes: what they say about motion is what their pictures show."""

from __future__ import annotations

import pytest
import torch

from core.networks.lento import read
from core.train.data.samples import Recipe, Samples
from core.train.data.scenes import Scene, compressed, scenes
from core.train.data.textures import Bank, Dice, outline, surface

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bank() -> Bank:
    return Bank(Dice(0, CPU), 204, None, 24)


def off(scene: Scene, side: int) -> float:
    """Mean difference, in steps of 8 bits, of the middle and an end that is brought there, where it is seen."""
    end = (scene.first, scene.last)[side]
    there = read(end, scene.flows[:, 2 * side : 2 * side + 2])
    seen = scene.seen[:, side : side + 1]
    return float(((there - scene.middle).abs() * seen).sum() / (3 * seen.sum())) * 255


@pytest.mark.parametrize("seed", range(5))
def test_exact_motion_brings_the_ends_to_the_middle(bank: Bank, seed: int) -> None:
    scene = scenes(Dice(seed, CPU), bank, 4, 128, plain=True)
    assert 0.4 < float(scene.seen.mean()) < 1
    for side in (0, 1):
        assert off(scene, side) < 2
    wrong = Scene(**{**scene.__dict__, "flows": -scene.flows})
    assert off(wrong, 0) > 2 * off(scene, 0)


def test_exact_motion_leads_from_end_to_end(bank: Bank) -> None:
    scene = scenes(Dice(2, CPU), bank, 6, 128, plain=True)
    for here, there, side in ((scene.first, scene.last, 0), (scene.last, scene.first, 2)):
        gap = (read(there, scene.across[:, side : side + 2]) - here).abs().mean(1)
        still = (there - here).abs().mean(1)
        # most points are seen at both ends
        assert float(gap.median()) * 255 < 4
        assert float(gap.median()) < 0.3 * float(still.median())


def test_hidden_points_are_marked(bank: Bank) -> None:
    """Where a point inside the end is said to be hidden, the end shows something else."""
    scene = scenes(Dice(11, CPU), bank, 8, 128, plain=True)
    line = torch.arange(128.0)
    there = torch.stack([line.expand(128, 128), line.view(-1, 1).expand(128, 128)]) + scene.flows[:, :2]
    inside = ((there >= -0.01) & (there <= 127.01)).all(1, keepdim=True)
    seen = scene.seen[:, :1] > 0
    hidden = ~seen & inside
    difference = (read(scene.first, scene.flows[:, :2]) - scene.middle).abs().mean(1, keepdim=True)
    assert int(hidden.sum()) > 1000
    assert not bool((seen & ~inside).any())
    assert float(difference[hidden].mean()) > 5 * float(difference[seen].mean())


def test_recorded_frames_have_their_flaws_and_stay_in_range(bank: Bank) -> None:
    plain, recorded = (scenes(Dice(3, CPU), bank, 24, 128, plain=flag) for flag in (True, False))
    for frame in (recorded.first, recorded.last, recorded.middle):
        assert 0 <= float(frame.min()) <= float(frame.max()) <= 1
    assert recorded.first.mul(255).sub(recorded.first.mul(255).round()).abs().max() < 1e-3
    # beyond rounding, in steps of 8 bits: either noise or a codec alone would show in 13 of the 24
    flaws = (recorded.first - plain.first.mul(255).round().div(255)).abs().mean((1, 2, 3)) * 255
    assert 15 <= int((flaws > 0.5).sum()) <= 20
    assert 3 <= int((flaws < 1e-3).sum()) <= 10
    light = ((recorded.last - recorded.first) - (plain.last - plain.first)).mean((1, 2, 3)).abs() * 255
    assert 3 <= int((light > 1).sum()) <= 12


def test_compression_loses_more_with_larger_steps() -> None:
    image = torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    lost = [
        float((compressed(image, torch.full((2, 1, 1, 1), step)) - image).abs().mean()) for step in (1e-5, 0.02, 0.2)
    ]
    assert lost[0] < 1e-4
    assert lost[0] < lost[1] < lost[2]


def test_every_kind_of_surface_and_outline() -> None:
    dice = Dice(1, CPU)
    real = torch.rand(2, 3, 64, 64)
    for _ in range(40):
        one, mask = surface(dice, 96, real), outline(dice, 96)
        assert one.shape == (1, 3, 96, 96)
        assert mask.shape == (1, 1, 96, 96)
        assert -0.02 < float(one.min()) <= float(one.max()) < 1.02
        assert 0 <= float(mask.min()) <= float(mask.max()) <= 1


def test_a_batch_is_a_function_of_its_step() -> None:
    recipe = Recipe(batch=2, size=64)
    straight = Samples(recipe)
    batches = [straight.batch(step) for step in range(3)]
    again = Samples(recipe).batch(2)
    assert torch.equal(batches[2].across, again.across)
    assert torch.equal(batches[2].middle, again.middle)
    assert not torch.equal(batches[1].middle, batches[2].middle)
