# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages into an environment, by its own pip: one after the other, told as bytes, and explained where it fails."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..disk import explained
from ..messages import Failure, InputError, Progress, Status
from ..process import Tell
from .children import NO_WINDOW, started
from .sets import Set

LOG, REQUIREMENT = "pip.log", "requirement.txt"
"""In the environment: what pip wrote, and the package that it installs now."""
INSPECT = Path(__file__).with_name("inspect_packages.py")
PATIENCE = 30
"""Seconds that an index may be silent, and times that pip goes on after a break: what pip's documentation advises."""
RETRIES = 3


@dataclass(frozen=True)
class Sources:
    """Where packages come from, where that is not the index that pip or the set names."""

    wheels: str = ""
    """A folder of wheels; nothing else is asked then."""
    index: str = ""
    """The address of an index that has everything."""


@dataclass(frozen=True)
class Requirement:
    """A pinned package, as it stands in a file."""

    text: str
    """With its marker, without hashes."""
    lines: str
    """As pip reads it."""

    @property
    def name(self) -> str:
        """The package and its version."""
        return self.text.partition(";")[0].strip()

    @property
    def is_hashed(self) -> bool:
        """Whether the index's file has to be the one that was pinned, to the byte."""
        return "--hash" in self.lines


def requirements(path: Path) -> list[Requirement]:
    """The pinned packages of a file."""
    found = []
    for block in re.findall(r"^[a-zA-Z0-9].*?(?=^\S|\Z)", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        text = block.splitlines()[0].rstrip("\\ ")
        found.append(Requirement(text, block))
    return found


def check_sources(sources: Sources) -> None:
    """Raise InputError where packages cannot come from there, before anything is done."""
    if sources.wheels and not any(Path(sources.wheels).glob("*.whl")):
        raise InputError(
            f"There are no wheels (.whl) in the folder {sources.wheels}: fetch those that `python -m core doctor "
            "--wheels` lists into it, or choose another."
        )
    if sources.index and not re.match(r"(https?|file)://", sources.index):
        raise InputError(
            f"{sources.index} is no address of a package index: it begins with https://, http:// or file://."
        )


class Installation:
    """Installs what is missing of a set."""

    def __init__(
        self, folder: Path, python: Path, chosen: Set, sources: Sources, tell: Tell, cancel: threading.Event
    ) -> None:
        self.folder, self.python, self.chosen, self.sources = folder, str(python), chosen, sources
        self.tell, self.cancel = tell, cancel
        self._finished = self._total = 0  # bytes downloaded now, and to download, about
        self._began = time.monotonic()

    def check_space(self, kept: bool) -> None:
        """Before anything is downloaded. Raises InputError where the disk is too small."""
        needed = self.chosen.installed
        if kept:  # what is there need not be there twice
            there = sum(path.lstat().st_size for path in self.folder.rglob("*") if not path.is_symlink())
            needed = max(needed - there, self.chosen.download // 4)
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise InputError(
                f"The environment takes about {needed / 1e9:.1f} GB, and the disk of {self.folder} has "
                f"{free / 1e9:.1f} GB left: free some space, and start again."
            )

    def install(self) -> None:
        """One package after the other; pip first, which installs the rest."""
        wanted = [requirement for path in self.chosen.files for requirement in requirements(path)]
        lacking = self._lacking(wanted)
        if len(lacking) < len(wanted):
            self.tell(Status(f"{len(wanted) - len(lacking)} of {len(wanted)} packages are there or not needed here"))
        log = self.folder / LOG
        with explained(f"The environment {self.folder}"):
            log.write_text("", encoding="utf-8")
        self._total = self.chosen.download_of([wanted[number].text for number in lacking])
        for number in lacking:
            self._pip_install(wanted[number], log)
        if broken := self._lacking(wanted):
            raise Failure(
                f"{wanted[broken[0]].name} is not whole after its installation. What pip wrote is in {log}; repair the "
                "environment, and please report this with the log if it happens again."
            )

    def _lacking(self, wanted: Sequence[Requirement]) -> list[int]:
        try:
            told = subprocess.run(
                [self.python, "-I", str(INSPECT)], input=json.dumps([one.text for one in wanted]), check=True,
                stdout=subprocess.PIPE, text=True, creationflags=NO_WINDOW,
            ).stdout  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            raise Failure(
                f"The environment {self.folder} cannot say which packages it has ({short(error)}): remove it, and "
                "create it anew."
            ) from error
        found: list[int] = json.loads(told)
        return found

    def _pip_install(self, requirement: Requirement, log: Path) -> None:
        name = requirement.name.partition("==")[0]
        self.tell(Status(f"Installing {requirement.name}"))
        file = self.folder / REQUIREMENT
        with explained(f"The environment {self.folder}"):
            file.write_text(requirement.lines, encoding="utf-8")
        arguments = ["install", "--no-input", "--no-warn-script-location", "-r", str(file)]
        arguments += ["--timeout", str(PATIENCE), "--retries", str(RETRIES), *self._from(name)]
        alone = ["--force-reinstall", "--no-deps", *(["--require-hashes"] if requirement.is_hashed else [])]
        code, output = self._run_pip([*arguments, *alone], name, log)
        if code == 0 and not requirement.is_hashed:  # what it depends on is pinned nowhere
            code, output = self._run_pip(arguments, name, log)
        if code:
            raise InputError(self._explain(requirement, output, log))

    def _from(self, name: str) -> list[str]:
        """Where pip shall look."""
        if self.sources.wheels:
            return ["--no-index", "--find-links", self.sources.wheels]
        if self.sources.index:
            return ["--index-url", self.sources.index]
        own_index = self.chosen.index and name == "torch" and not _pip_has_an_index(self.python)
        return ["--extra-index-url", self.chosen.index] if own_index else []

    def _run_pip(self, arguments: Sequence[str], name: str, log: Path) -> tuple[int, str]:
        """Run pip, pass its progress on, and end it when the user cancels; its exit status and what it said."""
        raw = (
            ["--progress-bar", "raw"]
            if _pip_version(self.python, self.folder) >= (24, 1)
            else ["--progress-bar", "off"]
        )
        command = [self.python, "-I", "-u", "-m", "pip", *arguments, *raw]
        said, size = [], 0
        with started(command, self.cancel, {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}) as process:
            assert process.stdout
            for line in process.stdout:
                if found := re.match(r"Progress (\d+) of (\d+)", line):
                    size = int(found[2])
                    self._progress(int(found[1]), name)
                    continue
                said.append(line)
                if "Retrying" in line or "resum" in line.lower():
                    self.tell(Status(f"{name}: the connection broke, going on"))
                if line.startswith("Downloading "):
                    self._finished, size = self._finished + size, 0
            text = "".join(said)
            with explained(f"The environment {self.folder}"), open(log, "a", encoding="utf-8") as file:
                file.write(f"$ {' '.join(command)}\n{text}\n")
        self._finished += size
        return process.returncode, text

    def _progress(self, done: int, name: str) -> None:
        there = self._finished + done
        total = max(self._total, there)
        seconds = time.monotonic() - self._began
        speed = there / seconds if seconds > 1 else 0.0
        self.tell(Progress(there, total, speed, round((total - there) / speed, 1) if speed else None, name, "bytes"))

    def _explain(self, requirement: Requirement, output: str, log: Path) -> str:
        """A sentence for what pip said."""
        where = self.sources.wheels or self.sources.index or "the package index"
        name = requirement.name
        go_on = "start again to go on after what is there"
        if "DO NOT MATCH THE HASHES" in output:
            return (
                f"{name} from {where} is not the file that Lento was tested with (its SHA-256 differs), and was not "
                "installed: the download may be damaged or the index changed. Start again; if it happens again, ask "
                "whoever keeps the index."
            )
        if "No space left on device" in output:
            return full(self.folder)
        if found := re.search(r"(\d{3}) (?:Client|Server) Error: (.*?) for url: (\S+)", output):
            return f"{name}: {found[3]} answers {found[1]} ({found[2]}). Check the index's address, and {go_on}."
        broken = r"Read timed out|Connection broken|ConnectionError|NewConnectionError|Connection refused|"
        broken += (
            r"IncompleteRead|incomplete-download|ProxyError|SSLError|name resolution|connection failed|ReadTimeout"
        )
        if re.search(broken, output, re.IGNORECASE):
            return (
                f"{name} could not be downloaded from {where}: the connection fails or stalls. Check it, and {go_on}."
            )
        if "not a trusted or secure host" in output:
            return (
                f"{where} has no https address, so pip does not trust it: use one that has, or name it as trusted-host "
                "in pip's configuration (or in PIP_TRUSTED_HOST)."
            )
        if "No matching distribution" in output or "from versions:" in output:
            version = f"Python {_python_version(self.python)}"
            return (
                f"{where} has no {name} for {version} on this system. Get the files that `python -m core doctor "
                "--wheels` lists, or name another index or Base Python."
            )
        last = [line for line in output.splitlines() if line.startswith("ERROR")] or output.splitlines() or ["no word"]
        return f"{name} could not be installed ({short(last[-1])}). What pip wrote is in {log}; {go_on}."


def full(folder: Path) -> str:
    """The sentence for a full disk."""
    return f"The disk of {folder} is full: free some space, and start again to go on after what is there."


def _pip_version(python: str, folder: Path) -> tuple[int, ...]:
    """Of the pip in an environment, without starting it."""
    for found in folder.glob("[Ll]ib*/**/site-packages/pip-*.dist-info"):
        return tuple(int(part) for part in found.name[4:-10].split(".")[:2])
    return (0,)


def _pip_has_an_index(python: str) -> bool:
    """Whether the machine's pip is told which index to take packages from: then that is meant for us, too.

    An extra index on the net, such as Raspberry Pi's, and folders of wheels only add to where packages come from. An
    extra index that is a folder is the mirror of a machine without the internet.
    """
    told = subprocess.run(
        [python, "-I", "-m", "pip", "config", "list"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, creationflags=NO_WINDOW,
    ).stdout  # fmt: skip
    pattern = r"^(global|install|:env:)\.(index-url=|extra-index-url='file:)"
    return re.search(pattern, told, re.MULTILINE) is not None


def _python_version(python: str) -> str:
    told: Any = subprocess.run([python, "-V"], stdout=subprocess.PIPE, text=True, check=False)
    return told.stdout.strip().removeprefix("Python ")


def short(error: object) -> str:
    """The last line of an error, where programs say what it is."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].removeprefix("ERROR: ")[:200]
