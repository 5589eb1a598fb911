# SPDX-License-Identifier: GPL-3.0-or-later
"""The sound of a range, stretched along the same map as its pictures."""

from __future__ import annotations

import io
import os
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from .images import READABLE
from .messages import InputError
from .movies import beginning, open_file
from .timing import TimeMap

RATE = 48000
"""Samples a second of everything here."""
GRID = 480
"""Samples between the points at which the speed is looked up: 10 ms."""
LEAD = 4800
"""Samples around a piece that are stretched with it: Rubber Band loses the first 30 ms where the ratio changes."""
LOOK_AHEAD = 1600
"""Samples by which Rubber Band applies a changing ratio too early; found by where clicks come out."""
SLOWEST, FASTEST = 0.005, 100.0
"""Speeds beyond which there is nothing to hear: silence."""
JITTER = Fraction(1, 100)
"""Seconds that a timestamp may be off where sound runs on: less than a packet that lacks."""
BLEND = 480
"""Samples over which pieces that were stretched apart run into each other."""

Samples = NDArray[np.float32]
Warn = Callable[[str], None]


def keeps_pitch_well() -> bool:
    """Whether Rubber Band is there; else FFmpeg has to do."""
    return find_spec("pedalboard") is not None


def has_sound(path: Path) -> bool:
    """Whether a file holds sound; a folder or an image does not."""
    if path.is_dir() or path.suffix.lower() in READABLE:
        return False
    try:
        with open_file(path) as container:
            return bool(container.streams.audio)
    except (av.error.FFmpegError, OSError):
        return False  # whoever opens it as a movie says what is wrong with it


def read_sound(path: Path, start: float, end: float, warn: Warn = lambda text: None) -> Samples:
    """The sound of a file between two times in seconds, (channels, samples) at RATE, silence where it has none.

    Time 0 is where the file's picture begins (see movies.beginning); without a picture, its sound. `warn` is told where
    it is damaged, and silent therefore. Raises InputError where the file has no sound that can be read.
    """
    try:
        zero = beginning(path)
        container = open_file(path)
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"The sound of {path} cannot be read ({error.strerror}): check the file.") from error
    with container:
        if not container.streams.audio:
            raise InputError(f"{path} has no sound: choose the sound Automatic, Mute or Leave Alone.")
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise InputError(f"The sound of {path} is in a codec that FFmpeg cannot decode: choose Mute.")
        if zero is None:
            zero = (stream.start_time or 0) * (stream.time_base or Fraction(1))
        begin = float(zero) + start
        samples = np.zeros((stream.codec_context.channels, max(0, round((end - start) * RATE))), np.float32)
        if start > 1:
            container.seek(round((begin - 1) * av.time_base), backward=True)
        damage: list[_Damage] = []
        written, is_heard = 0, False
        try:
            for place, piece in _pieces(_frames(container, stream, damage), stream.codec_context.layout.name):
                is_heard = True
                place -= round(begin * RATE)
                skipped = max(0, written - place)
                target = samples[:, place + skipped : max(0, place + piece.shape[1])]
                target[:] = piece[:, skipped : skipped + target.shape[1]]
                written = max(written, place + piece.shape[1])
                if written >= samples.shape[1]:
                    break
        except av.error.FFmpegError as error:
            raise InputError(f"The sound of {path} cannot be decoded ({error.strerror}): choose Mute.") from error
        if damage and not is_heard:
            raise InputError(f"The sound of {path} cannot be decoded ({damage[0].reason}): choose Mute.")
        # before the range, where decoding began, a decoder may lack what came before
        seconds = [one.second for one in damage if one.second is not None and one.second >= begin]
    if seconds:
        some = ", ".join(f"{second:.2f} s" for second in seconds[:5]) + (", ..." if len(seconds) > 5 else "")
        warn(f"{path} has damaged sound near {some}: it is silent there.")
    return samples


@dataclass(frozen=True)
class _Damage:
    """A packet of sound that cannot be decoded."""

    second: float | None
    """Of the file."""
    reason: str | None


def _frames(container: InputContainer, stream: AudioStream, damage: list[_Damage]) -> Iterator[AudioFrame]:
    """Frames from where the file stands, without those that are damaged."""
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except MemoryError:
            raise
        except av.error.FFmpegError as error:
            second = None if packet.pts is None else float(packet.pts * packet.time_base)
            damage.append(_Damage(second, error.strerror))
            continue
        yield from frames


def _pieces(frames: Iterator[AudioFrame], layout: str) -> Iterator[tuple[int, Samples]]:
    """Sound at RATE, each piece with the sample of the file that it begins at: where the timestamps say.

    What follows within JITTER follows at once, since timestamps are rounded.
    """
    resampler: av.AudioResampler | None = None
    known: tuple[str, str, int] | None = None
    due, place = Fraction(0), 0

    def resampled(frame: AudioFrame | None) -> Iterator[tuple[int, Samples]]:
        nonlocal place
        for made in resampler.resample(frame) if resampler else ():
            yield place, _planes(made)
            place += made.samples

    for frame in frames:
        second = due if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != known or abs(second - due) > JITTER:
            yield from resampled(None)
            resampler, known = av.AudioResampler("flt", layout, RATE), form
            due, place = second, round(second * RATE)
        yield from resampled(frame)
        due += Fraction(frame.samples, frame.sample_rate)
    yield from resampled(None)


def _planes(frame: AudioFrame) -> Samples:
    """(channels, samples) of a frame of packed samples: PyAV 18.1 reads past the end of one with eight planes."""
    return cast(Samples, frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T)


@dataclass(frozen=True)
class _Walk:
    """Where the range's sound is at every GRID samples of the output."""

    output: NDArray[np.float64]
    """Output samples."""
    source: NDArray[np.float64]
    """Samples of the source, the first one that is heard being LEAD."""
    start: float
    """Seconds of the file from which and to which the source is read."""
    end: float
    length: int
    """Output samples in all."""


def _walk(times: TimeMap, fps: Fraction, start: Fraction, per_second: Fraction) -> _Walk:
    length = round(times.count / fps * RATE)
    output = np.append(np.arange(0, length, GRID), length).astype(np.float64)
    frames = [Fraction(int(sample), RATE) * fps for sample in output]
    seconds = np.array([float(start + times.at(frame) / per_second) for frame in frames])
    first = float(seconds.min()) - LEAD / RATE
    return _Walk(output, (seconds - first) * RATE, first, float(seconds.max()) + LEAD / RATE, length)


def stretched(
    path: Path,
    start: Fraction,
    per_second: Fraction,
    times: TimeMap,
    fps: Fraction,
    keep_pitch: bool,
    warn: Warn = lambda text: None,
) -> Samples:
    """The sound of `path` along `times`, (channels, samples) at RATE, exactly as long as the output frames.

    `start` is the second of the file at which the range begins, `per_second` how many of the map's source frames make a
    second, `fps` the output's frame rate. Without `keep_pitch` it is played slower, as a tape is. Backwards where the
    map goes backwards, silent where it stands still. `warn` and what is raised: see `read_sound`.
    """
    walk = _walk(times, fps, start, per_second)
    source = read_sound(path, walk.start, walk.end, warn)
    return _with_pitch(source, walk) if keep_pitch else _as_tape(source, walk)


def _as_tape(source: Samples, walk: _Walk) -> Samples:
    """Read at the map's positions, between samples by Catmull-Rom splines."""
    places = np.interp(np.arange(walk.length), walk.output, walk.source)
    index = np.clip(np.floor(places).astype(np.int64), 1, max(1, source.shape[1] - 3))
    t = (places - index).astype(np.float32)
    if source.shape[1] < 4:
        return np.zeros((source.shape[0], walk.length), np.float32)
    a, b, c, d = (source[:, index + offset] for offset in (-1, 0, 1, 2))
    made = b + t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))) / 2
    still = np.interp(np.arange(walk.length), walk.output[:-1], np.abs(np.diff(walk.source)) / GRID) < SLOWEST
    made[:, still] = 0
    return np.asarray(made, np.float32)


def _with_pitch(source: Samples, walk: _Walk) -> Samples:
    """Stretch every run of one direction by itself."""
    made = np.zeros((source.shape[0], walk.length), np.float32)
    speeds = np.diff(walk.source) / np.diff(walk.output)
    direction = np.where(np.abs(speeds) < SLOWEST, 0, np.sign(speeds)).astype(int)
    edges = [0, *(np.flatnonzero(np.diff(direction)) + 1).tolist(), len(direction)]
    for first, last in zip(edges, edges[1:], strict=False):
        if direction[first] == 0:
            continue
        places = walk.source[first : last + 1]
        low, high = round(places.min()) - LEAD, round(places.max()) + LEAD
        piece = source[:, low:high]
        along = places - low
        if direction[first] < 0:
            piece, along = piece[:, ::-1], high - low - along
        begin, end = int(walk.output[first]), int(walk.output[last])
        run = _stretch(np.ascontiguousarray(piece), along, walk.output[first : last + 1] - begin)[:, : end - begin]
        made[:, begin : begin + run.shape[1]] = run
    return made


def _stretch(piece: Samples, along: NDArray[np.float64], output: NDArray[np.float64]) -> Samples:
    """One run: `along` says which of its samples is due at which output sample; both rise. LEAD is around it."""
    speeds = np.clip(np.diff(along) / np.diff(output), SLOWEST, FASTEST)
    if np.ptp(speeds) < 1e-6 and abs(speeds[0] - 1) < 1e-6:
        return piece[:, LEAD:-LEAD]
    try:
        import pedalboard
    except ImportError:
        return _by_ffmpeg(piece, along, output)
    if np.ptp(speeds) < 1e-6:
        return cast(Samples, pedalboard.time_stretch(piece[:, LEAD:-LEAD], RATE, stretch_factor=float(speeds[0])))
    # the lead at normal speed, so that it is as long after as before
    middles = np.concatenate([[LEAD - 1], (along[1:] + along[:-1]) / 2])
    factors = np.interp(np.arange(piece.shape[1]) - LOOK_AHEAD, middles, [1, *speeds])
    return cast(Samples, pedalboard.time_stretch(piece, RATE, stretch_factor=factors))[:, LEAD:]


def _by_ffmpeg(piece: Samples, along: NDArray[np.float64], output: NDArray[np.float64]) -> Samples:
    """FFmpeg's atempo has one speed: where the speed changes, pieces of half a second that run into each other."""
    steps = len(output) - 1
    constant = np.ptp(np.diff(along) / np.diff(output)) < 1e-6
    stride = steps if constant else RATE // 2 // GRID
    made = np.zeros((piece.shape[0], int(output[-1]) + BLEND), np.float32)
    for first in range(0, steps, stride):
        last = min(first + stride, steps)
        begin, end = int(output[first]), int(output[last])
        low, high = round(along[first]), round(along[last])
        tempo = max(SLOWEST, (high - low) / (end - begin))
        # a little more than is due, to run into the next piece with
        part = _atempo(piece[:, low : round(high + 2 * BLEND * tempo) + 1], tempo)[:, : end - begin + BLEND]
        fade = np.linspace(0, 1, BLEND, dtype=np.float32)[: part.shape[1]]
        if first:
            part[:, : len(fade)] *= fade
            made[:, begin : begin + len(fade)] *= 1 - fade
        place = made[:, begin : begin + part.shape[1]]
        place[:, : len(fade)] += part[:, : len(fade)][:, : place.shape[1]]
        place[:, len(fade) :] = part[:, len(fade) : place.shape[1]]
    return made[:, : int(output[-1])]


def _atempo(piece: Samples, tempo: float) -> Samples:
    graph = av.filter.Graph()
    layout = f"{piece.shape[0]} channels"
    source = graph.add_abuffer(sample_rate=RATE, format="flt", layout=layout, time_base=Fraction(1, RATE))
    nodes = [source]
    while tempo < 0.5 or tempo > 100:  # one filter goes from half to a hundredfold
        step = 0.5 if tempo < 0.5 else 100
        nodes.append(graph.add("atempo", str(step)))
        tempo /= step
    nodes += [graph.add("atempo", f"{tempo:.9f}"), graph.add("aformat", "sample_fmts=flt"), graph.add("abuffersink")]
    for one, other in zip(nodes, nodes[1:], strict=False):
        one.link_to(other)
    graph.configure()
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(piece.T).reshape(1, -1), "flt", layout)
    frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), 0
    graph.push(frame)
    graph.push(None)
    parts = []
    while True:
        try:
            parts.append(_planes(cast(AudioFrame, graph.pull())))
        except (av.error.EOFError, av.error.BlockingIOError):
            break
    return np.concatenate(parts, axis=1) if parts else np.zeros((piece.shape[0], 0), np.float32)


def wav(samples: Samples) -> bytes:
    """Samples in -1..1 as a WAV file of 24 bits, rounded and clipped."""
    whole = np.rint(np.clip(samples, -1, 1) * (2**23 - 1)).astype("<i4")
    packed = whole.T.copy().view(np.uint8).reshape(-1, 4)[:, :3]
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(samples.shape[0])
        writer.setsampwidth(3)
        writer.setframerate(RATE)
        writer.writeframes(packed.tobytes())
    return file.getvalue()


def is_complete(path: Path) -> bool:
    """Whether a WAV file that `wav` made is there and whole: a machine that lost power may have cut it short."""
    try:
        with open(path, "rb") as file:
            head = file.read(8)
            return head[:4] == b"RIFF" and int.from_bytes(head[4:], "little") + len(head) == file.seek(0, os.SEEK_END)
    except OSError:
        return False
