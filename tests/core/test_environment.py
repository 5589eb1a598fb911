# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's environment: made by the real venv and pip, from an index on loopback that fails as real ones do."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.environment import doctor, hardware, installer, pip, sets
from core.environment.hardware import Hardware, Nvidia
from core.environment.pip import Sources
from core.environment.sets import Set
from core.messages import Cancelled, InputError, Progress, Record
from tests.failing import Server, served, small_disk, wheel

ROOT = Path(__file__).resolve().parents[2]
BASE = Path(sys.executable)
SMALL = Set("no-torch", "Two small packages")


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An index with two wheels, which are what the worker needs here."""
    folder = tmp_path_factory.mktemp("index")
    first, second = wheel(folder, "lento_first", size=20_000), wheel(folder, "lento_second", size=400_000)
    files = tmp_path_factory.mktemp("requirements")
    (files / "pip.txt").write_text("# nothing\n")
    (files / "worker.txt").write_text(
        f"# Download: 420000 bytes\nlento-first==1.0 \\\n    --hash=sha256:{digest(first)}\n"
        f"lento-second==1.0 ; python_full_version >= '3.8' \\\n    --hash=sha256:{digest(second)}\n"
    )
    monkeypatch.setattr(sets, "REQUIREMENTS", files)
    monkeypatch.setattr(pip, "PATIENCE", 1)
    monkeypatch.setattr(pip, "RETRIES", 1)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with served(folder) as told:
        yield told


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment without packages but pip, to copy: making one takes seconds."""
    folder = tmp_path_factory.mktemp("empty") / "lento-env"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    (folder / "lento.set").write_text(SMALL.id)
    return folder


@pytest.fixture
def folder(empty: Path, tmp_path: Path) -> Path:
    made = tmp_path / "umgebung ü" / "lento-env"
    shutil.copytree(empty, made, symlinks=True)
    return made


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def create(folder: Path, server: Server, cancel: threading.Event | None = None, base: Path = BASE) -> list[Record]:
    told: list[Record] = []
    sources = Sources(index=f"{server.address}/simple/")
    installer.create(folder, base, SMALL, sources, told.append, cancel or threading.Event())
    return told


def values(folder: Path) -> str:
    program = "import lento_first, lento_second; print(lento_first.VALUE + lento_second.VALUE)"
    return subprocess.run([installer.python_in(folder), "-c", program], capture_output=True, text=True).stdout.strip()


def is_complete(folder: Path) -> bool:
    return (folder / installer.MARKER).exists()


def test_made_from_nothing(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "lento-env"
    create(folder, server)
    assert values(folder) == "2"
    made = json.loads((folder / "lento.json").read_text())
    assert made["set"] == "no-torch"
    assert made["python"] == ".".join(map(str, sys.version_info[:2]))
    installer.remove(folder)
    assert not folder.exists()


@pytest.mark.parametrize("content", ["holiday.txt", "pyvenv.cfg"])
def test_folder_of_somebody_else_is_neither_made_over_nor_removed(server: Server, tmp_path: Path, content: str) -> None:
    (tmp_path / content).write_text("mine")
    with pytest.raises(InputError, match="holds files and is no environment of Lento's.*name a folder that is new"):
        create(tmp_path, server)
    with pytest.raises(InputError, match="holds files and is no environment of Lento's"):
        installer.remove(tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(content, "mine")]


def test_folder_that_is_not_there_is_not_removed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no folder .*so nothing was removed: check its name"):
        installer.remove(tmp_path / "lento-env")
    assert not (tmp_path / "lento-env").exists()


def test_creation_that_was_killed_early_leaves_a_mark(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands in the folder: it may be removed, and made again."""

    class Killed(BaseException):
        pass

    def killed(folder: Path, *words: object) -> None:
        (folder / "pyvenv.cfg").write_text("home = /usr/bin")
        raise Killed

    folder = tmp_path / "lento-env"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(installer, "_make", killed)
        create(folder, server)
    installer.remove(folder)
    assert not folder.exists()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(installer, "_make", killed)
        create(folder, server)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(installer, "_clear", killed)
        installer.remove(folder)
    create(folder, server)
    assert values(folder) == "2"


def test_download_that_stalls_and_then_goes_on(server: Server, folder: Path) -> None:
    server.silent.add("lento_second-1.0-py3-none-any.whl")
    with pytest.raises(InputError, match="lento-second==1.0 could not be downloaded .*stalls.*start again to go on"):
        create(folder, server)
    assert not is_complete(folder)
    server.silent.clear()
    server.asked.clear()
    create(folder, server)
    assert values(folder) == "2"
    assert not [path for path in server.asked if "first" in path], "what is there is not fetched again"


def test_download_that_breaks_off(server: Server, folder: Path) -> None:
    server.broken_after["lento_second-1.0-py3-none-any.whl"] = 100_000
    with pytest.raises(
        InputError, match="lento-second==1.0 could not be downloaded|not the file that Lento was tested"
    ):
        create(folder, server)
    assert not is_complete(folder)
    create(folder, server)
    assert values(folder) == "2"


def test_wrong_hash(server: Server, folder: Path) -> None:
    wheel(server.folder, "lento_second", size=400_001)
    with pytest.raises(InputError, match="lento-second==1.0 from .* is not the file that Lento was tested with"):
        create(folder, server)
    assert not is_complete(folder)
    assert values(folder) == ""
    wheel(server.folder, "lento_second", size=400_000)
    create(folder, server)
    assert values(folder) == "2"


def test_index_without_the_file(server: Server, folder: Path) -> None:
    server.missing.add("lento_second-1.0-py3-none-any.whl")
    with pytest.raises(InputError, match="lento-second==1.0: .*answers 404 .*Check the index's address"):
        create(folder, server)
    (server.folder / "lento_second-1.0-py3-none-any.whl").unlink()
    with pytest.raises(InputError, match="has no lento-second==1.0 for Python .*doctor --wheels"):
        create(folder, server)
    wheel(server.folder, "lento_second", size=400_000)
    server.missing.clear()
    create(folder, server)
    assert values(folder) == "2"


def test_index_that_is_not_there(folder: Path, server: Server) -> None:
    with pytest.raises(InputError, match="could not be downloaded from http://127.0.0.1:9/simple/"):
        sources = Sources(index="http://127.0.0.1:9/simple/")
        installer.create(folder, BASE, SMALL, sources, lambda record: None, threading.Event())
    with pytest.raises(InputError, match="example.org is no address of a package index"):
        installer.create(folder, BASE, SMALL, Sources(index="example.org"), lambda record: None, threading.Event())


def test_index_through_a_proxy(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.address)
    monkeypatch.setattr(server, "address", "http://index.invalid")
    with pytest.raises(InputError, match="has no https address, so pip does not trust it"):
        create(folder, server)
    monkeypatch.setenv("PIP_TRUSTED_HOST", "index.invalid")
    create(folder, server)
    assert values(folder) == "2"


@pytest.mark.parametrize(
    ("told", "is_asked"),
    [
        ("", True),
        ("global.extra-index-url='https://extra.example.org'\nglobal.find-links='/wheels'", True),
        ("download.index-url='https://mirror.example.org'", True),
        ("global.timeout='60'\nglobal.index-url='https://mirror.example.org'", False),
        ("install.index-url='https://mirror.example.org'", False),
        ("global.extra-index-url='file:///mirror/simple file:///mirror/more'", False),
    ],
)
def test_pytorch_has_its_own_index_unless_pip_is_given_one(tmp_path: Path, told: str, is_asked: bool) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ncat <<'END'\n{told}\nEND\n")
    python.chmod(0o755)
    assert asked_index(python) == ("https://torch.example.org/cpu" if is_asked else "")


@pytest.mark.parametrize(("variable", "is_asked"), [("PIP_EXTRA_INDEX_URL", True), ("PIP_INDEX_URL", False)])
def test_pip_says_what_the_environment_gives_it(
    server: Server, monkeypatch: pytest.MonkeyPatch, variable: str, is_asked: bool
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv(variable, "https://mirror.example.org")
    assert bool(asked_index(BASE)) == is_asked


def asked_index(python: Path) -> str:
    """The index that PyTorch is looked for in, beside pip's own."""
    chosen = Set("linux-cpu", "Linux, CPU", "https://torch.example.org/cpu")
    made = pip.Installation(python.parent, python, chosen, Sources(), lambda record: None, threading.Event())
    assert made._from("numpy") == []
    return "".join(made._from("torch")).removeprefix("--extra-index-url")


def test_folder_of_wheels_needs_no_index(server: Server, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There are no wheels .*doctor --wheels"):
        installer.create(folder, BASE, SMALL, Sources(str(tmp_path)), lambda record: None, threading.Event())
    installer.create(folder, BASE, SMALL, Sources(str(server.folder)), lambda record: None, threading.Event())
    assert values(folder) == "2"
    assert server.asked == []


def test_cancelled_and_continued(server: Server, folder: Path) -> None:
    server.slow.add("lento_second-1.0-py3-none-any.whl")
    cancel = threading.Event()
    threading.Thread(target=lambda: (wait_for(server, "/lento_second"), cancel.set())).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        create(folder, server, cancel)
    assert time.monotonic() - began < 15
    assert not is_complete(folder)
    server.slow.clear()
    create(folder, server)
    assert values(folder) == "2"


def test_cancelled_while_the_environment_is_made(tmp_path: Path) -> None:
    """What venv starts is ended, too: it would go on writing into a folder that nobody holds."""
    base, sign = tmp_path / "python", tmp_path / "sign"
    answer = json.dumps([[3, 13], 64, "x86_64", "", [str(base), str(base)]])
    base.write_text(
        f"#!/bin/sh\ntrap '' TERM\n[ \"$2\" = -c ] && echo '{answer}' && exit\n"
        f"(for i in $(seq 500); do echo >> '{sign}'; sleep 0.02; done) & wait\n"
    )
    base.chmod(0o755)
    words = ["environment", "create", str(tmp_path / "env"), "--base", str(base), "--set", "no-torch"]
    process = subprocess.Popen([sys.executable, "-m", "core", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 20
    while not sign.exists() and time.monotonic() < until:
        time.sleep(0.01)
    process.terminate()
    output, _ = process.communicate(timeout=15)
    assert process.returncode == 4
    assert "Cancelled. What is installed is kept: create the environment again" in output
    there = sign.stat().st_size
    time.sleep(0.2)
    assert sign.stat().st_size == there


def wait_for(server: Server, path: str) -> None:
    until = time.monotonic() + 20
    while not any(asked.startswith(path) for asked in server.asked) and time.monotonic() < until:
        time.sleep(0.01)


def test_full_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "small", 4) as place:
        with pytest.raises(InputError, match="is full: free some space|cannot make an environment"):
            create(place / "lento-env", server)
        monkeypatch.setattr(sets, "UNPACKED", 1e9)
        with pytest.raises(InputError, match=r"takes about 420000.0 GB, and the disk of .* has .* GB left"):
            create(tmp_path / "lento-env", server)


def test_damage_is_repaired(server: Server, folder: Path) -> None:
    create(folder, server)
    module = next(folder.rglob("lento_second.py"))
    module.write_text("VALUE = ")
    server.asked.clear()
    create(folder, server)
    assert values(folder) == "2"
    assert not [path for path in server.asked if "first" in path]
    module.unlink()
    create(folder, server)
    assert values(folder) == "2"


@pytest.mark.parametrize("damage", ["deleted Python", "another Python", "no pip"])
def test_environment_of_another_python_is_made_anew(server: Server, folder: Path, damage: str) -> None:
    create(folder, server)
    python = installer.python_in(folder)
    if damage == "deleted Python":
        for link in python.parent.glob("python*"):
            link.unlink()
            link.symlink_to("/gone/with/blender/python")
    elif damage == "another Python":
        python.unlink()
        python.write_text("#!/bin/sh\necho '(3, 9)'\n")
        python.chmod(0o755)
    else:
        shutil.rmtree(next(folder.rglob("site-packages/pip")))
    create(folder, server)
    assert values(folder) == "2"


def test_another_set_leaves_nothing_of_the_first(server: Server, folder: Path) -> None:
    create(folder, server)
    (folder / "lento.set").write_text("linux-cu130")
    stray = next(folder.rglob("site-packages")) / "left_over.py"
    stray.write_text("")
    create(folder, server)
    assert values(folder) == "2"
    assert not stray.exists()


def test_build_for_another_accelerator_is_replaced(server: Server, folder: Path) -> None:
    """2.13.0+cpu is no 2.13.0: a requirement that an index's hash does not tell, as PyTorch's own have it."""
    create(folder, server)
    requirements = sets.REQUIREMENTS / "worker.txt"
    wheel(server.folder, "lento_second", "1.0+cpu", 500)
    requirements.write_text(requirements.read_text().partition("lento-second")[0] + "lento-second==1.0+cpu\n")
    create(folder, server)
    assert list(folder.rglob("lento_second-1.0+cpu.dist-info"))
    damaged = next(folder.rglob("lento_second.py"))
    damaged.write_text("VALUE = ")
    create(folder, server)
    assert values(folder) == "2", "and mended, too"


def python_that_says(path: Path, *words: object) -> Path:
    """What answers as `path` would, were it a Python."""
    path.write_text(f"#!/bin/sh\necho '{json.dumps([*words, [str(path), str(path)]])}'\n")
    path.chmod(0o755)
    return path


def test_python_that_cannot_be_the_base(tmp_path: Path, server: Server) -> None:
    for answer, sentence in (
        (([3, 9], 64, "x86_64", ""), "is Python 3.9, which PyTorch has no packages for"),
        (([3, 13], 32, "x86", ""), "is a 32-bit Python"),
        (([3, 13], 64, "x86_64", "ensurepip"), "has no module 'ensurepip' and cannot make environments"),
        (("no",), "does not start as a Python"),
    ):
        base = python_that_says(tmp_path / "python", *answer)
        with pytest.raises(InputError, match=f"{sentence}.* Base Python"):
            installer.create(tmp_path / "env", base, SMALL, Sources(), lambda record: None, threading.Event())
    with pytest.raises(InputError, match="does not start as a Python .*No such file"):
        installer.check_base(tmp_path / "nothing", tmp_path)
    assert server.asked == [], "nothing is downloaded before that is known"
    assert not (tmp_path / "env").exists()


def test_environment_made_anew_by_its_own_python(server: Server, folder: Path) -> None:
    (folder / "lento.set").write_text("linux-cu130")
    create(folder, server, base=installer.python_in(folder))
    assert values(folder) == "2"
    assert not Path(json.loads((folder / "lento.json").read_text())["base"]).is_relative_to(folder)


def test_windows_deletes_no_python_that_runs(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "lento.set").write_text("linux-cu130")
    (folder / "lento.json").write_text("{}")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(sys, "executable", str(installer.python_in(folder)))
    with pytest.raises(InputError, match="made anew, and Windows deletes no program that runs: run .* with .*, not"):
        create(folder, server, base=installer.python_in(folder))
    assert (is_complete(folder), installer.python_in(folder).exists()) == (True, True)


@pytest.mark.parametrize("through", ["the folder", "a link to the folder", "a link to its Python"])
def test_base_is_looked_for_outside_of_the_folder_that_is_emptied(folder: Path, tmp_path: Path, through: str) -> None:
    link, named = tmp_path / "link", folder
    link.symlink_to(installer.python_in(folder) if through == "a link to its Python" else folder)
    if through == "a link to the folder":
        named = link
    base = link if through == "a link to its Python" else installer.python_in(folder)
    found, version = installer.check_base(base, named)
    assert version == sys.version_info[:2]
    shutil.rmtree(folder)
    assert installer.check_base(found, named) == (found, version)


def test_base_that_would_be_deleted_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lento.set").write_text(SMALL.id)
    base = python_that_says(tmp_path / "python", [3, 13], 64, "x86_64", "")
    with pytest.raises(InputError, match="python lies in .*, which is emptied .*: name a 64-bit Python .* as Base"):
        installer.create(tmp_path, base, SMALL, Sources(), lambda record: None, threading.Event())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lento.set", "python"]


def test_worker_and_installation_keep_out_of_each_others_way(server: Server, folder: Path) -> None:
    create(folder, server)
    with (
        installer.in_use(installer.python_in(folder)),
        installer.in_use(installer.python_in(folder)),
        pytest.raises(InputError, match="is in use by a running job or another installation"),
    ):
        create(folder, server)
    assert is_complete(folder)
    create(folder, server)
    with (
        installer._alone(folder),
        pytest.raises(InputError, match="is being installed: wait"),
        installer.in_use(installer.python_in(folder)),
    ):
        pass
    with installer.in_use(BASE.parent / "no environment of ours" / "bin" / "python"):
        pass


def test_progress_counts_bytes(server: Server, folder: Path) -> None:
    told = [record for record in create(folder, server) if isinstance(record, Progress)]
    if pip._pip_version("", folder) >= (24, 1):  # older ones do not tell
        assert {record.unit for record in told} == {"bytes"}
        assert told[-1].done <= told[-1].total


# what fits


def machine(system: str = "linux", name: str = "x86_64", **cards: object) -> Hardware:
    return Hardware(system, name, **cards)  # type: ignore[arg-type]


def nvidia(cuda: tuple[int, int], capability: tuple[int, int]) -> Nvidia:
    return Nvidia("NVIDIA Card", "570.1", cuda, capability)


@pytest.mark.parametrize(
    ("hardware_", "fits"),
    [
        (machine(), "linux-cpu"),
        (machine("windows"), "windows-cpu"),
        (machine("macos", "arm64"), "macos"),
        (machine("macos"), "no-torch"),
        (machine("linux", "arm64"), "no-torch"),
        (machine("freebsd"), "no-torch"),
        (machine(nvidia=nvidia((13, 0), (8, 9))), "linux-cu130"),
        (machine("windows", nvidia=nvidia((13, 1), (12, 0))), "windows-cu130"),
        (machine(nvidia=nvidia((13, 0), (6, 1))), "linux-cu126"),
        (machine(nvidia=nvidia((12, 4), (8, 9))), "linux-cu126"),
        (machine(nvidia=nvidia((11, 8), (8, 9))), "linux-cpu"),
        (machine(nvidia=nvidia((12, 8), (3, 5))), "linux-cpu"),
        (machine(amd="AMD graphics", has_rocm_driver=True), "linux-rocm72"),
        (machine(amd="AMD graphics"), "linux-cpu"),
        (machine("windows", amd="Radeon"), "windows-cpu"),
        (machine(intel="Intel graphics"), "linux-xpu"),
        (machine("windows", intel="Intel Arc"), "windows-xpu"),
    ],
)
def test_what_fits_a_machine(hardware_: Hardware, fits: str) -> None:
    chosen, why = sets.fitting(hardware_)
    assert chosen.id == fits
    assert why.endswith(".")


def test_nvidia_driver_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(
        '#!/bin/sh\nif [ "$1" ]; then echo "NVIDIA GeForce RTX 4090, 580.65.06, 8.9"; '
        'else echo "| NVIDIA-SMI 580.65.06   Driver Version: 580.65.06   CUDA Version: 13.0 |"; fi\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert hardware.find_nvidia() == Nvidia("NVIDIA GeForce RTX 4090", "580.65.06", (13, 0), (8, 9))
    program.write_text('#!/bin/sh\n[ "$1" ] && echo "Quadro, 535.10, 7.5"\n')
    assert hardware.find_nvidia() == Nvidia("Quadro", "535.10", (12, 0), (7, 5))
    program.write_text("#!/bin/sh\necho NVIDIA-SMI has failed; exit 9\n")
    assert hardware.find_nvidia() is None


def test_linux_cards(tmp_path: Path) -> None:
    for number, (vendor, driver) in enumerate((("0x1002", "amdgpu"), ("0x8086", "xe"))):
        device = tmp_path / f"class/drm/card{number}/device"
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"{vendor}\n")
        (tmp_path / driver).mkdir()
        (device / "driver").symlink_to(tmp_path / driver)
    assert set(hardware._linux_cards(tmp_path)) == {"amd", "intel"}
    (tmp_path / "class/drm/card1/device/driver").unlink()
    (tmp_path / "class/drm/card1/device/driver").symlink_to(tmp_path / "i915")
    assert set(hardware._linux_cards(tmp_path)) == {"amd"}, "the old driver cannot compute"


# what is pinned


def test_every_set_is_pinned_and_its_size_is_known() -> None:
    listed = (ROOT / "addon" / "preferences.py").read_text(encoding="utf-8")
    assert all(f'"{made.id}"' in listed for made in sets.SETS), "what the preferences offer"
    for made in sets.SETS:
        wanted = [one for path in made.files for one in pip.requirements(path)]
        assert all("==" in one.name for one in wanted)
        torch = [one for one in wanted if one.name.startswith("torch==")]
        assert len(torch) == (made.id != "no-torch")
        assert all(one.is_hashed for one in wanted if one not in torch)
        assert all(one.is_hashed != bool(made.index) for one in torch)
        assert 100e6 < made.download < 6e9


def test_list_of_wheels_for_a_python() -> None:
    text = doctor.wheels(sets.named("linux-cpu"), "3.13")
    assert "--extra-index-url https://download.pytorch.org/whl/cpu" in text
    names = [line.partition("==")[0] for line in text.splitlines() if "==" in line]
    assert {"pip", "numpy", "torch"} <= set(names)
    assert len(names) == len(set(names)), "one version each"
    with pytest.raises(InputError, match="no packages for Python 3.9: choose 3.11 to 3.14"):
        doctor.wheels(sets.named("linux-cpu"), "3.9")


# the doctor


def test_doctor_on_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "BENCHMARK_SECONDS", 0.05)
    found = doctor.examine()
    cpu = next(device for device in found["devices"] if device["id"] == "cpu")
    assert cpu["gmacs"] > 0
    assert cpu["precision"] in ("fp32", "bf16")
    assert {engine["id"]: bool(engine["lacks"]) for engine in found["engines"]}["lento"] is False
    text = doctor.readable(found)
    assert "torch" in text
    assert "Engines:" in text


def test_doctor_names_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "BENCHMARK_SECONDS", 0.01)
    monkeypatch.setattr(doctor, "LEAST_FREE", 1e18)
    monkeypatch.setattr(hardware, "find", lambda: machine(nvidia=nvidia((13, 0), (8, 9))))
    monkeypatch.setenv("LENTO_MODELS", str(tmp_path))
    (tmp_path / "m.json").write_text(
        json.dumps(
            {"name": "m", "engine": "rife", "family": "RIFE", "licence": "MIT", "bytes": 1, "source": "", "sha256": "",
             "path": "m.pkl"}
        )
    )  # fmt: skip
    (tmp_path / "copied.pth").write_bytes(b"x")
    told = " ".join(doctor.examine()["problems"])
    assert "does not use the graphics card" in told
    assert "GB are free in" in told
    assert "The model m lacks its file" in told
    assert "copied.pth lies in the folder of models and is not known as one: import it" in told


def test_doctor_takes_a_module_from_whatever_package_brought_it(empty: Path, tmp_path: Path) -> None:
    for name, module in (("numpy", "numpy"), ("av", "av"), ("opencv-python", "cv2"), ("", "isal")):
        (tmp_path / f"{module}.py").write_text("")
        if name:
            about = tmp_path / f"{name.replace('-', '_')}-1.2.dist-info"
            about.mkdir()
            (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
            (about / "top_level.txt").write_text(f"{module}\n")
    done = subprocess.run(
        [installer.python_in(empty), "-m", "core", "doctor", "--json"], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "PyTorch is missing" in found["problems"][0]
    assert not [text for text in found["problems"] if "no job can run" in text or "isal" in text]
    assert {engine["id"] for engine in found["engines"] if not engine["lacks"]} == {"flow", "blend", "nearest"}
    versions = {package["name"]: package["version"] for package in found["packages"]}
    assert (versions["opencv-python"], versions["isal"], versions["torch"]) == ("1.2", "?", "")


def test_doctor_in_a_python_without_packages(empty: Path) -> None:
    done = subprocess.run(
        [installer.python_in(empty), "-m", "core", "doctor"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "numpy and opencv-python-headless and av are missing" in done.stdout
