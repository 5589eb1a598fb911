# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender --command lento`: the function that Blender calls with the words after it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bpy
import pytest

from tests.addon.helpers import add_movie, layout, lento, times


def command(*words: object) -> int:
    return int(lento("addon.command_line").main([str(word) for word in words]))


def test_slows_and_saves(scene: Any, clips: Path, tmp_path: Path, capfd: Any) -> None:
    add_movie(scene, clips / "clip.mp4")
    target = tmp_path / "out put.blend"
    assert (
        command("--strip", "Clip", "--range", 11, 21, "--factor", "5/2", "--engine", "nearest", "--save-as", target)
        == 0
    )
    assert f"Saved {target}" in capfd.readouterr().out
    bpy.ops.wm.open_mainfile(filepath=str(target))
    scene = bpy.context.scene
    assert layout(scene) == {"Clip": (2, 1, 11), "Clip 5/2x": (2, 11, 36), "Clip.001": (2, 36, 64)}
    assert scene.sequence_editor.strips["Clip 5/2x"].directory.startswith("//lento/Clip-")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--strip", "Absent"], "There is no strip named 'Absent'"),
        (["--strip", "Clip", "--range", "90", "95"], "outside of the strip"),
        (["--strip", "Clip", "--factor", "0.002"], "factor: 1/500 is too small"),
        (["--strip", "Clip", "--factor", "much"], "'much' is not a number"),
        (["--strip", "Clip", "--engine", "magic"], "invalid choice"),
        (["--strip", "Clip", "--scene", "Absent"], "There is no scene named 'Absent'"),
        (["--strip", "Clip", "--range", "9", "5"], "its end, which is not included, has to come after its start"),
        (["--range", "1", "5"], "required: --strip (see blender -b FILE.blend --command lento --help)."),
        (["--strip", "Clip", "--magic"], "Unrecognized arguments: --magic (see blender"),
        (
            ["--strip", "Clip", "--time", "smooth", "--factor", "8"],
            "factor: it means nothing to the time 'smooth': leave it out, or choose the time factor.",
        ),
        (["--strip", "Clip", "--length", "96", "--factor", "8"], "factor: it means nothing to the time 'fit'"),
        (["--strip", "Clip", "--time", "curve", "--ease", "in"], "ease: it means nothing to the time 'curve'"),
        (["--strip", "Clip", "--ramp", "6"], "ramp: it means nothing without an eased end"),
        (
            ["--strip", "Clip", "--engine", "blend", "--flow-scale", "0.5"],
            "flow_scale: '0.5' means nothing to the engine 'blend': leave it out, or choose rife.",
        ),
        (["--strip", "Clip", "--engine", "flow", "--weights", "w.pkl"], "weights: 'w.pkl' means nothing to the engine"),
        (["--strip", "Clip", "--engine", "nearest", "--device", "cuda"], "device: 'cuda' means nothing to the engine"),
        (["--strip", "Clip", "--engine", "lento", "--ensemble"], "ensemble: on means nothing to the engine 'lento'"),
        (["--strip", ""], "--strip: its name is empty, as an unset shell variable is: give the one that is meant"),
        (["--strip", "Clip", "--scene", ""], "--scene: its name is empty"),
    ],
)
def test_bad_input(scene: Any, clips: Path, tmp_path: Path, capfd: Any, words: list[str], sentence: str) -> None:
    add_movie(scene, clips / "clip.mp4")
    target = tmp_path / "out.blend"
    assert command(*words, "--save-as", target) == 2
    told = capfd.readouterr().err
    assert sentence in told
    assert (told.count("\n"), told[:7]) == (1, "Error: ")
    assert not target.exists()
    assert layout(scene) == {"Clip": (2, 1, 49)}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no such folder/out.blend", "its folder is not there"),
        ("", "it is no file"),
        pytest.param(
            "/proc/out.blend",
            "its folder cannot be written (",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="it needs /proc"),
        ),
    ],
)
def test_place_where_nothing_can_be_saved_is_found_before_the_job(
    scene: Any, clips: Path, tmp_path: Path, capfd: Any, name: str, why: str
) -> None:
    add_movie(scene, clips / "clip.mp4")
    target = tmp_path / name
    assert command("--strip", "Clip", "--engine", "nearest", "--save-as", target) == 2
    assert f"Error: {target} could not be saved: {why}" in capfd.readouterr().err
    assert layout(scene) == {"Clip": (2, 1, 49)}
    assert not Path(bpy.path.abspath("//lento")).exists()


def test_empty_name_does_not_save_over_the_opened_file(scene: Any, clips: Path, capfd: Any) -> None:
    add_movie(scene, clips / "clip.mp4")
    before = Path(bpy.data.filepath).read_bytes()
    assert command("--strip", "Clip", "--engine", "nearest", "--save-as", "") == 2
    assert "--save-as: its name is empty, as an unset shell variable is" in capfd.readouterr().err
    assert Path(bpy.data.filepath).read_bytes() == before
    assert layout(scene) == {"Clip": (2, 1, 49)}


def test_flag_that_changes_nothing_for_the_engine_is_taken(scene: Any, clips: Path, tmp_path: Path) -> None:
    add_movie(scene, clips / "clip.mp4")
    scene.lento.flow_scale = "0.5"  # the panel hides it
    words = ["--strip", "Clip", "--range", "11", "13", "--engine", "nearest", "--device", "cpu", "--no-ensemble"]
    assert command(*words, "--save-as", tmp_path / "out.blend") == 0


@pytest.mark.parametrize(
    ("time", "words", "end"),
    [
        ("fit", ["--factor", "2"], 31),
        ("factor", ["--length", "40"], 51),
        ("smooth", ["--length", "40", "--ease", "in", "--ramp", "4"], 51),
        ("fit", ["--ease", "out"], 41),
    ],
)
def test_flag_sets_the_time_that_it_is_meant_for(
    scene: Any, clips: Path, tmp_path: Path, time: str, words: list[str], end: int
) -> None:
    add_movie(scene, clips / "clip.mp4")
    scene.lento.time, scene.lento.length = time, 30
    target = tmp_path / "out.blend"
    words = ["--strip", "Clip", "--range", "11", "21", "--engine", "nearest", *words]
    assert command(*words, "--save-as", target) == 0
    bpy.ops.wm.open_mainfile(filepath=str(target))
    assert times(bpy.context.scene.sequence_editor.active_strip) == (11, end)


def test_any_gpu_may_be_named(scene: Any, clips: Path, tmp_path: Path, capfd: Any) -> None:
    add_movie(scene, clips / "clip.mp4")
    words = ["--strip", "Clip", "--save-as", tmp_path / "out.blend", "--device"]
    assert command(*words, "cuda:9", "--engine", "nearest") == 2
    assert "device: 'cuda:9' means nothing to the engine 'nearest'" in capfd.readouterr().err
    assert command(*words, "toaster", "--engine", "lento") == 2
    assert "device: 'toaster' is not one of auto, cuda, " in capfd.readouterr().err


def test_help(capfd: Any) -> None:
    assert command("--help") == 0
    assert "--placement {ripple,overlay}" in capfd.readouterr().out
