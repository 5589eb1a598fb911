# SPDX-License-Identifier: GPL-3.0-or-later
"""Strip and marked range -> what to run. Changes nothing, and says in a sentence what cannot be slowed."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import bpy

from ..core.job import LIGHT_FORMATS, NEED_WEIGHTS, Job, Placement
from ..core.messages import InputError
from . import compat, jobs, prerender, time_options
from .place import container_of
from .selection import Range, absolute, check_strip, companion_sounds, file_start, media_of


@dataclass(frozen=True)
class Request:
    """All that is needed to run a job and to find its place again when it is done; no reference into Blender's data."""

    job: Job
    scene: str
    strip_name: str
    strip_type: str
    media: str
    """The strip's media, an absolute path, to see whether it is still the same."""
    marked: Range
    content_began: int
    """Timeline frame where the strip's content began when the range was marked."""
    placement: Placement
    task: prerender.Task | None
    """What Blender has to render first."""
    sounds: tuple[str, ...] = ()
    """Names of the sound strips that are stretched along, or muted."""
    mixed: bool = False
    """Whether what is to be heard in the strip itself is stretched, too, after them."""
    notes: tuple[str, ...] = field(default=())
    """What the user should know before it starts."""
    strip_id: str = ""
    """Set when the strip has been stamped with it."""


def gather(scene: Any, strip: Any, marked: Range, placement: Placement, **chosen: Any) -> Request:
    """What to run for this strip and range; `chosen` are the Job's options.

    Raises InputError where the strip or its media cannot be slowed.
    """
    check_strip(scene, strip, placement)
    if chosen["weights"]:
        chosen["weights"] = absolute(chosen["weights"])
    if chosen["engine"] in NEED_WEIGHTS and not chosen["weights"]:
        raise InputError(
            f"The engine {chosen['engine']!r} needs a checkpoint from its authors: choose the file as Weights, or "
            "the engine Lento, which brings its own."
        )
    times = time_options.time_map(scene, strip, marked.start, len(marked), chosen)
    if chosen["time"] == "curve" and times is not None:
        chosen["speeds"] = times.knots
    wanted = "keep" if chosen["time"] == "smooth" and chosen["sound"] == "auto" else chosen["sound"]
    rendered = prerender.reason(strip, placement.bake_modifiers)
    muted = placement.placement == "overlay" or chosen["sound"] in ("mute", "keep")
    mixed = bool(rendered) and not muted and prerender.is_heard(strip)
    sounds = _sounds(scene, strip, marked, placement, wanted, mixed)
    if chosen["sound"] != "mute":
        fps = scene_fps(scene)
        chosen["sounds"] = tuple(
            (absolute(sound.sound.filepath), (marked.start - file_start(sound)) / fps, fps) for sound in sounds
        )
    if rendered:
        job, task = _job_of_rendered(scene, strip, marked, placement, mixed, chosen)
    else:
        job, task = _job_of_files(scene, strip, marked, chosen), None
        job = replace(job, output=_folder_for(strip, job.digest()))
    return Request(
        job=job, scene=scene.name, strip_name=strip.name, strip_type=strip.type, media=media_of(strip), marked=marked,
        placement=placement, task=task, content_began=compat.content_start(strip),
        sounds=tuple(sound.name for sound in sounds), mixed=mixed,
        notes=tuple(_notes(scene, strip, marked, placement, job)),
    )  # fmt: skip


def _notes(scene: Any, strip: Any, marked: Range, placement: Placement, job: Job) -> Iterator[str]:
    """What the user should know before the job starts."""
    rendered = prerender.reason(strip, placement.bake_modifiers)
    if rendered:
        yield f"The strip {strip.name!r} {rendered}: Blender renders its {len(marked)} frames first."
    if not bpy.data.filepath:
        yield (
            f"This file is not saved: the frames go to Blender's temporary folder, {job.output}, which Blender "
            "deletes when it quits. Save the file first to keep them."
        )
    if placement.placement == "overlay" or job.sound == "mute":
        return
    if job.sound == "keep":
        if rendered and prerender.is_heard(strip):
            yield f"The sound of the strip {strip.name!r} is silent over the range: only sound strips can be left."
        return
    for sound in companion_sounds(container_of(scene, strip), strip):
        if compat.is_retimed(sound) and compat.left(sound) < marked.end and compat.right(sound) > marked.start:
            yield (
                f"The sound strip {sound.name!r} is retimed and is left alone, so that it no longer fits the picture: "
                "put a file of it in its place first (Render > Render Audio)."
            )


def _sounds(scene: Any, strip: Any, marked: Range, placement: Placement, wanted: str, mixed: bool) -> list[Any]:
    """The sound strips that the job takes along.

    Raises InputError where sound is asked for and there is none that can be; `mixed`: the strip's own is.
    """
    asked = wanted in ("stretch", "tape")
    if wanted == "keep":
        return []
    if placement.placement == "overlay":
        if asked:
            raise InputError(
                f"With the placement Overlay the sound of {strip.name!r} is left alone: choose the placement Ripple, "
                "or another sound."
            )
        return []
    found = [
        sound
        for sound in companion_sounds(container_of(scene, strip), strip)
        if compat.left(sound) <= marked.start
        and compat.right(sound) >= marked.end
        and not sound.lock
        and not compat.is_retimed(sound)
    ]
    if asked and not found and not mixed:
        raise InputError(
            f"The strip {strip.name!r} has no sound strip that plays along over the whole range: connect one, or "
            "choose the sound Automatic, Mute or Leave Alone."
        )
    return found


def _job_of_files(scene: Any, strip: Any, marked: Range, chosen: dict[str, Any]) -> Job:
    """For a strip that shows its files as they are."""
    media = media_of(strip)
    if not os.path.exists(media):
        raise InputError(
            f"The media of the strip {strip.name!r}, {media}, is not there: find it first (File > External "
            "Data > Find Missing Files)."
        )
    shown_start = compat.trim_start(strip)
    offset = shown_start - compat.content_start(strip)
    is_movie = strip.type == "MOVIE"
    if not is_movie and len(strip.elements) == 1:
        raise InputError(f"The strip {strip.name!r} is one still image: there is no motion to slow.")
    length = compat.content_length(strip)
    retiming = compat.constant_retiming(strip)
    cuts_at, no_cuts_at = time_options.cut_markers(scene, offset)
    return Job(
        source=absolute(strip.filepath) if is_movie else absolute(strip.directory),
        files=() if is_movie else tuple(element.filename for element in strip.elements),
        output=_folder_for(strip, "_"),  # its name depends on the rest of the job
        start=marked.start + offset,
        end=marked.end + offset,
        shown_start=shown_start,
        shown_end=shown_start + length,
        fps=None if is_movie else scene_fps(scene),
        host_fps=scene_fps(scene),
        host_length=shown_start + length + compat.trim_end(strip) if is_movie and not retiming else None,
        retimed=Fraction(retiming[0]) if retiming else None,
        retimed_to_end=bool(retiming and retiming[1]),
        cuts_at=cuts_at,
        no_cuts_at=no_cuts_at,
        **chosen,
    )


def _job_of_rendered(
    scene: Any, strip: Any, marked: Range, placement: Placement, mixed: bool, chosen: dict[str, Any]
) -> tuple[Job, prerender.Task]:
    """For a strip that only Blender can show, and may show otherwise next time: every try has its own folder."""
    if chosen["format"] not in LIGHT_FORMATS:
        raise InputError(
            f"The strip {strip.name!r} {prerender.reason(strip, placement.bake_modifiers)}, which Blender renders in "
            f"floating point first, and {chosen['format']} cannot hold that: choose the format Automatic or OpenEXR."
        )
    folder = _folder_for(strip, uuid.uuid4().hex[:8])
    task = prerender.Task(
        scene=scene.name,
        strip=strip.name,
        start=marked.start,
        end=min(marked.end + 1, compat.right(strip)),
        output=os.path.join(folder, jobs.RENDERED),
        size=prerender.size_of(scene, strip),
        keep_modifiers=placement.bake_modifiers,
        sound=os.path.join(folder, jobs.RENDERED, "sound.wav") if mixed else "",
    )
    if mixed:
        chosen["sounds"] = (*chosen.get("sounds", ()), (task.sound, Fraction(0), scene_fps(scene)))
    cuts_at, no_cuts_at = time_options.cut_markers(scene, -marked.start)
    job = Job(
        source=task.output,
        files=prerender.frame_names(task),
        output=folder,
        start=0,
        end=len(marked),
        shown_start=0,
        shown_end=task.end - task.start,
        fps=scene_fps(scene),
        host_fps=scene_fps(scene),
        cuts_at=cuts_at,
        no_cuts_at=no_cuts_at,
        **chosen,
    )
    return job, task


def scene_fps(scene: Any) -> Fraction:
    """Frames per second of the scene, exactly: 30000/1001 where Blender has 30 and a base of 1.001."""
    return Fraction(scene.render.fps) / Fraction(scene.render.fps_base).limit_denominator(1001)


def _folder_for(strip: Any, what: str) -> str:
    """The folder of a job's frames: beside the .blend, or in Blender's temporary folder while it is not saved."""
    base = absolute("//lento") if bpy.data.filepath else os.path.join(bpy.app.tempdir, "lento")
    return os.path.join(base, f"{_file_name(strip.name)}-{what}")


def _file_name(name: str) -> str:
    """A strip's name as part of a folder's name, on every system: letters of any script stay."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._")[:40] or "strip"
