# SPDX-License-Identifier: GPL-3.0-or-later
"""A preview movie of what the demo made: left as an editor slows a clip without Lento (repeated frames), right with it.

python -m scripts.side_by_side FOLDER/demo.json OUT.mp4
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

MOST_PIXELS_WIDE = 1920

Image = NDArray[np.uint8]


def pairs(folder: Path) -> Iterator[tuple[Image, Image]]:
    """(held frame, true frame) of every output frame: (H, W, 3) blue, green, red."""
    held: Image | None = None
    for entry in json.loads((folder / "result.json").read_text())["frames"]:
        frame = cv2.imdecode(np.fromfile(folder / entry["file"], np.uint8), cv2.IMREAD_COLOR)
        if frame is None:
            raise ValueError(f"{folder / entry['file']} is no image")
        if entry["kind"] == "copy" or held is None:
            held = frame
        yield held, frame


def main(told: Path, output: Path) -> None:
    """Write the movie."""
    demo = json.loads(told.read_text())
    with av.open(str(output), "w") as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(demo["fps"]).limit_denominator(1001), options={"crf": "17"}
        )
        for held, frame in pairs(Path(demo["frames"])):
            held, frame = held.copy(), frame.copy()  # the next frames may be held ones of this one
            for picture, text in ((held, "repeated frames"), (frame, "Lento")):
                x, y = picture.shape[1] // 40, picture.shape[0] // 14
                for colour, shift in (((0, 0, 0), 2), ((255, 255, 255), 0)):
                    cv2.putText(
                        picture,
                        text,
                        (x + shift, y + shift),
                        cv2.FONT_HERSHEY_SIMPLEX,
                        picture.shape[0] / 700,
                        colour,
                        1,
                        cv2.LINE_AA,
                    )
            both = np.hstack([held, frame])
            scale = min(1.0, MOST_PIXELS_WIDE / both.shape[1])
            width, height = (round(side * scale) // 2 * 2 for side in (both.shape[1], both.shape[0]))
            if not stream.codec_context.is_open:
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            both = cv2.resize(both, (width, height), interpolation=cv2.INTER_AREA)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(both, format="bgr24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
