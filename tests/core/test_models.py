# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints: imported, downloaded, removed; from a real server on loopback that fails as real ones do."""

from __future__ import annotations

import errno
import http.client
import itertools
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from core.messages import Cancelled, InputError, Progress, Record, Status
from core.models import catalogue, commands, download, store
from core.models.catalogue import Entry
from scripts.made_weights import checkpoint_of
from tests.failing import Server, served, small_disk

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RIFE 4.6's form, with made numbers."""
    path = tmp_path_factory.mktemp("weights") / "flownet v4.6.pkl"
    torch.save(checkpoint_of("4.6"), path)
    return path


@pytest.fixture
def server(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "flownet.pkl").write_bytes(weights.read_bytes())
    with served(folder) as told:
        yield told


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE", 0.01)
    monkeypatch.setattr(download, "SILENCE", 1.0)


def entry(server: Server, file: str = "flownet.pkl", sha256: str = "") -> Entry:
    return Entry("rife-4.6", "RIFE 4.6", "rife", "MIT", 1, f"{server.address}/{file}", "https://example.org", sha256)


def fetch(wanted: Entry, folder: Path) -> tuple[store.Model, list[Record]]:
    told: list[Record] = []
    return download.download(wanted, folder, told.append, threading.Event()), told


def test_made_weights_are_of_a_network_that_there_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'4.99' is no network: choose one of 3.6, 4.0, .*dain"):
        checkpoint_of("4.99")
    done = subprocess.run(
        [sys.executable, "-m", "scripts.made_weights", "rife", str(tmp_path / "o.pkl")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])


def test_downloaded_described_and_removed(server: Server, weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models with ümläut"
    model, told = fetch(entry(server), folder)
    assert model.path.read_bytes() == weights.read_bytes()
    assert (model.engine, model.licence, model.sha256) == ("rife", "MIT", store.sha256_of(weights))
    assert "4.6" in model.family
    progress = [record for record in told if isinstance(record, Progress)]
    assert progress[-1].done == progress[-1].total == weights.stat().st_size
    assert progress[-1].unit == "bytes"
    assert store.installed(folder) == [model]
    store.remove("rife-4.6", folder)
    assert [path.name for path in folder.iterdir()] == ["hashes.json"], "what the address gave stays known"
    with pytest.raises(InputError, match="There is no model 'rife-4.6' in"):
        store.remove("rife-4.6", folder)


def test_broken_off_and_resumed(server: Server, weights: Path, tmp_path: Path) -> None:
    server.broken_after["flownet.pkl"] = 1_000_000
    model, told = fetch(entry(server), tmp_path / "models")
    assert model.sha256 == store.sha256_of(weights)
    assert server.asked == ["/flownet.pkl", "/flownet.pkl bytes=1000000-"], "what was there is not fetched again"
    assert Status("RIFE 4.6: the connection broke, going on") in told


def test_cancelled_and_resumed(server: Server, weights: Path, tmp_path: Path) -> None:
    server.slow.add("flownet.pkl")
    cancel = threading.Event()

    def tell(record: Record) -> None:
        if isinstance(record, Progress) and record.done > 50_000:
            cancel.set()

    with pytest.raises(Cancelled):
        download.download(entry(server), tmp_path, tell, cancel)
    there = (tmp_path / "rife-4.6.pkl.part").stat().st_size
    assert there > 50_000
    assert store.installed(tmp_path) == []
    server.slow.clear()
    assert fetch(entry(server), tmp_path)[0].sha256 == store.sha256_of(weights)
    assert server.asked[-1] == f"/flownet.pkl bytes={there}-"
    assert not list(tmp_path.glob("*.part*"))


def test_file_that_changed_in_between_is_fetched_anew(server: Server, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "rife-4.6.pkl.part").write_bytes(b"another file's beginning")
    (tmp_path / "rife-4.6.pkl.part.tag").write_text('"old"')
    assert fetch(entry(server), tmp_path)[0].sha256 == store.sha256_of(weights)


def test_wrong_hash_is_refused_and_deleted(server: Server, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not RIFE 4.6 .its SHA-256 is .* it was deleted"):
        fetch(entry(server, sha256="0" * 64), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert fetch(entry(server, sha256=store.sha256_of(weights)), tmp_path)[0].path.is_file()


def test_second_download_has_to_be_the_same_file(server: Server, tmp_path: Path) -> None:
    fetch(entry(server), tmp_path)
    store.remove("rife-4.6", tmp_path)
    torch.save(checkpoint_of("4.0"), server.folder / "flownet.pkl")
    with pytest.raises(InputError, match="SHA-256"):
        fetch(entry(server), tmp_path)
    assert store.installed(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"<!DOCTYPE html><html>Sign in</html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (b"", "it is empty"),
    ],
)
def test_no_checkpoint_is_refused_and_deleted(server: Server, tmp_path: Path, content: bytes, sentence: str) -> None:
    (server.folder / "flownet.pkl").write_bytes(content)
    with pytest.raises(InputError, match=f"gave no RIFE 4.6, and the file was deleted: .*{sentence}"):
        fetch(entry(server), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_checkpoint_of_another_network_is_refused(server: Server, tmp_path: Path) -> None:
    torch.save(checkpoint_of("superslomo"), server.folder / "flownet.pkl")
    with pytest.raises(InputError, match="gave Super SloMo, not RIFE 4.6: the file was deleted"):
        fetch(entry(server), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_server_that_says_no(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="answers 404 .*get it from https://example.org and import it"):
        fetch(entry(server, "nothing.pkl"), tmp_path)
    assert len(server.asked) == 1, "asking again would not help"


def test_server_that_is_silent_or_gone(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TRIES", 2)
    server.silent.add("flownet.pkl")
    with pytest.raises(InputError, match="could not be downloaded .*try again to go on"):
        fetch(entry(server), tmp_path)
    gone = Entry("x", "X", "rife", "MIT", 1, "http://127.0.0.1:9/x.pkl", "")
    with pytest.raises(InputError, match="X could not be downloaded from http://127.0.0.1:9/x.pkl .*refused"):
        fetch(gone, tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EHOSTUNREACH, "No route to host"),
        OSError(errno.ENETUNREACH, "Network is unreachable"),
        ssl.SSLError(1, "[SSL] record layer failure"),
    ],
)
def test_network_that_goes_away(
    server: Server, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    reads = itertools.count()
    really = http.client.HTTPResponse.read1

    def read1(answer: http.client.HTTPResponse, size: int) -> bytes:
        if next(reads) == 1:
            raise error
        return really(answer, size)

    monkeypatch.setattr(http.client.HTTPResponse, "read1", read1)
    model, told = fetch(entry(server), tmp_path)
    assert model.sha256 == store.sha256_of(weights)
    assert Status("RIFE 4.6: the connection broke, going on") in told
    assert len(server.asked) == 2, "it went on"
    store.remove("rife-4.6", tmp_path)
    monkeypatch.setattr(download, "TRIES", 1)
    reads = itertools.count(1)
    said = re.escape(error.args[1])
    with pytest.raises(InputError, match=f"could not be downloaded .*{said}.*: check the connection"):
        fetch(entry(server), tmp_path)


def test_full_disk(server: Server, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small") as folder:
        with pytest.raises(InputError, match="cannot be written .No space left.*free some space"):
            fetch(entry(server), folder)
        assert store.installed(folder) == []


def add(file: Path, folder: Path, name: str = "") -> store.Model:
    return store.add(file, name, folder, str(file), lambda record: None, threading.Event())


def test_imported_under_its_own_or_another_name(weights: Path, tmp_path: Path) -> None:
    model = add(weights, tmp_path)
    assert model.name == "flownet-v4.6"
    assert model.path.read_bytes() == weights.read_bytes()
    assert add(weights, tmp_path) == model, "the same file again is no conflict"
    assert add(weights, tmp_path, "mine").path.name == "mine.pkl"
    with pytest.raises(InputError, match="'a/b' is no name for a model"):
        add(weights, tmp_path, "a/b")


def test_import_refuses_what_it_does_not_know_and_keeps_what_is_there(weights: Path, tmp_path: Path) -> None:
    add(weights, tmp_path, "mine")
    other = tmp_path / "other.pkl"
    torch.save(checkpoint_of("4.0"), other)
    with pytest.raises(InputError, match="There is another model 'mine'"):
        add(other, tmp_path, "mine")
    text = tmp_path / "text.pkl"
    text.write_text("no checkpoint")
    with pytest.raises(InputError, match="it is a text file"):
        add(text, tmp_path)
    assert [model.name for model in store.installed(tmp_path)] == ["mine"]
    assert (tmp_path / "mine.pkl").read_bytes() == weights.read_bytes()


def test_list_of_what_is_there_and_what_is_not(weights: Path, tmp_path: Path) -> None:
    add(weights, tmp_path, "rife-4.6")
    listed = {model["name"]: model for model in commands.listed(tmp_path)}
    assert listed["rife-4.6"]["state"] == "there"
    assert {name for name, model in listed.items() if model["state"] == "to download"} == {
        "rife-4.25", "rife-4.25-lite", "rife-4.26",
    }  # fmt: skip
    (tmp_path / "rife-4.6.pkl").unlink()
    assert commands.listed(tmp_path)[0]["state"] == "missing"


def test_catalogue_is_whole() -> None:
    for one in catalogue.entries():
        assert one.url.startswith("https://"), one
        assert one.licence == "MIT"
        assert one.bytes > 1_000_000
    with pytest.raises(InputError, match="choose one of rife-4.6, rife-4.25"):
        catalogue.named("rife-5")


def test_damaged_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text("[[model]]\nid = 3")
    monkeypatch.setenv("LENTO_CATALOGUE", str(tmp_path / "mine.toml"))
    with pytest.raises(InputError, match="The catalogue of models .*mine.toml cannot be read"):
        catalogue.entries()


def core(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "core", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_from_a_shell_downloaded_and_used_by_its_name(
    server: Server, weights: Path, clip: Path, tmp_path: Path
) -> None:
    listing = tmp_path / "catalogue.toml"
    listing.write_text(
        f'[[model]]\nid = "ours"\nlabel = "Ours"\nengine = "rife"\nlicence = "MIT"\nbytes = 1\n'
        f'url = "{server.address}/flownet.pkl"\nsource = "us"\nsha256 = "{store.sha256_of(weights)}"\n'
    )
    told: dict[str, Any] = {"LENTO_CATALOGUE": str(listing), "LENTO_MODELS": str(tmp_path / "models")}
    done = core("models", "download", "ours", **told)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(core("models", "list", "--json", **told).stdout)[0]["state"] == "there"
    out = tmp_path / "out"
    words = ["slow", str(clip), "--range", "3", "5", "--engine", "rife", "--weights", "ours", "--output", str(out)]
    made = core(*words, **told)
    assert made.returncode == 0, made.stdout + made.stderr
    assert json.loads((out / "result.json").read_text())["engine"] == "rife"
    recognised = core("engines", "--weights", "ours", **told)
    assert recognised.returncode == 0, recognised.stderr
    assert "RIFE 4.6" in recognised.stdout
    removed = core("models", "remove", "ours", **told)
    assert removed.stdout == f"Removed the model 'ours': {tmp_path / 'models' / 'ours.pkl'}\n"
    assert core("models", "remove", "ours", **told).returncode == 2


def describe(folder: Path, name: str, engine: str) -> None:
    told = {"name": name, "engine": engine, "family": "F", "licence": "MIT", "bytes": 1, "source": "", "sha256": ""}
    (folder / f"{name}.json").write_text(json.dumps({**told, "path": f"{name}.pkl"}))


def test_installed_models_are_named_where_an_engine_needs_one(clip: Path, tmp_path: Path) -> None:
    for name, engine in (("mine", "rife"), ("gone", "rife"), ("other", "dain")):
        describe(tmp_path, name, engine)
        (tmp_path / f"{name}.pkl").write_bytes(b"x" * (name != "gone"))
    (tmp_path / "gone.pkl").unlink()
    told = {"LENTO_MODELS": str(tmp_path)}
    listed = {line.split()[0]: line for line in core("engines", **told).stdout.splitlines()}
    assert listed["rife"].endswith("(ready: --weights mine)")
    assert listed["superslomo"].endswith("(missing: a checkpoint: --weights FILE)")
    slow = ("slow", str(clip), "--output", str(tmp_path / "o"), "--engine")
    made = core(*slow, "rife", **told)
    assert made.returncode == 2
    assert "name its file or an installed model (mine) with --weights, or choose the engine lento" in made.stdout
    assert "name its file with --weights" in core(*slow, "superslomo", **told).stdout


FOREIGN = {"config.json": '{"model_type": "x", "path": 3}', "list.json": "[1]", "bad.json": "{", "text.json": "\xff"}


def test_files_of_somebody_else_are_passed_over_and_kept(
    server: Server, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in FOREIGN.items():
        (tmp_path / name).write_text(text, encoding="latin-1")
    (tmp_path / "folder.json").mkdir()
    monkeypatch.setenv("LENTO_MODELS", str(tmp_path))
    model = add(weights, tmp_path, "mine")
    assert store.path_of("mine") == model.path
    assert commands.listed(tmp_path)[0]["name"] == "mine"
    for name in (*FOREIGN, "folder.json"):
        with pytest.raises(InputError, match=f"{name} is no description that Lento wrote: move it away, or choose"):
            add(weights, tmp_path, Path(name).stem)
    (tmp_path / "rife-4.6.json").write_text("{}")
    with pytest.raises(InputError, match=r"rife-4\.6\.json is no description that Lento wrote"):
        fetch(entry(server), tmp_path)
    assert server.asked == [], "nothing is fetched before that is known"
    assert {name: (tmp_path / name).read_text(encoding="latin-1") for name in FOREIGN} == FOREIGN
    assert list(tmp_path.glob("*.p*")) == [model.path]


def test_description_that_a_crash_left_empty_is_written_again(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LENTO_MODELS", str(tmp_path))
    model = add(weights, tmp_path, "mine")
    assert store.undescribed() == []
    (tmp_path / "mine.json").write_text("")
    assert (store.installed(), store.undescribed()) == ([], [model.path])
    assert add(weights, tmp_path, "mine") == model
    assert store.installed() == [model]


def test_through_a_proxy(server: Server, weights: Path, tmp_path: Path) -> None:
    listing = tmp_path / "catalogue.toml"
    listing.write_text(
        '[[model]]\nid = "ours"\nlabel = "Ours"\nengine = "rife"\nlicence = "MIT"\nbytes = 1\n'
        'url = "http://models.invalid/flownet.pkl"\nsource = "us"\n'
    )
    told = {"LENTO_CATALOGUE": str(listing), "LENTO_MODELS": str(tmp_path / "models")}
    done = core("models", "download", "ours", **told, http_proxy=server.address)
    assert done.returncode == 0, done.stdout + done.stderr
    assert server.asked == ["/flownet.pkl"]


def test_cancelled_while_a_server_is_silent(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listing = tmp_path / "catalogue.toml"
        listing.write_text(
            '[[model]]\nid = "ours"\nlabel = "Ours"\nengine = "rife"\nlicence = "MIT"\nbytes = 1\n'
            f'url = "http://127.0.0.1:{listening.getsockname()[1]}/o.pkl"\nsource = "us"\n'
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "core", "models", "download", "ours", "--folder", str(tmp_path / "models")],
            cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "LENTO_CATALOGUE": str(listing)},
        )  # fmt: skip
        with listening.accept()[0]:
            process.terminate()
            output, _ = process.communicate(timeout=15)
    assert (process.returncode, output) == (4, "Cancelled. What was fetched is kept: start again to go on after it.\n")


def test_without_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LENTO_MODELS", raising=False)
    done = core("models", "list")
    assert done.returncode == 2
    assert "No folder for models is named: give --folder DIR, or set LENTO_MODELS" in done.stderr
