# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender: slow one clip, and say how far its kept frames' renders are from the source strip's.

python -m scripts.color_in_blender CLIP FOLDER [--factor 3] [--frames 4]

The last line of standard output is JSON: the differences, of 65535, and Blender's own from one render to the next.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from scripts.in_blender import Picture, bpy, install_extension, new_file, rendered

START = 6


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--factor", type=int, default=3)
    parser.add_argument("--frames", type=int, default=4)
    arguments = parser.parse_args()
    install_extension()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    scene = new_file(arguments.folder / "shot.blend", (320, 180), 24.0)
    if arguments.clip.is_dir():
        names = sorted(path.name for path in arguments.clip.iterdir())
        strip = scene.sequence_editor.strips.new_image("Clip", str(arguments.clip / names[0]), 1, 1)
        for name in names[1:]:
            strip.elements.append(name)
    else:
        strip = scene.sequence_editor.strips.new_movie("Clip", str(arguments.clip), 1, 1)
    element = strip.elements[0]
    scene.render.resolution_x, scene.render.resolution_y = element.orig_width, element.orig_height
    scene.render.film_transparent = True
    views = ("Standard", "AgX")
    frames = range(START, START + arguments.frames)

    def looks(times: list[int]) -> list[Picture]:
        found = []
        for view in views:
            scene.view_settings.view_transform = view
            found += [rendered(scene, time, 16) for time in times]
        return found

    before = looks(list(frames))
    again = looks(list(frames))
    bpy.ops.lento.slow_motion(
        strip="Clip", engine="flow", range=(START, START + arguments.frames), factor=arguments.factor
    )
    after = looks([START + arguments.factor * index for index in range(arguments.frames)])
    differences = [np.abs(one - other) * 65535 for one, other in zip(before, after, strict=True)]
    unsteady = [np.abs(one - other) * 65535 for one, other in zip(before, again, strict=True)]
    told = {
        "blender": bpy.app.version_string,
        "max": max(float(difference.max()) for difference in differences),
        "mean": float(np.mean([difference.mean() for difference in differences])),
        "blender_itself": max(float(difference.max()) for difference in unsteady),
        "files": Path(scene.sequence_editor.active_strip.elements[0].filename).suffix,
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
