# SPDX-License-Identifier: GPL-3.0-or-later
"""The only place that knows how Blender's versions differ. Features are tested for, not version numbers.

Names of a strip's times: 5.1 brought new ones, and reading the old ones warns from 5.2 on; they mean the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import bpy

_NEW_TIMES = "left_handle" in bpy.types.Strip.bl_rna.properties
_LEFT = "left_handle" if _NEW_TIMES else "frame_final_start"
_RIGHT = "right_handle" if _NEW_TIMES else "frame_final_end"
_CONTENT_START = "content_start" if _NEW_TIMES else "frame_start"
_CONTENT_LENGTH = "content_duration" if _NEW_TIMES else "frame_duration"
_TRIM_START = "content_trim_start" if _NEW_TIMES else "animation_offset_start"
_TRIM_END = "content_trim_end" if _NEW_TIMES else "animation_offset_end"

# what must not be copied from strip to strip: the times under both of their names, and where the strip lies
STRIP_PLACE = frozenset(
    {
        "left_handle",
        "right_handle",
        "duration",
        "content_start",
        "left_handle_offset",
        "right_handle_offset",
        "content_trim_start",
        "content_trim_end",
        "frame_start",
        "frame_final_start",
        "frame_final_end",
        "frame_final_duration",
        "frame_offset_start",
        "frame_offset_end",
        "animation_offset_start",
        "animation_offset_end",
        "channel",
    }
)


def left(strip: Any) -> int:
    """First timeline frame that the strip shows."""
    return int(getattr(strip, _LEFT))


def right(strip: Any) -> int:
    """The timeline frame after the last that the strip shows."""
    return int(getattr(strip, _RIGHT))


def set_left(strip: Any, frame: int) -> None:
    """Trim or extend the strip's start."""
    setattr(strip, _LEFT, frame)


def set_right(strip: Any, frame: int) -> None:
    """Trim or extend the strip's end."""
    setattr(strip, _RIGHT, frame)


def content_start(strip: Any) -> int:
    """Timeline frame where the strip's content begins, shown or not."""
    return round(getattr(strip, _CONTENT_START))


def move(strip: Any, frames: int) -> None:
    """Move the strip in time; where it would overlap another, Blender puts it on a higher channel."""
    setattr(strip, _CONTENT_START, getattr(strip, _CONTENT_START) + frames)


def content_length(strip: Any) -> int:
    """Length of the strip's content in timeline frames, without its hard trims."""
    return int(getattr(strip, _CONTENT_LENGTH))


def trim_start(strip: Any) -> int:
    """Frames cut off the media's start by a hard cut; they are not part of the content."""
    return int(getattr(strip, _TRIM_START, 0))  # effects have none


def trim_end(strip: Any) -> int:
    """Frames cut off the media's end by a hard cut; they are not part of the content."""
    return int(getattr(strip, _TRIM_END, 0))


def set_trims(strip: Any, start: int, end: int, content: int) -> None:
    """Cut frames off both ends of the media; the content then begins at timeline frame `content`."""
    setattr(strip, _TRIM_START, start)
    setattr(strip, _TRIM_END, end)
    setattr(strip, _CONTENT_START, content)  # from 5.2 on a trim moves it


def split(strip: Any, frame: int) -> Any:
    """Cut the strip and leave the strips connected to it alone. Returns the right part; `strip` stays the left one."""
    return strip.split(frame=frame, split_method="SOFT", ignore_connections=True)


def has_inputs(strip: Any) -> bool:
    """Whether the strip is an effect that follows other strips."""
    return getattr(strip, "input_count", 0) > 0


def is_retimed(strip: Any) -> bool:
    """Whether the user changed the strip's speed with retiming keys."""
    return len(getattr(strip, "retiming_keys", ())) > 0


def constant_retiming(strip: Any) -> tuple[int, bool] | None:
    """The timeline frames that the whole media of a strip gets which the user gave one other speed.

    With it, whether they are counted to the media's end or (False) to its last frame. None for more than one speed.
    """
    keys = [key.timeline_frame for key in getattr(strip, "retiming_keys", ())]
    # nothing tells which frames of the media keys stand for, but of the first and the last one of an untrimmed strip
    if len(keys) != 2 or trim_start(strip) or trim_end(strip):
        return None
    length = round(keys[1] - keys[0])
    # the last key stands at the content's end from 5.0 on, before at its last frame
    to_end = length >= content_length(strip)
    return (length, to_end) if length > 0 else None


def connected(strip: Any) -> list[Any]:
    """The strips that the user, or adding a movie, connected with this one; empty where Blender does not tell."""
    return list(getattr(strip, "connections", ()))


def tells_connections() -> bool:
    """Whether Blender tells which strips are connected, which it does from 5.2 on."""
    return "connections" in bpy.types.Strip.bl_rna.properties


def editing_scene(context: Any) -> Any:
    """The scene whose timeline the user edits."""
    # from 5.0 on a workspace names it, and may name none
    return getattr(context, "sequencer_scene", None) or context.scene


def fcurves(scene: Any) -> Any:
    """The F-curves of a scene's action, None where there is no action."""
    animation = scene.animation_data
    if animation is None or animation.action is None:
        return None
    if hasattr(animation.action, "fcurves"):
        return animation.action.fcurves
    from bpy_extras import anim_utils

    channels = anim_utils.action_get_channelbag_for_slot(animation.action, animation.action_slot)
    return channels.fcurves if channels else None


def new_fcurve(scene: Any, path: str, index: int) -> Any:
    """An F-curve without keys for a property of the scene; one that is there already is emptied.

    Scenes that share an action share their curves.
    """
    animation = scene.animation_data_create()
    if animation.action is None:
        animation.action = bpy.data.actions.new(f"{scene.name}Action")
    return _emptied(animation.action.fcurve_ensure_for_datablock(scene, path, index=index))


def drivers(scene: Any) -> Any:
    """The drivers of a scene's properties."""
    return scene.animation_data.drivers if scene.animation_data else ()


def new_driver(scene: Any, path: str, index: int) -> Any:
    """A driver for a property of the scene, its curve without keys; one that is there already gives way."""
    found = scene.animation_data_create().drivers
    stale = found.find(path, index=index)
    if stale is not None:
        found.remove(stale)
    return _emptied(found.new(path, index=index))


def _emptied(curve: Any) -> Any:
    curve.keyframe_points.clear()
    for modifier in list(curve.modifiers):
        curve.modifiers.remove(modifier)
    return curve


@contextmanager
def edited(scene: Any) -> Iterator[None]:
    """A context in which the sequencer's operators that need no area work on this scene.

    Unlike `in_sequencer` it overrides as little as it can: an operator that runs in an override while another thread
    runs Python, too, crashes Blender 4.5.
    """
    workspace = (bpy.context.window or bpy.context.window_manager.windows[0]).workspace
    if hasattr(workspace, "sequencer_scene"):
        before, workspace.sequencer_scene = workspace.sequencer_scene, scene
        try:
            yield
        finally:
            workspace.sequencer_scene = before
    elif bpy.context.scene == scene:
        yield
    else:
        # not with a window: Blender would go by that window's scene
        with bpy.context.temp_override(scene=scene):
            yield


@contextmanager
def in_sequencer(scene: Any) -> Iterator[None]:
    """A context in which the sequencer's own operators work on this scene, also where no sequencer is on the screen."""
    if bpy.context.area and bpy.context.area.type == "SEQUENCE_EDITOR" and editing_scene(bpy.context) == scene:
        yield  # see `edited` for why nothing is overridden without need
        return
    manager = bpy.context.window_manager
    window, area = next(
        (
            (window, area)
            for window in manager.windows
            for area in window.screen.areas
            if area.type == "SEQUENCE_EDITOR"
        ),
        (manager.windows[0], manager.windows[0].screen.areas[0]),
    )
    kind = area.type
    workspace = window.workspace
    before = getattr(workspace, "sequencer_scene", None)
    area.type = "SEQUENCE_EDITOR"
    if hasattr(workspace, "sequencer_scene"):
        workspace.sequencer_scene = scene
    try:
        region = next(region for region in area.regions if region.type == "WINDOW")
        with bpy.context.temp_override(window=window, area=area, region=region, scene=scene):
            yield
    finally:
        area.type = kind
        if hasattr(workspace, "sequencer_scene"):
            workspace.sequencer_scene = before


def add_movie_in_its_own_time(scene: Any, path: str, channel: int, start: int) -> None:
    """Add a movie strip that plays at the movie's frame rate, as the interface does; only its operator can.

    It lands among the strips that the sequencer shows.
    """
    operator = bpy.ops.sequencer.movie_strip_add
    # from 5.0 on it would start to move the strip with the mouse, which crashes without a window
    keep = {"move_strips": False} if "move_strips" in operator.get_rna_type().properties else {}
    with in_sequencer(scene):
        operator(
            filepath=path,
            channel=channel,
            frame_start=start,
            sound=False,
            use_framerate=False,
            adjust_playback_rate=True,
            fit_method="ORIGINAL",
            set_view_transform=False,
            **keep,
        )


def set_image_output(settings: Any) -> None:
    """Make a scene's output images; from 5.0 on that is chosen before the format."""
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"


def add_long_image_strip(scene: Any, directory: str, names: Sequence[str], channel: int, start: int) -> None:
    """Add an image strip of thousands of files, for which the collection's `append` would take seconds.

    It lands among the strips that the sequencer shows, under the name of its first file.
    """
    operator = bpy.ops.sequencer.image_strip_add
    keep = {"move_strips": False} if "move_strips" in operator.get_rna_type().properties else {}
    with in_sequencer(scene):
        operator(
            directory=directory,
            files=[{"name": name} for name in names],
            channel=channel,
            frame_start=start,
            overlap=True,
            relative_path=False,
            fit_method="ORIGINAL",
            set_view_transform=False,
            **keep,
        )


def sequencer_areas(window_manager: Any) -> Iterator[Any]:
    """Every area that shows a sequencer, in every window."""
    for window in window_manager.windows:
        for area in window.screen.areas:
            if area.type == "SEQUENCE_EDITOR":
                yield area
