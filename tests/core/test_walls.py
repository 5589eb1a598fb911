# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may import what."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import core

ROOT = Path(__file__).resolve().parents[2]
WORKER_PACKAGES = {"torch", "numpy", "cv2", "av", "isal", "safetensors"}
SHARED = {"job", "messages", "timing"}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(level, module) of every import in a file, also inside of functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from ((node.level, f"{module}.{alias.name}".strip(".")) for alias in node.names)


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", python_files("addon"), ids=lambda path: path.name)
def test_blender_side_imports_no_worker_packages(path: Path) -> None:
    for level, name in imports(path):
        if level == 0:
            assert name.split(".")[0] not in WORKER_PACKAGES | {"core", "addon"}, name
        if level == 2:
            package, module = name.split(".")[:2]
            assert package == "core", name
            assert module in SHARED, name


@pytest.mark.parametrize("path", python_files("core"), ids=lambda path: str(path.relative_to(ROOT)))
def test_worker_imports_nothing_of_blender(path: Path) -> None:
    for level, name in imports(path):
        assert level > 0 or name.split(".")[0] not in {"bpy", "core", "addon", "mathutils"}, name


@pytest.mark.parametrize("name", sorted(SHARED))
def test_what_both_share_needs_the_standard_library_alone(name: str) -> None:
    for level, module in imports(ROOT / "core" / f"{name}.py"):
        if level == 0:
            assert module.split(".")[0] in sys.stdlib_module_names, module
        else:
            assert module.split(".")[0] in SHARED | {"__version__"}, module


@pytest.mark.parametrize(
    "name", ["job_runner", "environment", "jobs", "availability", "answers", "conversation", "tasks", "worker"]
)
def test_modules_that_know_nothing_of_blender(name: str) -> None:
    assert "bpy" not in {module.split(".")[0] for level, module in imports(ROOT / "addon" / f"{name}.py") if level == 0}


def test_what_makes_the_environment_needs_the_standard_library_alone() -> None:
    for words in (["doctor", "--json"], ["doctor", "--wheels"], ["models", "list", "--folder", "."], ["engines"]):
        command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
                   f"from core.cli import main; sys.exit(main({words!r}))"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_blender_versions_are_known_in_one_place() -> None:
    for path in python_files("addon"):
        text = path.read_text(encoding="utf-8")
        if path.name != "compat.py":
            assert "app.version" not in text, path
            times = r"(?<!compat)\.(frame_final_\w+|left_handle|right_handle|content_start|frame_offset_\w+)\b"
            assert not re.search(times, text), path


def test_flow_starts_without_torch() -> None:
    program = "import sys, core.pipeline; core.pipeline.create('flow'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True).stdout == "False\n"


def test_one_version_everywhere() -> None:
    manifest = (ROOT / "blender_manifest.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{core.__version__}"\n' in manifest
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## {core.__version__}" in changes


def test_every_file_names_its_licence() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    for name in listed:
        path = ROOT / name
        if (
            name
            and path.suffix in {".py", ".toml", ".txt", ".md", ".yaml", ".js", ""}
            and path.name not in {"LICENSE", ".gitignore", "SHA256SUMS"}
        ):
            assert "SPDX-License-Identifier: GPL-3.0-or-later" in path.read_text(encoding="utf-8")[:200], name
