# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints that are none, or others: a sentence each, and nothing in them is run."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from core.engines import Settings, create
from core.messages import InputError
from core.networks.checkpoints import open_checkpoint
from scripts.made_weights import checkpoint_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def rife(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "flownet.pkl"
    torch.save(checkpoint_of("4.25"), path)
    return path


def refused(path: Path, sentence: str) -> str:
    with pytest.raises(InputError, match=sentence) as caught:
        open_checkpoint(path).load()
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>Quota exceeded</html>", "it is a web page, as a failed download leaves one"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "it is a Git LFS pointer"),
        (b"these are the weights you look for\n", "it is a text file"),
        (b"\x00\x01\x02\x03" * 40, "its beginning is that of none"),
        (b"PK\x03\x04" + b"x" * 400, "is damaged or not complete"),
        (b"\x80\x02" + b"x" * 400, "is damaged or not complete|wants to run code"),
    ],
)
def test_what_is_no_checkpoint(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "flownet.pkl"
    path.write_bytes(content)
    refused(path, sentence)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    refused(tmp_path / "absent.pkl", "cannot be read")
    refused(tmp_path, "cannot be read")


def test_truncated_files(rife: Path, tmp_path: Path) -> None:
    data = rife.read_bytes()
    for share in (0.3, 0.9, 0.999):
        path = tmp_path / "cut.pkl"
        path.write_bytes(data[: int(len(data) * share)])
        refused(path, "is damaged or not complete")
    state = {name: tensor for name, tensor in torch.load(rife, weights_only=True).items()}
    save_file(state, tmp_path / "whole.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:5000])
    refused(tmp_path / "cut.safetensors", "is damaged or not complete")


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch harmed",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_wants_to_run_code_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pkl"
    if zipped:
        torch.save({"a": torch.zeros(1), "b": Evil()}, path)
    else:
        path.write_bytes(pickle.dumps({"b": Evil()}))
    refused(path, "wants to run code when it is opened, which is refused")
    assert not (tmp_path / "harmed").exists()


def test_checkpoint_of_something_else(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(3), "conv.bias": torch.zeros(3)}, tmp_path / "other.pth")
    refused(tmp_path / "other.pth", "another network: it has 2 tensors such as conv.bias, conv.weight")
    torch.save([1, 2, 3], tmp_path / "list.pth")
    refused(tmp_path / "list.pth", "holds no tensors by name, but a list")


def test_a_missing_an_unknown_and_a_wrong_tensor_are_named(rife: Path, tmp_path: Path) -> None:
    state = torch.load(rife, weights_only=True)
    del state["module.block2.conv0.0.0.bias"]
    state["module.block2.extra"] = torch.zeros(1)
    state["module.block3.convblock.1.beta"] = torch.zeros(1, 3, 1, 1)
    torch.save(state, tmp_path / "wrong.pkl")
    text = refused(
        tmp_path / "wrong.pkl", "seems to be RIFE 4.25, 4.26, but these tensors are missing, unknown or of another"
    )
    for name in ("block2.conv0.0.0.bias", "block2.extra", "block3.convblock.1.beta"):
        assert name in text
    empty = {name: torch.zeros(1) if "block1.convblock" in name else tensor for name, tensor in state.items()}
    torch.save(empty, tmp_path / "many.pkl")
    text = refused(tmp_path / "many.pkl", "and \\d+ more")
    assert len(re.findall(r"\bblock\d+\.", text)) == 5


def test_training_only_tensors_are_left_out(rife: Path, tmp_path: Path) -> None:
    state = torch.load(rife, weights_only=True)
    state |= {"module.teacher.conv.weight": torch.zeros(3), "module.caltime.0.bias": torch.zeros(2)}
    torch.save(state, tmp_path / "official.pkl")
    open_checkpoint(tmp_path / "official.pkl").load()


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "params"])
def test_wrapped_and_safetensors_are_the_same(rife: Path, tmp_path: Path, wrapper: str) -> None:
    state = torch.load(rife, weights_only=True)
    torch.save({"epoch": 4, wrapper: state}, tmp_path / "wrapped.ckpt")
    save_file(state, tmp_path / "same.safetensors")
    expected = open_checkpoint(rife).load().state_dict()
    for path in (tmp_path / "wrapped.ckpt", tmp_path / "same.safetensors"):
        found = open_checkpoint(path).load().state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_engine_for_another_network_and_without_weights(rife: Path) -> None:
    with pytest.raises(InputError, match="is RIFE 4.25, 4.26, not for the engine 'dain': choose the engine rife"):
        create("dain", Settings(str(rife), "cpu"))
    with pytest.raises(InputError, match="the engine 'rife' needs a checkpoint from its authors"):
        create("rife", Settings(device="cpu"))
    with pytest.raises(InputError, match="ensemble: RIFE 4.25, 4.26 has none"):
        create("rife", Settings(str(rife), "cpu", ensemble=True))
    with pytest.raises(InputError, match="precision: a CPU computes fp16 far slower"):
        create("rife", Settings(str(rife), "cpu", "fp16"))
    absent = next(
        name
        for name, there in (("cuda:3", torch.cuda.device_count() > 3), ("mps", torch.backends.mps.is_available()))
        if not there
    )
    with pytest.raises(InputError, match=f"device: {absent} cannot be used by PyTorch"):
        create("rife", Settings(str(rife), absent))


def test_command_line_tells_what_a_file_is(rife: Path, tmp_path: Path) -> None:
    def told(path: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "core", "engines", "--weights", str(path)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    ended = told(rife)
    assert ended.returncode == 0, ended.stderr
    lines = dict(line.split(maxsplit=1) for line in ended.stdout.splitlines())
    assert lines["network"] == "RIFE 4.25, 4.26"
    assert lines["timesteps"] == "any"
    # 40.1 per frame and 3.2 for each of a pair's frames, as others counted
    assert float(lines["gmac_per_frame_1080p"]) == pytest.approx(40.1, abs=0.5)
    (tmp_path / "page.pkl").write_text("<html>")
    ended = told(tmp_path / "page.pkl")
    assert (ended.returncode, "web page" in ended.stderr, "Traceback" in ended.stderr) == (2, True, False)
