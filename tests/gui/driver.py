# SPDX-License-Identifier: GPL-3.0-or-later
"""Drives a windowed Blender from inside, as a person would: keys, clicks, looks. Every test is a generator.

A test yields what it waits for (`until`, `ticks`) and is resumed when that is so; the window goes on drawing and
handling events in between. Nothing here sleeps.
"""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

TICK = 0.02
"""Seconds between looks at what a test waits for."""
LIMIT = 60.0
"""Seconds that a test waits for anything, unless it says otherwise; only a failing test waits as long."""

Steps = Generator["Wait", None, Any]


@dataclass
class Wait:
    """A condition, and a sentence for when it does not come."""

    condition: Callable[[], Any]
    what: str
    limit: float = LIMIT


def until(condition: Callable[[], Any], what: str, limit: float = LIMIT) -> Wait:
    """Wait until the condition holds; `what` completes "it did not come to pass that ..."."""
    return Wait(condition, what, limit)


def ticks(count: int = 5) -> Wait:
    """Wait while Blender's main loop goes round: simulated events are handled and drawn in it."""
    left = iter(range(count))
    return Wait(lambda: next(left, None) is None, "the window's loop goes round")


def window() -> Any:
    """The main window. Looked up every time: another file brings other windows."""
    return bpy.context.window_manager.windows[0]


def area(kind: str = "SEQUENCE_EDITOR", view: str = "SEQUENCER") -> Any:
    """An editor on the screen; of sequencers, the one with the timeline."""
    return next(
        area
        for area in window().screen.areas
        if area.type == kind and (kind != "SEQUENCE_EDITOR" or area.spaces.active.view_type == view)
    )


def region(kind: str = "WINDOW", of: Any = None) -> Any:
    """A region of an editor, the timeline's sequencer unless told."""
    return next(region for region in (of or area()).regions if region.type == kind)


def middle(of: Any) -> tuple[int, int]:
    """A region's middle, in pixels of the window."""
    return of.x + of.width // 2, of.y + of.height // 2


_mouse = (0, 0)


def move(x: int, y: int) -> Steps:
    """Move the mouse; twice, so that what is under it notices."""
    global _mouse
    for step in (1, 0):
        _mouse = (x - step, y - step)
        window().event_simulate(type="MOUSEMOVE", value="NOTHING", x=_mouse[0], y=_mouse[1])
        yield ticks(2)


def click(x: int, y: int, button: str = "LEFTMOUSE") -> Steps:
    """Move there, press and release."""
    yield from move(x, y)
    yield from key(button)


def key(name: str, text: str = "", **modifiers: bool) -> Steps:
    """Press and release a key where the mouse is."""
    x, y = _mouse
    window().event_simulate(type=name, value="PRESS", x=x, y=y, **modifiers, **({"unicode": text} if text else {}))
    yield ticks(1)
    window().event_simulate(type=name, value="RELEASE", x=x, y=y, **modifiers)
    yield ticks(3)


def write(text: str) -> Steps:
    """Type a text of letters and spaces."""
    for letter in text:
        yield from key(
            "SPACE" if letter == " " else letter.upper(), letter, **({"shift": True} if letter.isupper() else {})
        )


def find_button(operator: str, within: Any, x: int | None = None) -> Steps:
    """The place (x, y) of an operator's button, found with the mouse from the region's top down: no API tells it.

    Blender's own "Copy Python Command" says which button the mouse is over.
    """
    manager = bpy.context.window_manager
    x = middle(within)[0] if x is None else x
    for y in range(within.y + within.height - 12, within.y + 4, -10):
        yield from move(x, y)
        manager.clipboard = ""
        with bpy.context.temp_override(window=window(), area=area(), region=within):
            if bpy.ops.ui.copy_python_command_button.poll():
                bpy.ops.ui.copy_python_command_button()
        if operator in manager.clipboard:
            return x, y
    raise AssertionError(f"there is no button for {operator} at x = {x} in the region")


def picture(name: str) -> Steps:
    """Save what the screen shows to pictures/<name>.png. From outside: Blender's own screenshot is black here."""
    for each in window().screen.areas:
        each.tag_redraw()
    yield ticks(10)
    path = settings["pictures"] / f"{name}.png"
    process = subprocess.Popen(["import", "-window", "root", str(path)])
    yield until(lambda: process.poll() is not None, "the screenshot is taken")
    spread = subprocess.run(
        ["identify", "-format", "%[fx:standard_deviation]", str(path)], capture_output=True, text=True
    )
    assert process.returncode == 0 and float(spread.stdout or 0) > 0.02, f"{path} shows nothing"


def on_screen(function: Callable[[], Any]) -> Any:
    """Call with the timeline as context: a timer has none."""
    with bpy.context.temp_override(window=window(), area=area(), region=region()):
        return function()


# ---- how long the extension keeps Blender's main thread busy

longest: dict[str, float] = {}
"""Seconds of the longest call of each of the extension's functions that Blender calls."""


def watch(owner: Any, name: str, label: str) -> None:
    """Measure every call of a class's or a module's function from now on."""
    function = getattr(owner, name)
    if isinstance(vars(owner).get(name), classmethod):
        return

    def measured(*args: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*args)
        finally:
            longest[label] = max(longest.get(label, 0.0), time.perf_counter() - began)

    # Blender looks at how many arguments a method names
    with_context: Callable[..., Any] = lambda self, context: measured(self, context)  # noqa: E731
    with_event: Callable[..., Any] = lambda self, context, event: measured(self, context, event)  # noqa: E731
    by_count = {("self", "context"): with_context, ("self", "context", "event"): with_event}
    setattr(owner, name, by_count.get(tuple(inspect.signature(function).parameters), measured))


# ---- running

settings: dict[str, Any] = {}


class Session:
    """Runs tests one after the other from a timer; verdicts go to a file at once, as a crash leaves no chance."""

    def __init__(self, tests: Iterable[Callable[[], Steps]], verdicts: Path) -> None:
        self._tests = list(tests)
        self._verdicts = verdicts
        self._steps: Steps | None = None
        self._wait = ticks(20)
        self._name = ""
        self._began = self._waiting_since = time.monotonic()

    def tick(self) -> float | None:
        """Look whether it goes on; the interval until the next look, None after the last test."""
        try:
            if not self._wait.condition():
                late = time.monotonic() - self._waiting_since > self._wait.limit
                if not late:
                    return TICK
                raise AssertionError(f"it did not come to pass within {self._wait.limit:g} s that {self._wait.what}")
            if self._steps is not None:
                self._wait = next(self._steps)
                self._waiting_since = time.monotonic()
                return TICK
        except StopIteration:
            self._verdict("passed")
        except Exception:
            lines = traceback.format_exc()
            print(lines.replace("Traceback", "Test's trace"), file=sys.stderr, flush=True)  # run.py looks for others'
            self._verdict("failed", lines.strip().splitlines()[-1], lines)
        return self._next()

    def _next(self) -> float | None:
        self._steps = None
        if not self._tests:
            self._tell({"end": True, "longest": longest})
            bpy.ops.wm.quit_blender()
            return None
        test = self._tests.pop(0)
        self._name, self._began = test.__name__, time.monotonic()
        self._tell({"test": self._name, "verdict": "started"})
        self._steps, self._wait, self._waiting_since = test(), ticks(1), time.monotonic()
        return TICK

    def _verdict(self, verdict: str, why: str = "", trace: str = "") -> None:
        self._tell(
            {
                "test": self._name,
                "verdict": verdict,
                "why": why,
                "trace": trace,
                "seconds": time.monotonic() - self._began,
            }
        )

    def _tell(self, record: dict[str, Any]) -> None:
        with open(self._verdicts, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def start(module: Any, verdicts: str, pictures: str, folder: str, *names: str) -> None:
    """Run the module's tests of these names, all for none, as soon as the window is there."""
    settings.update(pictures=Path(pictures), folder=Path(folder))
    tests = [value for name, value in vars(module).items() if name.startswith("test_") and (not names or name in names)]
    session = Session(tests, Path(verdicts))
    bpy.app.timers.register(session.tick, first_interval=0.5, persistent=True)
