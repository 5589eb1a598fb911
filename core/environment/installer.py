# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes, mends and removes an environment: venv, then package by package.

Every package that is installed stays, so an installation that was cancelled or broke off goes on after it. `lento.json`
is written last: an environment without it is not used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import locks
from ..disk import explained
from ..messages import InputError, Status
from ..process import Tell
from .children import NO_WINDOW, started
from .pip import Installation, Sources, check_sources, full, short
from .sets import PYTHONS, Set

MARKER, SET, LOCK = "lento.json", "lento.set", "lento.lock"
"""The lock's file is the first that is written, and the last that goes: what Lento has begun has one of them."""
ABOUT_PYTHON = (
    "import json, platform, struct, sys\n"
    "try:\n    import ensurepip, venv\n    lacks = ''\n"
    "except ImportError as error:\n    lacks = error.name\n"
    "print(json.dumps([sys.version_info[:2], struct.calcsize('P') * 8, platform.machine(), lacks,"
    " [sys.executable, sys._base_executable]]))"
)


def python_in(folder: Path) -> Path:
    """The interpreter of the environment in `folder`, there or not."""
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


def digest(chosen: Set) -> str:
    """Changes with every pinned version."""
    text = "".join(path.read_text(encoding="utf-8") for path in chosen.files)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_base(base: Path, folder: Path) -> tuple[Path, tuple[int, int]]:
    """The Python that the environment in `folder` can be made of, and its version.

    That is `base`, or, where `base` lies in the folder, which is emptied first, the one that it was itself made of.
    Raises InputError where it cannot be used, before anything is deleted or downloaded.
    """
    oldest, newest = (".".join(map(str, version)) for version in PYTHONS)
    advice = f"name a 64-bit Python {oldest} to {newest} as Base Python (python.org has installers)"
    try:
        told = subprocess.run(
            [str(base), "-I", "-c", ABOUT_PYTHON], stdin=subprocess.DEVNULL, capture_output=True, timeout=30,
            check=True, text=True, encoding="utf-8", creationflags=NO_WINDOW,
        ).stdout  # fmt: skip
        version, bits, machine, lacks, (found, behind) = json.loads(told)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise InputError(f"{base} does not start as a Python ({short(error)}): {advice}.") from error
    if not PYTHONS[0] <= tuple(version) <= PYTHONS[1]:
        raise InputError(
            f"{base} is Python {'.'.join(map(str, version))}, which PyTorch has no packages for: {advice}."
        )
    if bits != 64:
        raise InputError(f"{base} is a 32-bit Python, which PyTorch has no packages for: {advice}.")
    if lacks:
        raise InputError(
            f"{base} has no module {lacks!r} and cannot make environments: install it (python3-venv on Debian and "
            f"Ubuntu), or {advice}."
        )
    if _is_reached_through(Path(found), folder):
        others = (Path(behind), Path(found).resolve())
        outside = [other for other in others if other.exists() and not _is_reached_through(other, folder)]
        if not outside:
            raise InputError(f"{base} lies in {folder}, which is emptied to make the environment: {advice}.")
        return check_base(outside[0], folder)
    return base, tuple(version)


def _is_reached_through(path: Path, folder: Path) -> bool:
    """Whether a file, or a link on the way to it, lies in a folder."""
    while not path.parent.resolve().is_relative_to(folder.resolve()):
        if not path.is_symlink():
            return False
        path = path.parent / path.readlink()
    return True


def create(folder: Path, base: Path, chosen: Set, sources: Sources, tell: Tell, cancel: threading.Event) -> Path:
    """Make the environment in `folder`, or go on with it, or mend it; returns its interpreter.

    Raises InputError for what the user can mend, and Cancelled; what is installed by then stays for the next time.
    """
    base, version = check_base(base, folder)
    check_sources(sources)
    _refuse_foreign(folder)
    with _alone(folder):
        kept = _is_of(folder, version) and _set_of(folder) == chosen.id
        if not kept and sys.platform == "win32" and _is_reached_through(Path(sys.executable), folder):
            raise InputError(
                f"{folder} has to be made anew, and Windows deletes no program that runs: run this command with "
                f"{base}, not with {sys.executable}."
            )
        (folder / MARKER).unlink(missing_ok=True)
        installation = Installation(folder, python_in(folder), chosen, sources, tell, cancel)
        if not kept:
            _make(folder, base, tell, cancel)
            with explained(f"The environment {folder}"):
                (folder / SET).write_text(chosen.id, encoding="ascii")
        installation.check_space(kept)
        installation.install()
        made = {
            "set": chosen.id,
            "label": chosen.label,
            "base": str(base),
            "python": ".".join(map(str, version)),
            "requirements": digest(chosen),
        }
        with explained(f"The environment {folder}"):
            (folder / f"{MARKER}.part").write_text(json.dumps(made, indent=1), encoding="utf-8")
            os.replace(folder / f"{MARKER}.part", folder / MARKER)
    return python_in(folder)


def remove(folder: Path) -> None:
    """Delete the environment.

    Raises InputError where there is none, a job runs in it, or files cannot be deleted.
    """
    if not folder.exists():
        raise InputError(f"There is no folder {folder}, so nothing was removed: check its name.")
    _refuse_foreign(folder)
    with _alone(folder), explained(f"The environment {folder}"):
        (folder / MARKER).unlink(missing_ok=True)
        _clear(folder)
    shutil.rmtree(folder, ignore_errors=True)  # the lock is let go of: only its file is left


@contextmanager
def in_use(python: Path) -> Iterator[None]:
    """Keep the environment that an interpreter belongs to from being changed, if it is one of ours.

    Raises InputError where it is being changed now.
    """
    folder = python.parent.parent
    if not (folder / LOCK).exists():
        yield
        return
    with open(folder / LOCK, "rb") as file:  # a farm may have it read-only
        if not locks.take(file, shared=True):
            raise InputError(
                f"The environment {folder} is being installed: wait until that is done, and start the job again."
            )
        yield


def _refuse_foreign(folder: Path) -> None:
    """Raise InputError for a folder of somebody else, even of another virtual environment: it would be emptied."""
    with explained(f"The environment {folder}"):
        is_foreign = folder.exists() and any(folder.iterdir())
    if is_foreign and not any((folder / mark).is_file() for mark in (MARKER, SET, LOCK)):
        raise InputError(
            f"{folder} holds files and is no environment of Lento's, so nothing in it was changed: name a folder that "
            "is new, empty, or made by `environment create`."
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with explained(f"The environment {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK, "a+b")  # noqa: SIM115  (closed below; closing it lets the lock go)
    with file:
        if not locks.take(file):
            raise InputError(
                f"The environment {folder} is in use by a running job or another installation: wait for it, or cancel "
                "it, and start again."
            )
        yield


def _is_of(folder: Path, version: tuple[int, int]) -> bool:
    """Whether there is an environment that works and is of that version of Python."""
    try:
        told = subprocess.run(
            [str(python_in(folder)), "-I", "-c", "import sys, pip; print(sys.version_info[:2])"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=True, text=True,
            creationflags=NO_WINDOW,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return False
    return told.strip() == str(version)


def _set_of(folder: Path) -> str:
    """The set that an environment was begun with: of another nothing is kept, for what it brought would stay."""
    try:
        return (folder / SET).read_text(encoding="ascii")
    except OSError:
        return ""


def _clear(folder: Path) -> None:
    """Delete everything but the lock, which is held."""
    for entry in folder.iterdir():
        if entry.name != LOCK:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def _make(folder: Path, base: Path, tell: Tell, cancel: threading.Event) -> None:
    """A new, empty environment; what was in the folder is deleted, but for the lock that is held."""
    tell(Status(f"Making an environment with {base}"))
    with explained(f"The environment {folder}"):
        _clear(folder)
    with started([str(base), "-I", "-m", "venv", str(folder)], cancel) as process:
        told = process.communicate()[0]
    if process.returncode:
        if "No space left" in told:
            raise InputError(full(folder))
        raise InputError(
            f"{base} cannot make an environment in {folder} ({short(told)}): name another Base Python, or another "
            "folder."
        )
