# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run trained becomes what Lento brings, or nothing changes."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.engines import lento
from core.train import __main__ as commands
from core.train.data.samples import Recipe
from core.train.run import WEIGHTS as TRAINED
from core.train.run import Plan, Trainer


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder of weights, which `ship` takes for the real one."""
    folder = tmp_path / "weights"
    shutil.copytree(lento.WEIGHTS.parent, folder)
    for name in ("WEIGHTS", "SUMS"):
        monkeypatch.setattr(commands, name, folder / getattr(lento, name).name)
    return folder


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    (tmp_path / "run").mkdir()
    Trainer(Plan(str(tmp_path / "run"))).save(tmp_path / "run", Recipe())
    return tmp_path / "run" / TRAINED


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def ship(path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["core.train", "ship", str(path)])
    return commands.main()


def test_a_run_becomes_what_lento_brings(shipped: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ship(trained, monkeypatch) == 0
    made = content(shipped)
    assert set(made) == {lento.WEIGHTS.name, lento.SUMS.name}
    told = f"{hashlib.sha256(made[lento.WEIGHTS.name]).hexdigest()}  {lento.WEIGHTS.name}\n"
    assert made[lento.SUMS.name].decode() == told
    wanted, found = load_file(trained), load_file(shipped / lento.WEIGHTS.name)
    assert wanted.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in wanted.items())


def test_weights_that_are_not_finite_are_not_shipped(
    shipped: Path, trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before, tensors = content(shipped), load_file(trained)
    name = "synthesis.leave.weight"
    tensors[name].view(-1)[3] = float("nan")
    save_file(tensors, trained)
    assert ship(trained, monkeypatch) == 2
    assert f"is damaged: {name} holds what is no number" in capsys.readouterr().err
    assert content(shipped) == before


def test_another_network_is_not_shipped(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(shipped)
    Trainer(Plan(str(tmp_path), "superslomo_light")).save(tmp_path, Recipe())
    assert ship(tmp_path / TRAINED, monkeypatch) == 2
    assert "is Super SloMo light, and what Lento brings is its own network" in capsys.readouterr().err
    assert content(shipped) == before


def test_a_disk_that_is_full_changes_nothing(
    shipped: Path, trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(shipped)

    def full(path: Path, text: str, encoding: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert ship(trained, monkeypatch) == 2
    assert "cannot be written (No space left on device)" in capsys.readouterr().err
    assert content(shipped) == before
