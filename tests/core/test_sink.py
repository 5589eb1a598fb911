# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from core import png
from core.color import Encoding, to_float, to_uint8
from core.images import FORMATS
from core.job import Job
from core.messages import InputError
from core.plan import OutputFrame, Sample, make_plan
from core.sink import Sink as FormattedSink
from tests import failing


def Sink(job: Job) -> FormattedSink:  # noqa: N802
    return FormattedSink(job, FORMATS["png"])


FIRST = OutputFrame(1, Sample("copy", 0, 0, Fraction(0)))
PIXELS = np.random.default_rng(1).integers(0, 256, (37, 53, 3), np.uint8)


def job(folder: Path, **change: object) -> Job:
    return Job(**{"source": "/a.mp4", "output": str(folder), "start": 0, "end": 2, "factor": Fraction(2), **change})  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (1, 7), (37, 53)])
def test_png_holds_the_pixels(shape: tuple[int, int]) -> None:
    pixels = PIXELS[: shape[0], : shape[1]]
    data = png.encode(np.ascontiguousarray(pixels))
    assert data.endswith(png.END)
    assert np.array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1], pixels)


def test_png_without_isal_holds_the_same_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "isal_zlib", None)
    decoded = cv2.imdecode(np.frombuffer(png.encode(PIXELS), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decoded[..., ::-1], PIXELS)


def test_floats_are_rounded_and_clipped() -> None:
    values = np.array([-1, 0, 0.499 / 255, 0.501 / 255, 127.501 / 255, 1, 2], np.float32).reshape(1, -1, 1)
    assert to_uint8(np.repeat(values, 3, axis=2))[0, :, 0].tolist() == [0, 0, 0, 1, 128, 255, 255]
    every = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=2)
    assert np.array_equal(to_uint8(to_float(every, Encoding())), every)


def test_written_frames_are_not_missing_and_cut_ones_are(tmp_path: Path) -> None:
    frames = make_plan(job(tmp_path / "o"), 3)
    with Sink(job(tmp_path / "o")).opened() as sink:
        assert sink.missing(frames) == frames
        for frame in frames[:3]:
            sink.write_frame(frame, PIXELS)
        cut = tmp_path / "o" / "000002.png"
        cut.write_bytes(cut.read_bytes()[:-7])
        assert [frame.number for frame in sink.missing(frames)] == [2, 4]


@pytest.mark.parametrize("chosen", ["png", "png16", "exr", "exr_dwaa", "tiff", "jpeg"])
def test_a_cut_frame_of_any_format_is_missing(tmp_path: Path, chosen: str) -> None:
    frames = make_plan(job(tmp_path), 3)
    written = FORMATS[chosen]
    with FormattedSink(job(tmp_path, format=chosen), written).opened() as sink:
        for frame in frames:
            sink.write_frame(frame, PIXELS)
        assert sink.missing(frames) == []
        whole = (tmp_path / f"000001{written.extension}").read_bytes()
        for number, size in enumerate((0, 5, 500, len(whole) - 1), start=1):
            (tmp_path / f"00000{number}{written.extension}").write_bytes(whole[:size])
        assert sink.missing(frames) == frames


NAMES = ["000001.png", "1234567.exr", "sound-12.wav", "slow.mkv", "result.json", ".job"]


@pytest.mark.parametrize("name", NAMES)
def test_half_written_files_are_cleared_away(tmp_path: Path, name: str) -> None:
    with Sink(job(tmp_path)).opened():
        pass
    (tmp_path / f"{name}.part").write_bytes(b"half")
    with Sink(job(tmp_path)).opened():
        assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("name", ["ubuntu.iso.part", "00001.png.part", "000001.webp.part", "sound-a.wav.part", ".lock"])
def test_files_of_others_are_left(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"theirs")
    for _ in range(2):
        with Sink(job(tmp_path)).opened():
            pass
    assert (tmp_path / name).read_bytes() == b"theirs"


def test_half_a_download_in_a_folder_of_no_job_is_left(tmp_path: Path) -> None:
    (tmp_path / "000001.png.part").write_bytes(b"theirs")
    with Sink(job(tmp_path)).opened():
        assert (tmp_path / "000001.png.part").read_bytes() == b"theirs"


def test_folder_of_a_job_that_made_no_frame_is_free(tmp_path: Path) -> None:
    with Sink(job(tmp_path)).opened() as sink:
        sink.write_file("sound-1.wav", b"x")
    (tmp_path / "000001.exr.part").write_bytes(b"half")
    (tmp_path / "worker.log").write_bytes(b"x")
    other = job(tmp_path, factor=Fraction(3))
    with Sink(other).opened():
        assert sorted(path.name for path in tmp_path.iterdir()) == [".job", ".lock", "worker.log"]
    assert (tmp_path / ".job").read_text() == other.digest()


@pytest.mark.parametrize("name", ["000001.png", "slow.mp4"])
def test_folder_of_a_job_that_made_something_is_not(tmp_path: Path, name: str) -> None:
    with Sink(job(tmp_path)).opened() as sink:
        sink.write_file("sound-1.wav", b"x")
        sink.write_file(name, b"x")
    before = sorted(path.name for path in tmp_path.iterdir())
    other = job(tmp_path, factor=Fraction(3))
    with pytest.raises(InputError, match="holds the frames of another job"), Sink(other).opened():
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_owner_file_of_another_program_is_left(tmp_path: Path) -> None:
    (tmp_path / ".job").write_text("apply for it until Friday")
    with pytest.raises(InputError, match="holds a file .job that is not Lento's"), Sink(job(tmp_path)).opened():
        pass
    assert [path.name for path in tmp_path.iterdir()] == [".job"]
    assert (tmp_path / ".job").read_text() == "apply for it until Friday"


def test_frames_of_another_job_are_never_written_over(tmp_path: Path) -> None:
    with Sink(job(tmp_path)).opened() as sink:
        sink.write_frame(FIRST, PIXELS)
    with (
        pytest.raises(InputError, match="holds the frames of another job"),
        Sink(job(tmp_path, factor=Fraction(3))).opened(),
    ):
        pass


@pytest.mark.parametrize("name", ["holiday.png", "result.json", "sound-1.wav", "sound-2.wav"])
def test_files_of_nobody_are_never_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=f"holds {name}, and .* are not this job's"), Sink(job(tmp_path)).opened():
        pass
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, b"x")], "and no lock is left"


def test_lock_of_another_is_left(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_bytes(b"")
    (tmp_path / "holiday.png").write_bytes(b"x")
    with pytest.raises(InputError, match="holiday.png"), Sink(job(tmp_path)).opened():
        pass
    assert (tmp_path / ".lock").exists()


def test_one_worker_a_folder(tmp_path: Path) -> None:
    program = (
        "import sys, time; sys.path.insert(0, '.')\nfrom tests.core.test_sink import job, Sink, Path\n"
        "with Sink(job(Path(sys.argv[1]))).opened():\n    print('in', flush=True)\n    time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "in\n"
    with pytest.raises(InputError, match="in use by another worker"), Sink(job(tmp_path)).opened():
        pass
    other.kill()
    other.wait()
    other.stdout.close()
    with Sink(job(tmp_path)).opened():
        pass


def test_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*names: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Sink(job(tmp_path)).opened() as sink:
        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(InputError, match="is full: free some space"):
            sink.write_frame(FIRST, PIXELS)
    assert not list(tmp_path.glob("*.p*"))


@pytest.mark.parametrize("side", [10, 400])
def test_full_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    with (
        failing.small_disk(tmp_path / "small") as disk,
        FormattedSink(job(tmp_path / "o", format="exr"), FORMATS["exr"]).opened() as sink,
    ):
        (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free))
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        noise = np.random.default_rng(1).random((side, side, 3)).astype(np.float16)
        with pytest.raises(InputError, match="temporary folder, and it cannot be written .*: free some space there"):
            sink.write_frame(FIRST, noise)
        assert not list((tmp_path / "o").glob("0*"))
        assert [path.name for path in disk.iterdir()] == ["filler"]


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="choose a folder that can be written"),
        Sink(job(tmp_path / "file" / "o")).opened(),
    ):
        pass
