# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Python that this runs in can do for Lento, and one sentence for everything that is wrong with it."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import __version__
from ..job import ENGINES, NEED_WEIGHTS
from ..messages import Failure, InputError
from ..models import catalogue, store
from ..models.store import Model
from . import hardware, sets
from .installer import MARKER, digest
from .packages import BASE, BETTER, MODULES, is_there, lacking
from .pip import Requirement, requirements
from .sets import Set

Found = dict[str, Any]
LEAST_FREE = 2e9
"""Bytes on a disk under which slowed frames soon fill it."""
BENCHMARK_SECONDS = 1.0
BENCHMARK_SIZE = (64, 272, 480)
"""Channels, height and width of the convolution that devices are measured with: a network's, at a quarter of 1080p."""


def examine() -> Found:
    """Everything, as JSON has it; takes about a second for each device."""
    there = {name for name in MODULES if is_there(name)}
    devices, trouble = _devices() if "torch" in there else ([], [])
    models = store.installed()
    found: Found = {
        "lento": __version__,
        "python": {
            "path": sys.executable,
            "version": platform.python_version(),
            "system": platform.platform(),
            "environment": _environment(),
        },
        "packages": [_package(name) if name in there else {"name": name, "version": ""} for name in MODULES],
        "devices": devices,
        "engines": [_engine(choice.id, choice.label, models) for choice in ENGINES],
        "folders": [_folder("frames that are temporary", Path(tempfile.gettempdir()))],
    }
    folder = store.default_folder()
    if folder is not None:
        found["folders"].append(_folder("models", folder))
    found["problems"] = [*trouble, *_problems(found, there, models)]
    return found


def readable(found: Found) -> str:
    """For people."""
    python = found["python"]
    made = python["environment"]
    lines = [
        f"Lento {found['lento']}",
        f"Python {python['version']} at {python['path']}" + (f" ({made['label']})" if made else ""),
        "",
    ]
    lines += [f"{package['name']:24} {package['version'] or 'missing'}" for package in found["packages"]]
    lines += ["", "Devices:"]
    for device in found["devices"]:
        memory = f"{device['memory'] / 2**30:.1f} GB" if device["memory"] else "memory unknown"
        lines.append(f"  {device['id']:8} {device['name']}, {memory}, {device['precision']}, {device['gmacs']} GMAC/s")
    if not found["devices"]:
        lines.append("  the CPU, without PyTorch")
    lines += ["", "Engines:"]
    for engine in found["engines"]:
        weights = f" ({', '.join(engine['weights'])})" if engine["weights"] else ""
        lines.append(f"  {engine['id']:17} {'needs ' + engine['lacks'] if engine['lacks'] else 'ready'}{weights}")
    lines += ["", "Folders:"]
    lines += [f"  {one['path']}: {one['what']}, {one['free'] / 1e9:.1f} GB free" for one in found["folders"]]
    lines += ["", *(f"Problem: {text}" for text in found["problems"])]
    return "\n".join(lines if found["problems"] else [*lines, "No problems found."])


def wheels(chosen: Set, python: str) -> str:
    """The packages of a set for one Python, as a requirements file that says how to fetch them.

    Raises InputError for a version of Python that there are no packages for.
    """
    if not re.fullmatch(r"3\.\d+", python) or not sets.PYTHONS[0] <= (3, int(python[2:])) <= sets.PYTHONS[1]:
        oldest, newest = (".".join(map(str, version)) for version in sets.PYTHONS)
        raise InputError(f"There are no packages for Python {python}: choose {oldest} to {newest}.")
    wanted = [one for path in chosen.files for one in requirements(path) if _is_for(one, python)]
    index = [f"--extra-index-url {chosen.index}"] if chosen.index else []
    head = [
        f"# Lento {__version__}, {chosen.label}, Python {python}: about {chosen.download / 1e6:.0f} MB.",
        "# Save this as wheels.txt. On a machine with the internet, the same system and the same Python:",
        "#   python -m pip download --only-binary :all: --dest wheels -r wheels.txt",
        "# Then name the folder in Lento's preferences, or: python -m core environment create DIR --wheels wheels",
    ]
    return "\n".join([*head, *index, *(one.name for one in wanted)])


def _is_for(requirement: Requirement, python: str) -> bool:
    """Whether a requirement's marker admits a version of Python; of other markers there are none."""
    found = re.search(r"python_full_version\s*(<|>=)\s*'3\.(\d+)'", requirement.text)
    if not found:
        return True
    minor, limit = int(python[2:]), int(found[2])
    return minor < limit if found[1] == "<" else minor >= limit


def _package(name: str) -> dict[str, str]:
    """A package that is there, or the one that brought its module instead."""
    try:
        return {"name": name, "version": metadata.version(name)}
    except metadata.PackageNotFoundError:
        others = metadata.packages_distributions().get(MODULES[name])
        return {"name": others[0], "version": metadata.version(others[0])} if others else {"name": name, "version": "?"}


def _environment() -> dict[str, str] | None:
    """What lento.json says where this Python is in an environment that Lento made."""
    try:
        made: dict[str, str] = json.loads((Path(sys.prefix) / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return made


def _devices() -> tuple[list[Found], list[str]]:
    """Every device that PyTorch can use, measured; and sentences on those that it cannot."""
    try:
        import torch

        from ..engines.network import devices
    except Exception as error:  # a broken PyTorch fails in many ways, and this is where they are told
        return [], [f"PyTorch does not start ({type(error).__name__}: {error}): repair the environment."]
    found: list[Found] = []
    trouble: list[str] = []
    for device, precision, name, memory in devices():
        try:
            speed = round(_gmacs(torch, device, precision))
        except Exception as error:  # drivers fail in ways of their own
            trouble.append(
                f"{device} ({name}) cannot compute ({type(error).__name__}: {str(error).splitlines()[0]}): update its "
                "driver, or choose another device."
            )
            continue
        found.append({"id": device, "name": name, "memory": memory, "precision": precision, "gmacs": speed})
    return found, trouble


def _gmacs(torch: Any, device: str, precision: str) -> float:
    """Thousand million multiply-adds a second in a network's convolution."""
    from ..engines.network import DTYPES

    channels, height, width = BENCHMARK_SIZE
    convolution = torch.nn.Conv2d(channels, channels, 3, padding=1).to(device, DTYPES[precision])
    convolution = convolution.to(memory_format=torch.channels_last)
    image = torch.rand(1, channels, height, width).to(device, DTYPES[precision])
    image = image.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        for _ in range(3):
            convolution(image)[0, 0, 0, 0].item()
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < BENCHMARK_SECONDS:
            for _ in range(4):
                made = convolution(image)
            made[0, 0, 0, 0].item()  # waits for the device
            count += 4
    return float(count * channels * channels * 9 * height * width / (time.perf_counter() - began) / 1e9)


def _engine(engine_id: str, label: str, models: Sequence[Model]) -> Found:
    lacks = lacking(engine_id)
    weights = [model.name for model in models if model.engine == engine_id]
    if not lacks and engine_id in NEED_WEIGHTS and not weights:
        lacks = "a checkpoint"
    return {"id": engine_id, "label": label, "lacks": lacks, "weights": weights}


def _folder(what: str, path: Path) -> Found:
    above = path
    while not above.exists():
        above = above.parent
    return {
        "what": what,
        "path": str(path),
        "free": shutil.disk_usage(above).free,
        "writable": os.access(above, os.W_OK),
    }


def _problems(found: Found, there: set[str], models: Sequence[Model]) -> list[str]:
    told = []
    missing = [name for name in BASE if name not in there]
    if missing:
        told.append(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing in {sys.executable}: no job can "
            "run. Create the environment, or choose another Python."
        )
    elif "torch" not in there:
        told.append(
            "PyTorch is missing: only the engines Optical Flow, Blend and Nearest can run. Create an environment that "
            "has it."
        )
    for name, (_, loss) in BETTER.items():
        if name not in there and not missing:
            told.append(f"{name} is missing: {loss}. Repair the environment.")
    machine = hardware.find()
    fits, why = sets.fitting(machine)
    if "torch" in there and machine.nvidia and not any(one["id"].startswith("cuda") for one in found["devices"]):
        told.append(f"This PyTorch does not use the graphics card ({why}) Create the environment with {fits.label}.")
    made = found["python"]["environment"]
    if made and made["requirements"] != digest(sets.named(made["set"])):
        told.append("The environment was made for another Lento: repair it to get the packages of this one.")
    for folder in found["folders"]:
        if folder["free"] < LEAST_FREE:
            told.append(
                f"Only {folder['free'] / 1e9:.1f} GB are free in {folder['path']} ({folder['what']}): free some."
            )
        if not folder["writable"]:
            told.append(f"{folder['path']} ({folder['what']}) cannot be written: choose another folder.")
    try:
        catalogue.entries()
    except Failure as failure:
        told.append(str(failure))
    for model in models:
        if not model.path.is_file():
            told.append(f"The model {model.name} lacks its file {model.path}: remove it, or get it again.")
    for path in store.undescribed():
        told.append(f"{path} lies in the folder of models and is not known as one: import it.")
    return told
