# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a job: media, plan, frames, sound, movie, result."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from .analysis import REACH, Analysis, look_at
from .color import Encoding
from .encode import MOVIES, MovieFormat, write_movie
from .engines import Settings, create
from .images import FORMATS, Format, Image, read
from .job import LIGHT_FORMATS, Job
from .making import make_frames
from .messages import Cancelled, InputError, Progress, Record, Status, Warning
from .plan import HEADER_ERROR, OutputFrame, host_rate, make_plan, needed_frames, time_map
from .sink import Sink, sound_name
from .source import Source, open_source
from .threads import reading, writing
from .timing import TimeMap

Tell = Callable[[Record], None]


def open_job(job: Job, tell: Tell) -> tuple[Source, Fraction, TimeMap]:
    """The job's media, opened; its frames per frame that the job counts in (see `host_rate`); the job's time map.

    Raises InputError where the media cannot be read, the range does not lie in it, or the time cannot be.
    """
    source = open_source(job.source, job.files, job.fps, lambda text: tell(Warning(text)))
    try:
        rate = host_rate(job, source.count, source.fps)
        hosted = job.shown_end is not None
        visible_end = min(job.end, job.shown_end) if job.shown_end is not None else job.end
        if visible_end * rate > source.count + hosted * HEADER_ERROR or (job.start < 0 and not hosted):
            raise InputError(
                f"The range {job.start} to {job.end} lies outside of {job.source}, which has {source.count} frames "
                f"(0 to {source.count}): choose a range inside, or check that the file is complete."
            )
        return source, rate, time_map(job, rate, source.fps)
    except BaseException:
        source.__exit__(None, None, None)
        raise


def plan_job(
    job: Job, source: Source, rate: Fraction, times: TimeMap, tell: Tell, cancel: threading.Event
) -> list[OutputFrame]:
    """Every output frame, after a look at the pictures for cuts and repeated frames where the job wants that.

    Nothing is looked at where nothing that could be found would change the plan.
    """
    plan = make_plan(job, source.count, rate, times)
    samples = [sample for frame in plan for sample in frame.samples]
    cuts = job.cuts != "ignore"
    mixed = any(sample.kind == "between" for sample in samples)
    if job.repeats == "off" and not (mixed and (cuts or job.cuts_at)):
        return plan
    needed = needed_frames(samples)
    looked = range(max(0, needed.start - REACH), min(source.count, needed.stop + REACH))
    analysis = Analysis(cuts, job.repeats != "off")
    meter = Meter(len(looked), 0, tell, "Analysing")
    with reading(source, looked, cancel) as read_on:
        for _, image in read_on:
            analysis.add(look_at(image, source.encoding))
            meter.count()
    return make_plan(job, source.count, rate, times, analysis.findings(job, looked.start, rate))


def run(job: Job, tell: Tell, cancel: threading.Event) -> Path:
    """Make the job's frames, or the rest of them, and return the path of result.json.

    `tell` gets status, progress and warning records. Raises InputError for what the user can mend, Cancelled soon after
    `cancel` is set, and Failure where the engine fails; finished frames stay in every case.
    """
    began = time.monotonic()
    tell(Status(f"Opening {job.source}"))
    source, rate, times = open_job(job, tell)
    with ExitStack() as opened:
        opened.enter_context(source)
        image_format, movie = chosen_format(job, source)
        _check_sound(job)
        _check_engine_has_work(job, make_plan(job, source.count, rate, times))
        engine = create(job.engine, _settings(job, tell))
        sink = opened.enter_context(Sink(job, image_format, movie).opened())
        fps = job.host_fps or source.fps
        sounds = _write_sounds(job, sink, times, fps, tell)
        frames = plan_job(job, source, rate, times, tell, cancel)
        missing = sink.missing(frames)
        if len(missing) < len(frames):
            tell(Status(f"{len(frames) - len(missing)} of {len(frames)} frames are there already"))
        meter = Meter(len(frames), len(frames) - len(missing), tell)
        with writing(sink, meter.count) as write:
            for frame, pixels in make_frames(engine, source, frames, missing, cancel):
                write(frame, pixels)
        if movie and not sink.movie_is_written():
            sink.write_movie(lambda path: _encode(path, movie, sink, frames, fps, source.encoding, tell, cancel))
        result = sink.write_result(
            {
                "engine": engine.info.id,
                "device": engine.device,
                "precision": engine.precision,
                "fps": f"{fps.numerator}/{fps.denominator}",
                "rate": str(rate),
                "size": list(source.size),
                "time": times.as_json(),
                "sounds": sounds,
                "seconds": round(time.monotonic() - began, 3),
            },
            frames,
        )
        if movie:
            sink.remove_images(frames)
        return result


def _check_engine_has_work(job: Job, frames: Sequence[OutputFrame]) -> None:
    """Raise InputError where a length leaves the engine nothing to make, and options say how it shall make that."""
    told = job.about_motion
    if job.time == "fit" and told and all(sample.kind != "between" for frame in frames for sample in frame.samples):
        raise InputError(
            f"length: {job.end - job.start} frames in {job.length} show nothing but frames of the source, so the "
            f"engine makes none and {' and '.join(told)} would change nothing: choose another length or engine, or a "
            "shutter."
        )


def _check_sound(job: Job) -> None:
    """Raise InputError where sound is asked for and there is none."""
    if job.sound in ("stretch", "tape") and not job.sounds:
        raise InputError(f"sound: {job.source} has no sound to stretch: choose auto, mute or keep.")


def _write_sounds(job: Job, sink: Sink, times: TimeMap, fps: Fraction, tell: Tell) -> list[str]:
    """Stretch the job's sounds and write them beside the frames; their names, none where they are left alone."""
    if job.sound in ("mute", "keep") or not job.sounds:
        return []
    from . import sound  # here: only who works with sound needs it

    if job.sound != "tape" and not sound.keeps_pitch_well():
        tell(
            Warning(
                "The worker's Python has no pedalboard, so FFmpeg stretches the sound: it may be off by two frames at "
                "factors such as 4. Repair the environment, or install pedalboard there, for the better way."
            )
        )
    names = []
    for number, (path, start, per_second) in enumerate(job.sounds, start=1):
        name = sound_name(number)
        if not sound.is_complete(sink.folder / name):
            tell(Status(f"Stretching the sound of {path}"))
            keep_pitch = job.sound != "tape"
            made = sound.stretched(
                Path(path), start, per_second, times, fps, keep_pitch, lambda text: tell(Warning(text))
            )
            sink.write_file(name, sound.wav(made))
        names.append(name)
    return names


def _settings(job: Job, tell: Tell) -> Settings:
    return Settings(
        job.weights, job.device, job.precision, job.flow_scale, job.ensemble, lambda text: tell(Warning(text))
    )


def chosen_format(job: Job, source: Source) -> tuple[Format, MovieFormat | None]:
    """What to write the frames as, and the movie that is made of them where the job names one.

    The frames' format is the one that the job names, or, for "auto" and for a movie, the plainest that holds all that
    the source's images hold. Raises InputError where the chosen one cannot hold the source's light or transparency.
    """
    plainest = FORMATS["png" if source.kind == np.uint8 else "png16" if source.kind == np.uint16 else "exr"]
    if job.format == "auto":
        return plainest, None
    movie = MOVIES.get(job.format)
    chosen = movie or FORMATS[job.format]
    is_light = source.encoding.linear if movie else np.issubdtype(source.kind, np.floating)
    if is_light and job.format not in LIGHT_FORMATS:
        raise InputError(f"format: {source.path} is in floating point, which {chosen.id} cannot hold: choose exr.")
    if source.has_alpha and not chosen.alpha:
        raise InputError(f"format: {source.path} has transparency, which {chosen.id} cannot hold: choose png.")
    return (plainest, movie) if movie else (FORMATS[job.format], None)


def _encode(
    path: Path,
    movie: MovieFormat,
    sink: Sink,
    frames: Sequence[OutputFrame],
    fps: Fraction,
    encoding: Encoding,
    tell: Tell,
    cancel: threading.Event,
) -> None:
    meter = Meter(len(frames), 0, tell, "Encoding")

    def images() -> Iterator[Image]:
        for frame in frames:
            if cancel.is_set():
                raise Cancelled("Cancelled.")
            yield read(sink.path_of(frame))
            meter.count()

    write_movie(path, movie, fps, encoding, images())


@dataclass
class Meter:
    """Counts finished frames and tells how fast they come."""

    total: int
    done: int
    tell: Tell
    phase: str = ""

    def __post_init__(self) -> None:
        """Start the clock."""
        self._began = time.monotonic()
        self._already = self.done
        self.tell(Progress(self.done, self.total, 0.0, None, self.phase))

    def count(self) -> None:
        """One more frame is on the disk."""
        self.done += 1
        seconds = time.monotonic() - self._began
        fps = (self.done - self._already) / seconds if seconds > 0 else 0.0
        remaining = (self.total - self.done) / fps if fps > 0 else None
        remaining = None if remaining is None else round(remaining, 1)
        self.tell(Progress(self.done, self.total, round(fps, 2), remaining, self.phase))
