# SPDX-License-Identifier: GPL-3.0-or-later
"""One .blend with every type of strip one after the other, each slowed in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from scripts.in_blender import edit, rendered
from tests.addon.conftest import worker_python
from tests.addon.helpers import add_effect, add_images, add_movie, lento, times

LENGTH = 10
FIRST, FRAMES = 2, 4
"""The range within each strip."""
CHANNEL = 4
ONE_STEP = 1.01 / 255

Make = Callable[[Any, Path, str, int], Any]

STREAMS = """
import sys, av
from fractions import Fraction
from scripts.clips import draw
with av.open(sys.argv[1], "w") as container:
    streams = [container.add_stream("ffv1", rate=24) for _ in range(2)]
    for stream in streams:
        stream.width, stream.height, stream.pix_fmt = 320, 180, "bgr0"
    for index in range(24):
        for shift, stream in zip((0, 100), streams):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(draw(index + shift), format="rgb24")))
    for stream in streams:
        container.mux(stream.encode())
"""


@pytest.fixture(scope="session")
def media(clips: Path) -> Path:
    """`clips` with a movie of two streams and an HDR movie."""
    worker_python("-c", STREAMS, str(clips / "streams.mkv"))
    worker_python(
        "-c",
        "import sys; from pathlib import Path; from scripts.clips import write_clip\n"
        "write_clip(Path(sys.argv[1]), 24, codec='libx265', pixel_format='yuv420p10le', sound=False, transfer='hlg')",
        str(clips / "hlg.mp4"),
    )
    return clips


def cut(strip: Any, start: int) -> Any:
    """The strip with its first LENGTH frames from `start` on."""
    lento("addon.compat").set_right(strip, start + LENGTH)
    return strip


def movie(scene: Any, media: Path, name: str, start: int, file: str = "clip.mp4", channel: int = CHANNEL) -> Any:
    return cut(add_movie(scene, media / file, channel, start, name), start)


def images(scene: Any, media: Path, name: str, start: int) -> Any:
    return cut(add_images(scene, media / "seq", CHANNEL, start, name), start)


def with_settings(*settings: tuple[str, Any], file: str = "clip.mp4") -> Make:
    def make(scene: Any, media: Path, name: str, start: int) -> Any:
        strip = movie(scene, media, name, start, file)
        for path, value in settings:
            *parents, last = path.split(".")
            target = strip
            for parent in parents:
                target = getattr(target, parent)
            setattr(target, last, value)
        return strip

    return make


def meta(scene: Any, media: Path, name: str, start: int) -> Any:
    strip = scene.sequence_editor.strips.new_meta(name, CHANNEL, start)
    inner = strip.strips.new_movie(f"{name} inner", str(media / "clip.mp4"), 1, start)
    inner.color_saturation = 0.5
    return cut(strip, start)


def animated_meta(scene: Any, media: Path, name: str, start: int) -> Any:
    strip = meta(scene, media, name, start)
    for frame, x in ((start, -60.0), (start + LENGTH, 60.0)):
        strip.transform.offset_x = x
        strip.transform.keyframe_insert("offset_x", frame=frame)
    # whole pixels: Blender 5 moves OpenEXR by parts of a pixel in linear light, and other pictures as they are encoded
    curves = lento("addon.compat").fcurves(scene)
    for key in curves.find(strip.transform.path_from_id("offset_x")).keyframe_points:
        key.interpolation = "LINEAR"
    return strip


def sequencer_scene(scene: Any, media: Path, name: str, start: int) -> Any:
    other = bpy.data.scenes.new(name)
    other.render.engine = "CYCLES"
    other.render.resolution_x, other.render.resolution_y = 320, 180
    other.sequence_editor_create().strips.new_movie("Inner", str(media / "clip.mp4"), 1, 1)
    strip = scene.sequence_editor.strips.new_scene(name, other, CHANNEL, start)
    strip.scene_input = "SEQUENCER"
    return cut(strip, start)


def camera_scene(scene: Any, media: Path, name: str, start: int) -> Any:
    """A cube that turns before a camera, rendered by Cycles."""
    other = bpy.data.scenes.new(name)
    other.render.engine = "CYCLES"
    other.cycles.samples, other.cycles.use_denoising = 4, False
    other.render.resolution_x, other.render.resolution_y = 64, 36
    mesh = bpy.data.meshes.new("Cube")
    corners = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    mesh.from_pydata(corners, [], [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)])
    cube = bpy.data.objects.new("Cube", mesh)
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location = (0, 0, 6)
    sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    sun.rotation_euler = (0.5, 0.4, 0)
    for thing in (cube, camera, sun):
        other.collection.objects.link(thing)
    other.camera = camera
    for frame, angle in ((1, 0.0), (LENGTH, 1.0)):
        cube.rotation_euler = (angle, angle / 2, 0)
        cube.keyframe_insert("rotation_euler", frame=frame)
    strip = scene.sequence_editor.strips.new_scene(name, other, CHANNEL, start)
    return cut(strip, start)


def tracked_clip(scene: Any, media: Path, name: str, start: int) -> Any:
    clip = bpy.data.movieclips.load(str(media / "clip.mp4"))
    return cut(scene.sequence_editor.strips.new_clip(name, clip, CHANNEL, start), start)


def mask(scene: Any, media: Path, name: str, start: int) -> Any:
    shape = bpy.data.masks.new(name)
    spline = shape.layers.new(name="Layer").splines.new()
    spline.points.add(3)
    for point, place in zip(spline.points, ((0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7)), strict=True):
        point.co = point.handle_left = point.handle_right = place
    spline.use_cyclic = True
    return cut(scene.sequence_editor.strips.new_mask(name, shape, CHANNEL, start), start)


def text(scene: Any, media: Path, name: str, start: int) -> Any:
    strip = add_effect(scene, name, "TEXT", CHANNEL, start=start, length=LENGTH)
    strip.text, strip.font_size = "Lento", 40
    for frame, x in ((start, 0.2), (start + LENGTH, 0.8)):
        strip.location[0] = x
        strip.keyframe_insert("location", frame=frame)
    return strip


def color(scene: Any, media: Path, name: str, start: int) -> Any:
    strip = add_effect(scene, name, "COLOR", CHANNEL, start=start, length=LENGTH)
    for frame, red in ((start, 0.0), (start + LENGTH, 1.0)):
        strip.color = (red, 0.4, 0.2)
        strip.keyframe_insert("color", frame=frame)
    return strip


def adjustment(scene: Any, media: Path, name: str, start: int) -> Any:
    movie(scene, media, f"{name} below", start, channel=2)
    strip = add_effect(scene, name, "ADJUSTMENT", CHANNEL, start=start, length=LENGTH)
    strip.modifiers.new("Bright", "BRIGHT_CONTRAST").bright = 0.2
    return strip


def multicam(scene: Any, media: Path, name: str, start: int) -> Any:
    movie(scene, media, f"{name} below", start, channel=2)
    strip = add_effect(scene, name, "MULTICAM", CHANNEL, start=start, length=LENGTH)
    strip.multicam_source = 2
    return strip


def effect(kind: str, inputs: int = 1) -> Make:
    def make(scene: Any, media: Path, name: str, start: int) -> Any:
        strips = [movie(scene, media, f"{name} {number}", start, channel=1 + number) for number in range(1, inputs + 1)]
        if inputs == 2:
            strips[1].use_flip_x = True
        strip = add_effect(scene, name, kind, CHANNEL, *strips)
        if kind == "SPEED":
            strip.speed_control, strip.speed_factor = "MULTIPLY", 0.5
        return strip

    return make


def retimed(scene: Any, media: Path, name: str, start: int) -> Any:
    strip = add_movie(scene, media / "clip.mp4", CHANNEL, start, name)
    with lento("addon.compat").in_sequencer(scene):
        bpy.ops.sequencer.retiming_segment_speed_set(speed=50)
    strip.retiming_keys.add(timeline_frame=start + 30)  # one speed all through would be read from the file
    return cut(strip, start)


def modified(scene: Any, media: Path, name: str, start: int) -> Any:
    strip = movie(scene, media, name, start)
    strip.modifiers.new("Bright", "BRIGHT_CONTRAST").bright = 0.2
    return strip


STRIPS: dict[str, Make] = {
    "movie": movie,
    "images": images,
    "meta": meta,
    "animated meta": animated_meta,
    "scene: sequencer": sequencer_scene,
    "scene: camera": camera_scene,
    "movie clip": tracked_clip,
    "mask": mask,
    "text": text,
    "color": color,
    "adjustment": adjustment,
    "multicam": multicam,
    "cross": effect("CROSS", 2),
    "alpha over": effect("ALPHA_OVER", 2),
    "blur": effect("GAUSSIAN_BLUR"),
    "speed": effect("SPEED"),
    "retimed": retimed,
    "reversed": with_settings(("use_reverse_frames", True), ("transform.offset_y", 20), ("crop.min_x", 30)),
    "strobed": with_settings(("strobe", 3)),
    "flipped": with_settings(("use_flip_x", True), ("blend_alpha", 0.7)),
    "deinterlaced": with_settings(("use_deinterlace", True)),
    "other stream": with_settings(("stream_index", 1), file="streams.mkv"),
    "hdr": with_settings(file="hlg.mp4"),
    "modifiers": modified,
}


def test_every_type_of_strip_is_slowed_in_its_place(scene: Any, media: Path) -> None:
    compat = lento("addon.compat")
    under = add_effect(scene, "Under", "COLOR", 1, start=1, length=2000)
    under.color = (0.1, 0.3, 0.2)
    for number, (name, make) in enumerate(STRIPS.items()):
        make(scene, media, name, 1 + number * (LENGTH + 2))
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=bpy.data.filepath)
    scene = bpy.context.scene
    edit(scene)
    problems = []
    for name in STRIPS:
        strip = scene.sequence_editor.strips[name]
        start = compat.left(strip) + FIRST
        over = compat.has_inputs(strip)
        before = [rendered(scene, start + frame) for frame in range(FRAMES)]
        if name != "mask":
            assert len({picture.tobytes() for picture in before}) > 1, f"nothing moves in {name}"
        assert bpy.ops.lento.slow_motion(
            strip=name, engine="nearest", range=(start, start + FRAMES), factor=2,
            placement="overlay" if over else "ripple", bake_modifiers=name == "modifiers",
        ) == {"FINISHED"}, name  # fmt: skip
        made = scene.sequence_editor.active_strip
        assert (made.name, times(made)) == (f"{name} 2x", (start, start + 2 * FRAMES))
        if over:  # what is below shows through a strip that was made from it
            for other in (strip, *(getattr(strip, f"input_{number + 1}") for number in range(strip.input_count))):
                other.mute = True
        if name in ("adjustment", "multicam"):  # the kept frames hold what lies below, which stays at its speed
            scene.sequence_editor.strips[f"{name} below"].mute = True
        after = [rendered(scene, start + 2 * frame) for frame in range(FRAMES)]
        errors = [np.abs(one - other).max(axis=-1) for one, other in zip(before, after, strict=True)]
        wrong = max(int((error > ONE_STEP).sum()) for error in errors)
        if wrong > (20 if name == "mask" else 0):  # Blender 4.5 draws the edge of a mask otherwise each time
            problems.append(f"{name}: {wrong} pixels, {float(np.max(errors)) * 255:.1f} steps")
    assert problems == []
