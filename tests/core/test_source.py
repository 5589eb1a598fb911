# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
import pytest
from av.container import InputContainer

from core.messages import InputError
from core.movies import Movie, open_file
from core.sequences import sequence_in
from core.sound import has_sound
from core.source import open_source
from scripts.clips import draw, read_number, write_clip


def numbers(path: Path, start: int, end: int) -> list[int]:
    with open_source(path) as source:
        return [read_number(frame) for frame in source.frames(start, end)]


def test_movie_tells_what_it_is(clip: Path) -> None:
    with open_source(clip) as source:
        assert (source.fps, source.size, source.count, source.files) == (24, (320, 180), 30, ())


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mkv", "libx264"),
        ("a.webm", "libvpx-vp9"),
        ("a.mov", "mjpeg"),
        ("a.mpg", "mpeg2video"),
        ("a.ts", "libx264"),
        ("a.avi", "mpeg4"),
    ],
)
def test_any_range_of_any_container_is_the_same_as_reading_from_the_start(
    tmp_path: Path, name: str, codec: str
) -> None:
    path = write_clip(
        tmp_path / name,
        60,
        Fraction(24),
        codec=codec,
        sound=False,
        pixel_format="yuvj420p" if codec == "mjpeg" else "yuv420p",
    )
    with open_source(path) as source:
        assert source.count == 60
        whole = [frame.tobytes() for frame in source.frames(0, 60)]
        assert [read_number(np.frombuffer(frame, np.uint8).reshape(180, 320, 3)) for frame in whole] == list(range(60))
        for start in [59, 1, 0, *random.Random(3).sample(range(58), 6)]:
            assert [frame.tobytes() for frame in source.frames(start, min(60, start + 3))] == whole[start : start + 3]


def test_seeking_reads_only_what_is_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from core import movies as module

    path = write_clip(tmp_path / "long.mp4", 400, sound=False)
    decoded = 0
    original = module.Movie._decode

    def counted(self: module.Movie):  # type: ignore[no-untyped-def]
        nonlocal decoded
        for frame in original(self):
            decoded += 1
            yield frame

    with open_source(path) as source:
        monkeypatch.setattr(module.Movie, "_decode", counted)
        list(source.frames(380, 384))
    assert decoded < 40


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001)])
def test_millisecond_timestamps_lose_no_frame(tmp_path: Path, fps: Fraction) -> None:
    path = write_clip(tmp_path / "a.mkv", 90, fps, sound=False)
    with open_source(path) as source:
        assert abs(source.fps - fps) < Fraction(1, 100)
    assert numbers(path, 0, 90) == list(range(90))


def write_with_times(path: Path, times: list[int]) -> Path:
    """A movie in milliseconds whose frame `i` stands at times[i]."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(draw(index), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_a_dropped_frame_holds_the_one_before(tmp_path: Path) -> None:
    path = write_with_times(tmp_path / "a.mkv", [0, 40, 80, 200, 240, 280])
    with open_source(path) as source:
        assert source.fps == 25
        assert source.count == 8
    assert numbers(path, 0, 8) == [0, 1, 2, 2, 2, 3, 4, 5]


def test_uneven_times_are_read_as_blender_reads_them(tmp_path: Path) -> None:
    times = [0, 43, 83, 117, 157, 197, 239, 283, 318, 362, 403, 442]
    # what Blender 4.5 and 5.2 show for this movie
    assert numbers(write_with_times(tmp_path / "a.mkv", times), 0, 12) == [0, 0, 1, 3, 4, 5, 6, 6, 8, 8, 9, 10]


def test_a_frame_out_of_order_is_shown_as_blender_shows_it(tmp_path: Path) -> None:
    # as in a phone's clip: what Blender 4.5 and 5.2 show for it depends on the order of decoding
    path = write_with_times(tmp_path / "a.mkv", [0, 40, 80, 120, 160, 200, 240, 280])
    with open_source(path) as source:
        assert isinstance(source, Movie)
        decode = source._decode

        def shuffled() -> Iterator[av.VideoFrame]:
            for frame in decode():
                if frame.pts == 240:
                    frame.pts = 90
                yield frame

        source._decode = shuffled  # type: ignore[method-assign]
        assert [read_number(frame) for frame in source.frames(0, 8)] == [0, 1, 2, 3, 4, 5, 6, 7]
        assert [read_number(frame) for frame in source.frames(4, 7)] == [4, 5, 6]


def damage(path: Path, chosen: slice) -> Path:
    """Overwrite packets of the file's first video stream."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for place, size in packets[chosen]:
        assert place is not None
        data[place : place + size] = b"\x55" * size
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
def test_damaged_frames_at_the_end_hold_the_last_good_one(tmp_path: Path, codec: str) -> None:
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = write_clip(tmp_path / "a.mp4", 72, sound=False, codec=codec, pixel_format=pixel_format)
    damage(path, slice(-2, None))
    told: list[str] = []
    with open_source(path, warn=told.append) as source:
        assert source.count == 72
        seen = [read_number(frame) for frame in source.frames(0, 72)]
        assert [read_number(frame) for frame in source.frames(60, 72)] == seen[60:]
    assert seen[:70] == list(range(70))
    assert seen[70:] == [69, 69]
    assert len([text for text in told if "has a damaged frame near 2.9" in text]) == 2
    assert not any("near its" in text for text in told)


def test_good_frames_behind_a_damaged_one_near_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_with_eight_threads(path: Path) -> InputContainer:
        container = open_file(path)
        container.streams.video[0].codec_context.thread_count = 8
        return container

    monkeypatch.setattr("core.movies.open_file", open_with_eight_threads)
    path = write_clip(tmp_path / "a.mov", 40, sound=False, codec="prores_ks", pixel_format="yuv422p10le")
    damage(path, slice(-3, -2))
    told: list[str] = []
    with open_source(path, warn=told.append) as source:
        seen = [read_number(np.uint8(frame >> 8)) for frame in source.frames(30, 40)]
        assert seen == [30, 31, 32, 33, 34, 35, 36, 36, 38, 39]
    assert told == [f"{path} has a damaged frame near 1.54 s: the one before is held."]


def test_a_size_that_changes(tmp_path: Path) -> None:
    """As WebRTC changes it; of a transport stream, the parts may have any sizes."""
    for name, size in (("a.ts", (320, 180)), ("b.ts", (640, 360))):
        write_clip(tmp_path / name, 12, size=size, sound=False, codec="mpeg2video")
    with av.open(str(tmp_path / "joined.ts"), "w") as container:
        stream = None
        for number, name in enumerate(("a.ts", "b.ts")):
            with av.open(str(tmp_path / name)) as part:
                stream = stream or container.add_stream_from_template(part.streams.video[0])
                for packet in part.demux(video=0):
                    if packet.size and packet.pts is not None and packet.dts is not None:
                        packet.pts, packet.dts = packet.pts + 45000 * number, packet.dts + 45000 * number
                        packet.stream = stream
                        container.mux(packet)
    with open_source(tmp_path / "joined.ts") as source:
        assert len(list(source.frames(0, 12))) == 12
        with pytest.raises(InputError, match=r"Frame 12 of .*joined.ts is 640x360 pixels, the first one 320x180: choo"):
            list(source.frames(0, 20))


def test_a_title_in_another_encoding(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.avi", 4, codec="mpeg4")
    with av.open(str(tmp_path / "b.avi"), "w") as container, av.open(str(path)) as plain:
        container.metadata["title"] = "XXXX"
        stream = container.add_stream_from_template(plain.streams.video[0])
        for packet in plain.demux(video=0):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    path.write_bytes((tmp_path / "b.avi").read_bytes().replace(b"XXXX", b"caf\xe9"))
    assert numbers(path, 0, 4) == [0, 1, 2, 3]
    assert not has_sound(path)


def test_movie_that_may_not_be_read(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: str, **options: str) -> None:
        raise av.error.PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(av, "open", forbidden)
    with pytest.raises(InputError, match=r"clip.mp4 cannot be opened .Permission denied.: get permission to read it"):
        Movie(clip, lambda text: None)


def test_pixels_that_cannot_be_converted(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(frame: av.VideoFrame) -> None:
        raise ValueError("no such conversion")

    monkeypatch.setattr("core.movies.decoded", refuse)
    with pytest.raises(InputError, match=r"clip.mp4 has pixels in the format yuv420p, which cannot be converted"):
        open_source(clip)


def test_a_late_start_counts_from_the_first_frame(tmp_path: Path) -> None:
    path = write_with_times(tmp_path / "a.mkv", [1000 + 40 * index for index in range(10)])
    assert numbers(path, 0, 10) == list(range(10))
    assert numbers(path, 6, 9) == [6, 7, 8]


def test_image_sequence_from_folder_and_from_first_file(images: Path) -> None:
    with open_source(images) as source:
        assert (source.count, source.size, source.fps) == (12, (320, 180), 24)
        assert [read_number(frame) for frame in source.frames(0, 12)] == list(range(12))
    with open_source(images / "shot_004.png", fps=Fraction(30)) as source:
        assert (source.count, source.fps) == (9, 30)
        assert np.array_equal(next(source.frames(0, 1)), draw(3))


def test_numbers_sort_as_numbers(tmp_path: Path) -> None:
    for index in (8, 9, 10, 11):
        cv2.imwrite(str(tmp_path / f"f{index}.png"), draw(index))
    with open_source(tmp_path) as source:
        assert source.files == ("f8.png", "f9.png", "f10.png", "f11.png")


def test_holes_in_a_sequence_are_held_and_told(images: Path, tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "s")
    for number in (5, 6, 9):
        (tmp_path / "s" / f"shot_{number:03d}.png").unlink()
    told: list[str] = []
    with open_source(tmp_path / "s", warn=told.append) as source:
        assert [read_number(frame) for frame in source.frames(0, 12)] == [0, 1, 2, 3, 3, 3, 6, 7, 7, 9, 10, 11]
    assert told == [f"{tmp_path / 's'} lacks images of its sequence (5, 6, 9): for each, the image before it is held."]


@pytest.mark.parametrize(("names", "holes"), [((1, 1002), 1000), ((1, 1003), 1001), ((*range(200), 2300), 2100)])
def test_numbers_that_count_no_frames(tmp_path: Path, names: tuple[int, ...], holes: int) -> None:
    for number in names:
        (tmp_path / f"a{number}.png").write_bytes(b"")
    told: list[str] = []
    if holes > max(1000, 10 * len(names)):
        with pytest.raises(InputError, match=f"holds {len(names)} images numbered .*, so {holes} would be missing"):
            sequence_in(tmp_path, told.append)
        assert not told
    else:
        assert len(sequence_in(tmp_path, told.append)) == len(names) + holes
        assert len(told) == 1


def test_dates_in_names_are_no_frame_numbers(tmp_path: Path) -> None:
    for time in ("20230101120000", "20240101120000", "20240101120000000000000000"):
        cv2.imwrite(str(tmp_path / f"IMG_{time}.png"), draw(0))
    for path in (tmp_path, tmp_path / "IMG_20230101120000.png"):
        with pytest.raises(InputError, match=r"that is no sequence. Number them one after the other"):
            open_source(path)


def test_hidden_files_are_no_sequence(images: Path, tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "s")
    for name in ("._shot_001.png", "._shot_002.png", ".old_7.png"):
        (tmp_path / "s" / name).write_bytes(b"\x00\x05\x16\x07")
    with open_source(tmp_path / "s") as source:
        assert source.files == tuple(f"shot_{number:03d}.png" for number in range(1, 13))


@pytest.mark.parametrize("suffix", [".tga", ".dpx", ".SGI"])
def test_formats_that_are_not_read(tmp_path: Path, suffix: str) -> None:
    name = f"a1{suffix}"
    if suffix == ".tga":
        (tmp_path / name).write_bytes(bytes([0, 0, 2, *[0] * 9, 4, 0, 3, 0, 24, 32]) + bytes(36))
    else:
        with av.open(str(tmp_path / name), "w", format="image2") as container:
            stream = container.add_stream(suffix[1:].lower(), rate=24)
            stream.width, stream.height, stream.pix_fmt = 320, 180, "rgb24"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(draw(0), format="rgb24")))
            container.mux(stream.encode())
    for path, files in ((tmp_path, ()), (tmp_path / name, ()), (tmp_path, (name,))):
        with pytest.raises(InputError, match=rf"a1{suffix} is an image in a format that is not read .*: convert the"):
            open_source(path, files)


HALF, FLOAT = np.float16, np.float32


@pytest.mark.parametrize(
    ("kinds", "shown", "kind"),
    [
        ({"R": HALF, "G": HALF, "B": HALF}, "RGB", HALF),
        ({"R": FLOAT, "G": FLOAT, "B": HALF}, "RGB", FLOAT),
        ({"R": HALF, "G": HALF, "B": HALF, "A": FLOAT}, "RGBA", FLOAT),
        ({"R": HALF, "G": HALF, "B": HALF, "A": HALF, "Z": FLOAT}, "RGBA", HALF),
        ({"Y": HALF}, "YYY", HALF),
        ({"Y": HALF, "A": HALF}, "YYYA", HALF),
        ({"Y": FLOAT, "A": HALF}, "YYYA", FLOAT),
    ],
)
def test_channels_of_an_exr(tmp_path: Path, kinds: dict[str, type], shown: str, kind: type) -> None:
    channels = {name: np.full((4, 6), place / 8, kind) for place, (name, kind) in enumerate(kinds.items(), start=1)}
    with OpenEXR.File({"type": OpenEXR.scanlineimage}, dict(channels)) as file:
        file.write(str(tmp_path / "a1.exr"))
    with open_source(tmp_path) as source:
        (image,) = source.frames(0, 1)
    assert image.dtype == kind
    assert np.array_equal(image, np.dstack([channels[name] for name in shown]))


def test_images_of_different_sizes(images: Path, tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "s")
    cv2.imwrite(str(tmp_path / "s" / "shot_003.png"), draw(0, (160, 90)))
    with (
        open_source(tmp_path / "s") as source,
        pytest.raises(InputError, match="shot_003.png is 160x90 pixels of 8 bits"),
    ):
        list(source.frames(0, 12))


def test_what_cannot_be_read(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is no movie")
    (tmp_path / "empty.mov").write_bytes(b"")
    (tmp_path / "fake.png").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a1.png").write_bytes(b"\x89PNG")
    with av.open(str(tmp_path / "sound.m4a"), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 48000), np.float32), "fltp", "stereo")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    for name, sentence in {
        "absent.mp4": "does not exist",
        "text.mp4": "is no movie that can be read",
        "empty.mov": "is no movie that can be read",
        "folder": "holds no numbered images",
        "fake.png": "fake.png has no number in its name, .*: name a movie, a folder of numbered images, or the first",
        "broken": "a1.png is no image that can be read, or only a part of one: render or copy that file again, or",
        "sound.m4a": "has no picture",
    }.items():
        with pytest.raises(InputError, match=sentence):
            open_source(tmp_path / name)


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".mp4"])
def test_truncated_movie_says_where_it_ends(tmp_path: Path, suffix: str) -> None:
    whole = write_clip(tmp_path / f"whole{suffix}", 120, sound=False)
    part = tmp_path / f"part{suffix}"
    part.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    if suffix == ".mp4":  # the index stands at the end of the file
        with pytest.raises(InputError, match="is no movie that can be read"):
            open_source(part)
        return
    with open_source(part) as source:
        assert 20 < source.count < 90
        assert len(list(source.frames(0, source.count - 2))) == source.count - 2
        with pytest.raises(InputError, match="the file is not complete"):
            list(source.frames(10, 119))


def test_rotated_phone_video_stands_upright(tmp_path: Path, clip: Path) -> None:
    data = clip.read_bytes()
    track = data.index(b"tkhd")  # the track's header holds a matrix: ISO/IEC 14496-12, 8.3.2
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    quarter_turn = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    place = data.index(identity, track)
    (tmp_path / "phone.mp4").write_bytes(data[:place] + quarter_turn + data[place + len(identity) :])
    with open_source(clip) as flat, open_source(tmp_path / "phone.mp4") as upright:
        assert upright.size == (180, 320)
        assert np.array_equal(next(upright.frames(7, 8)), np.rot90(next(flat.frames(7, 8)), -1))


@pytest.mark.parametrize("suffix", [".hdr", ".jp2"])
def test_what_else_blender_writes_is_read(tmp_path: Path, suffix: str) -> None:
    picture = np.zeros((64, 80, 3), np.float32 if suffix == ".hdr" else np.uint8)
    picture[5:, 10:] = 1 if suffix == ".hdr" else 200
    for number in (1, 2, 3):
        cv2.imwrite(str(tmp_path / f"{number:04d}{suffix}"), picture)
    for path in (tmp_path, tmp_path / f"0001{suffix}"):
        with open_source(path) as source:
            assert (source.count, source.kind) == (3, picture.dtype)
            assert np.allclose(next(iter(source.frames(1, 2))), picture, atol=1e-6 if suffix == ".hdr" else 4)
