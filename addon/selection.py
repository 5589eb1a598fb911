# SPDX-License-Identifier: GPL-3.0-or-later
"""Strip and marked range -> what to slow. Changes nothing, and says in a sentence what cannot be slowed."""

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
from ..core.timing import TimeMap
from . import compat, jobs, prerender, time_options
from .place import container_of, holder_of


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


def active_strip(scene: Any) -> Any:
    """The strip to slow.

    Raises InputError where no strip is selected.
    """
    editor = scene.sequence_editor
    strip = editor.active_strip if editor else None
    if strip is None or not strip.select:
        raise InputError("No strip is selected: select one in the sequencer.")
    return strip


def strip_named(scene: Any, name: str) -> Any:
    """The strip of that name, also inside of meta strips.

    Raises InputError where there is none.
    """
    strip = scene.sequence_editor.strips_all.get(name) if scene.sequence_editor else None
    if strip is None:
        raise InputError(f"There is no strip named {name!r} in the scene {scene.name!r}.")
    return strip


def marked_range(scene: Any, strip: Any, given: tuple[int, int] | None = None) -> Range:
    """The part of the strip that is marked: given frames, else the preview range, else two selected markers, else all.

    Raises InputError where the marks are in the wrong order, do not lie on the strip or leave fewer than two frames.
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
    if end <= start:
        raise InputError(
            f"{_capital(origin)}, {start} to {end}, has no frame: its end, which is not included, has to come after "
            "its start."
        )
    if end <= left or start >= right:
        raise InputError(
            f"{_capital(origin)}, frames {start} to {end - 1}: outside of the strip {strip.name!r}, which has the "
            f"frames {left} to {right - 1}. Mark a part of the strip."
        )
    start, end = max(start, left), min(end, right)
    if end - start < 2:
        raise InputError(
            f"{_capital(origin)} covers one frame of the strip {strip.name!r}: slow motion needs at least two."
        )
    return Range(start, end, origin)


def check_strip(scene: Any, strip: Any, placement: Placement) -> None:
    """Raise InputError with a sentence where this strip cannot be slowed."""
    name = strip.name
    if strip.type == "SOUND":
        raise InputError(f"The strip {name!r} is a sound strip: select a strip with a picture.")
    channel = holder_of(scene, strip).channels[strip.channel]
    if channel.lock:  # first, since a strip on a locked channel calls itself locked, too
        raise InputError(f"The strip {name!r} lies on the locked channel {channel.name!r}: unlock the channel first.")
    if strip.lock:
        raise InputError(f"The strip {name!r} is locked: unlock it first.")
    if prerender.reason(strip, placement.bake_modifiers):
        prerender.check(scene, strip)
    if compat.has_inputs(strip) and placement.placement == "ripple":
        raise InputError(
            f"The strip {name!r} is an effect of other strips and cannot be split by itself: choose the placement "
            "Overlay instead."
        )
    if placement.placement == "ripple" and (effect := effect_of(scene, strip)) is not None:
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
            (absolute(sound.sound.filepath), (marked.start - _file_start(sound)) / fps, fps) for sound in sounds
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


SOUND_OF = "lento_sound_of"
"""Custom property of a stretched sound strip: the folder of the job that made it, which holds its picture, too."""


def companion_sounds(strips: Any, strip: Any) -> list[Any]:
    """The sound strips among `strips` that belong to this one: connected with it, or in step with it.

    In step are the movie's own sound, and the sound that was stretched with a slowed strip.
    """
    # connections can be read only from 5.2 on; that two play one file in step says it in every version
    connected = {other.name for other in compat.connected(strip)}
    return [
        other
        for other in strips
        if other.type == "SOUND" and other.sound is not None and (other.name in connected or _plays_along(other, strip))
    ]


def _plays_along(sound: Any, strip: Any) -> bool:
    if strip.type not in prerender.FILES or _file_start(sound) != _file_start(strip):
        return False
    path, heard = media_of(strip), absolute(sound.sound.filepath)
    if SOUND_OF in sound:
        return os.path.dirname(path) == os.path.dirname(heard)
    return strip.type == "MOVIE" and heard == path


def _file_start(strip: Any) -> int:
    """Timeline frame at which the strip's file begins."""
    return compat.content_start(strip) - compat.trim_start(strip)


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


def announce(scene: Any, strip: Any, marked: Range, times: TimeMap | None) -> list[str]:
    """What a job would do, in two lines for the panel."""
    fps = scene.render.fps / scene.render.fps_base
    meant = f"{strip.name}: frames {marked.start} to {marked.end - 1}, {marked.origin}"
    if times is None:
        return [meant, f"{len(marked)} frames, as long as the movie plays, at {fps:g} fps"]
    return [meant, f"{len(marked)} frames become {times.count}, {times.count / fps:.2f} s"]


def media_of(strip: Any) -> str:
    """The movie, or the first image, since holes after it are held; empty for a strip of no files."""
    if strip.type == "MOVIE":
        return absolute(strip.filepath)
    return os.path.join(absolute(strip.directory), strip.elements[0].filename) if strip.type == "IMAGE" else ""


def absolute(path: str) -> str:
    """A path of Blender's, which may begin with //, as the operating system wants it."""
    return os.path.abspath(bpy.path.abspath(path))


def as_named(path: str) -> str:
    """An absolute path as strips name it: relative to the .blend, where that is saved and on the same drive."""
    if not bpy.data.filepath:
        return path
    try:
        return str(bpy.path.relpath(path)).replace(os.sep, "/")
    except ValueError:  # another drive
        return path


def _folder_for(strip: Any, what: str) -> str:
    """The folder of a job's frames: beside the .blend, or in Blender's temporary folder while it is not saved."""
    base = absolute("//lento") if bpy.data.filepath else os.path.join(bpy.app.tempdir, "lento")
    return os.path.join(base, f"{_file_name(strip.name)}-{what}")


def _file_name(name: str) -> str:
    """A strip's name as part of a folder's name, on every system: letters of any script stay."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._")[:40] or "strip"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
