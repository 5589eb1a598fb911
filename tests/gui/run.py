# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the tests in windowed Blenders, one for each module, and prints a line for every test.

    python3 tests/gui/run.py EXTENSION.zip CLIP PICTURES [TEST...]

Standard library only; runs where `blender` and a screen are (scripts/blender-gui). Exit status 1: a test failed.
"""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODULES = ("running", "setting_up")
LIMIT = 150
"""Seconds in which a Blender must begin or end a test: only what hangs takes longer, since waits have their limits."""


@dataclass
class Outcome:
    """What the tests said so far."""

    passed: int = 0
    failed: int = 0
    longest: dict[str, float] = field(default_factory=dict)

    def tell(self, test: str, why: str = "", seconds: float = 0.0) -> None:
        """One test's line."""
        self.passed, self.failed = self.passed + (not why), self.failed + bool(why)
        print(f"{'FAILED' if why else 'passed'}  {test}  ({seconds:.1f} s){f': {why}' if why else ''}", flush=True)


def tests_of(module: str) -> list[str]:
    """The tests' names in their order, read without bpy."""
    tree = ast.parse((HERE / f"{module}.py").read_text(encoding="utf-8"))
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


def run_module(module: str, names: list[str], pictures: Path, folder: Path, outcome: Outcome) -> None:
    """Run tests of a module; after a crash, the rest of them in another Blender."""
    while names:
        verdicts = folder / f"{module}.jsonl"
        verdicts.unlink(missing_ok=True)
        code, output = blender(module, verdicts, pictures, folder, names)
        records = [json.loads(line) for line in verdicts.read_text("utf-8").splitlines()] if verdicts.exists() else []
        started = [record["test"] for record in records if record.get("verdict") == "started"]
        told = {record["test"]: record for record in records if record.get("verdict") in ("passed", "failed")}
        for name in started:
            record = told.get(name, {"why": f"Blender ended ({code}) in the middle of it", "seconds": 0.0})
            outcome.tell(name, record["why"], record["seconds"])
        for record in records:
            for label, seconds in record.get("longest", {}).items():
                outcome.longest[label] = max(outcome.longest.get(label, 0.0), seconds)
        problem = trouble(code, output, ended=any("end" in record for record in records))
        if problem:
            outcome.tell(f"{module}: Blender's console and end", problem)
            print(output[-6000:])
        if not started:
            return
        names = [name for name in names if name not in started]


def blender(module: str, verdicts: Path, pictures: Path, folder: Path, names: list[str]) -> tuple[int, str]:
    """Run the tests in a Blender; its exit status and what it printed."""
    command = [
        "blender",
        "-noaudio",
        "-p",
        "0",
        "0",
        "1600",
        "900",
        "--enable-event-simulate",
        "--python-exit-code",
        "1",
        "--python",
        str(HERE / "session.py"),
        "--",
        module,
        str(verdicts),
        str(pictures),
        str(folder),
        *names,
    ]
    console = folder / f"{module}.log"
    with open(console, "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        hung = hangs(process, verdicts)
    output = console.read_text("utf-8", errors="replace")
    if hung:
        return 124, f"{output}\nstopped after {LIMIT} s in which no test began or ended"
    return process.returncode, output


def hangs(process: subprocess.Popen[bytes], verdicts: Path) -> bool:
    """Wait for a Blender's end; True: it said nothing about its tests for LIMIT and was stopped."""
    told, since = 0, time.monotonic()
    while process.poll() is None:
        time.sleep(0.1)
        size = verdicts.stat().st_size if verdicts.exists() else 0
        if size != told:
            told, since = size, time.monotonic()
        elif time.monotonic() - since > LIMIT:
            process.kill()
            process.wait()
            return True
    return False


def trouble(code: int, output: str, ended: bool) -> str:
    """What is wrong with how Blender ended; empty for nothing."""
    if "Traceback" in output:
        return "a traceback on the console"
    if not ended or code != 0:
        return f"it ended with exit status {code}" + ("" if ended else " before its tests did")
    deadline = time.monotonic() + 5
    while workers() and time.monotonic() < deadline:
        time.sleep(0.05)
    if workers():
        return f"workers are left: {workers()}"
    return ""


def workers() -> dict[int, str]:
    """The worker processes that run, by their id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if "-m core run" in command:
                found[int(entry.name)] = command
    return found


def main() -> int:
    """See the module's text."""
    archive, clip, pictures, *names = sys.argv[1:]
    outcome = Outcome()
    subprocess.run(
        ["blender", "--command", "extension", "install-file", "-r", "user_default", "-e", archive],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with tempfile.TemporaryDirectory(prefix="lento-gui-") as folder:
        shutil.copy(clip, Path(folder) / "clip.mp4")
        for module in MODULES:
            chosen = [name for name in tests_of(module) if not names or any(part in name for part in names)]
            run_module(module, chosen, Path(pictures), Path(folder), outcome)
    for label, seconds in sorted(outcome.longest.items()):
        print(f"longest call of {label}: {1000 * seconds:.1f} ms")
    print(f"{outcome.passed} passed, {outcome.failed} failed")
    return 1 if outcome.failed or not outcome.passed else 0


if __name__ == "__main__":
    sys.exit(main())
