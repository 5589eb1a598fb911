# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled network's parts by hand, its sizes, its mirror in time."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.networks import lento_motion
from core.networks.lento import LentoNet, Moment, at_full_size, composed, filled, splat
from core.networks.lento_motion import correlation, levels_of
from core.networks.sampling import warp

HALF = torch.full((1, 1, 1, 1), 0.5)


def network() -> LentoNet:
    torch.manual_seed(0)
    return LentoNet().eval()


class Whole(nn.Module):
    """Two frames, motion and a timestep in, the frame out."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, first: Tensor, last: Tensor, known: Tensor, t: Tensor) -> Tensor:
        moment = self.net.at(self.net.prepare(first, last, known), t)
        size = first.shape[-2], first.shape[-1]
        return composed((first, last), at_full_size(moment, size))[0]


def test_compilers_and_export_take_all_of_it() -> None:
    """In one graph, that is without a look at what a card has computed: so CUDA graphs can take it, too."""
    whole = Whole()
    first, last = torch.rand(2, 1, 3, 70, 101).unbind()
    inputs = first, last, torch.zeros(2, 2, 18, 26), 0.6 * HALF
    with torch.no_grad():
        made = whole(*inputs)
        exported = torch.export.export(whole, inputs).module()(*inputs)
        traced = torch.compile(whole, fullgraph=True, backend="eager")(*inputs)
    assert torch.equal(exported, made)
    assert torch.equal(traced, made)


def test_where_no_motion_was_found_the_network_has_its_own() -> None:
    """Of a batch in which it was found for some, and with gradients that are numbers."""
    net = network()
    first, last = torch.rand(2, 2, 3, 64, 96).unbind()
    known = torch.full((4, 2, 16, 24), torch.nan)
    known[1::2] = 1.0
    alone, mixed = net.prepare(first, last), net.prepare(first, last, known)
    assert torch.equal(mixed.motion[0::2], alone.motion[0::2])
    assert not torch.equal(mixed.motion[1::2], alone.motion[1::2])
    mixed.motion.sum().backward()
    gradient = net.motion.refine.leave.weight.grad
    assert gradient is not None
    assert bool(gradient.isfinite().all())


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
    assert int(found.argmax()) == (3 + 1) * 7 + 3 + 2


@pytest.mark.parametrize("size", [(9, 35), (4, 8), (5, 5), (16, 64)])
def test_cards_find_the_same_correlation(size: tuple[int, int]) -> None:
    one, other = torch.randn(2, 2, 16, *size, dtype=torch.float64, requires_grad=True).unbind()
    results = [way(one, other, 3) for way in (lento_motion._one_by_one, lento_motion._by_runs)]
    assert torch.allclose(*results, atol=1e-12)
    weights = torch.randn_like(results[0])
    slopes = [torch.autograd.grad(result, (one, other), weights) for result in results]
    for there, back in zip(*slopes, strict=True):
        assert torch.allclose(there, back, atol=1e-12)


def test_larger_pictures_get_more_levels() -> None:
    assert [levels_of(side, 2 * side) for side in (5, 32, 64, 256, 720, 1080, 2160)] == [1, 1, 2, 4, 5, 6, 7]


def test_motion_that_fits_better_is_taken() -> None:
    """Where something else knows the motion, an untrained network has it, but for the little that it adds."""
    generator = torch.Generator().manual_seed(1)
    first = F.interpolate(torch.rand(1, 3, 20, 30, generator=generator), scale_factor=6.0, mode="bicubic")
    last = first.roll((8, -16), (-2, -1))
    right = torch.tensor([[-4.0, 2.0], [4.0, -2.0]]).view(2, 2, 1, 1).expand(2, 2, 30, 45)
    with torch.inference_mode():
        found = network().prepare(first, last, right)
        wrong = network().prepare(first, last, -right)
    inner = (..., slice(6, -6), slice(8, -8))
    assert float((found.motion - right)[inner].abs().mean()) < 0.5
    assert float((wrong.motion + right)[inner].abs().mean()) > 1, "what fits worse is not taken"


def test_of_both_motions_the_one_that_explains_the_frames_is_believed() -> None:
    first = F.interpolate(torch.rand(1, 3, 20, 30), scale_factor=6.0, mode="bicubic")
    last = first.roll((8, -16), (-2, -1))
    right = torch.tensor([[-4.0, 2.0], [4.0, -2.0]]).view(2, 2, 1, 1).expand(2, 2, 30, 45)
    with torch.inference_mode():
        net = network()
        state = net.prepare(first, last, right)
        for index, wanted in ((1, 1.0), (0, 0.0)):
            state.motion = right.clone()
            state.motion[index] *= -1
            inner = net.at(state, HALF).forth[..., 15:-15, 20:-20]
            assert abs(float(inner.median()) - wanted) < 0.02


def test_it_is_its_own_mirror_in_time() -> None:
    first, last = F.avg_pool2d(torch.rand(2, 3, 140, 180), 3, 1, 1).split(1)
    with torch.inference_mode():
        net = network()
        there = net.at(net.prepare(first, last), torch.full((1, 1, 1, 1), 0.3))
        back = net.at(net.prepare(last, first), torch.full((1, 1, 1, 1), 0.7))
    assert torch.allclose(there.first, 1 - back.first, atol=1e-4), "untrained, its synthesis changes nothing"
    mirrored = back.flows.unflatten(1, (2, 2, 2)).flip(1, 2).flatten(1, 3)
    assert torch.allclose(there.flows, mirrored, atol=1e-3)
    assert torch.allclose(there.forth, 1 - back.forth, atol=1e-3)


def test_several_times_of_a_pair_at_once() -> None:
    first, last = torch.rand(2, 1, 3, 50, 71).unbind()
    times = torch.tensor([0.2, 0.5, 0.9]).view(3, 1, 1, 1)
    with torch.inference_mode():
        net = network()
        torch.nn.init.normal_(net.synthesis.leave.weight, std=0.02)
        state = net.prepare(first, last)
        together = net.at(state, times)
        for index in range(3):
            alone = net.at(state, times[index : index + 1])
            for name in ("flows", "forth", "first", "lacking", "still"):
                assert torch.allclose(getattr(together, name)[index : index + 1], getattr(alone, name), atol=1e-4)


def test_half_precision_on_any_size() -> None:
    for size in ((45, 67), (5, 7), (4, 4), (1, 1)):
        net = network().to(torch.bfloat16)
        with torch.inference_mode():
            how = net.at(net.prepare(*torch.rand(2, 1, 3, *size).unbind()), HALF)
            frame, _, _ = composed((torch.rand(1, 4, *size), torch.rand(1, 4, *size)), at_full_size(how, size))
        assert how.first.dtype == how.flows.dtype == torch.float32
        assert frame.shape == (1, 4, *size)
        assert bool(torch.isfinite(frame).all())


def test_a_frame_is_what_the_moment_says() -> None:
    """By whole pixels, along both motions, with the share of each, what both lack, and a cross-fade's share."""
    first, last = torch.rand(2, 1, 4, 8, 10).unbind()
    flows = torch.tensor([-2.0, 1.0, 3.0, 0.0, -1.0, 0.0, 2.0, 2.0]).view(1, 8, 1, 1).expand(1, 8, 8, 10)
    share, lacking = torch.full((1, 1, 8, 10), 0.25), torch.full((1, 3, 8, 10), 0.1)
    moment = Moment(flows, share * 2.4, share, lacking, share * 0.8, HALF * 0.6, flows[:, :4])
    made, one, other = composed((first, last), moment)
    assert torch.allclose(one, 0.6 * warp(first, flows[:, :2]) + 0.4 * warp(first, flows[:, 4:6]), atol=1e-5)
    assert torch.allclose(other, 0.6 * warp(last, flows[:, 2:4]) + 0.4 * warp(last, flows[:, 6:]), atol=1e-5)
    moved = 0.25 * one + 0.75 * other
    moved[:, :3] += 0.1
    assert torch.allclose(made, 0.8 * moved + 0.2 * (0.7 * first + 0.3 * last), atol=1e-6)
