# SPDX-License-Identifier: GPL-3.0-or-later
"""Strip and marked range -> what to slow. Changes nothing, and says in a sentence what cannot be slowed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy

from ..core.job import Job
from ..core.messages import InputError
from ..core.timing import frame_count
from . import compat

@dataclass(frozen=True)
class Range:
    """Timeline frames `start` to `end` (not included), and what marked them."""

    start: int
    end: int
    origin: str

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class Request:
    """All that is needed to run a job and to find its place again when it is done; no reference into Blender's data."""

    job: Job
    scene: str
    strip_id: str
    strip_name: str
    strip_type: str
    media: str
    """The strip's media as it names it, to see whether it is still the same."""
    marked: Range
    placement: str
    folder: str
    """The frames' folder as strips name it: relative to the .blend where that is saved."""
    notes: tuple[str, ...] = field(default=())
    """What the user should know before it starts."""


def active_strip(scene: Any) -> Any:
    """The strip to slow.

    Raises InputError where no strip is selected.
    """
    editor = scene.sequence_editor
    strip = editor.active_strip if editor else None
    if strip is None or not strip.select:
        raise InputError("No strip is selected: select a movie or image strip in the sequencer.")
    return strip


def strip_named(scene: Any, name: str) -> Any:
    """The strip of that name, also inside of meta strips.

    Raises InputError where there is none.
    """
    strip = scene.sequence_editor.strips_all.get(name) if scene.sequence_editor else None
    if strip is None:
        raise InputError(f"There is no strip named {name!r} in the scene {scene.name!r}.")
    return strip


def container_of(scene: Any, strip: Any) -> Any:
    """The collection of strips that `strip` lies in: the sequencer's, or a meta strip's."""

    def search(strips: Any) -> Any:
        if strip in strips.values():
            return strips
        for other in strips:
            if other.type == "META" and (found := search(other.strips)) is not None:
                return found
        return None

    return search(scene.sequence_editor.strips)


def marked_range(scene: Any, strip: Any, given: tuple[int, int] | None = None) -> Range:
    """The part of the strip that is marked: given frames, else the preview range, else two selected markers, else all.

    Raises InputError where the marks do not lie on the strip or leave fewer than two frames.
    """
    left, right = compat.left(strip), compat.right(strip)
    markers = sorted(marker.frame for marker in scene.timeline_markers if marker.select)
    if given is not None:
        start, end, origin = *given, "the given range"
    elif scene.use_preview_range:
        start, end, origin = scene.frame_preview_start, scene.frame_preview_end + 1, "the preview range"
    elif len(markers) == 2:
        start, end, origin = *markers, "the two selected markers"
    else:
        start, end, origin = left, right, "the whole strip"
    if end <= left or start >= right:
        raise InputError(
            f"{_capital(origin)}, frames {start} to {end - 1}, lies outside of the strip {strip.name!r} (frames "
            f"{left} to {right - 1}): mark a part of the strip."
        )
    start, end = max(start, left), min(end, right)
    if end - start < 2:
        raise InputError(
            f"{_capital(origin)} covers one frame of the strip {strip.name!r}: slow motion needs at least two."
        )
    return Range(start, end, origin)


def check_strip(scene: Any, strip: Any, placement: str) -> None:
    """Raise InputError with a sentence where this strip cannot be slowed."""
    name = strip.name
    if strip.type not in ("MOVIE", "IMAGE"):
        raise InputError(
            f"The strip {name!r} is a {_kind(strip)} strip: select a movie or image strip. (Render other strips to a "
            "movie first.)"
        )
    channel = scene.sequence_editor.channels[strip.channel]
    if channel.lock:  # first, since a strip on a locked channel calls itself locked, too
        raise InputError(f"The strip {name!r} lies on the locked channel {channel.name!r}: unlock the channel first.")
    if strip.lock:
        raise InputError(f"The strip {name!r} is locked: unlock it first.")
    unsupported = (
        (compat.is_retimed(strip), "has retiming keys", "remove them (Strip > Retiming > Reset Retiming)"),
        (strip.use_reverse_frames, "plays backwards", "turn Reverse Frames off"),
        (strip.strobe > 1.0, "repeats frames (Strobe)", "set Strobe to 1"),
        (
            getattr(strip, "use_deinterlace", False),
            "is deinterlaced by Blender",
            "turn Deinterlace off, or convert the movie",
        ),
        (getattr(strip, "stream_index", 0) > 0, "shows another stream than the file's first", "choose stream 0"),
        (getattr(strip, "use_multiview", False), "is stereoscopic", "turn Use Multi-View off"),
    )
    for found, what, remedy in unsupported:
        if found:
            raise InputError(f"The strip {name!r} {what}, which cannot be slowed yet: {remedy}.")
    if placement == "ripple" and (effect := effect_of(scene, strip)) is not None:
        raise InputError(
            f"The strip {name!r} feeds the effect {effect.name!r}, which splitting it would break: choose the "
            "placement Overlay instead."
        )


def effect_of(scene: Any, strip: Any) -> Any:
    """An effect strip that has `strip` as an input; None where there is none."""
    for other in scene.sequence_editor.strips_all:
        if compat.has_inputs(other) and strip in (getattr(other, "input_1", None), getattr(other, "input_2", None)):
            return other
    return None


def gather(scene: Any, strip: Any, marked: Range, placement: str, strip_id: str, **chosen: Any) -> Request:
    """What to run for this strip and range; `chosen` are the Job's options.

    Raises InputError where the strip or its media cannot be slowed.
    """
    check_strip(scene, strip, placement)
    media = media_of(strip)
    missing = next((path for path in media_files(strip) if not path.exists()), None)
    if missing is not None:
        raise InputError(
            f"The media of the strip {strip.name!r}, {missing}, is not there: find it first (File > External "
            "Data > Find Missing Files)."
        )
    shown_start = compat.trim_start(strip)
    offset = shown_start - compat.content_start(strip)
    fps = Fraction(scene.render.fps) / Fraction(scene.render.fps_base).limit_denominator(1001)
    is_movie = strip.type == "MOVIE"
    source = absolute(strip.filepath) if is_movie else absolute(strip.directory)
    if not is_movie and len(strip.elements) == 1:
        raise InputError(f"The strip {strip.name!r} is one still image: there is no motion to slow.")
    length = compat.content_length(strip)
    job = Job(
        source=source,
        files=() if is_movie else tuple(element.filename for element in strip.elements),
        output=os.path.join(absolute(frames_folder()), "_"),  # the folder's name depends on the rest of the job
        start=marked.start + offset,
        end=marked.end + offset,
        shown_start=shown_start,
        shown_end=shown_start + length,
        fps=None if is_movie else fps,
        host_fps=fps,
        host_length=shown_start + length + compat.trim_end(strip) if is_movie else None,
        **chosen,
    )
    folder = f"{frames_folder()}{_file_name(strip.name)}-{job.digest()}"
    job = replace(job, output=absolute(folder))
    notes = (
        ()
        if bpy.data.filepath
        else (
            f"This file is not saved: the frames go to Blender's temporary folder, {absolute(folder)}, which Blender "
            "deletes when it quits. Save the file first to keep them.",
        )
    )
    return Request(job, scene.name, strip_id, strip.name, strip.type, media, marked, placement, folder, notes)


def with_strip_id(request: Request, strip_id: str) -> Request:
    """The same request for a strip that is found by another id."""
    return replace(request, strip_id=strip_id)


def announce(scene: Any, strip: Any, marked: Range, factor: Fraction) -> list[str]:
    """What a job would do, in two lines for the panel."""
    total = frame_count(len(marked), factor)
    fps = scene.render.fps / scene.render.fps_base
    return [
        f"{strip.name}: frames {marked.start} to {marked.end - 1}, {marked.origin}",
        f"{len(marked)} frames become {total} ({total - len(marked)} new), {total / fps:.2f} s",
    ]


def media_of(strip: Any) -> str:
    """The strip's media as it names it."""
    return str(strip.filepath) if strip.type == "MOVIE" else f"{strip.directory}{strip.elements[0].filename}"


def media_files(strip: Any) -> Iterator[Path]:
    """The movie; or the first and last image, which stand for the rest of a sequence."""
    if strip.type == "MOVIE":
        yield Path(absolute(strip.filepath))
    else:
        for element in (strip.elements[0], strip.elements[-1]):
            yield Path(absolute(strip.directory), element.filename)


def absolute(path: str) -> str:
    """A path of Blender's, which may begin with //, as the operating system wants it."""
    return os.path.abspath(bpy.path.abspath(path))


def frames_folder() -> str:
    """Where the folders of frames go: beside the .blend, or in Blender's temporary folder while it is not saved."""
    return "//lento/" if bpy.data.filepath else os.path.join(bpy.app.tempdir, "lento", "")


def _file_name(name: str) -> str:
    """A strip's name as part of a folder's name, on every system: letters of any script stay."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._")[:40] or "strip"


def _kind(strip: Any) -> str:
    return str(strip.type).lower().replace("_", " ")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
