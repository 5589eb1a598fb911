# SPDX-License-Identifier: GPL-3.0-or-later
"""Clips for the demo and the tests: drawn pictures that move, with sound; every frame carries its number.

python -m scripts.clips OUT.mp4 [--frames 48] [--fps 24] [--size 320 180] [--codec libx264] [--silent]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from numpy.typing import NDArray

BITS = 12
# as ITU-T H.273 numbers them
MATRICES = {"bt709": 1, "bt601": 6, "bt2020": 9, None: 2}
SAMPLE_RATE = 48000
SOUND_CODECS = {".webm": "libvorbis", ".mkv": "libvorbis", ".mov": "pcm_s16le"}

Image = NDArray[np.uint8]


def draw(index: int, size: tuple[int, int] = (320, 180)) -> Image:
    """Frame `index`: a textured background that pans, a ball that crosses it, and the number in black and white boxes.

    Returns (H, W, 3) red, green, blue in 0..255.
    """
    width, height = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    far = x + 1.5 * index
    waves = [
        np.sin(far / 9 + np.sin(y / 13)) + np.sin((far + y) / 23),
        np.sin(far / 7 - y / 17) + np.cos(y / 11 + far / 31),
        np.sin((far - y) / 15) + np.sin(far / 5) * np.sin(y / 6),
    ]
    frame = np.stack([128 + 45 * wave for wave in waves], axis=-1)
    frame = np.rint(np.clip(frame, 0, 255)).astype(np.uint8)
    place = 0.15 + 0.7 * (0.5 + 0.5 * np.sin(index / 9))
    center = (round(place * width * 16), round((0.5 + 0.2 * np.sin(index / 5)) * height * 16))
    cv2.circle(frame, center, height * 16 // 7, (235, 70, 40), -1, cv2.LINE_AA, shift=4)
    cv2.circle(frame, center, height * 16 // 14, (250, 240, 90), -1, cv2.LINE_AA, shift=4)
    return write_number(frame, index)


def draw_alpha(index: int, size: tuple[int, int] = (320, 180)) -> Image:
    """Alpha of frame `index`, (H, W) in 0..255: a soft disc that moves, over a ramp from left to right."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    disc = (height / 3 - np.hypot(x - width / 2 - 5 * index, y - height / 2)) * 20 + 128
    return np.rint(np.clip(np.maximum(disc, 100 * x / width), 0, 255)).astype(np.uint8)


def write_number(frame: Image, number: int) -> Image:
    """Draw the number into the frame's lowest rows: a white box for a one, black for a zero, highest bit left."""
    height, width = frame.shape[:2]
    box = width // BITS
    for bit in range(BITS):
        value = 235 if number >> (BITS - 1 - bit) & 1 else 20
        frame[height - height // 8 :, bit * box : (bit + 1) * box] = value
    return frame


def read_number(frame: Image) -> int:
    """The number that `write_number` drew, also after a lossy codec."""
    height, width = frame.shape[:2]
    box, middle = width // BITS, height - height // 16
    bits = [int(frame[middle, bit * box + box // 2, :3].mean() > 127) for bit in range(BITS)]
    return int("".join(map(str, bits)), 2)


def tone(frames: int, fps: Fraction) -> NDArray[np.int16]:
    """Stereo sound of that many frames' length, (2, N) samples at SAMPLE_RATE: a melody of one note a second."""
    time = np.arange(round(frames / fps * SAMPLE_RATE)) / SAMPLE_RATE
    notes = np.array([440.0, 523.25, 659.25, 587.33])[time.astype(int) % 4]
    wave = np.sin(2 * np.pi * notes * time) * np.exp(-3 * (time % 1))
    return (9000 * np.stack([wave, wave])).astype(np.int16)


def clicks(frames: int, fps: Fraction, at: Sequence[int]) -> NDArray[np.int16]:
    """Stereo sound of that many frames' length, (2, N) samples at SAMPLE_RATE: hiss, and a click where frames begin."""
    wave = np.random.default_rng(1).standard_normal(round(frames / fps * SAMPLE_RATE)) * 60
    for frame in at:
        place = round(frame / fps * SAMPLE_RATE)
        burst = 20000 * np.hanning(240) * np.sign(np.sin(0.9 * np.arange(240)))
        wave[place : place + 240] += burst[: len(wave) - place]
    return np.stack([wave, wave]).astype(np.int16)


def find_clicks(wave: NDArray[np.float32], count: int) -> list[float]:
    """Seconds at which the `count` loudest clicks of (N,) samples at SAMPLE_RATE are, in order."""
    edges = np.convolve(np.abs(np.diff(wave)), np.ones(480) / 480, "same")
    found = []
    for _ in range(count):
        place = int(np.argmax(edges))
        found.append(place / SAMPLE_RATE)
        edges[max(0, place - SAMPLE_RATE // 8) : place + SAMPLE_RATE // 8] = 0
    return sorted(found)


def write_frames(folder: Path, frames: Sequence[Image]) -> Path:
    """Frames as 0000.png and so on in `folder`, which is made where missing and returned."""
    folder.mkdir(exist_ok=True)
    for index, frame in enumerate(frames):
        (folder / f"{index:04d}.png").write_bytes(cv2.imencode(".png", frame[..., ::-1])[1].tobytes())
    return folder


def write_clip(
    path: Path,
    frames: int = 48,
    fps: Fraction = Fraction(24),
    size: tuple[int, int] = (320, 180),
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    sound: bool = True,
    matrix: str | None = None,
    full_range: bool = False,
    alpha: bool = False,
    transfer: str | None = None,
    times: Sequence[int] | None = None,
    rotation: float = 0.0,
    aspect: Fraction | None = None,
    interlaced: bool = False,
    flashes: Sequence[int] = (),
) -> Path:
    """Write a movie of `draw`'s frames, with `tone` as its sound, and return its path.

    `matrix` is "bt709", "bt601" or None for a movie that does not say; `alpha` adds `draw_alpha`;
    `transfer` "hlg" tags it as high dynamic range video (HEVC alone writes that); `times` are when frames are shown, in
    frames at `fps`, which may begin below 0 (an edit list in MP4 and MOV) or skip numbers; `rotation` in degrees is
    written as phones write it; `aspect` is the shape of a pixel; `interlaced` frames hold two moments. Frames in
    `flashes` are white and click; such a clip has no other sound.
    """
    with av.open(str(path), "w") as container:
        video = cast(VideoStream, container.add_stream(codec, rate=fps))
        video.width, video.height, video.pix_fmt = *size, pixel_format
        if codec == "libx264":
            video.options = {"crf": "12", "g": "12"}
        if rotation:
            video.set_display_rotation(rotation)
        if aspect:
            video.codec_context.sample_aspect_ratio = aspect
        if interlaced:
            video.options = {"flags": "+ildct+ilme", "b:v": "4M"}
        if codec == "libvpx" and alpha:
            video.options = {"auto-alt-ref": "0"}  # without, the encoder refuses transparency
        if codec == "prores_ks" and alpha:
            video.options = {"profile": "4444"}
        if transfer == "hlg":
            video.options = {
                "x265-params": "colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc:log-level=none"
            }
            video.codec_context.color_primaries, video.codec_context.color_trc = 9, 18
        video.codec_context.colorspace = MATRICES["bt2020" if transfer else matrix]
        video.codec_context.color_range = 2 if full_range else 1
        audio = (
            cast(AudioStream, container.add_stream(SOUND_CODECS.get(path.suffix, "aac"), rate=SAMPLE_RATE))
            if sound
            else None
        )
        for index in range(frames):
            image = draw(index, size)
            if index in flashes:
                image[:] = 255
            if interlaced:
                image[1::2] = draw(index + 1, size)[1::2]
            if alpha:
                image = np.dstack([image, draw_alpha(index, size)])
            frame = av.VideoFrame.from_ndarray(image, format="rgba" if alpha else "rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[index], 1 / fps
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            wave = clicks(frames, fps, flashes) if flashes else tone(frames, fps)
            interleaved = np.ascontiguousarray(wave.T.reshape(1, -1))
            samples = av.AudioFrame.from_ndarray(interleaved, "s16", "stereo")
            samples.sample_rate = SAMPLE_RATE
            container.mux(audio.encode(samples))
            container.mux(audio.encode())
    return path


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--fps", type=Fraction, default=Fraction(24))
    parser.add_argument("--size", type=int, nargs=2, default=(320, 180))
    parser.add_argument("--codec", default="libx264")
    parser.add_argument("--silent", action="store_true")
    arguments = parser.parse_args()
    write_clip(
        arguments.output,
        arguments.frames,
        arguments.fps,
        tuple(arguments.size),
        arguments.codec,
        sound=not arguments.silent,
    )


if __name__ == "__main__":
    main()
