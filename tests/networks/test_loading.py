# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints that are none, or others: a sentence each, and nothing in them is run."""

from __future__ import annotations

import datetime
import os
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from core.engines import Settings, create
from core.messages import InputError
from core.networks.checkpoints import open_checkpoint
from core.networks.rife import IFNet
from core.networks.rife_layout import Layout
from scripts.made_weights import checkpoint_of, parameters

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
        (b"\xef\xbb\xbf\n<!-- saved from --><html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "it is a Git LFS pointer"),
        (b"these are the weights you look for\n", "it is a text file"),
        (b"Please download this file.\n", "it is a text file"),
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
    text = refused(path, r"wants to run code when it is opened \(.+\), which is refused. Get the file that holds only")
    assert ("system" in text) == zipped
    assert not (tmp_path / "harmed").exists()


def test_archives_and_programs(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "RIFE.zip", "w") as archive:
        archive.writestr("train_log/IFNet_HDv3.py", "import torch")
        archive.writestr("train_log/flownet.pkl", b"\x80")
    refused(tmp_path / "RIFE.zip", "it is an archive. Unpack it and choose train_log/flownet.pkl in it")
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        for name in ("data.pkl", "code/__torch__.py", "constants.pkl", "version"):
            archive.writestr(f"script/{name}", b"")
    refused(tmp_path / "script.pt", "it is a program .TorchScript., which is not run")


def test_what_authors_save_beside_the_tensors_is_read(tmp_path: Path) -> None:
    """Super SloMo's training code saves the time of day."""
    made = checkpoint_of("superslomo_light")
    assert isinstance(made["timestamp"], datetime.datetime)
    torch.save(made, tmp_path / "SuperSloMo.ckpt", _use_new_zipfile_serialization=False)
    assert open_checkpoint(tmp_path / "SuperSloMo.ckpt").network == "superslomo_light"


def test_parts_in_wrappers_of_their_own(tmp_path: Path) -> None:
    made = checkpoint_of("superslomo_light")
    expected = open_checkpoint(saved(made, tmp_path / "plain.ckpt")).load().state_dict()
    flow, time = made["state_dictFC"], made["state_dictAT"]
    assert isinstance(flow, dict)
    assert isinstance(time, dict)
    parallel = {f"module.{name}": tensor for name, tensor in flow.items()}
    for parts in (
        {"state_dictFC": parallel, "state_dictAT": {"state_dict": time}},
        {"checkpoint": {"state_dictFC": flow, "state_dictAT": time}},
    ):
        found = open_checkpoint(saved(parts, tmp_path / "nested.ckpt")).load().state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    refused(saved({"state_dictFC": 3, "state_dictAT": time}, tmp_path / "half.ckpt"), "seems to be|another network")
    endless: dict[str, Any] = {"a": torch.zeros(1)}
    endless["model"] = endless
    refused(saved(endless, tmp_path / "endless.ckpt"), "another network")


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def test_numbers_that_are_none_and_other_forms(rife: Path, tmp_path: Path) -> None:
    state = torch.load(rife, weights_only=True)
    name = "module.block1.conv0.0.0.weight"
    broken = saved(state | {name: torch.full_like(state[name], torch.nan)}, tmp_path / "nan.pkl")
    refused(broken, "is damaged: block1.conv0.0.0.weight holds what is no number")
    sparse = saved(state | {name: state[name].to_sparse()}, tmp_path / "sparse.pkl")
    refused(sparse, "holds block1.conv0.0.0.weight sparse or quantised")


@pytest.mark.parametrize(("version", "last"), [("4.6", 3), ("4.12 lite", 3), ("4.14 lite", 3), ("4.25", 4)])
def test_last_block_that_is_missing_is_named(version: str, last: int, tmp_path: Path) -> None:
    state = {name: one for name, one in checkpoint_of(version).items() if f"block{last}." not in name}
    text = refused(saved(state, tmp_path / "cut.pkl"), f"seems to be RIFE {version}.*missing.*block{last}.conv0")
    assert "or another version: 3.6 to 3.8 and 4.0 to 4.26" in text


def test_unknown_version_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    state = parameters(IFNet(Layout("4.6", (40, 32, 24, 16))), 0.85)
    create("rife", Settings(str(saved(state, tmp_path / "new.pkl")), "cpu", tell=told.append))
    assert len(told) == 1
    assert "is RIFE of an unknown version 4.x: look at the frames" in told[0]


@pytest.mark.parametrize("channels", [(6, 17, 17), (7, 18, 18)])
def test_network_of_the_paper_is_refused_by_name(channels: tuple[int, ...], tmp_path: Path) -> None:
    state = parameters(IFNet(Layout("4.0", (240, 150, 90), prelu=True)), 0.85)
    for number, read in enumerate(channels):
        name = f"block{number}.conv0.0.0.weight"
        state[name] = torch.zeros(state[name].shape[0], read, 3, 3)
    text = refused(saved(state, tmp_path / "flownet.pkl"), "seems to be RIFE or RIFEm as the paper's code has it")
    assert "Use HDv3 3.6 to 3.8 and 4.0 to 4.26" in text


@pytest.mark.parametrize("name", ["4.6", "4.14 lite", "superslomo_light", "dain"])
def test_what_a_frame_costs_is_counted(name: str, tmp_path: Path) -> None:
    """By hand for DAIN, most of which is the rectification: 437 x 128 x 49 and six times 128 x 128 x 9 a pixel."""
    counted = open_checkpoint(saved(checkpoint_of(name), tmp_path / "made.pkl")).multiply_adds()[1]
    least = {
        "4.6": 80e9, "4.14 lite": 50e9, "superslomo_light": 70e9,
        "dain": 1920 * 1088 * (437 * 128 * 49 + 6 * 128 * 128 * 9),
    }  # fmt: skip
    assert least[name] < counted < 1.2 * least[name]


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


@pytest.mark.parametrize("shape", [(192, 0, 3, 3), (192, 1, 3, 3), (192, 5, 3, 3), (192,)])
def test_groups_that_no_network_has_are_a_wrong_shape(shape: tuple[int, ...], tmp_path: Path) -> None:
    state = checkpoint_of("4.14 lite") | {"module.block0.convblock.0.conv.weight": torch.zeros(shape)}
    refused(saved(state, tmp_path / "wrong.pkl"), "these tensors are .*block0.convblock.0.conv.weight")


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
