# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's part that runs inside Blender: a clip on the timeline, a marked range, 4x, and a look at every pixel.

    PYTHON-WITH-BPY -m scripts.demo_in_blender CLIP FOLDER [--seconds 1.5] [--factor 4] [--engine flow]

Leaves FOLDER/demo.blend, its frames in FOLDER/lento/ and FOLDER/demo.json, which says where everything is.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .in_blender import MODULE, bpy, edit, install_extension, new_file, pixels_of, rendered

CHECKED = 9
"""Frames of the slowed range that are rendered and compared."""


def main() -> int:
    """Run the demo; exit status 1 where a frame does not show what it should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=1.5, help="length of the marked range")
    parser.add_argument("--factor", type=float, default=4.0)
    parser.add_argument("--engine", default="lento")
    arguments = parser.parse_args()
    install_extension()
    arguments.folder.mkdir(parents=True, exist_ok=True)

    scene, strip = _timeline(arguments.clip.resolve(), arguments.folder)
    start, end = _mark(scene, strip, arguments.seconds)
    kept = {frame: rendered(scene, frame) for frame in (start, end)}
    bpy.ops.lento.slow_motion(strip="Clip", factor=arguments.factor, engine=arguments.engine)
    bpy.ops.wm.save_mainfile()

    compat = sys.modules[f"{MODULE}.addon.compat"]
    generated = scene.sequence_editor.active_strip
    folder = Path(bpy.path.abspath(generated.directory))
    left, right = compat.left(generated), compat.right(generated)
    worst = _worst_difference(scene, generated, folder, left, right)
    cut = _difference(kept[end], rendered(scene, right))
    told: dict[str, Any] = {
        "blend": bpy.data.filepath,
        "frames": str(folder),
        "clip": str(arguments.clip.resolve()),
        "range": [start, end],
        "slowed": [left, right],
        "fps": scene.render.fps / scene.render.fps_base,
        "timeline": sorted(
            (other.name, other.channel, compat.left(other), compat.right(other))
            for other in scene.sequence_editor.strips
        ),
        "worst_difference": worst,
        "difference_after_the_range": cut,
    }
    (arguments.folder / "demo.json").write_text(json.dumps(told, indent=1))
    print(f"Frames {start} to {end - 1} became {left} to {right - 1}.")
    print(f"Rendered by Blender, {CHECKED} of them differ from the written frames by at most {worst:.0f} of 255,")
    print(f"and the frame after the range from what it was by {cut:.0f}.")
    return 0 if worst == 0 and cut == 0 else 1


def _timeline(clip: Path, folder: Path) -> tuple[Any, Any]:
    scene = new_file(folder / "demo.blend", (1280, 720), 24.0)
    strips = scene.sequence_editor.strips
    probe = strips.new_movie("Clip", str(clip), 2, 1)
    element = probe.elements[0]
    size, fps = (element.orig_width, element.orig_height), probe.fps
    scene = new_file(folder / "demo.blend", size, fps)
    strips = scene.sequence_editor.strips
    strip = strips.new_movie("Clip", str(clip), 2, 1)
    compat = sys.modules[f"{MODULE}.addon.compat"]
    sound = strips.new_sound("Sound", str(clip), 1, 1)
    if compat.right(sound) - compat.left(sound) <= 1:  # what Blender makes of a clip without sound
        strips.remove(sound)
    scene.frame_end = compat.right(strip) - 1
    edit(scene)
    return scene, strip


def _mark(scene: Any, strip: Any, seconds: float) -> tuple[int, int]:
    """Mark a range in the middle of the strip, as a user does: with the preview range. Returns it, end not included."""
    compat = sys.modules[f"{MODULE}.addon.compat"]
    left, right = compat.left(strip), compat.right(strip)
    length = min(right - left, max(2, round(seconds * scene.render.fps / scene.render.fps_base)))
    start = left + (right - left - length) // 2
    scene.use_preview_range = True
    scene.frame_preview_start, scene.frame_preview_end = start, start + length - 1
    return start, start + length


def _worst_difference(scene: Any, generated: Any, folder: Path, left: int, right: int) -> float:
    frames = sorted({round(frame) for frame in np.linspace(left, right - 1, CHECKED)})
    return max(
        _difference(rendered(scene, frame), pixels_of(folder / f"{frame - left + 1:06d}.png")) for frame in frames
    )


def _difference(one: Any, other: Any) -> float:
    return float(np.abs(one - other).max() * 255)


if __name__ == "__main__":
    sys.exit(main())
