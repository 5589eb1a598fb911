# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.job import Job
from core.plan import make_plan, needed_frames
from core.timing import factor_from_float, frame_count, parse_factor, source_times, split_time

factors = st.fractions(min_value=1, max_value=40, max_denominator=97)
lengths = st.integers(min_value=2, max_value=300)


def job(start: int, end: int, factor: Fraction, **more: object) -> Job:
    return Job(source="/clip.mp4", output="/out", start=start, end=end, factor=factor, **more)  # type: ignore[arg-type]


@given(lengths, factors)
def test_count_is_the_rounded_product(frames: int, factor: Fraction) -> None:
    times = list(source_times(frames, factor))
    assert len(times) == frame_count(frames, factor) == round(frames * factor)


@given(lengths, factors, st.integers(-50, 10_000))
def test_times_rise_by_one_step_and_stay_in_the_range(frames: int, factor: Fraction, start: int) -> None:
    times = list(source_times(frames, factor, start))
    assert times[0] == start
    assert {b - a for a, b in zip(times, times[1:], strict=False)} <= {1 / factor}
    assert times[-1] < start + frames


@given(lengths, st.integers(1, 12))
def test_whole_factors_hit_every_source_frame(frames: int, factor: int) -> None:
    times = list(source_times(frames, Fraction(factor), 7))
    assert [time for time in times if time.denominator == 1] == list(range(7, 7 + frames))


@given(st.fractions(min_value=-100, max_value=100))
def test_split_time_adds_up(time: Fraction) -> None:
    frame, t = split_time(time)
    assert frame + t == time
    assert 0 <= t < 1


@given(lengths, factors, st.integers(0, 500), st.integers(0, 3))
def test_plan_is_contiguous_exact_and_inside_the_media(length: int, factor: Fraction, start: int, after: int) -> None:
    count = start + length + after
    frames = make_plan(job(start, start + length, factor), count)
    assert [frame.number for frame in frames] == list(range(1, round(length * factor) + 1))
    assert [frame.source + frame.t for frame in frames] == list(source_times(length, factor, start))
    assert all((frame.kind == "copy") == (frame.t == 0) for frame in frames)
    needed = needed_frames(frames)
    assert needed.start >= 0
    assert needed.stop <= count


def test_last_pair_looks_past_the_range_where_the_media_goes_on() -> None:
    inside = make_plan(job(10, 12, Fraction(4)), count=20)
    assert [(frame.kind, frame.source, frame.t) for frame in inside[4:]] == [
        ("copy", 11, 0),
        ("between", 11, Fraction(1, 4)),
        ("between", 11, Fraction(1, 2)),
        ("between", 11, Fraction(3, 4)),
    ]
    assert needed_frames(inside) == range(10, 13)


def test_last_frame_is_held_at_the_end_of_the_media() -> None:
    frames = make_plan(job(10, 12, Fraction(2)), count=12)
    assert [(frame.kind, frame.source) for frame in frames] == [
        ("copy", 10),
        ("between", 10),
        ("copy", 11),
        ("hold", 11),
    ]


def test_frames_that_may_not_be_shown_are_held_at_the_ends() -> None:
    frames = make_plan(job(3, 9, Fraction(1), shown_start=5, shown_end=7), count=100)
    assert [(frame.kind, frame.source) for frame in frames] == [
        ("hold", 5),
        ("hold", 5),
        ("copy", 5),
        ("copy", 6),
        ("hold", 6),
        ("hold", 6),
    ]


def test_host_time_is_mapped_to_source_time() -> None:
    frames = make_plan(job(10, 12, Fraction(2)), count=100, rate=Fraction(4, 5))
    assert [frame.source + frame.t for frame in frames] == [8, Fraction(42, 5), Fraction(44, 5), Fraction(46, 5)]


@pytest.mark.parametrize(("text", "factor"), [("2", 2), ("2.5", Fraction(5, 2)), ("7/3", Fraction(7, 3)), (" 4 ", 4)])
def test_factor_as_people_write_it(text: str, factor: Fraction) -> None:
    assert parse_factor(text) == factor


@pytest.mark.parametrize("text", ["", "four", "nan", "inf", "7/0", "1,5"])
def test_no_factor(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        parse_factor(text)


@given(st.integers(1, 20), st.integers(1, 20))
def test_factor_from_a_field_in_single_precision(numerator: int, denominator: int) -> None:
    import struct

    wanted = Fraction(numerator, denominator)
    (single,) = struct.unpack("f", struct.pack("f", float(wanted)))
    assert factor_from_float(single) == wanted
