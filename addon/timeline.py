# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits of the timeline: finished frames in, the original back.

Everything is looked up when it is needed, by an id that is stored on the strip: undo, split and load leave every
earlier reference dangling.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from typing import Any

import bpy

from ..core.messages import InputError
from . import compat, connections, plain, selection, sounds
from .animation import copy_animation, remove
from .copying import copy_settings
from .place import container_of
from .prerender import SEE_BELOW
from .provenance import PROVENANCE, Provenance, provenance_of
from .room import free_channel, isolate, markers_inside, ripple, settle
from .selection import Request

ID = "lento_id"
"""Custom property of a strip that is being slowed. Copied by split and duplicate, so not unique."""
KEPT = "lento_kept"
"""Custom property of an original that stays, muted: the id that its slowed strip's Provenance has."""
FEW_FILES = 2000
"""Files of an image strip up to which adding them one by one takes less than a frame's time (20 ms)."""


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


def scene_of(request: Request) -> Any:
    """The scene that the request was made in, which may have another name now.

    Raises InputError where it is gone.
    """
    for scene in sorted(bpy.data.scenes, key=lambda scene: scene.name != request.scene):
        editor = scene.sequence_editor
        if editor and any(strip.get(ID) == request.strip_id for strip in editor.strips_all):
            return scene
    if request.scene not in bpy.data.scenes:
        raise InputError(
            f"The scene {request.scene!r} is gone, so nothing was inserted. The frames are kept in "
            f"{request.job.output}."
        )
    return bpy.data.scenes[request.scene]


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
    strips = container_of(scene, source)
    folder = selection.as_named(request.job.output)  # only now: the file may have been saved elsewhere
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
        job=folder,
        placement=request.placement.placement,
        kept=uuid.uuid4().hex if request.task or request.job.retimed else "",
        time=result["time"],
        note=source.get(PROVENANCE, ""),
        proxy=_proxy_of(source),
    )
    times = provenance.times

    def when(frame: float) -> float:
        return start + times.when(frame - start)

    channel = source.channel
    if request.placement.placement == "overlay":
        channel = free_channel(scene, strips, channel + 1, start, start + length)
    name = f"{provenance.name} {_label(request)}"
    if "movie" in result:
        generated = strips.new_movie(name, f"{folder}/{result['movie']}", channel, start)
    else:
        names = [frame["file"] for frame in result["frames"]]
        generated = new_image_strip(scene, strips, name, folder, names, channel, start)
    # all that Blender might refuse comes before anything of the user's is touched
    made = [generated]
    try:
        copy_settings(source, generated, *_left_out(source, request))
        if source.type == "MOVIE" and generated.type == "IMAGE" and generated.elements[0].filename.endswith(".exr"):
            # Blender shows deep movies as premultiplied whatever the strip says, and images as the strip says
            generated.alpha_mode = "PREMUL"
        copy_animation(scene, source, generated, when)
        stretched = sounds.add_stretched(scene, strips, request, result, source, start, _label(request), when)
        made += stretched
        mixed = sounds.add_mixed(scene, strips, request, result, start, _label(request))
        made += mixed
        if provenance.kept:
            # what comes after a range that gets shorter moves onto its place
            aside = free_channel(scene, strips, channel + 1, start, end + max(0, -added))
    except BaseException:
        for strip in made:
            remove(scene, strips, strip)
        raise
    if request.placement.placement == "ripple":
        connections.mark(strips, source)
        connections.inherit(source, generated)
        for sound in mixed:
            connections.attach(generated, sound)
        taken = sounds.take_out(scene, strips, request, source, start, end, stretched)
        provenance = replace(provenance, sounds=tuple(taken))
        range_strip = isolate(source, start, end)
        inside = markers_inside(scene, strips, start, end)
        # out of the way of what comes after it
        if provenance.kept:
            range_strip.channel = aside
            range_strip.mute, range_strip[KEPT] = True, provenance.kept
            connections.leave(range_strip)
        else:
            remove(scene, strips, range_strip)
        pushed = ripple(scene, strips, end, added, generated, *stretched, *mixed)
        provenance = replace(provenance, pushed=pushed)
        for sound in mixed:
            provenance = replace(provenance, mixed=os.path.basename(sound.sound.filepath))
            settle(scene, strips, sound, 1)
        for sound, told in zip(stretched, taken, strict=False):
            settle(scene, strips, sound, told["channel"])
        for marker in inside:
            marker.frame = round(when(marker.frame))
        if provenance.kept:
            settle(scene, strips, range_strip, channel + 1)
        connections.join(scene, strips, start, start + length)
    generated[PROVENANCE] = json.dumps(asdict(provenance))
    unstamp(scene, request.strip_id)
    _select_only(scene, generated)
    return generated


def _label(request: Request) -> str:
    """What the new strip's name says about its speed."""
    job = request.job
    if job.time == "factor":
        return f"{job.factor}x"
    return {"fit": f"{job.length} frames", "curve": "curve", "smooth": "smooth"}[job.time]


def restore(scene: Any, generated: Any) -> Any:
    """Put the original range back in the generated strip's place and return it; for an overlay, the strip below.

    Raises InputError, with nothing changed, where the strip is not Lento's or its original media is missing.
    """
    origin = provenance_of(generated)
    _check_unlocked(generated)
    if origin.placement == "overlay":
        remove(scene, container_of(scene, generated), generated)
        return None
    strips = container_of(scene, generated)
    _check_whole(generated)
    original = _kept(strips, generated, origin) if origin.kept else None
    stretched = sounds.stand_ins(strips, origin.sounds, origin.job, compat.left(generated))
    mixed = sounds.mixed_by(strips, origin.mixed, origin.job, compat.left(generated))
    _check_unlocked(original, *stretched, *mixed)
    _check_media(generated, origin)
    start, end, channel, muted = compat.left(generated), compat.right(generated), generated.channel, generated.mute
    length = origin.range[1] - origin.range[0]
    times = origin.times

    def where(frame: float) -> float:
        found = start + float(times.at(Fraction(frame - start)))
        # Blender keeps times in 32 bits: what was on a frame goes back onto it
        return round(found) if abs(found - round(found)) < 0.01 else found

    # all that can fail comes before anything of the user's is touched
    made: list[Any] = []
    try:
        if original is None:
            original = _recreate(scene, strips, origin, start)
            made.append(original)
            _check_extent(original, origin.media, start, length)
            copy_settings(generated, original)
            copy_animation(scene, generated, original, where)
        returned = sounds.recreate(scene, strips, origin.sounds, stretched, start, length, where)
        made += returned
        for sound, told in zip(returned, origin.sounds, strict=True):
            _check_extent(sound, told["path"], start, length)
    except BaseException:
        for strip in made:
            remove(scene, strips, strip)
        raise
    connections.mark(strips, generated)
    connections.inherit(generated, original)
    for told, old, sound in zip(origin.sounds, stretched, returned, strict=True):
        if told.get("connected"):
            connections.attach(original, sound)
        elif old is not None:
            connections.inherit(old, sound)
    for strip in (generated, *stretched, *mixed):
        if strip is not None:
            remove(scene, strips, strip)
    inside = markers_inside(scene, strips, start, end)
    compat.move(original, start - compat.left(original))
    ripple(scene, strips, end, length - (end - start), original, *returned)
    for marker in inside:
        marker.frame = round(where(marker.frame))
    settle(scene, strips, original, channel)
    for told, sound in zip(origin.sounds, returned, strict=True):
        settle(scene, strips, sound, told["channel"])
    for name, (before, after) in origin.pushed.items():
        strip = strips.get(name)
        if strip is not None and strip.channel == after and not strip.lock:
            settle(scene, strips, strip, before)
    if origin.kept:
        original.mute = muted
        del original[KEPT]
    connections.join(scene, strips)
    _select_only(scene, original)
    return original


def _kept(strips: Any, generated: Any, origin: Provenance) -> Any:
    """The original that stayed on the timeline, muted."""
    original = next((strip for strip in strips if strip.get(KEPT) == origin.kept), None)
    if original is None:
        raise InputError(f"The original of {generated.name!r} is no longer on the timeline, so it cannot be restored.")
    return original


def _check_unlocked(*changed: Any) -> None:
    for strip in changed:
        if strip is not None and strip.lock:
            raise InputError(f"The strip {strip.name!r}, or its channel, is locked: unlock it first.")


def _check_whole(generated: Any) -> None:
    """Raise InputError where the strip shows a part of its frames: the original of the rest would come back with it."""
    begin = compat.content_start(generated)
    whole = (begin, begin + compat.content_length(generated))
    trimmed = compat.trim_start(generated) or compat.trim_end(generated)
    if trimmed or (compat.left(generated), compat.right(generated)) != whole:
        raise InputError(
            f"The strip {generated.name!r} was trimmed, extended or split, so its original cannot be put in its place: "
            "undo that, or delete its other parts and clear its offsets (Strip > Transform > Clear Strip Offset), then "
            "restore."
        )


def _check_media(generated: Any, origin: Provenance) -> None:
    """Raise InputError where a file of what is to be made again is not there: Blender would make a strip of 1 frame."""
    paths = [told["path"] for told in origin.sounds]
    if not origin.kept:
        paths.append(os.path.join(origin.media, origin.files[0]) if origin.files else origin.media)
    for path in map(selection.absolute, paths):
        if not os.path.exists(path):
            raise InputError(
                f"The original of {generated.name!r} plays {path}, which is not there, so it cannot be restored: put "
                "the file back there first."
            )


def _check_extent(strip: Any, path: str, start: int, length: int) -> None:
    """Raise InputError where a strip made again of `path` does not lie where it did."""
    if (compat.left(strip), compat.right(strip)) != (start, start + length):
        raise InputError(
            f"{selection.absolute(path)} no longer has the frames of the original, which cannot be restored: put the "
            "file back as it was."
        )


def _left_out(source: Any, request: Request) -> tuple[str, ...]:
    """Settings that a strip of rendered frames must not get: they are in the picture already, or were its file's."""
    if request.task is None:
        return ()
    baked = request.placement.bake_modifiers or source.type in SEE_BELOW
    return ("colorspace_settings", "alpha_mode", *(("modifiers",) if baked else ()))


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


def _proxy_of(strip: Any) -> dict[str, Any] | None:
    if not getattr(strip, "use_proxy", False):
        return None
    # the file's path and the folder are one in Blender, each set by both
    return plain.told(strip.proxy, "directory" if strip.proxy.use_proxy_custom_file else "filepath")


def _recreate(scene: Any, strips: Any, origin: Provenance, start: int) -> Any:
    """The source strip, its range beginning at frame `start`, on a channel with nothing in its way."""
    first, last = origin.range
    content_start = start - first
    end = max(compat.right(strip) for strip in strips)
    channel = free_channel(scene, strips, 1, min(content_start - origin.trim[0], end), 10**6)
    if origin.type == "IMAGE":
        strip = new_image_strip(scene, strips, origin.name, origin.media, origin.files, channel, content_start)
    elif Fraction(origin.rate) == 1:
        strip = strips.new_movie(origin.name, origin.media, channel, content_start)
    elif not _is_shown(scene, strips):
        raise InputError(
            f"The original of {origin.name!r} lies in a meta strip: open that (Tab), then restore it there."
        )
    else:
        before = set(strips.keys())
        compat.add_movie_in_its_own_time(scene, selection.absolute(origin.media), channel, content_start)
        strip = next(strip for strip in strips if strip.name not in before)
        strip.name, strip.filepath = origin.name, origin.media
    if origin.note:
        strip[PROVENANCE] = origin.note
    if any(origin.trim):
        compat.set_trims(strip, *origin.trim, content_start)
    compat.set_left(strip, start)
    compat.set_right(strip, start + last - first)
    if origin.proxy is not None:
        strip.use_proxy = True
        plain.put(strip.proxy, origin.proxy)
    return strip


def _select_only(scene: Any, strip: Any) -> None:
    for other in scene.sequence_editor.strips_all:
        other.select = False
    strip.select = True
    scene.sequence_editor.active_strip = strip
