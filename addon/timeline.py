# SPDX-License-Identifier: GPL-3.0-or-later
"""Finished frames onto the timeline.

Everything is looked up when it is needed, by an id that is stored on the strip: undo, split and load leave every
earlier reference dangling.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from typing import Any

import bpy

from ..core.messages import InputError
from . import compat, connections, plain, selection, sounds
from .animation import copy_animation, remove
from .copying import copy_settings
from .place import container_of
from .prerender import SEE_BELOW
from .provenance import PROVENANCE, Provenance
from .request import Request
from .room import free_channel, isolate, markers_inside, ripple, settle

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
        base=os.path.dirname(bpy.data.filepath),
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
    select_only(scene, generated)
    return generated


def _label(request: Request) -> str:
    """What the new strip's name says about its speed."""
    job = request.job
    if job.time == "factor":
        return f"{job.factor}x"
    return {"fit": f"{job.length} frames", "curve": "curve", "smooth": "smooth"}[job.time]


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
    if len(names) > FEW_FILES and is_shown(scene, strips):
        before = set(strips.keys())
        compat.add_long_image_strip(scene, selection.absolute(folder), names, channel, start)
        strip = next(strip for strip in strips if strip.name not in before)
        strip.name, strip.directory = name, f"{folder.rstrip('/')}/"
        return strip
    strip = strips.new_image(name, f"{folder.rstrip('/')}/{names[0]}", channel, start)
    for file in names[1:]:
        strip.elements.append(file)
    return strip


def is_shown(scene: Any, strips: Any) -> bool:
    """Whether the sequencer shows these strips, and not those inside of a meta strip, or around it."""
    editor = scene.sequence_editor
    return not editor.meta_stack and strips[0].name in editor.strips


def _proxy_of(strip: Any) -> dict[str, Any] | None:
    if not getattr(strip, "use_proxy", False):
        return None
    # the file's path and the folder are one in Blender, each set by both
    return plain.told(strip.proxy, "directory" if strip.proxy.use_proxy_custom_file else "filepath")


def select_only(scene: Any, strip: Any) -> None:
    """Make the strip the only one that is selected, and the active one."""
    for other in scene.sequence_editor.strips_all:
        other.select = False
    strip.select = True
    scene.sequence_editor.active_strip = strip
