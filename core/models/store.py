# SPDX-License-Identifier: GPL-3.0-or-later
"""The user's checkpoints: a folder of files, each with what is known of it beside it.

rife-4.25.pkl    the checkpoint, as its authors made it
rife-4.25.json   network, licence, size, source, SHA-256
hashes.json      SHA-256 of everything that was ever downloaded: a second download has to be the same file
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from ..disk import explained
from ..messages import Cancelled, Failure, InputError, Progress, Record

VARIABLE = "LENTO_MODELS"
HASHES = "hashes.json"
SUFFIXES = (".pkl", ".pth", ".pt", ".ckpt", ".safetensors")
CHUNK = 1 << 20

Tell = Callable[[Record], None]


@dataclass(frozen=True)
class Model:
    """A checkpoint that is there."""

    name: str
    engine: str
    family: str
    """The network and its versions, for people."""
    licence: str
    bytes: int
    source: str
    """The address, or the file, that it came from."""
    sha256: str
    path: Path


def default_folder() -> Path | None:
    """The folder that LENTO_MODELS names; Blender names its own there for the worker. None where there is no such."""
    text = os.environ.get(VARIABLE)
    return Path(text).expanduser() if text else None


def folder_of(given: str | Path | None) -> Path:
    """The folder given, else the default one. Raises InputError where there is none."""
    folder = Path(given) if given else default_folder()
    if folder is None:
        raise InputError(f"No folder for models is named: give --folder DIR, or set {VARIABLE}.")
    return folder.absolute()


def installed(folder: Path | None = None) -> list[Model]:
    """The checkpoints of a folder, else of the default one, by name; also those whose file is missing.

    A file that describes none is somebody else's, and passed over.
    """
    folder = folder or default_folder()
    if folder is None or not folder.is_dir():
        return []
    described = (_described(path) for path in sorted(folder.glob("*.json")))
    return [model for model in described if model is not None]


def _described(path: Path) -> Model | None:
    """The model that a file describes; None where it describes none."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return Model(**{**told, "path": path.parent / told["path"]})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def undescribed() -> list[Path]:
    """Checkpoints of the default folder that no description names: copied there, or their description is damaged."""
    folder = default_folder()
    if folder is None or not folder.is_dir():
        return []
    known = {model.path for model in installed()}
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path not in known)


def path_of(name: str) -> Path | None:
    """The file of an installed model; None where there is no such model."""
    return next((model.path for model in installed() if model.name == name), None)


def add(file: Path, name: str, folder: Path, source: str, tell: Tell, cancel: threading.Event) -> Model:
    """Copy a checkpoint into the folder, once it is recognised.

    Raises InputError where the file is none of a known network, or the name is taken by another file.
    """
    name = name or slug(file.stem)
    checked(name)
    keep_theirs(name, folder)
    recognised = recognise(file)
    with explained(f"The folder of models {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / f"{name}{file.suffix.lower()}"
        part = kept.with_name(f"{kept.name}.part")
        try:
            digest = _copied(file, part, tell, cancel)
            _refuse_other(name, digest, folder)
            os.replace(part, kept)
        finally:
            part.unlink(missing_ok=True)
    return describe(name, kept, recognised, source, digest)


def describe(name: str, path: Path, recognised: tuple[str, str, str], source: str, digest: str) -> Model:
    """Write down what is known of a file of the folder."""
    engine, family, licence = recognised
    model = Model(name, engine, family, licence, path.stat().st_size, source, digest, path)
    text = json.dumps({**asdict(model), "path": path.name}, indent=1)
    part = path.with_name(f"{name}.json.part")
    with explained(f"The folder of models {path.parent}"):
        part.write_text(text, encoding="utf-8")
        os.replace(part, path.with_name(f"{name}.json"))
    return model


def names_for(engine: str) -> list[str]:
    """Names of the installed models that an engine can run, whose files are there."""
    return [model.name for model in installed() if model.engine == engine and model.path.is_file()]


def remove(name: str, folder: Path) -> Path:
    """Delete a checkpoint and what is known of it; returns its path.

    Raises InputError where there is none of that name.
    """
    models = installed(folder)
    for model in models:
        if model.name == name:
            with explained(f"The folder of models {folder}"):
                model.path.unlink(missing_ok=True)
                (folder / f"{name}.json").unlink()
            return model.path
    there = ", ".join(model.name for model in models) or "none"
    raise InputError(f"There is no model {name!r} in {folder}: choose one of those that are there ({there}).")


def recognise(file: Path) -> tuple[str, str, str]:
    """Engine, network and licence of a checkpoint, loaded once to be sure.

    Raises InputError with the loader's sentence where it is none, and Failure where PyTorch is missing.
    """
    try:
        from ..networks.checkpoints import open_checkpoint
    except ModuleNotFoundError as error:
        raise Failure(
            f"Checkpoints are recognised by PyTorch, and this Python has no module {error.name!r}: create the "
            "environment first."
        ) from error
    checkpoint = open_checkpoint(file)
    checkpoint.load()
    return checkpoint.network, checkpoint.family, checkpoint.licence


def known_hash(url: str, folder: Path) -> str:
    """SHA-256 of what an address gave at the first download; empty before it."""
    return _hashes(folder).get(url, "")


def remember_hash(url: str, digest: str, folder: Path) -> None:
    """Note what an address gave; from now on it has to be the same."""
    hashes = {url: digest, **_hashes(folder)}
    part = folder / f"{HASHES}.part"
    with explained(f"The folder of models {folder}"):
        part.write_text(json.dumps(hashes, indent=1), encoding="utf-8")
        os.replace(part, folder / HASHES)


def _hashes(folder: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads((folder / HASHES).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / HASHES} cannot be read ({error}): delete it.") from error
    return found


def sha256_of(path: Path) -> str:
    """Of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def slug(text: str) -> str:
    """A name for a model from a file's name."""
    return re.sub(r"[^\w.+-]+", "-", text).strip("-.") or "model"


def checked(name: str) -> None:
    """Raise InputError for a name that is no file's name."""
    if slug(name) != name or f"{name}.json" == HASHES:
        raise InputError(f"{name!r} is no name for a model: use letters, digits, '-', '_', '+' and '.'.")


def keep_theirs(name: str, folder: Path) -> None:
    """Raise InputError where a model's description would replace somebody else's file."""
    there = folder / f"{name}.json"
    if (
        there.exists() and _described(there) is None and there.stat().st_size
    ):  # an empty one is what a crash left of ours
        raise InputError(f"{there} is no description that Lento wrote: move it away, or choose another name.")


def _copied(file: Path, target: Path, tell: Tell, cancel: threading.Event) -> str:
    """Copy a file; its SHA-256."""
    digest, total, done = hashlib.sha256(), file.stat().st_size, 0
    with open(file, "rb") as source, open(target, "wb") as sink:
        while chunk := source.read(CHUNK):
            if cancel.is_set():
                raise Cancelled("Cancelled.")
            sink.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            tell(Progress(done, total, 0.0, None, file.name, "bytes"))
    shutil.copymode(file, target)
    return digest.hexdigest()


def _refuse_other(name: str, digest: str, folder: Path) -> None:
    for model in installed(folder):
        if model.name == name and model.sha256 != digest:
            raise InputError(
                f"There is another model {name!r} in {folder}: remove it first, or import this one under another name."
            )
