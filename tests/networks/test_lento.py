# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled network: its file, its cost, and what it makes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from core.engines import Engine, Frame, Parallel, Pixels, Settings, create
from core.engines import lento as bundle
from core.engines.motion import coarse_motion
from core.messages import InputError
from core.networks.checkpoints import open_checkpoint
from core.networks.lento import LentoNet, at_full_size, composed
from core.train.data.scenes import Scene, scenes
from core.train.data.textures import Bank, Dice


def lento(weights: str = "", precision: str = "fp32") -> Engine:
    return create("lento", Settings(weights, "cpu", precision))


def pixels(image: torch.Tensor) -> Pixels:
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def made(engine: Engine, first: Pixels, last: Pixels, t: float, number: int = 0) -> Pixels:
    return engine.synthesize(engine.prepare(Frame(2 * number, first), Frame(2 * number + 1, last)), t)


def psnr(one: Pixels, other: Pixels) -> float:
    return float(10 * np.log10(1 / np.mean((one - other) ** 2)))


@pytest.fixture(scope="module")
def scene() -> Scene:
    dice = Dice(4, torch.device("cpu"))
    return scenes(dice, Bank(dice, 204, None, 24), 6, 128)


def test_the_file_is_small_and_the_network_cheap() -> None:
    checkpoint = open_checkpoint(bundle.WEIGHTS)
    assert checkpoint.any_time
    assert checkpoint.licence == "GPL-3.0-or-later"
    assert bundle.WEIGHTS.stat().st_size < 16 * 2**20
    assert checkpoint.parameters() < 6_000_000
    per_pair, per_frame = checkpoint.multiply_adds()
    assert per_pair < 40e9
    assert 1e9 < per_frame < 12e9


def test_another_file_in_its_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(bundle.WEIGHTS.read_bytes())
    data[-1] ^= 1
    (tmp_path / "lento.safetensors").write_bytes(data)
    monkeypatch.setattr(bundle, "WEIGHTS", tmp_path / "lento.safetensors")
    with pytest.raises(InputError, match="is not the one that came with Lento .*install Lento again"):
        lento()
    monkeypatch.setattr(bundle, "WEIGHTS", tmp_path / "gone.safetensors")
    with pytest.raises(InputError, match="gone.safetensors cannot be read"):
        lento()


def test_better_than_the_classical_engine(scene: Scene) -> None:
    gains = []
    for index in range(len(scene.t)):
        ends, t = (pixels(scene.first[index]), pixels(scene.last[index])), float(scene.t[index])
        truth = pixels(scene.middle[index])
        ours, classical = (made(create(name), *ends, t, index) for name in ("lento", "flow"))
        gains.append(psnr(ours, truth) - psnr(classical, truth))
    assert np.mean(gains) > 0


def test_the_ends_may_be_exchanged(scene: Scene) -> None:
    engine = lento()
    for index in range(3):
        first, last, t = pixels(scene.first[index]), pixels(scene.last[index]), float(scene.t[index])
        truth = pixels(scene.middle[index])
        there, back = made(engine, first, last, t, 2 * index), made(engine, last, first, 1 - t, 2 * index + 1)
        assert abs(psnr(there, truth) - psnr(back, truth)) < 0.5


@pytest.mark.parametrize("size", [(128, 128), (97, 131), (33, 40), (5, 7)])
def test_any_size_with_alpha(scene: Scene, size: tuple[int, int]) -> None:
    height, width = size
    whole = [pixels(torch.nn.functional.interpolate(one[:1], (height, width))[0]) for one in (scene.first, scene.last)]
    opaque = np.ones((height, width, 1), np.float32)
    ends = [
        np.dstack([picture, opaque * share]).astype(np.float32)
        for picture, share in zip(whole, (0.25, 0.75), strict=True)
    ]
    result = made(lento(), ends[0], ends[1], 0.5)
    assert result.shape == (height, width, 4)
    assert 0.24 < result[..., 3].min() <= result[..., 3].max() < 0.76
    plain = made(lento(), whole[0], whole[1], 0.5)
    assert np.abs(result[..., :3] - plain).max() < 1e-5


def test_where_nothing_moves_nothing_happens(scene: Scene) -> None:
    still = pixels(scene.first[0])
    noisy = (still + 0.002 * np.random.default_rng(0).standard_normal(still.shape)).astype(np.float32)
    assert psnr(made(lento(), still, noisy, 0.5), still) > 50


@pytest.mark.parametrize("size", [(128, 128), (97, 131), (5, 7)])
def test_both_ways_to_compose_agree(scene: Scene, size: tuple[int, int]) -> None:
    """The processor's, by OpenCV, and the one that training and GPUs use."""
    ends = [torch.nn.functional.interpolate(one[1:2], size) for one in (scene.first, scene.last)]
    first, last = (pixels(one[0]) for one in ends)
    network = open_checkpoint(bundle.WEIGHTS).load()
    assert isinstance(network, LentoNet)
    with torch.inference_mode():
        known = torch.from_numpy(coarse_motion(first, last)).permute(0, 3, 1, 2)
        moment = network.at(network.prepare(*ends, known), torch.full((1, 1, 1, 1), 0.3))
        slow, _, _ = composed((ends[0], ends[1]), at_full_size(moment, size))
    quick = bundle.composed_on_cpu(first, last, moment)
    # OpenCV reads pictures at 32 places between two pixels
    assert np.abs(pixels(slow[0]) - quick).mean() < 1 / 255
    assert np.abs(pixels(slow[0]) - made(lento(), first, last, 0.3)).mean() < 1 / 255


def test_half_precision_is_near(scene: Scene) -> None:
    """On the mean: where two motions fit alike, rounding may take the other one."""
    gaps = []
    for index in range(len(scene.t)):
        ends, truth = (pixels(scene.first[index]), pixels(scene.last[index])), pixels(scene.middle[index])
        t = float(scene.t[index])
        full, half = (made(lento(precision=precision), *ends, t) for precision in ("fp32", "bf16"))
        gaps.append(psnr(full, truth) - psnr(half, truth))
    assert abs(np.mean(gaps)) < 0.05


def test_the_same_pair_gives_the_same_bytes(scene: Scene) -> None:
    engine, first, last = lento(), pixels(scene.first[0]), pixels(scene.last[0])
    one = made(engine, first, last, 0.4, 0)
    made(engine, last, first, 0.7, 1)
    assert np.array_equal(made(engine, first, last, 0.4, 2), one)


def test_several_threads_make_what_one_makes(scene: Scene) -> None:
    engine = create("lento", Settings("", "cpu", "bf16"))
    assert isinstance(engine, Parallel)
    assert engine.parallel
    ends = [(pixels(scene.first[index]), pixels(scene.last[index])) for index in range(4)]
    alone = [made(engine, *pair, 0.4, number) for number, pair in enumerate(ends)]
    before = torch.get_num_threads(), cv2.getNumThreads()
    try:
        with ThreadPoolExecutor(3, initializer=engine.one_core) as pool:
            many = list(pool.map(lambda number: made(engine, *ends[number % 4], 0.4, number), range(4, 16)))
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
    assert all(np.array_equal(image, alone[number % 4]) for number, image in enumerate(many))


def test_what_appears_out_of_nothing_is_faded_in() -> None:
    """As a light that is switched on: no motion leads there, and pieces of the surroundings are no in-between."""
    random = np.random.default_rng(5)
    first = cv2.resize(random.random((24, 32, 3), dtype=np.float32), (256, 192), interpolation=cv2.INTER_CUBIC) * 0.8
    first[120:] = 0.08
    last = first.copy()
    last[130:180, 180:240] = 0.9
    appearing = made(lento(), first, last, 0.5)[135:175, 185:235]
    assert np.abs(appearing - 0.49).mean() < 0.08
    assert appearing.std() < 0.06
