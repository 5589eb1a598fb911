# SPDX-License-Identifier: GPL-3.0-or-later
"""The published networks: what they compute, as vectors of our own hold it.

The vectors were made when every network agreed with vectors of the official code; see scripts/check-golden.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.engines import Frame, Settings, create, network
from core.networks import dain, pwcnet, rife, sampling, superslomo
from core.networks.checkpoints import open_checkpoint
from core.networks.tiling import divided, in_pieces
from scripts.made_weights import LAYOUTS, checkpoint_of, pictures

VECTORS = Path(__file__).with_name("vectors.json")
"""name -> 8 x 12 x 3 samples of the frame that it makes; `python -m tests.networks.make_vectors` writes it."""
NETWORKS = (*LAYOUTS, "superslomo", "superslomo_light", "dain")


def engine_of(name: str) -> str:
    return "rife" if name in LAYOUTS else name


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints ü")
    for name in NETWORKS:
        torch.save(checkpoint_of(name), folder / f"{name}.pkl")
    return folder


def made_by(name: str, file: Path, t: float = 0.5, channels: int = 3, **settings: object) -> np.ndarray:
    engine = create(engine_of(name), Settings(weights=str(file), device="cpu", **{"precision": "fp32", **settings}))  # type: ignore[arg-type]
    if "superslomo" in name:
        engine.module.by_size = True  # type: ignore[attr-defined]  # as in the vectors
    frames = [
        Frame(index, np.dstack([picture, np.full(picture.shape[:2], 0.25 + index / 2, np.float32)])[..., :channels])
        for index, picture in enumerate(pictures())
    ]
    return engine.synthesize(engine.prepare(frames[0], frames[1]), t)


@pytest.mark.parametrize("name", NETWORKS)
def test_recognised_and_computed(files: Path, name: str) -> None:
    checkpoint = open_checkpoint(files / f"{name}.pkl")
    assert checkpoint.network == engine_of(name)
    if name in LAYOUTS:
        assert "unknown" not in checkpoint.family
        assert checkpoint.any_time == (name != "3.6")
    made = made_by(name, files / f"{name}.pkl")
    assert made.shape == (64, 96, 3)
    known = np.array(json.loads(VECTORS.read_text())[name], np.float32)
    different = np.abs(made[::8, ::8] - known)
    if name == "dain":  # single pixels jump where a position crosses a whole pixel
        assert np.median(different) < 1e-4
        assert (different < 1e-3).mean() > 0.9
    else:
        assert different.max() < 2e-4


@pytest.mark.parametrize("name", ["4.6", "4.25", "superslomo"])
def test_alpha_goes_along_and_colours_stay(files: Path, name: str) -> None:
    with_alpha = made_by(name, files / f"{name}.pkl", 0.25, channels=4)
    assert with_alpha.shape == (64, 96, 4)
    assert np.array_equal(with_alpha[..., :3], made_by(name, files / f"{name}.pkl", 0.25))
    assert 0.25 <= with_alpha[20:40, 30:60, 3].min() <= with_alpha[20:40, 30:60, 3].max() <= 0.75 + 1e-6


def test_out_of_memory_is_met_in_steps(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    engine = create("rife", Settings(str(files / "4.6.pkl"), "cpu", "fp32", tell=told.append))
    frames = [Frame(index, picture) for index, picture in enumerate(pictures())]
    expected = engine.synthesize(engine.prepare(*frames), 0.5)
    real = engine.at  # type: ignore[attr-defined]

    def short(state: object, t: float) -> np.ndarray:
        if len(told) < wanted:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(state, t)

    monkeypatch.setattr(engine, "at", short)
    wanted = 2
    work = engine.prepare(*frames)
    assert np.abs(engine.synthesize(work, 0.5) - expected).max() < 1e-4
    assert ["4 pieces, with the same result" in text for text in told] == [True, False]
    assert "16 pieces" in told[1]
    engine.synthesize(work, 0.25)
    assert len(told) == 2, "what does not fit is tried once"
    wanted = 4
    coarse = engine.synthesize(engine.prepare(*frames), 0.5)
    assert "64 pieces" in told[2]
    assert "half the flow scale" in told[3]
    assert coarse.shape == expected.shape
    assert np.abs(coarse - expected).max() > 1e-3
    wanted = 99
    with pytest.raises(MemoryError):
        engine.synthesize(engine.prepare(*frames), 0.5)


@pytest.mark.parametrize("name", ["4.3", "4.6", "4.25", "superslomo"])
def test_timesteps_made_together_are_those_made_alone(name: str, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [Frame(index, picture) for index, picture in enumerate(pictures())]
    times = [0.2, 0.4, 0.6, 0.8, 0.9]
    alone = create(open_checkpoint(files / f"{name}.pkl").network, Settings(str(files / f"{name}.pkl"), "cpu", "fp32"))
    expected = [alone.synthesize(alone.prepare(*frames), t) for t in times]
    engine = create(alone.info.id, alone.settings)  # type: ignore[attr-defined]
    sizes = []
    real = engine.at_all  # type: ignore[attr-defined]
    monkeypatch.setattr(engine, "at_all", lambda state, group: (sizes.append(len(group)), real(state, group))[1])
    work = engine.prepare(*frames, times)
    for t, wanted in zip(times, expected, strict=True):
        assert np.abs(engine.synthesize(work, t) - wanted).max() < 1e-4, t
    assert sizes == [2, 2, 1]
    # a job that goes on asks for some of them alone: they are made in the same groups
    again = engine.prepare(*frames, times)
    whole, sizes[:] = engine.synthesize(again, 0.4), []
    assert np.array_equal(whole, engine.synthesize(engine.prepare(*frames, times), 0.4))
    assert sizes == [2]


def test_fewer_are_made_together_first_where_memory_runs_out(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    engine = create("rife", Settings(str(files / "4.6.pkl"), "cpu", "fp32", tell=told.append))
    frames = [Frame(index, picture) for index, picture in enumerate(pictures())]
    times = [0.25, 0.5, 0.75]
    expected = [engine.synthesize(engine.prepare(*frames), t) for t in times]
    real = engine.at_all  # type: ignore[attr-defined]

    def short(state: object, group: Sequence[float]) -> list[np.ndarray]:
        if len(group) > 1:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(state, group)

    monkeypatch.setattr(engine, "at_all", short)
    work = engine.prepare(*frames, times)
    for t, wanted in zip(times, expected, strict=True):
        assert np.abs(engine.synthesize(work, t) - wanted).max() < 1e-4
    assert told == ["There is not enough memory on cpu for 96x64 at once: frames are made one by one."]


@pytest.mark.parametrize("name", ["4.6", "4.14 lite"])
def test_folding_changes_nothing(name: str) -> None:
    torch.manual_seed(1)
    pair = tuple(torch.from_numpy(np.ascontiguousarray(one.transpose(2, 0, 1)))[None] for one in pictures(128, 64))
    network = rife.IFNet(LAYOUTS[name]).eval()
    for part in network.modules():
        if isinstance(part, rife._Residual):
            torch.nn.init.uniform_(part.beta, 0.5, 1.5)  # type: ignore[arg-type]
    with torch.inference_mode():
        features = network.features(pair[0]), network.features(pair[1])
        plain = network(pair, features, torch.full((1, 1, 1, 1), 0.5))
    network.fold()
    with torch.inference_mode():
        folded = network(pair, features, torch.full((1, 1, 1, 1), 0.5))
    assert not any(name.endswith("beta") for name, _ in network.named_parameters())
    assert torch.allclose(plain.flow, folded.flow, atol=1e-4)
    assert torch.allclose(plain.mask, folded.mask, atol=1e-4)


def test_memory_is_estimated_before_the_first_frame(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [Frame(index, picture) for index, picture in enumerate(pictures(512, 384))]
    for free, pieces in ((None, 1), (10**12, 1), (105 * 2**20, 4), (1, 1)):
        told: list[str] = []
        engine = create("rife", Settings(str(files / "4.6.pkl"), "cpu", "fp32", tell=told.append))
        monkeypatch.setattr("core.engines.network.free_memory", lambda device, free=free: free)
        engine.prepare(*frames)
        assert engine._parts[0].pieces == pieces  # type: ignore[attr-defined]
        assert len(told) == (free is not None and free < 10**9)
        if pieces == 4:
            assert told == [
                "512x384 takes about 0.1 GB on cpu, where 0.1 GB are free: the network works in 4 pieces, with the "
                "same result."
            ]


@pytest.mark.parametrize(
    ("name", "pieces"),
    [("3.6", 4), ("4.0", 2), ("4.6", 8), ("4.25", 4), ("superslomo", 2), ("superslomo_light", 2), ("dain", 4)],
)
def test_pieces_give_what_the_whole_gives(files: Path, name: str, pieces: int) -> None:
    # so large that no piece, with what is around it, is the whole
    engine = create(engine_of(name), Settings(str(files / f"{name}.pkl"), "cpu", "fp32"))
    size = (640, 96) if name.startswith("superslomo") else (256, 128) if name == "dain" else (512, 384)
    frames = [Frame(index, picture) for index, picture in enumerate(pictures(*size))]
    whole = engine.synthesize(engine.prepare(*frames), 0.5)
    for part in engine._parts:  # type: ignore[attr-defined]
        part.pieces = pieces
    pieces = engine.synthesize(engine.prepare(*frames), 0.5)
    assert np.abs(whole - pieces).max() < 1 / 255


def test_pieces_do_not_see_the_whole() -> None:
    seen: list[tuple[int, int]] = []
    average = torch.nn.AvgPool2d(9, 1, 4, count_include_pad=False)

    def part(x: torch.Tensor) -> torch.Tensor:
        seen.append((x.shape[-2], x.shape[-1]))
        return F.interpolate(average(x), scale_factor=2, mode="nearest")

    image = torch.rand(1, 2, 70, 101)
    made = in_pieces(part, [image], 16, 4, 8)
    assert torch.allclose(made, F.interpolate(average(image), scale_factor=2, mode="nearest"), atol=1e-6)
    assert len(seen) > 9
    assert max(height for height, _ in seen) <= 24 + 2 * 8


def test_pieces_of_inputs_and_outputs_of_other_sizes() -> None:
    def part(small: torch.Tensor, large: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(small + F.avg_pool2d(large, 2), 4)

    small, large = torch.rand(1, 1, 24, 40), torch.rand(1, 1, 48, 80)
    assert torch.equal(in_pieces(part, [small, large], 4, 0, 4), part(small, large))


def test_a_cpu_is_left_memory_for_blender(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.engines.network.free_memory", lambda device: 10**12)
    told: list[str] = []
    engine = create("superslomo", Settings(str(files / "superslomo.pkl"), "cpu", "fp32", tell=told.append))
    large = np.zeros((2160, 3840, 3), np.float32)
    engine.prepare(Frame(0, large), Frame(1, large))
    assert engine._pieces() > 1  # type: ignore[attr-defined]
    assert engine.memory(2160, 3840) <= 6 * 2**30  # type: ignore[attr-defined]
    assert "where 6.0 GB are the most that is meant to be taken: the network works in" in told[0]


@pytest.mark.parametrize(("part", "size"), [("depth", (64, 576)), ("filters", (64, 1024))])
def test_large_parts_of_dain_in_pieces(part: str, size: tuple[int, int]) -> None:
    torch.manual_seed(1)
    net = dain.DAIN().eval()
    with torch.inference_mode():
        if part == "depth":
            frame = torch.rand(1, 3, *size)
            whole = net.depthNet(frame)
            net.depthNet.pieces = 8
            made = net.depthNet(frame)
        else:
            both = torch.rand(1, 6, *size)
            whole = net._filters(both)
            made = in_pieces(net._filters, [both], 8, dain.FILTERS_RADIUS, dain.FILTERS_STRIDE)
    assert float(whole.std()) > 0
    assert torch.allclose(made, whole, atol=1e-5 * float(whole.abs().max()))


def test_dain_reads_pieces_as_it_reads_the_whole() -> None:
    torch.manual_seed(1)
    size = (64, 640)
    image, filters = torch.rand(1, 5, *size), torch.rand(1, 16, *size)
    flow = 30 * torch.randn(1, 2, *size)
    flow[..., :100] = 1e-6  # smaller than what is left of a number of hundreds in fp32
    wanted = dain.filtered(image, flow, filters)
    for piece in divided(*size, 8, 0):
        place = piece.alone
        corner = (place[0].start, place[1].start)
        reading = dain.Reading.along(flow[(..., *place)], filters[(..., *place)], size, corner)
        total = torch.zeros_like(wanted[(..., *place)]).flatten(2)
        for other in divided(*size, 4, 0):
            index, part = reading.part(other.alone)
            read = part.of(image[(..., *other.alone)], (other.alone[0].start, other.alone[1].start))
            total.index_add_(2, index, read[:, :, 0])
        assert torch.allclose(total.view_as(wanted[(..., *place)]), wanted[(..., *place)], atol=1e-5)


@pytest.mark.parametrize("name", ["4.6", "4.25", "superslomo", "superslomo_light", "dain"])
def test_what_is_opaque_stays_so(files: Path, name: str) -> None:
    """To the border, wherever motion leads."""
    path = files / f"{name}.pkl"
    engine = create(open_checkpoint(path).network, Settings(str(path), "cpu", "fp32"))
    opaque = [np.dstack([picture, np.ones(picture.shape[:2], np.float32)]) for picture in pictures()]
    made = engine.synthesize(engine.prepare(*(Frame(index, picture) for index, picture in enumerate(opaque))), 0.25)
    assert made.shape == (64, 96, 4)
    assert np.abs(made[..., 3] - 1).max() < 1e-5


@pytest.mark.parametrize("name", ["4.3", "4.6", "4.18"])
def test_ensemble_does_not_care_about_direction(files: Path, name: str) -> None:
    engine = create("rife", Settings(str(files / f"{name}.pkl"), "cpu", "fp32", "1", ensemble=True))
    first, second = (Frame(index, picture) for index, picture in enumerate(pictures()))
    there = engine.synthesize(engine.prepare(first, second), 0.5)
    back = engine.synthesize(engine.prepare(second, first), 0.5)
    assert np.abs(there - back).max() < 1e-4


@pytest.mark.parametrize(
    ("name", "most"), [("4.6", 0.02), ("4.25", 0.02), ("superslomo", 0.02), ("superslomo_light", 0.02), ("dain", 0.003)]
)
def test_bfloat16_is_near(files: Path, name: str, most: float) -> None:
    exact, near = (made_by(name, files / f"{name}.pkl", precision=precision) for precision in ("fp32", "bf16"))
    assert 0 < np.abs(exact - near).mean() < most


@pytest.mark.parametrize("able", [True, False])
def test_slow_bfloat16_is_told(able: bool, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: able)
    told: list[str] = []
    for precision in ("fp32", "bf16"):
        create("rife", Settings(str(files / "4.6.pkl"), "cpu", precision, tell=told.append))
    slow = "precision: this CPU computes bf16 many times slower than fp32: choose auto or fp32."
    assert told == ([] if able else [slow])


def test_made_numbers_are_in_the_range_of_fp16(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.engines.network.precision_of", lambda wanted, device: wanted)
    file = files / "superslomo_light.pkl"
    exact, near = (made_by("superslomo_light", file, precision=precision) for precision in ("fp32", "fp16"))
    assert 0 < np.abs(exact - near).mean() < 5e-4


def test_positions_of_dain_do_not_depend_on_the_precision(files: Path) -> None:
    frames = [Frame(index, picture) for index, picture in enumerate(pictures())]
    moments, kinds = [], []
    for precision in ("fp32", "bf16"):
        engine = create("dain", Settings(str(files / "dain.pkl"), "cpu", precision))
        with torch.inference_mode():
            pair = engine.prepare_pair(*frames).state  # type: ignore[attr-defined]
            moments.append(engine.module.at(pair, 0.25))  # type: ignore[attr-defined]
            kinds.append(engine.module.rectify_input(pair, moments[-1]).dtype)  # type: ignore[attr-defined]
    exact, near = moments
    assert kinds == [torch.float32, torch.bfloat16], "what is large is in half precision"
    for kind in ("projected", "counts", "warped"):
        for one, other in zip(getattr(exact, kind), getattr(near, kind), strict=True):
            assert torch.equal(one, other), kind


def test_flow_scale(files: Path) -> None:
    at = [made_by("4.6", files / "4.6.pkl", flow_scale=scale) for scale in ("1", "0.5", "2", "auto")]
    assert np.array_equal(at[0], at[3])
    assert np.abs(at[0] - at[1]).mean() > 1e-4
    assert all(one.shape == (64, 96, 3) for one in at)


def test_midpoint_model_says_how_far_off_it_is(files: Path) -> None:
    told: list[str] = []
    engine = create("rife", Settings(str(files / "3.6.pkl"), "cpu", "fp32", tell=told.append))
    first, second = (Frame(index, picture) for index, picture in enumerate(pictures()))
    pair = engine.prepare(first, second)
    quarter = engine.synthesize(pair, 0.25)
    assert told == []
    half = Frame(7, engine.synthesize(pair, 0.5))
    again = engine.synthesize(engine.prepare(first, half), 0.5)
    assert np.abs(quarter - again).max() < 1e-4
    engine.synthesize(pair, 1 / 3)
    assert len(told) == 1
    assert "the timestep 0.3333 is shown as 11/32, off by 0.0104" in told[0]
    # nearer to a frame than to what halving reaches: that frame
    for t, frame in ((0.001, first), (0.999, second)):
        assert np.array_equal(engine.synthesize(pair, t), frame.pixels)
    assert len(told) == 1


def test_large_flow_scale_is_estimated_as_large(files: Path) -> None:
    def estimated(scale: str) -> int:
        engine = create("rife", Settings(str(files / "4.6.pkl"), "cpu", "fp32", scale))
        return engine.memory(540, 960)  # type: ignore[attr-defined, no-any-return]

    # measured there in fp32: 202, 475 and 1221 MB
    for scale, taken in (("1", 202e6), ("2", 475e6), ("4", 1221e6)):
        assert taken < estimated(scale) < 2 * taken


def test_no_coarser_than_the_least(files: Path) -> None:
    engine = create("rife", Settings(str(files / "4.6.pkl"), "cpu", "fp32", "0.5"))
    engine.prepare_pair(*(Frame(index, picture) for index, picture in enumerate(pictures())))  # type: ignore[attr-defined]
    assert ["half the flow scale" in engine.coarser() for _ in range(3)] == [True, False, False]  # type: ignore[attr-defined]


def test_as_many_are_made_together_whatever_is_free(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that goes on makes the same bytes, beside other programs, too."""
    for free, together in ((64 * 2**30, 2), (4 * 2**30, 2), (1 * 2**30, 1)):
        monkeypatch.setattr(network, "free_memory", lambda device, free=free: free)
        engine = create("rife", Settings(str(files / "4.6.pkl"), "cpu", "fp32"))
        large = Frame(0, np.zeros((1080, 1920, 3), np.float32))
        engine.prepare(large, large)
        assert engine.together == together  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "size", "pieces", "told"),
    [
        ("4.25", (3840, 2160), 1, ""),
        ("4.25", (7680, 4320), 1, "are the most that is meant to be taken: it is made at once all the same, since"),
        ("superslomo", (3840, 2160), 4, "the network works in 4 pieces, with the same result."),
        ("superslomo", (7680, 4320), 64, "64 pieces, with the same result. It takes about 14.4 GB even so."),
    ],
)
def test_pieces_only_where_they_help(
    name: str, size: tuple[int, int], pieces: int, told: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "free_memory", lambda device: 64 * 2**30)
    said: list[str] = []
    path = files / f"{name}.pkl"
    engine = create(open_checkpoint(path).network, Settings(str(path), "cpu", "fp32", tell=said.append))
    frame = Frame(0, np.broadcast_to(np.float32(0), (size[1], size[0], 3)))
    engine.prepare(frame, frame)
    assert engine._pieces() == pieces  # type: ignore[attr-defined]
    assert len(said) == bool(told)
    assert told in "".join(said)


@pytest.mark.parametrize(
    ("ensemble", "back", "order"),
    [
        (False, 40.0, "0/8 1/4 0/16 1/8 2/4 3/2"),
        (False, 8.0, "0/8 1/4 2/2 3/1"),
        # what both directions make of it is small on the average
        (True, -40.0, "0/8 0/8< 1/4 0/16 1/8 1/8< 2/4 2/4< 3/2 3/2<"),
        (True, 8.0, "0/8 0/8< 1/4 1/4< 2/2 2/2< 3/1 3/1<"),
    ],
)
def test_4_0_starts_again_one_way_where_both_flows_of_a_step_are_big(
    ensemble: bool, back: float, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Order: block/scale, with < where the sides are exchanged."""
    torch.manual_seed(0)
    net = rife.IFNet(LAYOUTS["4.0"]).eval()
    pair = tuple(torch.from_numpy(np.ascontiguousarray(one.transpose(2, 0, 1)))[None] for one in pictures(128, 64))
    with torch.no_grad():
        net.block1.lastconv.weight.zero_()  # type: ignore[union-attr, operator]
        net.block1.lastconv.bias[:4] = torch.tensor([5.0, 0.0, back / 8, 0.0])  # type: ignore[union-attr, index]
    ran: list[str] = []
    real = net._block

    def spied(number: int, x: torch.Tensor, flow: torch.Tensor | None, scale: float) -> rife.Step:
        ran.append(f"{number}/{scale:g}{'<' if x[0, 6].max() > 0.5 else ''}")
        return real(number, x, flow, scale)

    monkeypatch.setattr(net, "_block", spied)
    with torch.inference_mode():
        motion = net(pair, (None, None), torch.full((1, 1, 1, 1), 0.25), 1.0, ensemble)
    assert " ".join(ran) == order
    assert motion.flow.shape == (1, 4, 64, 128)
    assert len(motion.flows) == len(motion.masks) == 4


def test_warps_of_whole_pixels_move_pixels() -> None:
    image = torch.rand(1, 3, 12, 17)
    flow = torch.zeros(1, 2, 12, 17)
    flow[:, 0], flow[:, 1] = 2, -1
    moved = sampling.warp(image, flow)
    assert torch.allclose(moved[..., 1:, :-2], image[..., :-1, 2:], atol=1e-5)
    assert torch.allclose(moved[..., 0, 16], image[..., 0, 16], atol=1e-5), "the border is repeated"
    outside = superslomo.backwarp(image, flow, by_size=False)
    assert torch.allclose(outside[..., 1:, :-2], image[..., :-1, 2:], atol=1e-5)
    assert outside[..., 5, 16].abs().max() == 0, "zeros outside"


@pytest.mark.parametrize("undone", [0.0, 0.5])
def test_super_slomo_reads_positions_as_suits_the_weights(undone: float, tmp_path: Path) -> None:
    parts = checkpoint_of("superslomo_light")
    for part in ("state_dictFC", "state_dictAT"):
        for tensor in parts[part].values():  # type: ignore[attr-defined]
            tensor.zero_()
    parts["state_dictAT"]["conv3.bias"][:4] = undone  # type: ignore[index]
    torch.save(parts, tmp_path / "weights.pkl")
    engine = create("superslomo_light", Settings(str(tmp_path / "weights.pkl"), "cpu", "fp32"))
    # one that has learned nothing of the lost pixel must not lose it; one that makes up for it must
    assert engine.module.by_size == bool(undone)  # type: ignore[attr-defined]
    picture = pictures()[0]
    still = engine.synthesize(engine.prepare(Frame(0, picture), Frame(1, picture)), 0.5)
    middle = np.abs(still - picture)[24:40, 36:60]
    assert middle.max() < (0.1 if undone else 1e-5)


def test_correlation_by_hand() -> None:
    first, second = torch.rand(1, 5, 6, 7), torch.rand(1, 5, 6, 7)
    found = pwcnet.correlation(first, second)
    assert found.shape == (1, 81, 6, 7)
    assert torch.allclose(found[0, 40], (first * second).mean(1)[0])
    dy, dx = -2, 3
    assert torch.isclose(found[0, (dy + 4) * 9 + dx + 4, 3, 2], (first[0, :, 3, 2] * second[0, :, 1, 5]).mean())
    assert found[0, (dy + 4) * 9 + dx + 4, 0, 0] == 0


def projected_by_hand(flow: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height, width = flow.shape[1:]
    total, count = np.zeros((2, height, width)), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            to_x, to_y = np.float32(x) + flow[0, y, x], np.float32(y) + flow[1, y, x]
            if not (0 <= to_x <= width - 1 and 0 <= to_y <= height - 1):
                continue
            for row in (int(to_y), min(int(to_y) + 1, height - 1)):
                for column in (int(to_x), min(int(to_x) + 1, width - 1)):
                    total[:, row, column] -= weight[y, x] * flow[:, y, x]
                    count[row, column] += weight[y, x]
    return np.where(count > 0, total / np.maximum(count, 1e-30), 0), count


def test_projection_and_hole_filling_by_hand() -> None:
    random = np.random.default_rng(2)
    flow = (random.standard_normal((2, 9, 11)) * 2.5).astype(np.float32)
    weight = random.uniform(0.1, 2, (9, 11)).astype(np.float32)
    expected, expected_count = projected_by_hand(flow, weight)
    mean, count = dain.project(torch.from_numpy(flow)[None], torch.from_numpy(weight)[None, None])
    assert np.abs(mean[0].numpy() - expected).max() < 1e-5
    assert np.abs(count[0, 0].numpy() - expected_count).max() < 1e-5
    filled = dain.filled(mean, count)[0].numpy()
    holes = np.argwhere(expected_count <= 0)
    assert len(holes) > 3
    for y, x in holes:
        seen = []
        for step_y, step_x in ((0, -1), (0, 1), (-1, 0), (1, 0)):
            place = [y + step_y, x + step_x]
            while 0 <= place[0] < 9 and 0 <= place[1] < 11 and expected_count[tuple(place)] <= 0:
                place = [place[0] + step_y, place[1] + step_x]
            if 0 <= place[0] < 9 and 0 <= place[1] < 11:
                seen.append(expected[:, place[0], place[1]])
        assert np.abs(filled[:, y, x] - (np.mean(seen, axis=0) if seen else 0)).max() < 1e-5


def test_filter_interpolation_with_a_plain_filter_is_bilinear() -> None:
    image = torch.rand(1, 3, 14, 18)
    flow = torch.rand(1, 2, 14, 18) * 4 - 2
    filters = torch.zeros(1, 16, 14, 18)
    filters[:, [5, 6, 9, 10]] = 1  # the inner four, each in its own quarter
    made = dain.filtered(image, flow, filters)
    inside = (slice(None), slice(None), slice(3, -3), slice(3, -3))
    assert torch.allclose(made[inside], sampling.warp(image, flow)[inside], atol=1e-5)
    flow[:] = 100
    assert torch.equal(dain.filtered(image, flow, filters), image)


def test_padding_of_dain() -> None:
    assert dain.padding(256, 192) == (32, 32, 32, 32)
    assert dain.padding(250, 130) == (3, 3, 63, 63)
    assert F.pad(torch.zeros(1, 1, 130, 250), dain.padding(250, 130)).shape[-2:] == (256, 256)
