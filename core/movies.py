# SPDX-License-Identifier: GPL-3.0-or-later
"""Movies through FFmpeg (PyAV), frame by frame as Blender counts them.

Frame k is the last decoded frame with a timestamp of at most first + k / fps: right for constant and variable frame
rates, start offsets and dropped frames, where "the k-th decoded frame" is not.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Literal, cast

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from .color import decoded, encoding_of
from .images import Image
from .messages import InputError

Warn = Callable[[str], None]


class Movie:
    """The first video stream of a movie file."""

    files: tuple[str, ...] = ()

    def __init__(self, path: Path, warn: Warn) -> None:
        self.path = path
        self._warn = warn
        self._told: set[str] = set()
        # frame threads give the same frames as one thread, sooner
        self._threads: Literal["AUTO", "NONE"] = "AUTO"
        self._end = 0
        self._is_whole = True
        """Whether the file was entered at its start."""
        self._container = self._open()
        try:
            if not self._container.streams.video:
                raise InputError(f"{path} has no picture: choose a movie, not a sound.")
            self._stream = self._container.streams.video[0]
            self._stream.thread_type = self._threads
            rate = self._stream.guessed_rate or self._stream.average_rate
            if not rate or self._stream.time_base is None:
                raise InputError(f"{path} has no frame rate: convert it to a movie with one.")
            self.fps = Fraction(rate)
            # timestamps from one frame to the next
            self._step = 1 / (self.fps * self._stream.time_base)
            if self._stream.codec_context is None:
                raise InputError(
                    f"{path} is in a codec that FFmpeg cannot decode: convert it, for example to ProRes or H.264."
                )
            first = next(self._decode(), None)
            if first is None:
                raise InputError(f"{path} holds no frame that can be decoded: the file is damaged or not complete.")
            self._first_pts = _pts_of(first)
            shown = _as_shown(first, path)
            self.size = (shown.shape[1], shown.shape[0])
            self.kind, self.has_alpha, self.encoding = shown.dtype, shown.shape[2] == 4, encoding_of(first)
            self._end = self._find_end()
            # not rounded: entered in the middle, an MPEG program stream tells times that are late by half a frame
            self.count = math.floor((self._end - self._first_pts) / self._step + Fraction(1, 4)) + 1
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> Movie:
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the file."""
        self._container.close()

    def frames(self, start: int, end: int) -> Iterator[Image]:
        """See Source.frames."""
        if start >= end:
            return
        wanted = start
        current: VideoFrame | None = None
        for frame in self._from(self._pts(start)):
            while current is not None and wanted < end and self._pts(wanted) < _pts_of(frame):
                yield self._shown(current, wanted)
                wanted += 1
            current = frame
            # at once, as Blender does: in a damaged stream the next one may be out of order
            while wanted < end and self._pts(wanted) == _pts_of(frame):
                yield self._shown(frame, wanted)
                wanted += 1
            if wanted >= end:
                return
        # the last frame stands until the end of the stream
        while current is not None and wanted < min(end, self.count):
            if wanted > self._slot(_pts_of(current)) + max(1, self._slots(current.duration or 0)):
                self._tell(
                    f"{self.path} cannot be decoded from frame {self._slot(_pts_of(current)) + 1} to its end, frame "
                    f"{self.count - 1}: the one before is held."
                )
            yield self._shown(current, wanted)
            wanted += 1
        if wanted < end:
            raise InputError(
                f"{self.path} ends at frame {wanted}, before frame {end - 1} that the range needs: the file is not "
                "complete. Choose a range that ends earlier, or get the whole file."
            )

    def _shown(self, frame: VideoFrame, index: int) -> Image:
        image = _as_shown(frame, self.path)
        if (image.shape[1], image.shape[0]) != self.size:
            raise InputError(
                f"Frame {index} of {self.path} is {image.shape[1]}x{image.shape[0]} pixels, the first one "
                f"{self.size[0]}x{self.size[1]}: choose a range of one size, or convert the movie to one."
            )
        return image

    def _tell(self, text: str) -> None:
        """Warn of what is found again every time that the file is read."""
        if text not in self._told:
            self._told.add(text)
            self._warn(text)

    def _open(self) -> InputContainer:
        try:
            return open_file(self.path)
        except PermissionError as error:
            raise InputError(
                f"{self.path} cannot be opened ({error.strerror}): get permission to read it, or copy it elsewhere."
            ) from error
        except av.error.FFmpegError as error:
            raise InputError(
                f"{self.path} is no movie that can be read ({error.strerror}): choose a movie or an image, or get the "
                "whole file."
            ) from error
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be opened ({error.strerror}): check that the file and its disk are there."
            ) from error

    def _pts(self, index: int) -> int:
        """The latest timestamp that frame `index` may have."""
        # rounded, as containers round: Matroska keeps milliseconds, and 1/24 s stands there as 42; halves up, as
        # Blender does
        return self._first_pts + math.floor(index * self._step + Fraction(1, 2))

    def _slots(self, pts_distance: int) -> int:
        return round(pts_distance / self._step)

    def _slot(self, pts: int) -> int:
        return self._slots(pts - self._first_pts)

    def _decode(self) -> Iterator[VideoFrame]:
        """Frames from where the file stands, in playing order; damaged ones are left out, with a warning."""
        last = None
        for frame in frames_in(self._container, self._stream, self._tell_of_damage):
            last = _pts_of(frame) if last is None else max(last, _pts_of(frame))
            yield frame
        if self._threads == "AUTO" and (self._is_whole if last is None else last + self._step / 2 < self._end):
            # at the end, a damaged frame takes those with it that other threads have
            self._threads = "NONE"
            self._seek(None)
            if last is None:
                yield from self._decode()
            else:
                yield from (frame for frame in self._from(last) if _pts_of(frame) > last)

    def _tell_of_damage(self, packet: Packet[VideoStream]) -> None:
        if packet.pts is not None:
            self._tell(
                f"{self.path} has a damaged frame near {float(packet.pts * packet.time_base):.2f} s: the one before is "
                "held."
            )
        elif packet.size or self._threads == "NONE":  # with threads, that at the end is found again
            self._tell(f"{self.path} has a damaged frame: the one before is held.")

    def _from(self, pts: int) -> Iterator[VideoFrame]:
        """Frames from the last one at or before `pts` on, without decoding the file from its start."""
        one_second = round(1 / (self._stream.time_base or 1))
        # Seeking goes to a key frame before, or, in containers without an index, somewhere near: then further back.
        for back in (0, 2 * one_second, 10 * one_second, None):
            target = self._first_pts if back is None else max(self._first_pts, pts - back)
            self._seek(None if target <= self._first_pts else target)
            frames = self._decode()
            first = next(frames, None)
            if first is not None and (_pts_of(first) <= pts or target <= self._first_pts):
                yield first
                yield from frames
                return
            if target <= self._first_pts:
                return

    def _seek(self, pts: int | None) -> None:
        """Go to a key frame at or before `pts`, or to the start of the file."""
        self._is_whole = pts is None
        if pts is None:
            # by opening anew: not every container can seek to before its first key frame
            self._container.close()
            self._container = self._open()
            self._stream = self._container.streams.video[0]
            self._stream.thread_type = self._threads
        else:
            self._container.seek(pts, stream=self._stream, backward=True)

    def _find_end(self) -> int:
        """The largest timestamp, from the packets at the end: headers tell more than a truncated file holds."""
        nominal = self._stream.duration or 0
        last = None
        if nominal:
            # two seconds before: a stream without an index is entered anywhere, and the last frame may come before
            # others
            self._seek(self._first_pts + max(0, nominal - round(2 / (self._stream.time_base or 1))))
            last = self._last_pts()
        if last is None:
            self._seek(None)
            last = self._last_pts()
        return self._first_pts if last is None else last

    def _last_pts(self) -> int | None:
        """The largest timestamp from where the file stands to its end; None for no packet."""
        return max(
            (
                packet.pts
                for packet in self._container.demux(self._stream)
                if packet.pts is not None and not packet.is_discard
            ),
            default=None,
        )


def open_file(path: Path) -> InputContainer:
    """A movie or a sound, opened by FFmpeg; titles that are no UTF-8 are none of our business."""
    return av.open(os.fspath(path), metadata_errors="replace")


def beginning(path: Path) -> Fraction | None:
    """The second of a file at which frame 0 of its picture stands; None without a picture.

    That may be later than the header says: where a stream was cut, the first frames cannot be decoded.
    """
    with open_file(path) as container:
        if not container.streams.video:
            return None
        stream = container.streams.video[0]
        time_base = stream.time_base or Fraction(1)
        can_decode = stream.codec_context is not None
        first = next(frames_in(container, stream), None) if can_decode else None
        return (first.pts if first and first.pts is not None else stream.start_time or 0) * time_base


def frames_in(
    container: InputContainer,
    stream: VideoStream,
    damaged: Callable[[Packet[VideoStream]], None] = lambda packet: None,
) -> Iterator[VideoFrame]:
    """Frames from where the file stands that have a timestamp, in playing order.

    `damaged` is called for packets that cannot be decoded; the last, an empty one, stands for the end.
    """
    decoder = _alpha_decoder(stream)
    for packet in container.demux(stream):
        try:
            frames = decoder.decode(packet if packet.size else None) if decoder else packet.decode()
        except MemoryError:
            raise
        except av.error.FFmpegError:
            damaged(packet)
            continue
        yield from (frame for frame in frames if frame.pts is not None)


def _alpha_decoder(stream: VideoStream) -> VideoCodecContext | None:
    """FFmpeg's own VP8 and VP9 decoders drop the alpha that WebM carries beside the picture; libvpx keeps it."""
    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name)
    if name is None or stream.metadata.get("alpha_mode") != "1":
        return None
    decoder = cast(VideoCodecContext, av.CodecContext.create(name, "r"))
    decoder.extradata = stream.codec_context.extradata
    return decoder


def _pts_of(frame: VideoFrame) -> int:
    assert frame.pts is not None  # _decode lets no other through
    return frame.pts


def _as_shown(frame: VideoFrame, path: Path) -> Image:
    """The frame as it is shown: the rotation that phones write into the file is carried out.

    Raises InputError where its pixel format cannot be converted.
    """
    try:
        pixels = decoded(frame)
    except (av.error.FFmpegError, ValueError) as error:
        raise InputError(
            f"{path} has pixels in the format {frame.format.name}, which cannot be converted ({error}): convert the "
            "movie, for example to ProRes or H.264."
        ) from error
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))
