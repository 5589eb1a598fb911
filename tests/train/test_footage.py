# SPDX-License-Identifier: GPL-3.0-or-later
"""Clips in memory: which parts of them are used, whose frames they are, and what samples show."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from core.color import decoded
from core.messages import InputError
from core.networks.sampling import warp
from core.train.data import classical, footage
from core.train.data import clips as clips_in_memory
from core.train.data.classical import Pairs
from core.train.data.clips import coded, held, index, mapped
from core.train.data.footage import Footage
from core.train.data.samples import Recipe, Samples
from scripts import clips
from scripts.clips import Image, write_clip

SIZE = (320, 304)
CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clips ü" / "more").mkdir(parents=True)
    return tmp_path / "clips ü"


@pytest.fixture
def film(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes a clip whose frames are what a function makes of their numbers."""

    def write(picture: Callable[[int], Image], frames: int, name: str = "a.mp4") -> None:
        with monkeypatch.context() as patch:
            patch.setattr(clips, "draw", lambda number, size: picture(number))
            write_clip(folder / name, frames, size=SIZE, sound=False)

    return write


def texture(seed: int, low: int = 30, high: int = 120) -> Image:
    coarse = np.random.default_rng(seed).integers(low, high, (38, 40, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)


def brightening(number: int) -> Image:
    """The same picture, brighter from frame to frame."""
    return texture(0) + np.uint8(6 * number)


def change(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).abs().mean((1, 2, 3)) * 255


def test_the_middle_lies_at_t_between_the_ends(folder: Path, tmp_path: Path, film: Callable[..., None]) -> None:
    film(brightening, 20)
    first, middle, last, t, found = Footage(folder, tmp_path / "cache", CPU).batch(np.random.default_rng(0), 64, 96)
    assert found.numel() == 0, "classical motion was not asked for"
    assert first.shape == middle.shape == last.shape == (64, 3, 96, 96)
    assert t.shape == (64, 1, 1, 1)
    assert {one.dtype for one in (first, middle, last, t)} == {torch.float32}
    assert all(0 <= float(one.min()) and float(one.max()) <= 1 for one in (first, middle, last))
    way = (last - first).mean((1, 2, 3))
    frames = (way * 255 / 6).round().abs().int().tolist()
    assert set(frames) == {2, 3, 4, 5, 6}
    assert 20 <= frames.count(2) <= 50
    assert 16 <= int((way < 0).sum()) <= 48, "half of them go backwards"
    assert torch.allclose((middle - first).mean((1, 2, 3)) / way, t.flatten(), atol=0.05)
    # turned alike, the three of them have the same texture
    assert float((middle - first).std((2, 3)).max()) < 0.01
    assert float(first.std((2, 3)).min()) > 0.03
    assert not torch.allclose(first[0], first[1], atol=0.1)


def test_samples_are_turned_in_every_way(folder: Path, tmp_path: Path, film: Callable[..., None]) -> None:
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    ramp = np.repeat((40 + 0.3 * x + 0.1 * y)[..., None], 3, 2)
    film(lambda number: np.rint(ramp + 3 * number).astype(np.uint8), 12)
    first, *_ = Footage(folder, tmp_path / "cache", CPU).batch(np.random.default_rng(0), 80, 64)
    across = (first[..., 60:].mean((1, 2, 3)) - first[..., :4].mean((1, 2, 3))) * 255 / 60
    down = (first[:, :, 60:].mean((1, 2, 3)) - first[:, :, :4].mean((1, 2, 3))) * 255 / 60
    slopes = torch.stack([across, down], dim=1)
    # pictures of half the size are twice as steep
    shrunk = slopes.abs().amax(1) > 0.45
    assert 12 <= int(shrunk.sum()) <= 40
    slopes[shrunk] /= 2
    ways = {tuple(way) for way in (slopes * 10).round().int().tolist()}
    assert ways == {(one * a, other * b) for a, b in ((3, 1), (1, 3)) for one in (1, -1) for other in (1, -1)}


def test_shrunk_samples_are_means_of_four_pixels(
    folder: Path, tmp_path: Path, film: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    film(brightening, 3)
    monkeypatch.setattr(footage, "SHRUNK", 1)
    monkeypatch.setattr(footage, "RECOLOURED", 0)
    made = Footage(folder, tmp_path / "cache", CPU)
    first, *_ = made.batch(np.random.default_rng(0), 1, 144)
    frames = made.frames[0][[0, 2]].float().permute(0, 3, 1, 2) / 255
    even = torch.nn.functional.avg_pool2d(frames, 2, stride=1)
    seen = torch.cat([torch.rot90(first, turns, (-2, -1)) for turns in range(4)])
    seen = torch.cat([seen, seen.flip(-1)])
    # 288 of 304 x 320 pixels: few places, so all of them are tried
    found = min(
        float((even[:, :, top : top + 288 : 2, left : left + 288 : 2][:, None] - seen).abs().amax((-3, -2, -1)).min())
        for top in range(17)
        for left in range(33)
    )
    assert found < 1e-6


def test_some_samples_have_other_colours(folder: Path, tmp_path: Path, film: Callable[..., None]) -> None:
    film(lambda number: brightening(number) // np.array([1, 4, 16], np.uint8), 12)
    first, middle, last, *_ = Footage(folder, tmp_path / "cache", CPU).batch(np.random.default_rng(0), 100, 64)
    orders = [one.mean((2, 3)).argsort(1, descending=True) for one in (first, middle, last)]
    assert torch.equal(orders[0], orders[1])
    assert torch.equal(orders[0], orders[2])
    assert 2 <= int((orders[0] != torch.arange(3)).any(1).sum()) <= 20


def test_samples_are_where_something_moves(folder: Path, tmp_path: Path, film: Callable[..., None]) -> None:
    def picture(number: int) -> Image:
        image = texture(0)
        image[:60, :60] = texture(number)[:60, :60]
        return image

    film(picture, 12)
    first, _, last, *_ = Footage(folder, tmp_path / "cache", CPU).batch(np.random.default_rng(0), 50, 64)
    assert int((change(first, last) > 0.4).sum()) > 25, "of all places, one in sixteen"


def test_no_sample_spans_a_cut(folder: Path, tmp_path: Path, film: Callable[..., None]) -> None:
    def picture(number: int) -> Image:
        dark = number < 9
        return np.roll(texture(1, 20, 90) if dark else texture(2, 150, 220), 3 * number, 1)

    film(picture, 20)
    made = Footage(folder, tmp_path / "cache", CPU)
    assert [clip.stretches for clip in made.clips] == [((0, 9), (9, 11))]
    parts = made.batch(np.random.default_rng(0), 60, 64)[:3]
    bright = torch.stack([one.mean((1, 2, 3)) > 0.45 for one in parts])
    assert bool((bright == bright[0]).all())
    assert 10 < int(bright[0].sum()) < 50


def test_no_sample_spans_a_repeated_frame(folder: Path, tmp_path: Path, film: Callable[..., None]) -> None:
    film(lambda number: brightening(number - (number >= 6) - (number >= 8)), 14)
    (clip,) = index(folder, tmp_path / "cache")
    assert clip.stretches == ((0, 6), (8, 6)), "two frames between repeats are too few"
    assert (clip.frames, clip.usable) == (14, 12)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
def test_frames_are_those_that_are_coded(folder: Path, tmp_path: Path, pixel_format: str) -> None:
    path = folder / "more" / "variable rate.mkv"
    write_clip(
        path, 20, size=SIZE, sound=False, pixel_format=pixel_format, times=[*range(8), *range(12, 24)], matrix="bt601"
    )
    made = Footage(folder, tmp_path / "cache", CPU)
    assert [(clip.name, clip.frames) for clip in made.clips] == [("more/variable rate.mkv", 20)]
    with av.open(str(path)) as container:
        frames = [decoded(frame) for frame in container.decode(video=0)]
    scale = np.iinfo(frames[0].dtype).max / 255
    truth = torch.from_numpy(np.rint(np.stack(frames) / scale).astype(np.uint8))
    assert torch.equal(made.frames[0], truth)
    # a device gets the same, in parts
    (clip,) = made.clips
    greys = np.empty((20, *SIZE[::-1]), np.uint8)
    on_device, thumbnails = held(clip, folder, CPU, greys)
    assert torch.equal(on_device, truth)
    assert all(np.array_equal(greys[number], made.grey(0, number)) for number in range(20))
    assert np.array_equal(thumbnails, mapped(clip, folder, tmp_path / "cache")[1])
    assert thumbnails.shape == (20, 38, 40)
    assert abs(float(thumbnails[3].mean()) - float(cv2.cvtColor(truth[3].numpy(), cv2.COLOR_RGB2GRAY).mean())) < 1


def test_index_and_frames_are_made_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(folder / "a.mp4", 10, size=SIZE, sound=False)
    write_clip(folder / "more" / "b.mp4", 12, size=SIZE, sound=False)
    cache = tmp_path / "cache ü"
    made = Footage(folder, cache, CPU)
    assert sorted(path.name.split("-")[0] for path in cache.iterdir()) == [
        "frames", "frames", "index", "thumbnails", "thumbnails",
    ]  # fmt: skip

    def fail(*inputs: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(clips_in_memory, "look_at", fail)
    with monkeypatch.context() as patch:
        patch.setattr(clips_in_memory, "decoded", fail)
        again = Footage(folder, cache, CPU)
    assert again.clips == made.clips
    assert all(torch.equal(one, other) for one, other in zip(made.frames, again.frames, strict=True))
    # the index alone is taken to another machine, where the clips lie elsewhere
    shutil.copytree(folder, tmp_path / "other")
    (tmp_path / "new").mkdir()
    shutil.copy(next(cache.glob("index-*.json")), tmp_path / "new")
    there = Footage(tmp_path / "other", tmp_path / "new", CPU)
    dice, same = np.random.default_rng(3), np.random.default_rng(3)
    pairs = zip(made.batch(dice, 4, 64), there.batch(same, 4, 64), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_batch_is_a_function_of_the_dice(folder: Path, tmp_path: Path) -> None:
    write_clip(folder / "a.mp4", 24, size=SIZE, sound=False)
    made = Footage(folder, tmp_path / "cache", CPU)
    one, same, other = (made.batch(np.random.default_rng(seed), 8, 64) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[0], other[0])
    dice = np.random.default_rng(1)
    made.batch(dice, 8, 64)
    assert not torch.equal(made.batch(dice, 8, 64)[0], one[0])


def test_samples_bring_the_classical_motion(folder: Path, tmp_path: Path, film: Callable[..., None]) -> None:
    """However they are turned, at either size: along it each end is what the other one is."""
    wide = np.tile(texture(4, 20, 220), (1, 3, 1))
    film(lambda number: np.roll(wide, (2 * number, -5 * number), (0, 1))[:, : SIZE[0]], 12)
    recipe = Recipe(str(folder), str(tmp_path / "cache"), batch=48, size=96, drawn=0.25, classical=True)
    samples = Samples(recipe)
    batch = samples.batch(3)
    assert batch.found.shape == (48, 4, 24, 24)
    assert bool(batch.found[:12].isnan().all()), "of drawn samples it is not known"
    first, last, found = batch.first[12:], batch.last[12:], F.interpolate(batch.found[12:], scale_factor=4) * 4
    for one, other, motion in ((first, last, found[:, :2]), (last, first, found[:, 2:])):
        left = (change(one, warp(other, motion)) / change(one, other))[..., None]
        assert float(left.median()) < 0.3
        assert int((left < 0.7).sum()) > 30
    ways = {tuple(way) for way in found[:, :2].mean((2, 3)).sign().int().tolist()}
    assert ways == {(1, 1), (1, -1), (-1, 1), (-1, -1)}
    lengths = found[:, :2].mean((2, 3)).abs().sort(1).values
    assert float((lengths[:, 1] / lengths[:, 0] - 2.5).abs().median()) < 0.05
    samples.close()
    again = Samples(recipe)
    assert all(torch.equal(getattr(batch, part), getattr(again.batch(3), part)) for part in ("first", "last", "t"))
    assert torch.equal(batch.found[12:], again.batch(3).found[12:])
    again.close()


def test_pairs_are_of_their_step(folder: Path, tmp_path: Path) -> None:
    write_clip(folder / "a.mp4", 30, size=SIZE, sound=False)
    made = Footage(folder, tmp_path / "cache", CPU)
    pairs = [Pairs(made, seed=1, count=2, size=64) for _ in range(2)]
    begun, resumed = ([ends for ends, _ in one.at(step)] for one, step in zip(pairs, (0, classical.STEPS), strict=True))
    assert begun != resumed
    assert [ends for ends, _ in pairs[0].at(classical.STEPS - 1)] == begun
    assert [ends for ends, _ in pairs[0].at(classical.STEPS)] == resumed
    for one in pairs:
        one.close()


@pytest.mark.parametrize("side", [64, 400])
def test_surfaces_are_parts_of_frames(folder: Path, tmp_path: Path, side: int) -> None:
    write_clip(folder / "a.mp4", 8, size=SIZE, sound=False)
    made = Footage(folder, tmp_path / "cache", CPU)
    found = made.surfaces(np.random.default_rng(0), 5, side)
    assert found.shape == (5, 3, side, side)
    assert 0 <= float(found.min()) < 0.2 < 0.8 < float(found.max()) <= 1
    assert torch.equal(found, made.surfaces(np.random.default_rng(0), 5, side))
    assert not torch.equal(found[0], found[1])


def test_folder_without_clips(folder: Path, tmp_path: Path) -> None:
    (folder / "notes.md").write_text("no clip")
    (folder / "notes.txt").write_text("no clip\n" * 5000)
    (folder / "clip.mp4").write_bytes(b"no clip")
    write_clip(folder / "small.mp4", 8, size=(320, 180), sound=False)
    write_clip(folder / "short.mp4", 2, size=SIZE, sound=False)
    with pytest.raises(InputError, match="clips ü holds no clips to train with: name a folder of movies"):
        Footage(folder, tmp_path / "cache", CPU)
    assert not (tmp_path / "cache").exists()


def test_samples_larger_than_all_pictures(folder: Path, tmp_path: Path) -> None:
    write_clip(folder / "a.mp4", 8, size=SIZE, sound=False)
    made = Footage(folder, tmp_path / "cache", CPU)
    assert made.batch(np.random.default_rng(0), 1, 304)[0].shape == (1, 3, 304, 304)
    with pytest.raises(InputError, match="No clip has pictures of 312 pixels"):
        made.batch(np.random.default_rng(0), 1, 312)


@pytest.mark.parametrize(("part", "told"), [("frames", 9), ("frames", 7), ("width", 336)])
def test_index_of_another_clip(folder: Path, tmp_path: Path, part: str, told: int) -> None:
    write_clip(folder / "a.mp4", 8, size=SIZE, sound=False)
    cache = tmp_path / "cache"
    index(folder, cache)
    (path,) = cache.iterdir()
    path.write_text(json.dumps([{**json.loads(path.read_text())[0], part: told}]))
    with pytest.raises(InputError, match=r"a.mp4 does not have the \d frames of .* delete the index"):
        Footage(folder, cache, CPU)
    assert list(cache.iterdir()) == [path], "nothing half made is left"


def test_a_damaged_clip_ends_before_the_damage(folder: Path) -> None:
    path = write_clip(folder / "a.mkv", 24, size=SIZE, sound=False)
    whole = list(coded(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    rest = list(coded(path))
    assert 3 < len(rest) < 24
    assert all(np.array_equal(one, other) for one, other in zip(rest, whole, strict=False))
