# SPDX-License-Identifier: GPL-3.0-or-later
"""Training learns, stops and goes on; its data come from real clips, too."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.engines import Frame, Settings, create
from core.messages import InputError
from core.networks.checkpoints import open_checkpoint
from core.networks.lento import read
from core.train import losses
from core.train.__main__ import main
from core.train.data.samples import Batch, Recipe, Samples, turned
from core.train.pictures import plot, preview
from core.train.run import LOG, STATE, TERMS, WEIGHTS, Plan, Trainer, run
from core.train.students import STUDENTS
from scripts.clips import write_clip


def train(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The status of `python -m core.train`."""
    monkeypatch.setattr(sys, "argv", ["core.train", *words])
    return main()


@pytest.mark.parametrize("network", list(STUDENTS))
def test_training_lowers_the_loss(tmp_path: Path, network: str) -> None:
    # on two samples again and again: what a minute teaches about other ones is too little to be told from chance
    torch.manual_seed(0)
    batch = Samples(Recipe(batch=2, size=64)).batch(1)
    trainer = Trainer(Plan(str(tmp_path), network, rate=1e-3, warmup=2))
    told = [trainer.told(trainer.learn(batch)) for _ in range(25)]
    assert told[-1]["loss"] < told[0]["loss"] - 0.1
    trainer.save(tmp_path, Recipe())
    recognised = open_checkpoint(tmp_path / WEIGHTS)
    recognised.load()
    assert recognised.network == network
    engine = create(recognised.network, Settings(str(tmp_path / WEIGHTS), "cpu", "fp32"))
    random = np.random.default_rng(0)
    frames = [Frame(index, random.random((50, 70, 4), dtype=np.float32)) for index in (0, 1)]
    assert engine.synthesize(engine.prepare(*frames), 0.3).shape == (50, 70, 4)


def test_a_run_leaves_what_going_on_needs(tmp_path: Path) -> None:
    recipe = Recipe(batch=2, size=64)
    first = run(Plan(str(tmp_path), steps=4, warmup=2), recipe, None)
    again = run(Plan(str(tmp_path), steps=6, warmup=2, beside=True), recipe, tmp_path / STATE)
    assert (first.step, again.step) == (4, 6)
    steps = [json.loads(line)["step"] for line in (tmp_path / LOG).read_text().splitlines()]
    assert steps == sorted(set(steps))
    assert {4, 6} <= set(steps), "a slow machine has lines between"
    assert (tmp_path / STATE).stat().st_size < 15 * 2**20
    assert (tmp_path / WEIGHTS).stat().st_size < 16 * 2**20
    assert open_checkpoint(tmp_path / WEIGHTS).network == "lento"


@pytest.mark.parametrize("name", [STATE, WEIGHTS, LOG])
def test_a_new_run_leaves_another_ones_files_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("of another run")
    with pytest.raises(InputError, match=f"has a run's {name}: go on with it by --resume, or name another folder"):
        run(Plan(str(tmp_path), steps=1), Recipe(batch=1, size=64), None)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(name, "of another run")]


def test_another_recipe_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = Recipe(batch=2, size=64)
    run(Plan(str(tmp_path), steps=1), recipe, None)
    run(Plan(str(tmp_path), steps=2), replace(recipe, cache="elsewhere"), tmp_path / STATE)
    assert capsys.readouterr().err == ""
    run(Plan(str(tmp_path), steps=3), replace(recipe, batch=1, seed=7), tmp_path / STATE)
    told = "This run goes on with other samples than before: batch 1 instead of 2, seed 7 instead of 0.\n"
    assert capsys.readouterr().err == told


def test_training_goes_on_exactly(tmp_path: Path) -> None:
    recipe, plan = Recipe(batch=2, size=64), Plan(str(tmp_path), steps=40, warmup=2)
    samples = Samples(recipe)
    batches = [samples.batch(step) for step in range(5)]
    torch.manual_seed(0)
    whole = Trainer(plan)
    for batch in batches:
        whole.learn(batch)
    torch.manual_seed(0)
    first = Trainer(plan)
    for batch in batches[:2]:
        first.learn(batch)
    first.save(tmp_path, recipe)
    rest = Trainer(plan)
    rest.load(tmp_path / STATE)
    for batch in batches[2:]:
        rest.learn(batch)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, rest.network.state_dict()[name]), name
        assert torch.equal(whole.mean[name], rest.mean[name]), name


@pytest.mark.parametrize("network", list(STUDENTS))
def test_training_begins_with_weights(tmp_path: Path, network: str) -> None:
    """A file of weights has its tensors in another order than the network."""
    batch = Samples(Recipe(batch=2, size=64)).batch(0)
    plan = Plan(str(tmp_path), network, warmup=2)
    first = Trainer(plan)
    first.save(tmp_path, Recipe())
    again = Trainer(plan)
    again.load(tmp_path / WEIGHTS)
    for trainer in (first, again):
        trainer.learn(batch)
    assert again.step == 1
    for name, value in first.mean.items():
        assert torch.equal(value, again.mean[name]), name


@pytest.mark.parametrize("steps", [4, 3])
def test_a_run_that_is_done_trains_no_further(tmp_path: Path, steps: int) -> None:
    trainer = Trainer(Plan(str(tmp_path)))
    trainer.step = 4
    trainer.save(tmp_path, Recipe())
    before = (tmp_path / STATE).read_bytes()
    with pytest.raises(InputError, match=f"has 4 steps already, and {steps} were asked for"):
        run(Plan(str(tmp_path), steps=steps, minutes=0.01), Recipe(batch=2, size=64), tmp_path / STATE)
    assert (tmp_path / STATE).read_bytes() == before


def test_the_rate_falls_with_the_steps_or_with_the_time(tmp_path: Path) -> None:
    by_steps, by_time = Trainer(Plan(str(tmp_path), steps=110, warmup=10)), Trainer(Plan(str(tmp_path), warmup=10))
    by_steps.step = by_time.step = 5
    assert by_steps.rate() == by_time.rate() == pytest.approx(6e-4)
    by_steps.step = by_time.step = 60
    by_time.over = 0.5
    assert by_steps.rate() == pytest.approx(by_time.rate()) == pytest.approx(5.05e-4)
    by_steps.step, by_time.over = 110, 1.0
    assert by_steps.rate() == pytest.approx(by_time.rate()) == pytest.approx(1e-5)


def test_the_rate_goes_on_where_the_minutes_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates, learn = [], Trainer.learn

    def noted(trainer: Trainer, batch: Batch) -> torch.Tensor:
        rates.append(trainer.rate())
        return learn(trainer, batch)

    monkeypatch.setattr(Trainer, "learn", noted)
    recipe, plan = Recipe(batch=2, size=64), Plan(str(tmp_path), minutes=0.5 / 60, warmup=1)
    stopped = Trainer(plan)
    stopped.step, stopped.seconds = 3, 0.5
    stopped.save(tmp_path, recipe)
    again = run(plan, recipe, tmp_path / STATE)
    assert rates[0] == pytest.approx(5.05e-4), "half of all minutes are over"
    assert rates == sorted(rates, reverse=True)
    assert again.over == 1.0
    assert again.seconds >= 1.0


def test_damaged_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"PK no")
    with pytest.raises(InputError, match=r"x.pt cannot be read, it is damaged"):
        run(Plan(str(tmp_path / "o")), Recipe(), tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--minutes 0", "minutes: 0.0 cannot be trained with: choose more than 0"),
        ("--minutes -1", "minutes: "),
        ("--minutes nan", "minutes: "),
        ("--steps -1", "steps: "),
        ("--rate -1", "rate: "),
        ("--batch 0", "batch: "),
        ("--size 0", "size: 0 cannot be trained with: choose a multiple of 8 from 32 on"),
        ("--classical", "classical: drawn scenes alone cannot be trained with: choose a folder of clips, too"),
        ("--size 12", "size: "),
        ("--size 100", "size: "),
        ("--size 40 --network superslomo_light", "size: 40 .* for superslomo_light a multiple of 32"),
        ("--drawn 1.5", "drawn: "),
        ("--seed -1", "seed: "),
        ("--threads 0", "threads: "),
        ("--device nonsense", "device: nonsense cannot be used"),
        (f"--without {' '.join(TERMS)}", "without: "),
        ("--footage nowhere", "Error: nowhere holds no clips to train with"),
        ("--footage nowhere --beside", "Error: nowhere holds no clips to train with"),
        ("--output file", "The folder file cannot be written"),
    ],
)
def test_what_cannot_be_trained_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("no folder")
    assert train("run", "--output", "run", *words.split(), monkeypatch=monkeypatch) == 2
    told = capsys.readouterr().err
    assert re.search(sentence, told)
    assert told.count("\n") == 1


def test_checkpoints_that_are_none(tmp_path: Path) -> None:
    Trainer(Plan(str(tmp_path), "superslomo_light")).save(tmp_path, Recipe())
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "text.pt").write_text("A text that somebody named so.")
    torch.save({"weight": torch.ones(3)}, tmp_path / "dict.pt")
    torch.save([1], tmp_path / "list.pt")
    torch.save({"network": 1, "mean": 1, "optimiser": 1, "step": 1}, tmp_path / "numbers.pt")
    for name, sentence in {
        STATE: "is of another network than lento",
        WEIGHTS: "is of another network than lento",
        "empty.pt": "cannot be read, it is damaged or none",
        "text.pt": "cannot be read, it is damaged or none",
        "dict.pt": "is no checkpoint of a run: choose a training.pt",
        "list.pt": "is no checkpoint of a run",
        "numbers.pt": "is of another network",
        "missing.pt": "cannot be read",
        "missing.safetensors": "cannot be read",
    }.items():
        with pytest.raises(InputError, match=f"{name} {sentence}"):
            Trainer(Plan(str(tmp_path))).load(tmp_path / name)


def test_samples_of_real_clips(tmp_path: Path) -> None:
    folder = tmp_path / "clips ü"
    folder.mkdir()
    write_clip(folder / "a.mp4", 24, size=(320, 304), sound=False)
    recipe = Recipe(footage=str(folder), cache=str(tmp_path / "cache"), batch=4, size=64, drawn=0.5)
    batch = Samples(recipe).batch(0)
    assert batch.first.shape == (4, 3, 64, 64)
    assert float(batch.seen[2:].max()) == 0, "nothing is known about the motion of real samples"
    preview(recipe, tmp_path / "sheet.png", 3)
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


@pytest.mark.parametrize("words", [[], ["--preview"], ["--preview", "new/sheet.png"]])
def test_a_preview_needs_neither_a_name_nor_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train("data", "--rows", "1", "--batch", "1", "--size", "64", *words, monkeypatch=monkeypatch) == 0
    assert (tmp_path / (words[1] if len(words) > 1 else "build/train/preview.png")).read_bytes()[:4] == b"\x89PNG"


def test_a_preview_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for path, rows, sentence in (
        (tmp_path / "x.png", 0, "rows: "),
        (tmp_path / "file" / "x.png", 1, "cannot be written"),
    ):
        with pytest.raises(InputError, match=sentence):
            preview(Recipe(batch=1, size=64), path, rows)


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
    truth = torch.tensor([3.0, 0.0, -3.0, 0.0]).view(1, 4, 1, 1).expand(1, 4, 8, 8)
    shares, seen = torch.full((1, 2, 8, 8), 0.5), torch.ones(1, 2, 8, 8)
    assert float(losses.motion(truth, shares, truth, seen)) < 0.01
    assert float(losses.motion(truth + 1, shares, truth, seen)) > 0.4
    assert float(losses.motion(truth + 1, shares, truth, 0 * seen)) == 0


@pytest.mark.parametrize("side", [0, 1])
def test_either_end_is_judged_as_much_as_it_counts(side: int) -> None:
    """What is wrong towards an end, or of its picture, costs its own share."""
    shares = torch.tensor([0.8, 0.2]).view(1, 2, 1, 1).expand(1, 2, 8, 8)
    share, seen = float(shares[0, side, 0, 0]), torch.ones(1, 2, 8, 8)
    truth, wrong = torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 8, 8)
    wrong[:, 2 * side] = 4
    right = float(losses.motion(truth, shares, truth, seen))
    assert float(losses.motion(wrong, shares, truth, seen)) - right == pytest.approx(share * np.log(5), abs=0.02)
    half = seen.clone()
    half[:, side, :4] = 0
    told = float(losses.motion(wrong, shares, truth, half) - losses.motion(truth, shares, truth, half))
    assert told == pytest.approx(share * np.log(5) / 2, abs=0.02)
    frame = torch.full((1, 3, 8, 8), 0.5)
    ends = [frame, frame]
    ends[side] = frame + 0.1
    assert float(losses.warping((ends[0], ends[1]), shares, frame)) == pytest.approx(0.1 * share, rel=1e-4)
    assert float(losses.warping((frame, frame), shares, frame)) == 0


def test_steps_between_neighbours_are_judged() -> None:
    even, ramp = torch.full((2, 4, 6, 6), 3.0), 0.5 * torch.arange(6.0).expand(2, 4, 6, 6)
    assert losses.smoothness(even).tolist() == [0, 0]
    for flows in (ramp, -ramp, ramp.transpose(-1, -2)):
        assert losses.smoothness(flows).tolist() == pytest.approx([0.5, 0.5])


def test_motion_from_end_to_end_is_judged_at_every_level() -> None:
    truth = torch.tensor([4.0, 0.0, -8.0, 0.0]).view(1, 4, 1, 1).expand(1, 4, 16, 16)
    both = torch.tensor([[4.0, 0.0], [-8.0, 0.0]]).view(2, 2, 1, 1)
    right = [both.expand(2, 2, side, side) * side / 16 for side in (2, 4)]
    known = torch.ones(1, 1, 1, 1)
    assert float(losses.across(right, truth, known)) < 0.04
    assert float(losses.across([right[0], right[1] + 1], truth, known)) > 0.6
    assert float(losses.across([right[0], right[1] + 1], truth, 0 * known)) == 0


def test_samples_turn_with_their_motion() -> None:
    """However a sample is turned, its motion still brings its ends to its middle, and to each other."""
    samples = Samples(Recipe(batch=4, size=64, seed=3))
    plain = samples.batch(0)
    for way in range(8):
        for backwards in (False, True):
            batch = turned(plain, way, backwards)
            for end, side in ((batch.first, 0), (batch.last, 1)):
                there = read(end, batch.flows[:, 2 * side : 2 * side + 2])
                seen = batch.seen[:, side : side + 1]
                gap = ((there - batch.middle).abs() * seen).mean()
                assert gap < 0.5 * ((end - batch.middle).abs() * seen).mean()
            across = read(batch.last, batch.across[:, :2])
            assert (across - batch.first).abs().median() < 0.7 * (batch.last - batch.first).abs().median()
