# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.job import Job
from core.messages import InputError
from core.plan import Findings, OutputFrame, make_plan, needed_frames, time_map
from core.timing import (
    TimeError,
    TimeMap,
    constant,
    drawn,
    eased,
    factor_from_float,
    fitted,
    parse_factor,
    parse_knot,
    split_time,
)

F = Fraction
# a busy machine is no failure
settings.register_profile("lento", deadline=None)
settings.load_profile("lento")
factors = st.fractions(min_value=F(1, 8), max_value=40, max_denominator=97)
lengths = st.integers(min_value=2, max_value=300)


FOUR = F(4)


def job(start: int, end: int, factor: Fraction = FOUR, **more: object) -> Job:
    return Job(source="/clip.mp4", output="/out", start=start, end=end, factor=factor, **more)  # type: ignore[arg-type]


def times_of(frames: list[OutputFrame]) -> list[Fraction]:
    return [frame.moment.time for frame in frames]


def kinds(frames: list[OutputFrame]) -> list[tuple[str, int]]:
    return [(frame.moment.kind, frame.moment.source) for frame in frames]


@given(lengths, factors)
def test_constant_factor(frames: int, factor: Fraction) -> None:
    made = constant(frames, factor)
    assert made.count == max(1, round(frames * factor))
    assert list(made.positions()) == [index / factor for index in range(made.count)]


@given(lengths, st.integers(1, 12))
def test_whole_factors_hit_every_source_frame(frames: int, factor: int) -> None:
    positions = constant(frames, F(factor)).positions()
    assert [position for position in positions if position.denominator == 1] == list(range(frames))


@given(lengths, st.integers(1, 900))
def test_fitted_length_is_that_length(frames: int, count: int) -> None:
    made = fitted(frames, count)
    assert made.count == count
    assert made.at(count) == frames


@given(
    lengths, st.fractions(F(1, 4), 40, max_denominator=50), st.sampled_from(["in", "out", "both"]), st.integers(1, 90)
)
def test_ramps_run_into_normal_speed_and_end_exactly(frames: int, factor: Fraction, ease: str, ramp: int) -> None:
    made = eased(frames, factor, ease, fitting_ramp(ramp, frames, factor, ease))
    assert made.at(made.count) == frames
    positions = [*made.positions(), made.at(made.count)]
    assert all(b > a for a, b in zip(positions, positions[1:], strict=False))
    assert made.knots[0][1] == 1 or ease == "out"
    assert made.knots[-1][1] == 1 or ease == "in"
    slowest = min(speed for _, speed in made.knots) if factor > 1 else max(speed for _, speed in made.knots)
    assert abs(1 / slowest - factor) <= max(F(1, 4) * factor, 1) or frames < 12


def fitting_ramp(ramp: int, frames: int, factor: Fraction, ease: str, fit: int | None = None) -> int:
    """The ramp, or the longest that the sentence of a refusal says would do."""
    try:
        eased(frames, factor, ease, ramp, fit)
    except TimeError as error:
        said = re.search(r"choose a ramp of at most (\d+)$", str(error))
        assume(said is not None)
        assert said is not None
        with pytest.raises(TimeError):
            eased(frames, factor, ease, int(said[1]) + 1, fit)
        return int(said[1])
    return ramp


@given(lengths, st.sampled_from(["in", "out", "both"]), st.integers(1, 90), st.integers(1, 900))
def test_ramps_within_a_fitted_length(frames: int, ease: str, ramp: int, count: int) -> None:
    made = eased(frames, F(1), ease, fitting_ramp(ramp, frames, F(1), ease, count), count)
    assert made.count == count
    assert made.at(count) == frames
    assert all(speed > 0 for _, speed in made.knots)


speeds = st.fractions(F(1, 20), 5, max_denominator=40)


@st.composite
def curves(draw: st.DrawFn, values: st.SearchStrategy[Fraction] = speeds) -> list[tuple[Fraction, Fraction]]:
    steps = draw(st.lists(st.fractions(F(1, 4), 40, max_denominator=4), max_size=8))
    knots, time = [(F(0), draw(values))], F(0)
    for step in steps:
        time += step
        knots.append((time, draw(values)))
    return knots


def integral(knots: list[tuple[Fraction, Fraction]], until: Fraction) -> Fraction:
    """The area under the curve, by another way than the code's: trapezoids over every piece."""
    total = F(0)
    for (a, va), (b, vb) in zip(knots, [*knots[1:], (F(10**9), knots[-1][1])], strict=True):
        end = min(b, until)
        if end > a:
            at_end = va + (vb - va) * (end - a) / (b - a)
            total += (end - a) * (va + at_end) / 2
    return total


@given(lengths, curves())
def test_drawn_curves_are_integrated_exactly(frames: int, knots: list[tuple[Fraction, Fraction]]) -> None:
    made = drawn(frames, knots)
    positions = list(made.positions())
    assert all(b > a for a, b in zip(positions, positions[1:], strict=False)), "not monotone where speeds are positive"
    assert positions[0] == 0
    assert positions[-1] < frames
    for index in {0, made.count // 3, made.count - 1}:
        assert positions[index] == integral(knots, F(index))
    # to the frame: the range's end lies within half a frame of the last one's end
    assert integral(knots, made.count - F(1, 2)) <= frames + F(1, 10**6) or made.count == 1
    assert integral(knots, made.count + F(1, 2)) >= frames - F(1, 10**6) or made.count == 1


@given(lengths, curves(st.fractions(-3, 3, max_denominator=20)), st.integers(0, 100))
def test_hold_and_reverse_stay_inside_the_media(
    frames: int, knots: list[tuple[Fraction, Fraction]], start: int
) -> None:
    knots = [*knots, (knots[-1][0] + 5, F(1))]
    wanted = job(start, start + frames, time="curve", speeds=tuple(knots))
    count = start + frames
    plan = make_plan(wanted, count, times=time_map(wanted))
    assert [frame.number for frame in plan] == list(range(1, len(plan) + 1))
    needed = needed_frames([sample for frame in plan for sample in frame.samples])
    assert needed.start >= 0
    assert needed.stop <= count


@given(lengths)
def test_normal_speed_changes_nothing(frames: int) -> None:
    for made in (drawn(frames, [(F(0), F(1)), (F(7), F(1))]), eased(frames, F(1), "both", 1), fitted(frames, frames)):
        assert made.count == frames
        assert list(made.positions()) == list(range(frames))


@given(lengths, factors, st.sampled_from(["none", "in", "both"]), st.integers(1, 20), st.integers(1, 5), st.booleans())
def test_rate_that_is_played_at_changes_no_speed(
    frames: int, factor: Fraction, ease: str, ramp: int, more: int, fits: bool
) -> None:
    """At so many times the rate it plays as the range of so many times the frames does."""
    whole = frames * more
    fit = max(1, round(whole * factor)) if fits else None
    ramp = fitting_ramp(ramp, whole, factor, ease, fit)
    made, wanted = eased(frames, factor, ease, ramp, fit, F(1, more)), eased(whole, factor, ease, ramp, fit)
    assert made.count == wanted.count
    assert [position * more for position in made.positions()] == list(wanted.positions())
    with pytest.raises(TimeError) as told:
        eased(frames, factor, "in", 10**6, fit, F(1, more))
    with pytest.raises(TimeError) as wanted_told:
        eased(whole, factor, "in", 10**6, fit)
    assert str(told.value).rpartition(":")[2] == str(wanted_told.value).rpartition(":")[2]


RAMP = ((F(0), F(1)), (F(10), F(1, 4)))


@pytest.mark.parametrize(
    "chosen",
    [
        {"factor": F(1)},
        {"factor": F(4), "ease": "in", "ramp": 20},
        {"time": "fit", "length": 240, "ease": "in", "ramp": 20},
        {"time": "curve", "speeds": RAMP},
    ],
)
def test_normal_speed_is_what_was_recorded_at_whatever_rate_it_is_played(chosen: dict[str, Any]) -> None:
    made = time_map(job(0, 24, **chosen, host_fps=F(60)), fps=F(24))
    assert made.knots[0][1] == F(24, 60)
    assert time_map(job(0, 24, **chosen), fps=F(24)).knots[0][1] == 1
    for counts in ({"host_length": 24}, {"retimed": F(24)}):  # a host's own frames, as it plays them
        assert time_map(job(0, 24, **chosen, host_fps=F(60), **counts), fps=F(24)).knots[0][1] == 1


def test_factors_and_curves_at_another_rate_agree() -> None:
    for speed, factor in ((F(1), F(1)), (F(1, 4), F(4))):
        by_factor = time_map(job(0, 24, factor, host_fps=F(60)), fps=F(24))
        by_curve = time_map(job(0, 24, time="curve", speeds=((F(0), speed),), host_fps=F(60)), fps=F(24))
        assert (by_factor.count, by_factor.knots) == (60 * factor, ((0, F(2, 5) * speed),))
        assert by_curve == by_factor
    with pytest.raises(InputError, match="its last speed is -50%"):
        time_map(job(0, 24, time="curve", speeds=((F(0), F(-1, 2)),), host_fps=F(60)), fps=F(24))


@pytest.mark.parametrize(
    ("knots", "why"),
    [
        ([(F(0), F(1)), (F(10), F(0))], "never reaches the end of the range, its last speed is 0%: end it above"),
        ([(F(0), F(0))], "never reaches the end"),
        ([(F(0), F(1)), (F(10), F(-1, 2))], "its last speed is -50%"),
        ([(F(0), F(1, 10**6))], "more than 1000000"),
        ([(F(1), F(1))], "do not rise from 0: begin with frame 0, and name every later frame once"),
        ([(F(0), F(1)), (F(0), F(1))], "do not rise from 0"),
        ([], "do not rise from 0"),
        ([(F(0), F(10**7))], "a speed of 1000000000 % is too large, the most is 10000 %"),
        ([(F(0), F(-101)), (F(10), F(1))], "a speed of -10100 % is too large"),
        ([(F(0), F(10**99, 7))], r"a speed of 1.429e\+100 % is too large"),
        ([(F(0), F(1)), (F(10**7), F(1))], "its times go on after 1000000 frames, the longest result: leave those out"),
    ],
)
def test_curves_that_lead_nowhere(knots: list[tuple[Fraction, Fraction]], why: str) -> None:
    with pytest.raises(TimeError, match=why):
        drawn(100, knots)


@pytest.mark.parametrize(
    ("frames", "fit", "ramp", "why"),
    [
        (10, None, 12, "two ramps do not fit into a range of 10 frames: choose a ramp of at most 8"),
        (40, 10, 12, "into a range of 40 frames that shall last 10: choose a ramp of at most 5"),
        (10, 200, 12, "into a range of 10 frames that shall last 200: choose a ramp of at most 9"),
        (40, 1, 1, "into a range of 40 frames that shall last 1: choose the ease None"),
    ],
)
def test_ramps_that_do_not_fit(frames: int, fit: int | None, ramp: int, why: str) -> None:
    with pytest.raises(TimeError, match=why):
        eased(frames, F(4), "both", ramp, fit)


@pytest.mark.parametrize("ease", ["none", "in"])
def test_result_that_is_too_long(ease: str) -> None:
    with pytest.raises(
        TimeError, match="would have [45][0-9]{6} frames, more than 1000000: .* play it at a lower rate"
    ):
        eased(30, F(4), ease, 1, normal=F(24, 10**6))


def test_a_speed_of_zero_for_an_instant_is_a_hold() -> None:
    made = drawn(20, [(F(0), F(1)), (F(10), F(0)), (F(20), F(0)), (F(30), F(1))])
    assert made.at(10) == made.at(20) == 5
    assert made.count == 40
    backwards = drawn(20, [(F(0), F(1)), (F(10), F(-1)), (F(20), F(1))])
    assert backwards.at(10) == 0
    assert max(backwards.positions()) < 20


@given(lengths, curves(), st.floats(-20, 400))
def test_when_is_the_inverse(frames: int, knots: list[tuple[Fraction, Fraction]], position: float) -> None:
    made = drawn(frames, knots)
    time = made.when(position)
    if 0 <= position <= float(made.at(made.count)) and position < frames:
        assert float(made.at(F(time))) == pytest.approx(position, abs=1e-6)


@given(lengths, curves())
def test_json_keeps_a_map(frames: int, knots: list[tuple[Fraction, Fraction]]) -> None:
    made = drawn(frames, knots)
    assert TimeMap.from_json(made.as_json()) == made


@given(st.fractions(min_value=-100, max_value=100))
def test_split_time_adds_up(time: Fraction) -> None:
    frame, t = split_time(time)
    assert frame + t == time
    assert 0 <= t < 1


@given(lengths, factors, st.integers(0, 500), st.integers(0, 3))
def test_plan_is_contiguous_exact_and_inside_the_media(length: int, factor: Fraction, start: int, after: int) -> None:
    count = start + length + after
    frames = make_plan(job(start, start + length, factor), count)
    assert [frame.number for frame in frames] == list(range(1, max(1, round(length * factor)) + 1))
    assert times_of(frames) == [start + index / factor for index in range(len(frames))]
    assert all((frame.moment.kind == "copy") == (frame.moment.t == 0) for frame in frames)
    needed = needed_frames([frame.moment for frame in frames])
    assert needed.start >= 0
    assert needed.stop <= count


def test_real_frames_of_fast_clips_are_used_first() -> None:
    """120 frames a second, slowed four times in a scene of 30: nothing has to be made."""
    wanted = job(0, 30, host_fps=F(30), host_length=30)
    assert kinds(make_plan(wanted, 120, rate=F(4))) == [("copy", index) for index in range(120)]


@pytest.mark.parametrize(("fps", "host"), [(24, 60), (25, 30), (F(24000, 1001), F(60000, 1001)), (30, 24), (24, 24)])
def test_smooth_keeps_the_duration(fps: Fraction, host: Fraction) -> None:
    fps, host = F(fps), F(host)
    by_frame = job(0, 48, time="smooth", host_fps=host)
    made = time_map(by_frame, F(1), fps)
    assert made.count == round(48 * host / fps)
    assert made.at(1) == fps / host
    rate = fps / host  # a host that plays the movie in its own time has the right length already
    own_time = time_map(job(0, 48, time="smooth", host_fps=host), rate, fps)
    assert (own_time.count, own_time.at(1)) == (48, 1)


def test_smooth_needs_a_frame_rate() -> None:
    with pytest.raises(InputError, match="--host-fps"):
        time_map(job(0, 9, time="smooth"), F(1), F(24))


def cuts(*first: int, **more: Any) -> list[tuple[str, int]]:
    found = Findings(frozenset(first), frozenset(more.pop("repeats", ())))
    return kinds(make_plan(job(0, 6, F(4), **more), 6, found=found))


def test_nothing_is_mixed_across_a_cut() -> None:
    whole, held = cuts(), cuts(3)
    assert len(whole) == len(held)
    assert held[8:12] == [("copy", 2), ("hold", 2), ("hold", 3), ("hold", 3)]
    assert (held[:8], held[12:]) == (whole[:8], whole[12:])
    assert cuts(3, cuts="fade")[8:12] == [("copy", 2), ("fade", 2), ("fade", 2), ("fade", 2)]


def test_repeats_become_motion_between_their_neighbours() -> None:
    found = Findings(repeats=frozenset({1, 3, 4}))
    frames = make_plan(job(0, 6, F(1)), 7, found=found)
    assert [(frame.moment.kind, frame.moment.source, frame.moment.after, frame.moment.t) for frame in frames] == [
        ("copy", 0, 0, 0), ("between", 0, 2, F(1, 2)), ("copy", 2, 2, 0), ("between", 2, 5, F(1, 3)),
        ("between", 2, 5, F(2, 3)), ("copy", 5, 5, 0),
    ]  # fmt: skip
    assert times_of(frames) == [0, 1, 2, 3, 4, 5]


def test_a_repeat_before_a_cut_is_held_and_the_cut_stays_in_its_place() -> None:
    assert cuts(4, repeats={3})[8:18] == [("copy", 2)] + [("hold", 2)] * 5 + [("hold", 4)] * 2 + [
        ("copy", 4),
        ("between", 4),
    ]


def test_shutter_averages_around_the_frame() -> None:
    frames = make_plan(job(0, 10, F(1, 2), shutter=F(180)), 20)
    third = frames[2]
    assert third.moment.time == 4
    times = [sample.time for sample in third.samples]
    # half a turn of the output's frame, which lasts two source frames: one frame, around frame 4
    assert (min(times), max(times)) == (4 - F(15, 32), 4 + F(15, 32))
    assert sum(times) / len(times) == 4
    assert all(frame.shutter == () for frame in make_plan(job(0, 10), 20))


def test_last_pair_looks_past_the_range_where_the_media_goes_on() -> None:
    inside = make_plan(job(10, 12, Fraction(4)), count=20)
    assert [(frame.moment.kind, frame.moment.source, frame.moment.t) for frame in inside[4:]] == [
        ("copy", 11, 0),
        ("between", 11, Fraction(1, 4)),
        ("between", 11, Fraction(1, 2)),
        ("between", 11, Fraction(3, 4)),
    ]
    assert needed_frames([frame.moment for frame in inside]) == range(10, 13)


def test_last_frame_is_held_at_the_end_of_the_media() -> None:
    frames = make_plan(job(10, 12, Fraction(2)), count=12)
    assert kinds(frames) == [
        ("copy", 10),
        ("between", 10),
        ("copy", 11),
        ("hold", 11),
    ]


def test_frames_that_may_not_be_shown_are_held_at_the_ends() -> None:
    frames = make_plan(job(3, 9, Fraction(1), shown_start=5, shown_end=7), count=100)
    assert kinds(frames) == [
        ("hold", 5),
        ("hold", 5),
        ("copy", 5),
        ("copy", 6),
        ("hold", 6),
        ("hold", 6),
    ]


def test_host_time_is_mapped_to_source_time() -> None:
    frames = make_plan(job(10, 12, Fraction(2)), count=100, rate=Fraction(4, 5))
    assert times_of(frames) == [8, Fraction(42, 5), Fraction(44, 5), Fraction(46, 5)]


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


@pytest.mark.parametrize(
    ("text", "knot"),
    [("0:100%", (0, 1)), ("24:1/4", (24, F(1, 4))), ("7.5:-50%", (F(15, 2), F(-1, 2))), (" 3 : 2", (3, 2))],
)
def test_knot_as_people_write_it(text: str, knot: tuple[Fraction, Fraction]) -> None:
    assert parse_knot(text) == knot


@pytest.mark.parametrize("text", ["", "12", "a:b", "3:", ":3", "1:2:3", "1:1/0"])
def test_no_knot(text: str) -> None:
    with pytest.raises(ValueError, match="is not a frame and a speed"):
        parse_knot(text)
