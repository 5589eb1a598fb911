# SPDX-License-Identifier: GPL-3.0-or-later
"""The sound of a range follows its map: where clicks come out, how long it is, at which pitch."""

from __future__ import annotations

import subprocess
import sys
import wave
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from core.messages import InputError
from core.movies import Movie
from core.sound import RATE, has_sound, is_complete, read_sound, stretched, wav
from core.source import open_source
from core.timing import constant, drawn, eased
from scripts.clips import find_clicks, read_number, write_clip

ROOT = Path(__file__).resolve().parents[2]
F = Fraction
FPS = F(24)
CLICKS = (0.5, 1.0, 1.7, 2.5)
ENDS = (0.0, 2.96)
"""Clicks with the first frame, and with the last."""
MAPS = {
    "constant": constant(72, F(4)),
    "ramps": eased(72, F(4), "both", 24),
    "drawn": drawn(72, ((F(0), F(1)), (F(24), F(1, 5)), (F(120), F(1, 4)), (F(150), F(2)))),
    "faster": constant(72, F(1, 2)),
    "hold": drawn(72, ((F(0), F(1)), (F(20), F(1)), (F(21), F(0)), (F(40), F(0)), (F(41), F(1)))),
}


@pytest.fixture(scope="module")
def clicking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of hiss and a tone of 220 Hz with clicks at CLICKS."""
    return write_clicks(tmp_path_factory.mktemp("sound") / "clicks ü.wav", CLICKS)


def write_clicks(path: Path, at: Sequence[float]) -> Path:
    sound = np.random.default_rng(0).standard_normal(3 * RATE) * 0.003
    sound += 0.05 * np.sin(2 * np.pi * 220 * np.arange(3 * RATE) / RATE)
    for click in at:
        place = round(click * RATE)
        sound[place : place + 240] += 0.8 * np.hanning(240) * np.sign(np.sin(0.9 * np.arange(240)))
    path.write_bytes(wav(np.stack([sound, sound]).astype(np.float32)))
    return path


def pitch(sound: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    frequencies = np.fft.rfftfreq(len(sound), 1 / RATE)
    heard = (frequencies > 20) & (frequencies < 1000)
    return float(frequencies[heard][np.argmax(spectrum[heard])])


@pytest.mark.parametrize("keep_pitch", [True, False], ids=["pitch kept", "tape"])
@pytest.mark.parametrize("name", MAPS)
def test_clicks_come_out_where_the_map_says(clicking: Path, name: str, keep_pitch: bool) -> None:
    times = MAPS[name]
    made = stretched(clicking, F(0), FPS, times, FPS, keep_pitch)
    assert made.shape == (2, round(times.count / FPS * RATE))
    for found, click in zip(find_clicks(made[0], len(CLICKS)), CLICKS, strict=True):
        assert abs(found * 24 - times.when(click * 24)) < 0.8, click


@pytest.mark.parametrize("keep_pitch", [True, False], ids=["pitch kept", "tape"])
@pytest.mark.parametrize("name", MAPS)
def test_both_ends_are_heard(tmp_path: Path, name: str, keep_pitch: bool) -> None:
    made = stretched(write_clicks(tmp_path / "ends.wav", ENDS), F(0), FPS, MAPS[name], FPS, keep_pitch)
    for found, click in zip(find_clicks(made[0], len(ENDS)), ENDS, strict=True):
        assert abs(found * 24 - MAPS[name].when(click * 24)) < 0.8, click


def test_without_pedalboard_ffmpeg_does_it(clicking: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pedalboard", None)
    for name in ("constant", "ramps", "faster"):
        times = MAPS[name]
        made = stretched(clicking, F(0), FPS, times, FPS, keep_pitch=True)
        assert made.shape == (2, round(times.count / FPS * RATE))
        for found, click in zip(find_clicks(made[0], len(CLICKS)), CLICKS, strict=True):
            assert abs(found * 24 - times.when(click * 24)) < 2.5, (name, click)
        assert abs(pitch(made[0][RATE // 4 :]) - 220) < 12


MANY_CHANNELS = """
import sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from core.sound import RATE, read_sound, stretched, wav
from core.timing import constant
sys.modules["pedalboard"] = None
for channels in map(int, sys.argv[2:]):
    waves = np.sin(np.arange(RATE) * 2 * np.pi * 110 * (1 + np.arange(channels)[:, None]) / RATE, dtype=np.float32) / 2
    path = Path(sys.argv[1]) / f"{channels}.wav"
    path.write_bytes(wav(waves))
    assert np.abs(read_sound(path, 0, 1) - waves).max() < 1e-5
    made = stretched(path, Fraction(0), Fraction(24), constant(24, Fraction(2)), Fraction(24), keep_pitch=True)
    assert made.shape == (channels, 2 * RATE)
    for number, wave in enumerate(made, start=1):
        assert abs(np.argmax(np.abs(np.fft.rfft(wave))) / 2 - 110 * number) < 2
    print(channels, end=" ", flush=True)
"""


def test_any_number_of_channels(tmp_path: Path) -> None:
    """In a process of its own, for eight planes end the process that asks PyAV for them."""
    command = [sys.executable, "-c", MANY_CHANNELS, str(tmp_path), "1", "6", "8", "9", "16"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == command[4:], done.stderr


def test_pitch(clicking: Path) -> None:
    assert abs(pitch(stretched(clicking, F(0), FPS, MAPS["constant"], FPS, keep_pitch=True)[0]) - 220) < 4
    assert abs(pitch(stretched(clicking, F(0), FPS, MAPS["constant"], FPS, keep_pitch=False)[0]) - 55) < 2


def test_range_inside_of_the_file(clicking: Path) -> None:
    made = stretched(clicking, F(3, 2), FPS, constant(12, F(2)), FPS, keep_pitch=True)
    assert made.shape == (2, RATE)
    assert abs(find_clicks(made[0], 1)[0] - 0.4) < 0.02


def test_hold_is_silent_and_normal_speed_untouched(clicking: Path) -> None:
    made = stretched(clicking, F(0), FPS, MAPS["hold"], FPS, keep_pitch=True)
    assert np.abs(made[0][round(23 / 24 * RATE) : round(38 / 24 * RATE)]).max() == 0
    same = stretched(clicking, F(0), FPS, constant(72, F(1)), FPS, keep_pitch=True)
    assert np.array_equal(same, read_sound(clicking, 0, 3))


def test_backwards(clicking: Path) -> None:
    there_and_back = drawn(40, ((F(0), F(1)), (F(30), F(1)), (F(31), F(-1)), (F(60), F(-1)), (F(61), F(1))))
    made = stretched(clicking, F(0), FPS, there_and_back, FPS, keep_pitch=False)
    # the click at frame 12 is heard on the way there, on the way back, and on the way there again
    found = [round(time * 24) for time in find_clicks(made[0], 6)]
    assert 12 in found
    assert any(44 <= time <= 52 for time in found)


def test_silence_before_and_after_the_file(clicking: Path) -> None:
    sound = read_sound(clicking, -1, 4)
    assert sound.shape == (2, 5 * RATE)
    assert np.abs(sound[:, :RATE]).max() == 0
    assert np.abs(sound[:, 4 * RATE :]).max() == 0
    assert np.array_equal(sound[:, RATE : 4 * RATE], read_sound(clicking, 0, 3))


def test_sound_of_a_movie(tmp_path: Path) -> None:
    movie = write_clip(tmp_path / "a.mov", 48, F(24), (64, 36), flashes=(10, 40))
    assert has_sound(movie)
    assert [round(time * 24, 1) for time in find_clicks(read_sound(movie, 0, 2)[0], 2)] == [10.1, 40.1]
    seeking = read_sound(movie, 1.5, 2)
    assert [round((1.5 + time) * 24, 1) for time in find_clicks(seeking[0], 1)] == [40.1]


def test_a_stream_that_was_cut_is_in_step_with_its_picture(tmp_path: Path) -> None:
    """Its first packets belong to a picture that is gone; AAC in such a stream begins with 21 ms of its own."""
    whole = write_clip(tmp_path / "whole.ts", 96, F(24), (192, 108), flashes=(58, 82)).read_bytes()
    path = tmp_path / "cut.ts"
    path.write_bytes(whole[len(whole) // 188 * 3 // 10 * 188 :])
    with open_source(path) as source:
        first = read_number(next(source.frames(0, 1)))
        assert isinstance(source, Movie)
        late = source._stream.start_time
    with av.open(str(path)) as container:
        assert late is not None
        assert next(container.decode(video=0)).pts > late + 9000, "the clip is not cut in the middle of a group"
    found = find_clicks(read_sound(path, 0, 3)[0], 2)
    assert np.allclose(found, [(58 - first) / 24, (82 - first) / 24], atol=0.03)
    found = find_clicks(read_sound(path, 1.2, 3)[0], 1)
    assert np.allclose(found, [(82 - first) / 24 - 1.2], atol=0.03)


def write_timed(path: Path, wave: np.ndarray, times: Callable[[float], float | None]) -> Path:
    """Mono sound in frames of 20 ms, each at the second that `times` says for its own; without those of None."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for place in range(0, len(wave), 960):
            time = times(place / RATE)
            if time is not None:
                part = np.rint(wave[None, place : place + 960] * 32767).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(part, "s16", "mono")
                frame.sample_rate, frame.time_base, frame.pts = RATE, F(1, 1000), round(time * 1000)
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def hum() -> np.ndarray:
    return np.round(np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE) * 32767) / 32767


def test_a_gap_is_silent_and_moves_nothing(tmp_path: Path, hum: np.ndarray) -> None:
    path = write_timed(tmp_path / "a.mkv", hum, lambda time: None if 1.0 <= time < 1.8 else time)
    hum[RATE : RATE * 9 // 5] = 0
    assert np.abs(read_sound(path, 0, 3)[0] - hum).max() < 1e-4
    assert np.abs(read_sound(path, 1.5, 3)[0] - hum[RATE * 3 // 2 :]).max() < 1e-4


def test_one_frame_that_lacks_is_silent(tmp_path: Path, hum: np.ndarray) -> None:
    path = write_timed(tmp_path / "a.mkv", hum, lambda time: None if 1.0 <= time < 1.01 else time)
    hum[RATE : RATE + 960] = 0
    assert np.abs(read_sound(path, 0, 3)[0] - hum).max() < 1e-4


def test_timestamps_that_waver_leave_no_holes(tmp_path: Path, hum: np.ndarray) -> None:
    path = write_timed(tmp_path / "a.mkv", hum, lambda time: time + 0.004 * np.sin(9 * time))
    assert np.abs(read_sound(path, 0, 3)[0] - hum).max() < 1e-4


def test_what_overlaps_is_cut(tmp_path: Path, hum: np.ndarray) -> None:
    path = write_timed(tmp_path / "a.mkv", hum, lambda time: time - 0.015 * (time >= 1))
    sound = read_sound(path, 0, 3)[0]
    assert np.abs(sound[:RATE] - hum[:RATE]).max() < 1e-4
    cut = RATE * 15 // 1000
    assert np.abs(sound[RATE:-cut] - hum[RATE + cut :]).max() < 1e-4
    assert not sound[-cut:].any()


def test_a_damaged_packet_is_silent_and_told(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 72, F(24), (64, 36))
    whole = read_sound(path, 0, 3)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(audio=0) if packet.size]
    place, size = packets[70]
    assert place is not None
    data[place : place + size] = b"\xff" * size
    path.write_bytes(data)
    told: list[str] = []
    sound = read_sound(path, 0, 3, told.append)
    assert told == [f"{path} has damaged sound near 1.49 s: it is silent there."]
    around = slice(69 * 1024, 74 * 1024)  # the decoder overlaps packets
    assert np.abs(sound - whole)[:, : around.start].max() < 1e-3
    assert np.abs(sound - whole)[:, around.stop :].max() < 1e-3
    assert np.abs(sound - whole).max() > 0.01
    assert read_sound(path, 1.6, 3, told.append).any()
    assert len(told) == 1, "what is not in the range is told"


def test_sound_of_which_nothing_can_be_decoded(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 24, F(24), (64, 36))
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        for packet in container.demux(audio=0):
            if packet.size and packet.pos is not None:
                data[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be decoded .*: choose Mute"):
        read_sound(path, 0, 1)


def test_no_sound(tmp_path: Path) -> None:
    silent = write_clip(tmp_path / "a.mp4", 4, F(24), (64, 36), sound=False)
    assert not has_sound(silent)
    assert not has_sound(tmp_path)
    with pytest.raises(InputError, match="has no sound: choose the sound Automatic"):
        read_sound(silent, 0, 1)
    (tmp_path / "b.wav").write_text("no sound")
    with pytest.raises(InputError, match="cannot be read"):
        read_sound(tmp_path / "b.wav", 0, 1)


def test_wav_holds_the_samples(tmp_path: Path) -> None:
    samples = np.array([[-2, -1, -0.5, 0, 0.25, 1]], np.float32)
    (tmp_path / "a.wav").write_bytes(wav(samples))
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()) == (1, 3, RATE, 6)
    assert np.allclose(read_sound(tmp_path / "a.wav", 0, 6 / RATE), np.clip(samples, -1, 1), atol=1e-6)


def test_wav_that_is_cut_short_is_not_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    assert not is_complete(path)
    whole = wav(np.zeros((1, 7), np.float32))
    path.write_bytes(whole)
    assert is_complete(path)
    for damaged in (whole[:-1], whole[:5], b"", bytes(len(whole))):
        path.write_bytes(damaged)
        assert not is_complete(path)
