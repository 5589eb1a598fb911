# SPDX-License-Identifier: GPL-3.0-or-later
"""The design with learned motion: its parts by hand, its sizes, its cost."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from core.networks.lento_pure import PureLento, correlation, filled, levels_of, multiple, splat


def test_splat_of_whole_pixels_moves_pixels() -> None:
    values = torch.rand(1, 2, 6, 8)
    flow = torch.zeros(1, 2, 6, 8)
    flow[:, 0], flow[:, 1] = 2, -1
    moved = splat(values, flow)
    assert torch.allclose(moved[..., :-1, 2:], values[..., 1:, :-2], atol=1e-6)
    assert float(moved[..., -1, :].abs().max()) == float(moved[..., :2].abs().max()) == 0


def test_splat_shares_out_and_loses_nothing_inside() -> None:
    values = torch.zeros(1, 1, 7, 7)
    values[..., 3, 3] = 1
    moved = splat(values, torch.full((1, 2, 7, 7), 0.25))
    assert torch.allclose(moved[0, 0, 3:5, 3:5], torch.tensor([[0.5625, 0.1875], [0.1875, 0.0625]]))
    assert torch.isclose(moved.sum(), torch.tensor(1.0))


def test_holes_get_what_is_around_them() -> None:
    weight = torch.ones(1, 1, 9, 13)
    weight[..., 3:6, 4:9] = 0
    made = filled(weight * torch.tensor([3.0, -2.0]).view(1, 2, 1, 1), weight)
    assert torch.allclose(made, torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand_as(made), atol=1e-3)


def test_correlation_finds_a_shift() -> None:
    one = torch.randn(1, 16, 12, 14, generator=torch.Generator().manual_seed(0))
    found = correlation(one, one.roll((1, 2), (-2, -1)))[0, :, 5:7, 5:8].mean((1, 2))
    assert int(found.argmax()) == (4 + 1) * 9 + 4 + 2


def test_larger_pictures_get_more_levels() -> None:
    assert [levels_of(side, 2 * side) for side in (32, 100, 128, 256, 1080, 2160)] == [1, 1, 2, 3, 5, 6]
    assert multiple(1080, 1920) == 64


def test_it_is_its_own_mirror_in_time() -> None:
    torch.manual_seed(0)
    network = PureLento().eval()
    first, last = F.avg_pool2d(torch.rand(2, 3, 140, 180), 3, 1, 1).split(1)
    with torch.inference_mode():
        there = network.at(network.prepare(first, last), torch.full((1, 1, 1, 1), 0.3))
        back = network.at(network.prepare(last, first), torch.full((1, 1, 1, 1), 0.7))
    exchanged = back.weights[:, [3, 2, 1, 0, 5, 4]]
    assert torch.allclose(there.weights, exchanged, atol=1e-4), "untrained, its Chooser changes nothing"


def test_half_precision_on_any_size() -> None:
    network = PureLento().eval().to(torch.bfloat16)
    with torch.inference_mode():
        found = network.prepare(*torch.rand(2, 1, 3, 45, 67).to(torch.bfloat16).unbind())
        how = network.at(found, torch.full((1, 1, 1, 1), 0.5))
    assert how.weights.dtype == how.flows.dtype == torch.float32
    assert bool(torch.isfinite(how.flows).all())
