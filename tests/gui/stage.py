# SPDX-License-Identifier: GPL-3.0-or-later
"""A small film to work on, and questions about it and about the job that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from tests.gui.driver import Steps, area, click, key, middle, move, on_screen, region, settings, ticks, until, window

LAYOUT = {"Clip": (2, 1, 97), "Before": (4, 1, 9), "Later": (3, 101, 121)}
"""Channel, first frame and the frame after the last of the film's strips."""
MARKED = (31, 51)


def extension(name: str) -> Any:
    """A module of the installed extension."""
    import importlib

    return importlib.import_module(f"bl_ext.user_default.lento.addon.{name}".rstrip("."))


def scene() -> Any:
    """The scene on the timeline. Looked up every time: undo and load leave older references dangling."""
    return window().workspace.sequencer_scene


def strip(name: str) -> Any:
    """A strip of it, None where there is none."""
    return scene().sequence_editor.strips_all.get(name)


def layout() -> dict[str, tuple[int, int, int]]:
    """Every strip's channel, first frame and the frame after its last."""
    return {
        one.name: (one.channel, int(one.left_handle), int(one.right_handle))
        for one in scene().sequence_editor.strips_all
    }


def properties() -> dict[str, dict[str, Any]]:
    """Every strip's custom properties."""
    return {one.name: dict(one.items()) for one in scene().sequence_editor.strips_all}


def new_film(name: str, **options: Any) -> Steps:
    """File > New > Video Editing, the film on its timeline, saved; Clip selected, MARKED, the tab Lento open."""
    bpy.ops.wm.read_homefile(app_template="Video_Editing")
    yield ticks(10)
    film = scene()
    film.render.resolution_x, film.render.resolution_y, film.render.fps = 640, 360, 24
    film.sequence_editor_create()
    strips = film.sequence_editor.strips
    strips.new_movie("Clip", str(settings["folder"] / "clip.mp4"), 2, 1)
    strips.new_effect("Before", "COLOR", 4, 1, length=8)
    strips.new_effect("Later", "COLOR", 3, 101, length=20)
    for one in strips:
        one.select = one.name == "Clip"
    film.sequence_editor.active_strip = strips["Clip"]
    film.use_preview_range = True
    film.frame_preview_start, film.frame_preview_end = MARKED[0], MARKED[1] - 1
    for option, value in {"factor": 4.0, "engine": "flow", **options}.items():
        setattr(film.lento, option, value)
    folder = settings["folder"] / name
    folder.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "film.blend"))
    on_screen(lambda: bpy.ops.sequencer.view_all())
    yield from open_tab()
    on_screen(lambda: bpy.ops.ed.undo_push(message="Film"))
    assert layout() == LAYOUT


def open_tab() -> Steps:
    """Show the sidebar, with the tab Lento."""
    area().spaces.active.show_region_ui = True
    yield until(lambda: region("UI").width > 50, "the sidebar opens")
    yield ticks(10)
    region("UI").active_panel_category = "Lento"
    region("UI").tag_redraw()
    yield ticks(5)


def press_shortcut() -> Steps:
    """Ctrl+Alt+R with the mouse over the timeline; the job runs then."""
    yield from move(*middle(region()))
    yield from key("R", ctrl=True, alt=True)


def start_job() -> Steps:
    """Start with the shortcut and wait for the first frames; returns the job."""
    yield from press_shortcut()
    yield until(jobs, "the shortcut starts a job", 5)
    job = jobs()[0]
    yield until(lambda: job.progress is not None and job.progress.done > 0, "the worker makes frames")
    return job


def job_ends() -> Any:
    """Wait for the end of every job."""
    return until(lambda: not jobs(), "the job ends")


def jobs() -> list[Any]:
    """The jobs that run."""
    return list(extension("jobs").running)


def worker_lives(job: Any) -> bool:
    """Whether the job's process is there."""
    try:
        with open(f"/proc/{job.worker.process.popen.pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before the file was opened, or before it was read
        return False


def frames_of(job: Any) -> list[Path]:
    """The frame files that are there."""
    return sorted(Path(job.request.job.output).rglob("*.png"))


def modal() -> list[str]:
    """The operators that handle events now, the last started first."""
    # one whose class was unregistered is None until the next event
    return [operator.bl_idname for operator in window().modal_operators if operator]


def strip_place(name: str) -> tuple[int, int]:
    """A strip's middle in the timeline, in pixels of the window."""
    channel, left, right = layout()[name]
    x, y = region().view2d.view_to_region((left + right) / 2, channel + 0.5, clip=False)
    return region().x + x, region().y + y


def drag_by_keys(name: str, frames: int) -> Steps:
    """What a user does to move a strip: click it, G, the number, Enter."""
    yield from click(*strip_place(name))
    yield until(lambda: strip(name).select, f"a click selects {name}", 5)
    yield from key("G")
    for digit in str(frames):
        yield from key(
            ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")[int(digit)], digit
        )
    yield from key("RET")


def undo() -> Steps:
    """Ctrl+Z."""
    yield from move(*middle(region()))
    yield from key("Z", ctrl=True)


def redo() -> Steps:
    """Ctrl+Shift+Z."""
    yield from move(*middle(region()))
    yield from key("Z", ctrl=True, shift=True)


def reports() -> list[str]:
    """What operators told the user in this session, in their order."""
    return [report.message for report in bpy.context.window_manager.reports]


def status_text() -> str | None:
    """What the extension put into the status bar last."""
    return _status[-1]


_status: list[str | None] = [None]


def listen() -> None:
    """Note what goes into the status bar: Blender has no way to read it back."""
    set_text = bpy.types.WorkSpace.status_text_set

    def noted(self: Any, text: str | None) -> None:
        _status.append(text)
        set_text(self, text)

    bpy.types.WorkSpace.status_text_set = noted


def select(name: str) -> None:
    """Make the strip the only selected one, and active."""
    for one in scene().sequence_editor.strips_all:
        one.select = one.name == name
    scene().sequence_editor.active_strip = strip(name)
