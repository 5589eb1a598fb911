# SPDX-License-Identifier: GPL-3.0-or-later
"""Training learns, stops and goes on; its data come from real clips, too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from core.engines import Frame, Settings, create
from core.messages import InputError
from core.networks.checkpoints import open_checkpoint
from core.train import losses
from core.train.data.footage import RUN, SIDE, runs_of
from core.train.data.samples import Recipe, Samples
from core.train.pictures import plot, preview
from core.train.run import LOG, STATE, WEIGHTS, Plan, Trainer, parts_of, run
from core.train.students import STUDENTS
from scripts.clips import write_clip


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    # on four samples again and again: what a minute teaches about other ones is too little to be told from chance
    torch.manual_seed(0)
    batch = Samples(Recipe(batch=4, size=64)).batch(0)
    trainer = Trainer(Plan(str(tmp_path), rate=2e-3, warmup=2))
    told = [trainer.learn(batch) for _ in range(40)]
    assert abs(told[0]["gain"]) < 1e-3, "an untrained network is the classical engine"
    assert told[-1]["loss"] < told[0]["loss"] - 0.05
    assert told[-1]["gain"] > 0.3


@pytest.mark.parametrize("network", [name for name in STUDENTS if name != "lento"])
def test_other_networks_learn(tmp_path: Path, network: str) -> None:
    torch.manual_seed(0)
    batch = Samples(Recipe(batch=2, size=64, classical=False)).batch(1)
    trainer = Trainer(Plan(str(tmp_path), network, rate=1e-3, warmup=2))
    told = [trainer.learn(batch) for _ in range(25)]
    assert told[-1]["loss"] < told[0]["loss"] - 0.1
    trainer.save(tmp_path, Recipe())
    recognised = open_checkpoint(tmp_path / WEIGHTS)
    recognised.load()
    assert recognised.network == network.removesuffix("_pure")
    engine = create(recognised.network, Settings(str(tmp_path / WEIGHTS), "cpu", "fp32"))
    random = np.random.default_rng(0)
    frames = [Frame(index, random.random((50, 70, 4), dtype=np.float32)) for index in (0, 1)]
    assert engine.synthesize(engine.prepare(*frames), 0.3).shape == (50, 70, 4)


def test_a_run_leaves_what_going_on_needs(tmp_path: Path) -> None:
    recipe = Recipe(batch=2, size=64)
    first = run(Plan(str(tmp_path), steps=8, workers=0, warmup=2), recipe, None)
    again = run(Plan(str(tmp_path), steps=12, workers=0, warmup=2), recipe, tmp_path / STATE)
    assert (first.step, again.step) == (8, 12)
    steps = [json.loads(line)["step"] for line in (tmp_path / LOG).read_text().splitlines()]
    assert steps == sorted(set(steps))
    assert {8, 12} <= set(steps), "a slow machine has lines between"
    assert (tmp_path / STATE).stat().st_size < 15 * 2**20
    assert (tmp_path / WEIGHTS).stat().st_size < 16 * 2**20
    assert open_checkpoint(tmp_path / WEIGHTS).network == "lento"


def test_training_goes_on_exactly(tmp_path: Path) -> None:
    recipe, plan = Recipe(batch=2, size=64), Plan(str(tmp_path), steps=40, warmup=2)
    samples = Samples(recipe)
    batches = [part for step in range(3) for part in parts_of(samples.batch(step))]
    torch.manual_seed(0)
    whole = Trainer(plan)
    for batch in batches:
        whole.learn(batch)
    torch.manual_seed(0)
    first = Trainer(plan)
    for batch in batches[:4]:
        first.learn(batch)
    first.save(tmp_path, recipe)
    rest = Trainer(plan)
    rest.load(tmp_path / STATE)
    for batch in batches[4:]:
        rest.learn(batch)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, rest.network.state_dict()[name]), name
        assert torch.equal(whole.mean[name], rest.mean[name]), name


def test_damaged_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"PK no")
    with pytest.raises(InputError, match=r"x.pt cannot be read, it is damaged"):
        run(Plan(str(tmp_path / "o")), Recipe(), tmp_path / "x.pt")


def test_runs_of_real_clips(tmp_path: Path) -> None:
    folder = tmp_path / "clips ü"
    folder.mkdir()
    write_clip(folder / "a.mp4", 24, size=(320, 304), sound=False)
    (folder / "notes.txt").write_text("no clip")
    runs = runs_of(folder, tmp_path / "cache")
    assert runs.shape[1:] == (RUN, SIDE, SIDE, 3)
    assert 4 < len(runs) <= 20
    assert all(np.abs(run[0].astype(int) - run[-1]).mean() > 0.4 for run in runs)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert np.array_equal(runs_of(folder, tmp_path / "cache"), runs)
    recipe = Recipe(footage=str(folder), cache=str(tmp_path / "cache"), batch=4, size=64, drawn=0.5)
    batch = Samples(recipe).batch(0)
    assert batch.first.shape == (4, 3, 64, 64)
    assert float(batch.seen[2:].max()) == 0, "nothing is known about the motion of real samples"
    preview(recipe, tmp_path / "sheet.png", 3)
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


def test_folder_without_clips(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no clips to train with"):
        runs_of(tmp_path, tmp_path / "cache")


def test_plot(tmp_path: Path) -> None:
    lines = [json.dumps({"step": step, "gain": step / 100}) for step in range(1, 30)]
    (tmp_path / LOG).write_text("\n".join(lines))
    plot(tmp_path / LOG, tmp_path / "gain.png")
    assert (tmp_path / "gain.png").read_bytes()[:4] == b"\x89PNG"


def test_losses_are_least_for_equal_pictures() -> None:
    truth = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    near, far = truth + 0.02 * torch.randn(2, 3, 32, 32), truth.roll(2, -1)
    for judge in (losses.charbonnier, losses.logarithmic, losses.census, losses.gradients):
        values = [judge(one, truth) for one in (truth, near, far)]
        assert values[0].shape == (2,)
        assert bool((values[0] < values[1]).all()), judge
        assert bool((values[1] < values[2]).all()), judge


def test_motion_is_judged_where_it_is_known() -> None:
    truth = torch.zeros(1, 4, 8, 8)
    truth[:, 0], truth[:, 2] = 3, -3
    weights = torch.full((1, 6, 8, 8), 1 / 6)
    right = truth.repeat(1, 2, 1, 1)
    seen = torch.ones(1, 2, 8, 8)
    assert float(losses.motion(right, weights, truth, seen)) < 0.01
    assert float(losses.motion(right + 1, weights, truth, seen)) > 0.4
    assert float(losses.motion(right + 1, weights, truth, 0 * seen)) == 0
