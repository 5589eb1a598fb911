# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits of the timeline: finished frames in, the original back.

Everything is looked up when it is needed, by an id that is stored on the strip: undo, split and load leave every
earlier reference dangling.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

import bpy

from ..core.messages import InputError
from ..core.timing import TimeMap, constant
from . import compat, selection
from .copying import copy_animation, copy_settings
from .prerender import SEE_BELOW
from .selection import Request

ID = "lento_id"
"""Custom property of a strip that is being slowed. Copied by split and duplicate, so not unique."""
PROVENANCE = "lento"
"""Custom property of a generated strip: JSON of a Provenance."""
KEPT = "lento_kept"
"""Custom property of an original that stays, muted: the id that its slowed strip's Provenance has."""
SOUND_OF = "lento_sound_of"
"""Custom property of a stretched sound strip: the folder of the job that made it."""
SOUND_SETTINGS = ("volume", "pan", "mute")
"""What a muted range's sound gets back when it is restored."""
LAST_CHANNEL = 128
FEW_FILES = 2000
"""Files of an image strip up to which adding them one by one takes less than a frame's time (20 ms)."""


@dataclass(frozen=True)
class Provenance:
    """Where a generated strip comes from, and what it takes to put that back."""

    schema: int
    name: str
    type: str
    media: str
    """The movie, or the folder of the image sequence, as the strip named it."""
    files: tuple[str, ...]
    range: tuple[int, int]
    """Frames of the source strip's content, counted from its hard trim."""
    trim: tuple[int, int]
    """Hard trims at both ends of the media."""
    rate: str
    """Frames of the movie per timeline frame; 1 unless the strip played the movie in its own time."""
    factor: str
    engine: str
    job: str
    """The folder of the frames."""
    placement: str
    kept: str = ""
    """Id of the original, which stays on the timeline, muted, where it cannot be made again from its media."""
    time: dict[str, Any] | None = None
    """The time map (timing.TimeMap.as_json); a constant factor where it is missing."""
    sounds: tuple[dict[str, Any], ...] = ()
    """The sound strips of the range, as _Sound tells them, which stretched ones have taken the place of."""

    @property
    def times(self) -> TimeMap:
        """The time map."""
        frames = self.range[1] - self.range[0]
        return TimeMap.from_json(self.time) if self.time else constant(frames, Fraction(self.factor))


def stamp(strip: Any) -> str:
    """Give the strip an id to be found by."""
    strip[ID] = uuid.uuid4().hex
    return str(strip[ID])


def unstamp(scene: Any, strip_id: str) -> None:
    """Take the id off every strip that has it."""
    for strip in scene.sequence_editor.strips_all if scene.sequence_editor else ():
        if strip.get(ID) == strip_id:
            del strip[ID]


def unstamp_all_but(strip_ids: Collection[str]) -> None:
    """Take every other id off its strip: an undo, or a file saved during a job, brings back those of jobs long done."""
    for scene in bpy.data.scenes:
        for strip in scene.sequence_editor.strips_all if scene.sequence_editor else ():
            if strip.get(ID, None) not in (None, *strip_ids):
                del strip[ID]


def find(scene: Any, request: Request) -> tuple[Any, int]:
    """The strip that the request was made for, and the timeline frame where its range begins now.

    The strip may have been moved in the meantime. Raises InputError where it is gone or no longer shows the range.
    """
    kept = f"The frames are finished and kept in {request.job.output}."
    editor = scene.sequence_editor
    same = [
        strip
        for strip in (editor.strips_all if editor else ())
        if strip.type == request.strip_type and selection.media_of(strip) == request.media
    ]
    # an undo takes the id away together with what was undone: then the name has to do
    candidates = [strip for strip in same if strip.get(ID) == request.strip_id] or [
        strip for strip in same if strip.name == request.strip_name
    ]
    if not candidates:
        raise InputError(f"The strip {request.strip_name!r} is gone, so nothing was inserted. {kept}")
    for strip in sorted(candidates, key=lambda strip: strip.name != request.strip_name):
        start = request.marked.start + compat.content_start(strip) - request.content_began
        if compat.left(strip) <= start and start + len(request.marked) <= compat.right(strip):
            try:
                selection.check_strip(scene, strip, request.placement)
            except InputError as error:
                raise InputError(f"{error} {kept}") from error
            return strip, start
    raise InputError(
        f"The strip {request.strip_name!r} was changed and no longer shows the range, so nothing was inserted. {kept}"
    )


def insert(scene: Any, request: Request, result: dict[str, Any]) -> Any:
    """Put the finished frames on the timeline and return their strip.

    Raises InputError, with nothing changed, where the source strip is gone or has changed, or no channel is free.
    """
    source, start = find(scene, request)
    end, length = start + len(request.marked), len(result["frames"])
    added = length - len(request.marked)
    strips = selection.container_of(scene, source)
    provenance = Provenance(
        schema=1,
        name=source.name,
        type=source.type,
        media=source.filepath if source.type == "MOVIE" else getattr(source, "directory", ""),
        files=tuple(element.filename for element in source.elements) if source.type == "IMAGE" else (),
        range=(start - compat.content_start(source), end - compat.content_start(source)),
        trim=(compat.trim_start(source), compat.trim_end(source)),
        rate=result["rate"],
        factor=str(request.job.factor),
        engine=result["engine"],
        job=request.folder,
        placement=request.placement.placement,
        kept=uuid.uuid4().hex if request.task or request.job.retimed else "",
        time=result["time"],
    )
    times = provenance.times
    channel = source.channel
    if request.placement.placement == "overlay":
        channel = free_channel(scene, strips, channel + 1, start, start + length)
    name = f"{provenance.name} {_label(request)}"
    if "movie" in result:
        generated = strips.new_movie(name, f"{request.folder}/{result['movie']}", channel, start)
    else:
        names = [frame["file"] for frame in result["frames"]]
        generated = new_image_strip(scene, strips, name, request.folder, names, channel, start)
    # all that Blender might refuse comes before anything of the user's is touched
    try:
        copy_settings(source, generated, *_left_out(source, request))
        if source.type == "MOVIE" and generated.type == "IMAGE" and generated.elements[0].filename.endswith(".exr"):
            # Blender shows deep movies as premultiplied whatever the strip says, and images as the strip says
            generated.alpha_mode = "PREMUL"
        copy_animation(scene, source, generated, lambda frame: start + times.when(frame - start))
        stretched = _new_sounds(scene, strips, request, result, source, start)
    except BaseException:
        strips.remove(generated)
        raise
    if request.placement.placement == "ripple":
        taken = _take_sounds_out(strips, request, source, start, end)
        provenance = replace(provenance, sounds=tuple(taken))
        range_strip = _isolate(source, start, end)
        inside = _markers_inside(scene, strips, start, end)
        ripple(scene, strips, end, added, generated, *stretched)
        for sound, told in zip(stretched, taken, strict=False):
            sound.channel = told["channel"]
        for marker in inside:
            marker.frame = round(start + times.when(marker.frame - start))
        if provenance.kept:
            range_strip.channel = free_channel(scene, strips, channel + 1, start, end)
            range_strip.mute, range_strip[KEPT] = True, provenance.kept
        else:
            strips.remove(range_strip)
    generated[PROVENANCE] = json.dumps(asdict(provenance))
    for sound in stretched:
        sound[SOUND_OF] = request.folder
    unstamp(scene, request.strip_id)
    _select_only(scene, generated)
    return generated


def _label(request: Request) -> str:
    """What the new strip's name says about its speed."""
    job = request.job
    if job.time == "factor":
        return f"{job.factor}x"
    return {"fit": f"{job.length} frames", "curve": "curve", "smooth": "smooth"}[job.time]


def _new_sounds(
    scene: Any, strips: Any, request: Request, result: dict[str, Any], source: Any, start: int
) -> list[Any]:
    """Strips of the stretched sounds, with the settings of those whose place they take; on free channels for now."""
    made: list[Any] = []
    mine = _sounds_of(strips, request, source)
    try:
        for old_name, file in zip(request.sounds, result["sounds"], strict=False):
            if old_name not in mine:
                continue  # it was removed in the meantime
            length = len(result["frames"])
            channel = free_channel(scene, strips, 1, start, max(start + length, *map(compat.right, strips)))
            new = strips.new_sound(f"{old_name} {_label(request)}", f"{request.folder}/{file}", channel, start)
            made.append(new)
            compat.set_right(new, start + length)
            copy_settings(mine[old_name], new)
    except BaseException:
        for strip in made:
            strips.remove(strip)
        raise
    return made


def _sounds_of(strips: Any, request: Request, source: Any) -> dict[str, Any]:
    """The sound strips that the request takes along, as far as they are still there, by name."""
    found = selection.companion_sounds(strips, source)
    return {sound.name: sound for sound in found if sound.name in request.sounds}


def _take_sounds_out(strips: Any, request: Request, source: Any, start: int, end: int) -> list[dict[str, Any]]:
    """Cut the range out of the sounds that the job took along, and the others after it; what was taken out."""
    taken = []
    mine = _sounds_of(strips, request, source)
    for sound in selection.companion_sounds(strips, source):
        if sound.name in mine and compat.left(sound) <= start and compat.right(sound) >= end:
            part = _isolate(sound, start, end)
            taken.append(
                {
                    "name": part.name,
                    "path": part.sound.filepath,
                    "channel": part.channel,
                    "content": compat.content_start(part) - start,
                    "trim": (compat.trim_start(part), compat.trim_end(part)),
                    "settings": {name: getattr(part, name) for name in SOUND_SETTINGS},
                }
            )
            strips.remove(part)
        elif compat.left(sound) < end < compat.right(sound):
            compat.split(sound, end)
    return taken


def _put_sounds_back(scene: Any, strips: Any, origin: Provenance, start: int) -> None:
    """The range's own sounds in the place of the stretched ones, which take their settings along."""
    length = origin.range[1] - origin.range[0]
    stretched = [
        strip
        for strip in strips
        if strip.get(SOUND_OF) == origin.job and compat.left(strip) == start and strip.type == "SOUND"
    ]
    for index, told in enumerate(origin.sounds):
        end = max(compat.right(strip) for strip in strips)
        begin = start + told["content"]
        channel = free_channel(scene, strips, 1, min(begin - told["trim"][0], start), max(end, 10**6))
        sound = strips.new_sound(told["name"], told["path"], channel, begin)
        if any(told["trim"]):
            compat.set_trims(sound, told["trim"][0], told["trim"][1], begin)
        compat.set_left(sound, start)
        compat.set_right(sound, start + length)
        for name, value in told["settings"].items():
            setattr(sound, name, value)
        if index < len(stretched):
            copy_settings(stretched[index], sound)
            strips.remove(stretched[index])
        if told["channel"] not in {other.channel for other in strips if other != sound and _meet(other, sound)}:
            sound.channel = told["channel"]


def _meet(one: Any, other: Any) -> bool:
    return compat.left(one) < compat.right(other) and compat.left(other) < compat.right(one)


def _markers_inside(scene: Any, strips: Any, start: int, end: int) -> list[Any]:
    """Markers that go where their frame will be; to be asked for before what comes after the range is moved."""
    if scene.tool_settings.lock_markers or strips[0].name not in scene.sequence_editor.strips:
        return []
    return [marker for marker in scene.timeline_markers if start < marker.frame < end]


def provenance_of(strip: Any) -> Provenance:
    """Where a generated strip comes from.

    Raises InputError where the strip was not made by Lento.
    """
    text = strip.get(PROVENANCE)
    if not text:
        raise InputError(f"The strip {strip.name!r} was not made by Lento, so there is no original to restore.")
    try:
        return Provenance(**json.loads(text))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The note on the strip {strip.name!r} about its original cannot be read ({error})."
        ) from error


def restore(scene: Any, generated: Any) -> Any:
    """Put the original range back in the generated strip's place and return it; for an overlay, the strip below.

    Raises InputError, with nothing changed, where the strip is not Lento's or its original media is missing.
    """
    origin = provenance_of(generated)
    if generated.lock:
        raise InputError(f"The strip {generated.name!r} is locked: unlock it first.")
    if origin.placement == "overlay":
        selection.container_of(scene, generated).remove(generated)
        return None
    strips = selection.container_of(scene, generated)
    if origin.kept:
        return _restore_kept(scene, strips, generated, origin)
    start, end, channel = compat.left(generated), compat.right(generated), generated.channel
    first, last = origin.range
    # aside at first: an overlap would make Blender move one of the two
    original = _recreate(scene, strips, origin, start - first)
    compat.set_left(original, start)
    compat.set_right(original, start + last - first)
    copy_settings(generated, original)
    times = origin.times

    def where(frame: float) -> float:
        return start + float(times.at(Fraction(frame - start)))

    copy_animation(scene, generated, original, where)
    strips.remove(generated)
    _put_sounds_back(scene, strips, origin, start)
    inside = _markers_inside(scene, strips, start, end)
    ripple(scene, strips, end, (last - first) - (end - start), original)
    for marker in inside:
        marker.frame = round(where(marker.frame))
    original.channel = free_channel(scene, strips, channel, start, start + last - first, but=original)
    _select_only(scene, original)
    return original


def _restore_kept(scene: Any, strips: Any, generated: Any, origin: Provenance) -> Any:
    original = next((strip for strip in strips if strip.get(KEPT) == origin.kept), None)
    if original is None:
        raise InputError(f"The original of {generated.name!r} is no longer on the timeline, so it cannot be restored.")
    start, end, channel, muted = compat.left(generated), compat.right(generated), generated.channel, generated.mute
    times = origin.times
    strips.remove(generated)
    _put_sounds_back(scene, strips, origin, start)
    inside = _markers_inside(scene, strips, start, end)
    compat.move(original, start - compat.left(original))
    ripple(scene, strips, end, compat.right(original) - end, original)
    for marker in inside:
        marker.frame = round(start + times.at(Fraction(marker.frame - start)))
    original.channel = free_channel(scene, strips, channel, start, compat.right(original), but=original)
    original.mute = muted
    del original[KEPT]
    _select_only(scene, original)
    return original


def _left_out(source: Any, request: Request) -> tuple[str, ...]:
    """Settings that a strip of rendered frames must not get: they are in the picture already, or were its file's."""
    if request.task is None:
        return ()
    baked = request.placement.bake_modifiers or source.type in SEE_BELOW
    return ("colorspace_settings", "alpha_mode", *(("modifiers",) if baked else ()))


def ripple(scene: Any, strips: Any, frame: int, added: int, *but: Any) -> None:
    """Move everything that begins at `frame` or later by `added` frames: strips, markers, the end of marked ranges.

    Locked strips and channels stay, as in every editor; effects follow their inputs by themselves; `but` stays, too.
    """
    channels = scene.sequence_editor.channels
    at_top = strips[0].name in scene.sequence_editor.strips
    film_end = max([frame, *(compat.right(strip) for strip in strips if strip not in but)])
    later = [
        strip
        for strip in strips
        if compat.left(strip) >= frame
        and not compat.has_inputs(strip)
        and strip not in but
        and not strip.lock
        and not (at_top and channels[strip.channel].lock)
    ]
    # the far end first, or a strip would be moved onto the next one and pushed to another channel
    for strip in sorted(later, key=compat.left, reverse=added > 0):
        compat.move(strip, added)
    if not at_top:
        return
    if not scene.tool_settings.lock_markers:
        for marker in scene.timeline_markers:
            if marker.frame >= frame:
                marker.frame += added
    if scene.use_preview_range and scene.frame_preview_end + 1 >= frame:
        scene.frame_preview_end += added
    # a scene that ended with the film still does, and one that went on after it still shows all of it
    if scene.frame_end == film_end - 1:
        scene.frame_end += added
    elif scene.frame_end >= film_end:
        scene.frame_end = max(scene.frame_end, film_end + added - 1)


def free_channel(scene: Any, strips: Any, lowest: int, start: int, end: int, but: Any = None) -> int:
    """The lowest channel from `lowest` up that is not locked and has nothing (but `but`) between `start` and `end`.

    Raises InputError where there is none.
    """
    taken = {
        strip.channel for strip in strips if compat.left(strip) < end and compat.right(strip) > start and strip != but
    }
    for channel in range(lowest, LAST_CHANNEL + 1):
        if channel not in taken and not scene.sequence_editor.channels[channel].lock:
            return channel
    raise InputError(
        f"No channel above {lowest - 1} is free from frame {start} to {end - 1}: free one, or choose Ripple."
    )


def new_image_strip(
    scene: Any, strips: Any, name: str, folder: str, names: Sequence[str], channel: int, start: int
) -> Any:
    """An image strip of the files `names` in `folder`; `start` is its first timeline frame."""
    if len(names) > FEW_FILES and _is_shown(scene, strips):
        before = set(strips.keys())
        compat.add_long_image_strip(scene, selection.absolute(folder), names, channel, start)
        strip = next(strip for strip in strips if strip.name not in before)
        strip.name, strip.directory = name, f"{folder.rstrip('/')}/"
        return strip
    strip = strips.new_image(name, f"{folder.rstrip('/')}/{names[0]}", channel, start)
    for file in names[1:]:
        strip.elements.append(file)
    return strip


def _is_shown(scene: Any, strips: Any) -> bool:
    """Whether the sequencer shows these strips, and not those inside of a meta strip, or around it."""
    editor = scene.sequence_editor
    return not editor.meta_stack and strips[0].name in editor.strips


def _isolate(strip: Any, start: int, end: int) -> Any:
    """Split the strip so that one strip shows just `start` to `end`, and return that one."""
    if end < compat.right(strip):
        compat.split(strip, end)
    return compat.split(strip, start) if compat.left(strip) < start else strip


def _recreate(scene: Any, strips: Any, origin: Provenance, content_start: int) -> Any:
    """The source strip, whole, its content beginning at `content_start`, on a channel with nothing in its way."""
    end = max(compat.right(strip) for strip in strips)
    channel = free_channel(scene, strips, 1, min(content_start - origin.trim[0], end), 10**6)
    if origin.type == "IMAGE":
        strip = new_image_strip(scene, strips, origin.name, origin.media, origin.files, channel, content_start)
    elif Fraction(origin.rate) == 1:
        strip = strips.new_movie(origin.name, origin.media, channel, content_start)
    else:
        before = set(strips.keys())
        compat.add_movie_in_its_own_time(scene, selection.absolute(origin.media), channel, content_start)
        strip = next((strip for strip in strips if strip.name not in before), None)
        if strip is None:
            raise InputError(
                f"The original of {origin.name!r} lies in a meta strip: open that (Tab), then restore it there."
            )
        strip.name, strip.filepath = origin.name, origin.media
    if any(origin.trim):
        compat.set_trims(strip, *origin.trim, content_start)
    return strip


def _select_only(scene: Any, strip: Any) -> None:
    for other in scene.sequence_editor.strips_all:
        other.select = False
    strip.select = True
    scene.sequence_editor.active_strip = strip
