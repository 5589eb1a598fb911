# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's environment and the models, from inside Blender."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest
from helpers import add_movie, lento

from scripts.in_blender import ROOT, WORKER
from tests.addon.conftest import worker_python
from tests.failing import served

MODULE = "bl_ext.user_default.lento"
setup, tasks, answers, job_runner = (lento(f"addon.{name}") for name in ("setup", "tasks", "answers", "job_runner"))


@pytest.fixture
def preferences(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Without LENTO_PYTHON, as a user has it; the preferences are put back afterwards."""
    monkeypatch.delenv("LENTO_PYTHON")
    chosen = bpy.context.preferences.addons[MODULE].preferences
    yield chosen
    for name in ("worker_python", "base_python", "wheels_folder", "package_index"):
        setattr(chosen, name, "")
    chosen.package_set, chosen.keep_ready = "auto", 5
    bpy.context.preferences.system.use_online_access = False
    tasks.forget()
    answers.forget()


def python_3_11() -> str:
    """The packages' CPU build of PyTorch is at hand for this one alone."""
    found = subprocess.run(
        [str(WORKER), "-c", "import sys; print(sys._base_executable)"], capture_output=True, text=True, check=True
    )
    return found.stdout.strip()


def refused(sentence: str, operator: Any, **arguments: Any) -> None:
    with pytest.raises(RuntimeError, match=sentence):
        operator(**arguments)


@pytest.mark.network
def test_from_a_fresh_user_folder_to_slow_motion(scene: Any, clips: Path, preferences: Any) -> None:
    add_movie(scene, clips / "clip.mp4")
    folder = setup.made_environment().folder
    assert not folder.exists()
    refused("press Create Environment", bpy.ops.lento.slow_motion, engine="lento", range=(5, 7))
    assert not bpy.ops.lento.create_environment.poll(), "offline, and nothing else to take packages from"
    bpy.context.preferences.system.use_online_access = True
    if sys.version_info[:2] != (3, 11):
        preferences.base_python = python_3_11()
    preferences.package_set = "linux-cpu"
    assert bpy.ops.lento.create_environment() == {"FINISHED"}
    assert setup.worker_python(bpy.context).path.is_relative_to(folder)
    bpy.context.preferences.system.use_online_access = False
    assert bpy.ops.lento.slow_motion(engine="lento", range=(5, 7)) == {"FINISHED"}
    assert bpy.ops.lento.check() == {"FINISHED"}
    # deleted by hand, but for a part: a sentence, and the next click works
    shutil.rmtree(folder / "bin")
    refused("was made with .* which is gone.*press Create Environment", bpy.ops.lento.slow_motion, strip="Clip.001")
    assert bpy.ops.lento.create_environment.poll() is False, "offline again"
    assert bpy.ops.lento.remove_environment() == {"FINISHED"}
    assert not folder.exists()
    refused("press Create Environment", bpy.ops.lento.slow_motion, strip="Clip.001")


def test_a_folder_of_wheels_needs_no_online_access(preferences: Any, tmp_path: Path) -> None:
    assert not bpy.app.online_access
    assert not bpy.ops.lento.create_environment.poll()
    preferences.wheels_folder = str(tmp_path)
    assert bpy.ops.lento.create_environment.poll()
    refused("There are no wheels .*doctor --wheels", bpy.ops.lento.create_environment)
    preferences.base_python = "/nowhere/python"
    refused("/nowhere/python does not start as a Python", bpy.ops.lento.create_environment)
    assert not setup.made_environment().about
    assert tasks.running == {}


def test_a_python_that_is_named_is_checked(preferences: Any) -> None:
    preferences.show_check = False
    preferences.worker_python = str(WORKER)
    assert preferences.show_check, "the preferences show what the doctor says"
    until = time.monotonic() + 30
    while not (found := setup.doctor(bpy.context)) and time.monotonic() < until:
        time.sleep(0.05)
    assert found["python"]["path"] == str(WORKER)
    assert found["problems"] == []


def test_plan_is_known_before_the_click(preferences: Any) -> None:
    until = time.monotonic() + 30
    while not (plan := setup.plan(bpy.context)) and time.monotonic() < until:
        time.sleep(0.05)
    operators = lento("addon.setup_operators")
    text = "\n".join(operators.plan_lines(bpy.context, plan))
    assert "To download: about" in text
    assert str(setup.made_environment().folder) in text
    assert f"Python: {sys.executable}" in text


def test_no_installation_during_a_job_and_no_job_during_an_installation(
    scene: Any, clips: Path, preferences: Any, tmp_path: Path
) -> None:
    preferences.worker_python, preferences.wheels_folder = str(WORKER), str(tmp_path)
    operators, options = lento("addon.operators"), lento("addon.options")
    add_movie(scene, clips / "clip.mp4")
    scene.lento.factor = 100  # more than can be done before it is cancelled
    holders = dict.fromkeys(options.OPTIONS, scene.lento)
    job = operators.launch(bpy.context, operators.request(scene, "Clip", (5, 30), holders))
    refused("'Clip' is being slowed with the environment: wait", bpy.ops.lento.create_environment)
    job.worker.cancel()
    job.wait(lambda job: None)
    with pytest.raises(Exception, match="Cancelled"):
        operators.conclude(job)
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    task = tasks.start("environment", "Creating the environment", command, tmp_path / "log", {})
    refused("Creating the environment goes on: wait", bpy.ops.lento.slow_motion, range=(5, 9))
    assert not bpy.ops.lento.create_environment.poll()
    task.worker.kill()
    task.wait(lambda task: None)
    tasks.finish("environment")
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(5, 9), factor=2) == {"FINISHED"}


def test_model_downloaded_through_a_break_and_used(
    scene: Any, clips: Path, preferences: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preferences.worker_python = str(WORKER)
    folder = tmp_path / "served"
    folder.mkdir()
    worker_python("-m", "scripts.made_weights", "4.6", str(folder / "flownet.pkl"))
    digest = hashlib.sha256((folder / "flownet.pkl").read_bytes()).hexdigest()
    with served(folder) as server:
        for name, sha256 in (("right", digest), ("wrong", "0" * 64)):
            catalogue = tmp_path / f"{name}.toml"
            catalogue.write_text(
                f'[[model]]\nid = "ours"\nlabel = "Ours"\nengine = "rife"\nlicence = "MIT"\nbytes = 1\n'
                f'url = "{server.address}/flownet.pkl"\nsource = "us"\nsha256 = "{sha256}"\n'
            )
        monkeypatch.setenv("LENTO_CATALOGUE", str(tmp_path / "wrong.toml"))
        assert not bpy.ops.lento.download_model.poll(), "offline"
        bpy.context.preferences.system.use_online_access = True
        refused("is not Ours .its SHA-256 is .*it was deleted", bpy.ops.lento.download_model, name="ours")
        assert not list(setup.models_folder().glob("ours*"))
        monkeypatch.setenv("LENTO_CATALOGUE", str(tmp_path / "right.toml"))
        server.broken_after["flownet.pkl"] = 1_000_000
        assert bpy.ops.lento.download_model(name="ours") == {"FINISHED"}
        assert server.asked[-1] == "/flownet.pkl bytes=1000000-"
    bpy.context.preferences.system.use_online_access = False
    path = setup.models_folder() / "ours.pkl"
    add_movie(scene, clips / "clip.mp4")
    assert bpy.ops.lento.use_model(path=str(path), engine="rife") == {"FINISHED"}
    assert (scene.lento.engine, scene.lento.weights) == ("rife", str(path))
    assert bpy.ops.lento.slow_motion(range=(5, 7)) == {"FINISHED"}
    assert bpy.ops.lento.remove_model(name="ours") == {"FINISHED"}
    refused("There is no model 'ours'", bpy.ops.lento.remove_model, name="ours")


def test_model_imported(preferences: Any, tmp_path: Path) -> None:
    preferences.worker_python = str(WORKER)
    worker_python("-m", "scripts.made_weights", "4.6", str(tmp_path / "flownet ü.pkl"))
    assert bpy.ops.lento.import_model(filepath=str(tmp_path / "flownet ü.pkl"), name="mine") == {"FINISHED"}
    until = time.monotonic() + 30
    while not (listed := setup.models()) and time.monotonic() < until:
        time.sleep(0.05)
    assert [(model["name"], model["state"]) for model in listed][0] == ("mine", "there")
    (tmp_path / "page.pkl").write_text("<html>")
    refused("it is a web page", bpy.ops.lento.import_model, filepath=str(tmp_path / "page.pkl"))
    refused("No file is named", bpy.ops.lento.import_model)
    assert bpy.ops.lento.remove_model(name="mine") == {"FINISHED"}


def test_second_job_takes_the_worker_that_is_ready(scene: Any, clips: Path) -> None:
    job_runner.end_ready()
    add_movie(scene, clips / "clip.mp4")
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(5, 9)) == {"FINISHED"}
    (process,) = job_runner.ready_processes()
    assert job_runner.ready()[0][0] > 10e6, "its memory is told"
    pid = process.popen.pid
    assert bpy.ops.lento.slow_motion(strip="Clip.001", engine="nearest", range=(30, 34)) == {"FINISHED"}
    assert [one.popen.pid for one in job_runner.ready_processes()] == [pid]
    assert bpy.ops.lento.end_ready() == {"FINISHED"}
    assert job_runner.ready() == []
    gone(process)


def test_worker_that_died_while_it_was_ready(scene: Any, clips: Path) -> None:
    job_runner.end_ready()
    add_movie(scene, clips / "clip.mp4")
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(5, 9)) == {"FINISHED"}
    (process,) = job_runner.ready_processes()
    process.popen.kill()
    gone(process)
    assert bpy.ops.lento.slow_motion(strip="Clip.001", engine="nearest", range=(30, 34)) == {"FINISHED"}


def test_worker_leaves_when_nobody_needs_it(
    scene: Any, clips: Path, preferences: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_runner.end_ready()
    preferences.worker_python, preferences.keep_ready = str(WORKER), 0
    add_movie(scene, clips / "clip.mp4")
    assert bpy.ops.lento.slow_motion(engine="nearest", range=(5, 9)) == {"FINISHED"}
    assert job_runner.ready() == []
    with monkeypatch.context() as patched:
        start = job_runner.start_job
        patched.setattr(lento("addon.jobs"), "start_job", lambda *words: start(*words[:-1], 0.02))
        assert bpy.ops.lento.slow_motion(strip="Clip.001", engine="nearest", range=(30, 34)) == {"FINISHED"}
    (process,) = job_runner.ready_processes()
    gone(process, 10)
    assert job_runner.ready() == []


def gone(process: Any, seconds: float = 5) -> None:
    until = time.monotonic() + seconds
    while (process.popen.poll() is None or process in lento("addon.worker").alive) and time.monotonic() < until:
        time.sleep(0.02)
    assert process.popen.poll() is not None


def test_worker_that_is_ready_does_not_outlive_blender(clips: Path) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from scripts.in_blender import install_extension
install_extension()
from tests.addon import helpers
import bpy
scene = bpy.context.scene
scene.sequence_editor_create()
helpers.add_movie(scene, {str(clips / "clip.mp4")!r})
bpy.ops.lento.slow_motion(engine="nearest", range=(5, 9))
(process,) = helpers.lento("addon.job_runner").ready_processes()
print("WORKER", process.popen.pid, flush=True)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    worker = int(ended.stdout.split("WORKER")[1].split()[0])
    until = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()


def test_tasks_run_beside_the_user(tmp_path: Path) -> None:
    """Nothing waits: what the worker says is taken in by looks at it."""
    record = '{"kind": "done", "code": 0, "result": "/x"}'
    go_on = tmp_path / "go on"
    program = (
        "import pathlib, sys, time\n"
        "while not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)\n"
        f"print('{record}', flush=True)"
    )
    task = tasks.start("model", "Importing x", [sys.executable, "-c", program, str(go_on)], tmp_path / "log", {})
    assert tasks.update() == (False, False)
    with pytest.raises(Exception, match="Importing x goes on"):
        tasks.start("model", "Another", [sys.executable, "-c", ""], tmp_path / "log", {})
    go_on.touch()
    until = time.monotonic() + 10
    while "model" in tasks.running and time.monotonic() < until:
        tasks.update()
        time.sleep(0.02)
    assert tasks.ended["model"] is task
    assert task.outcome == "Importing x: done."
    tasks.forget()
