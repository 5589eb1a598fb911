# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be slowed, and how: the one thing that Blender hands to a worker.

Standard library only: Blender imports this module too.

A job travels as a JSON file. Its options (the fields that a user chooses) are declared here once, with type, range,
default and description; the operator's properties, the command line's flags and the manual's table are made from them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import Field, dataclass, field, fields
from fractions import Fraction
from typing import Any

from . import __version__
from .messages import InputError
from .timing import FASTEST, Knots, in_words, parse_factor

SCHEMA = 1


class JobError(InputError):
    """A job's field is wrong. The text names the field, its value and what it should be."""


@dataclass(frozen=True)
class Choice:
    """One value of an option that has a list of them."""

    id: str
    label: str
    help: str


@dataclass(frozen=True)
class Option:
    """What every surface needs to offer a field to a user."""

    label: str
    help: str
    """One line, no full stop."""
    minimum: Fraction | None = None
    maximum: Fraction | None = None
    usual_maximum: Fraction | None = None
    """Where a slider ends; larger values can be typed."""
    choices: tuple[Choice, ...] = ()
    numbered: str = ""
    """A choice that takes a number, too, which menus do not list: with "cuda" also "cuda:0" and "cuda:7"."""
    is_path: bool = False
    """A file's name, which may be empty."""
    engines: tuple[str, ...] = ()
    """The engines that have it; empty where all do."""
    elsewhere: tuple[str, ...] = ()
    """Values beside its default that say nothing new to the other engines."""
    times: tuple[str, ...] = ()
    """The choices of the option `time` that it has an effect with; empty for all."""

    def is_for(self, engine: str) -> bool:
        """Whether that engine has the option."""
        return not self.engines or engine in self.engines

    @property
    def names(self) -> tuple[str, ...]:
        """Its choices for people, with one for those that are numbered."""
        return (*(choice.id for choice in self.choices), *([f"{self.numbered}:N"] if self.numbered else []))

    def _offers(self, value: Any) -> bool:
        if any(value == choice.id for choice in self.choices):
            return True
        is_numbered = self.numbered and isinstance(value, str)
        return bool(is_numbered and re.fullmatch(rf"{self.numbered}:(0|[1-9][0-9]*)", value))

    def check(self, name: str, value: Any) -> None:
        """Raise JobError where `value` is out of the option's range or list."""
        if self.choices and not self._offers(value):
            raise JobError(f"{name}: {value!r} is not one of {', '.join(self.names)}.")
        if self.minimum is not None and value < self.minimum:
            raise JobError(f"{name}: {_said(value)} is too small, the least is {self.minimum}.")
        if self.maximum is not None and value > self.maximum:
            raise JobError(f"{name}: {_said(value)} is too large, the most is {self.maximum}.")


def option(default: Any, **declared: Any) -> Any:
    """A dataclass field that is an option; `declared` are Option's fields."""
    return field(default=default, metadata={"option": Option(**declared)})


def options(cls: type) -> Iterator[tuple[Field[Any], Option]]:
    """The options of a dataclass, in their order."""
    for declared in fields(cls):
        if "option" in declared.metadata:
            yield declared, declared.metadata["option"]


def check_engine(declared: Field[Any], spec: Option, value: Any, engine: str) -> None:
    """Raise JobError where the option's value says something that the engine does not have."""
    if not spec.is_for(engine) and value not in (declared.default, *spec.elsewhere):
        raise JobError(
            f"{declared.name}: {_said(value)} means nothing to the engine {engine!r}: leave it out, or choose "
            f"{_listed(spec.engines)}."
        )


ENGINES = (
    Choice("flow", "Optical Flow", "Classical motion estimation on the CPU: needs no model and no GPU"),
    Choice("lento", "Lento", "The bundled network on that motion: needs PyTorch, and no GPU"),
    Choice("rife", "RIFE", "The network of Huang et al. 2022, 3.6 to 4.26: needs its checkpoint and PyTorch"),
    Choice("superslomo", "Super SloMo", "The network of Jiang et al. 2018: needs its checkpoint and PyTorch"),
    Choice("superslomo_light", "Super SloMo Light", "A light variant of that: needs a trained checkpoint and PyTorch"),
    Choice("dain", "DAIN", "The depth-aware network of Bao et al. 2019, slow: needs its checkpoint and PyTorch"),
    Choice("blend", "Blend", "Cross-fades the source frames: ghosts where something moves, for comparison"),
    Choice("nearest", "Nearest", "Repeats source frames: stutters, for comparison"),
)
NEED_WEIGHTS = ("rife", "superslomo", "superslomo_light", "dain")
"""Engines whose checkpoint the user has to name."""
NETWORKS = ("lento", *NEED_WEIGHTS)
"""Engines that need PyTorch."""
RIFE = ("rife",)
ENSEMBLES = "4.0 to 4.20 and 4.24"
"""Versions of RIFE whose authors' code runs both ways on request."""
FORMATS = (
    Choice("auto", "Automatic", "What keeps all that the source has: PNG for 8 bits, PNG 16 for more, EXR for light"),
    Choice("png", "PNG", "8 bits a channel, lossless"),
    Choice("png16", "PNG 16", "16 bits a channel, lossless"),
    Choice("exr", "OpenEXR", "Floating point (half where that is enough), lossless ZIP"),
    Choice("exr_dwaa", "OpenEXR DWAA", "Half floating point, small, with slight losses"),
    Choice("tiff", "TIFF", "8 or 16 bits a channel, lossless"),
    Choice("jpeg", "JPEG", "8 bits a channel, small, with losses, no transparency"),
    Choice("ffv1", "Movie: FFV1", "A Matroska movie without losses, 8 or 16 bits a channel"),
    Choice("prores", "Movie: ProRes", "A QuickTime movie in ProRes 4444, with slight losses"),
    Choice("h264", "Movie: H.264", "An MP4 movie, 8 bits, small, with losses, no transparency"),
)
LIGHT_FORMATS = frozenset({"auto", "exr", "exr_dwaa"})
"""Those that can hold scene-linear light: what EXR files hold, and what Blender renders."""
TIMES = (
    Choice("factor", "Factor", "Slower by a factor"),
    Choice("fit", "Length", "As slow, or as fast, as a length in frames asks for"),
    Choice("curve", "Speed Curve", "At the speed that the strip's keyframes on Speed draw"),
    Choice("smooth", "Smooth", "As long as before, with the frames that the playing rate can show"),
)
EASES = (
    Choice("none", "None", "One speed all through"),
    Choice("in", "In", "Begins at normal speed"),
    Choice("out", "Out", "Ends at normal speed"),
    Choice("both", "In and Out", "Begins and ends at normal speed"),
)
CUTS = (
    Choice("hold", "Hold", "Found, and never mixed: the earlier shot is held to the middle, the later one from there"),
    Choice("fade", "Cross-Fade", "Found, and cross-faded"),
    Choice("ignore", "Ignore", "Not looked for; only markers named cut count"),
)
REPEATS = (
    Choice("auto", "Automatic", "Replaced by real motion where they come regularly"),
    Choice("on", "Replace", "Replaced by real motion"),
    Choice("off", "Keep", "Kept as they are"),
)
SOUNDS = (
    Choice("auto", "Automatic", "As with Keep Pitch where the clip has sound"),
    Choice("stretch", "Keep Pitch", "Stretched with the picture, at its pitch"),
    Choice("tape", "Tape", "Stretched with the picture; the pitch falls as on a slow tape"),
    Choice("mute", "Mute", "No sound over the range"),
    Choice("keep", "Leave Alone", "The sound plays on at normal speed, and pauses until the range is over"),
)
DEVICES = (
    Choice("auto", "Automatic", "The fastest device that the engine can use"),
    Choice("cuda", "CUDA", "The first NVIDIA GPU (or AMD, with PyTorch for ROCm)"),
    Choice("cuda:1", "CUDA 1", "The second GPU"),
    Choice("cuda:2", "CUDA 2", "The third GPU"),
    Choice("cuda:3", "CUDA 3", "The fourth GPU"),
    Choice("mps", "Apple", "The GPU of an Apple computer"),
    Choice("xpu", "Intel", "An Intel GPU"),
    Choice("cpu", "CPU", "The processor"),
)
PRECISIONS = (
    Choice("auto", "Automatic", "Half where the device has it in hardware, else full"),
    Choice("fp32", "Full", "32 bits"),
    Choice("fp16", "Half", "16 bits, on GPUs"),
    Choice("bf16", "Bfloat16", "16 bits with the range of 32"),
)
FLOW_SCALES = (
    Choice("auto", "Automatic", "A half for pictures over 2560 pixels, else whole"),
    *(Choice(scale, scale, "Looks for motion at this share of the size") for scale in ("0.25", "0.5", "1", "2", "4")),
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A range of a movie or an image sequence, slowed `factor` times into a folder of frames.

    Frames are counted from 0 in the source. Checked when it is made: every Job that exists is sound in itself, though
    its files may be missing.
    """

    source: str
    """Absolute path of a movie, or of the folder of an image sequence."""
    files: tuple[str, ...] = ()
    """Names of an image sequence's files within `source`, in their order; empty for a movie."""
    output: str
    """Absolute path of the folder for the frames."""
    start: int
    """First source frame of the range."""
    end: int
    """The source frame after the range's last one."""
    shown_start: int | None = None
    """The first source frame that may be shown, where it is not the media's first: before it, it is held."""
    shown_end: int | None = None
    """The source frame after the last that may be shown, where it is not the media's end: from there on, that is
    held."""
    fps: Fraction | None = None
    """Frame rate of an image sequence; a movie brings its own."""
    host_fps: Fraction | None = None
    """Frame rate that the result is played at, where that is not the source's: normal speed is what was recorded, then.
    A host says with `host_length` or `retimed` how it counts, and its own frame after frame are normal."""
    host_length: int | None = None
    """Length of the whole media as the host counts it. A host may play a movie of another frame rate in the movie's own
    time and count in its own frames: the worker sees it by this length. All frame numbers of the job are then the
    host's."""
    retimed: Fraction | None = None
    """Where the host plays the whole media at another, constant speed: the length in host frames that it gives to it,
    measured to the media's last frame, or with `retimed_to_end` to its end."""
    retimed_to_end: bool = False
    speeds: Knots = ()
    """For the time "curve": speeds (1 = normal) at output frames from 0; see timing.TimeMap."""
    cuts_at: tuple[int, ...] = ()
    """Frames that begin a new shot for certain, in frames as the job counts."""
    no_cuts_at: tuple[int, ...] = ()
    """Frames that do not, whatever is found."""
    sounds: tuple[tuple[str, Fraction, Fraction], ...] = ()
    """Sound files that play along, each with the time in seconds of the file at which the range begins, and how many of
    the frames that the job counts make a second of it."""
    time: str = option("factor", label="Time", help="What sets the speed", choices=TIMES)
    factor: Fraction = option(
        Fraction(4),
        label="Factor",
        help="How many times slower: any decimal or fraction; below 1 it is faster",
        minimum=Fraction(1, FASTEST),
        maximum=Fraction(1000),
        usual_maximum=Fraction(16),
        times=("factor",),
    )
    length: int = option(
        100,
        label="Length",
        help="Frames that the range shall last",
        minimum=Fraction(1),
        maximum=Fraction(1_000_000),
        usual_maximum=Fraction(1000),
        times=("fit",),
    )
    ease: str = option(
        "none",
        label="Ease",
        help="Ends of the range that run into normal speed",
        choices=EASES,
        times=("factor", "fit"),
    )
    ramp: int = option(
        12,
        label="Ramp",
        help="Frames over which the speed changes at an eased end",
        minimum=Fraction(1),
        maximum=Fraction(100_000),
        usual_maximum=Fraction(100),
        times=("factor", "fit"),
    )
    cuts: str = option("hold", label="Cuts", help="What becomes of cuts inside the range", choices=CUTS)
    repeats: str = option("auto", label="Repeated Frames", help="What becomes of repeated frames", choices=REPEATS)
    shutter: Fraction = option(
        Fraction(0),
        label="Shutter",
        help="Motion blur: degrees of a turn for which the shutter is open; 0: none",
        minimum=Fraction(0),
        maximum=Fraction(360),
        usual_maximum=Fraction(360),
    )
    sound: str = option("auto", label="Sound", help="What becomes of the sound over the range", choices=SOUNDS)
    engine: str = option("lento", label="Engine", help="What makes the frames in between", choices=ENGINES)
    weights: str = option(
        "",
        label="Weights",
        help="Checkpoint of the network, for engines that need one",
        is_path=True,
        engines=NETWORKS,
    )
    format: str = option("auto", label="Format", help="What the frames are written as", choices=FORMATS)
    device: str = option(
        "auto",
        label="Device",
        help="Where the engine runs",
        choices=DEVICES,
        numbered="cuda",
        engines=NETWORKS,
        elsewhere=("cpu",),
    )
    precision: str = option(
        "auto",
        label="Precision",
        help="Of the network's arithmetic",
        choices=PRECISIONS,
        engines=NETWORKS,
        elsewhere=("fp32",),
    )
    flow_scale: str = option(
        "auto", label="Flow Scale", help="Size at which RIFE looks for motion", choices=FLOW_SCALES, engines=RIFE
    )
    ensemble: bool = option(
        False,
        label="Ensemble",
        help=f"Run RIFE {ENSEMBLES} both ways and average, at half the speed",
        engines=RIFE,
    )

    def __post_init__(self) -> None:
        """Check every field; JobError names the first that is wrong."""
        for name in ("source", "output"):
            path = getattr(self, name)
            if not isinstance(path, str) or not os.path.isabs(path):
                raise JobError(f"{name}: {path!r} is not an absolute path.")
        if not isinstance(self.weights, str) or (self.weights and not os.path.isabs(self.weights)):
            raise JobError(f"weights: {self.weights!r} is not an absolute path.")
        if not all(isinstance(name, str) and name for name in self.files):
            raise JobError("files: every entry must be a file name.")
        for name in ("start", "end", "shown_start", "shown_end", "host_length", "length", "ramp"):
            value = getattr(self, name)
            if value is None and name in ("shown_start", "shown_end", "host_length"):
                continue
            if not _is_whole(value):
                raise JobError(f"{name}: {value!r} is not a whole number of frames.")
        for name in ("cuts_at", "no_cuts_at"):
            if not all(map(_is_whole, getattr(self, name))):
                raise JobError(f"{name}: every entry must be a whole number.")
        for name, kinds in (("speeds", (Fraction, Fraction)), ("sounds", (str, Fraction, Fraction))):
            for entry in getattr(self, name):
                if len(entry) != len(kinds) or not all(map(isinstance, entry, kinds)):
                    raise JobError(f"{name}: {entry!r} is not made of {', '.join(kind.__name__ for kind in kinds)}.")
        if self.time == "curve" and not self.speeds:
            raise JobError("speeds: the time 'curve' needs the speeds that it runs through.")
        if (held := self.end - self.start) < 2:
            raise JobError(
                f"The range {self.start} to {self.end} holds {'1 frame' if held == 1 else 'no frames'}, and slow "
                "motion needs at least 2: choose a longer range."
            )
        if self.shown_start is not None and self.shown_end is not None and self.shown_end <= self.shown_start:
            raise JobError(f"shown_end: {self.shown_end} is not after shown_start, {self.shown_start}.")
        if not isinstance(self.factor, Fraction):
            raise JobError(f"factor: {self.factor!r} is not a number such as 4, 2.5 or 7/3.")
        if not isinstance(self.shutter, Fraction):
            raise JobError(f"shutter: {self.shutter!r} is not a number of degrees.")
        for name in ("fps", "host_fps", "retimed"):
            rate = getattr(self, name)
            if rate is not None and not (isinstance(rate, Fraction) and rate > 0):
                raise JobError(
                    f"{name}: {_said(rate)} is not a number above 0: give one such as 24 or 30000/1001, or none."
                )
        for declared in fields(self):
            value = getattr(self, declared.name)
            if isinstance(declared.default, bool) and not isinstance(value, bool):
                raise JobError(f"{declared.name}: {value!r} is neither true nor false.")
        for declared, spec in options(Job):
            value = getattr(self, declared.name)
            spec.check(declared.name, value)
            check_engine(declared, spec, value, self.engine)

    @property
    def about_motion(self) -> tuple[str, ...]:
        """Options that say how motion shall be found, and are not at their defaults."""
        defaults = {declared.name: declared.default for declared, _ in options(Job)}
        return tuple(name for name in ("flow_scale", "ensemble") if getattr(self, name) != defaults[name])

    def to_json(self) -> str:
        """The job as JSON text; fractions are written as "7/3"."""
        data: dict[str, Any] = {"schema": SCHEMA}
        for declared in fields(self):
            data[declared.name] = _plain(getattr(self, declared.name))
        return json.dumps(data, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The job that `to_json` wrote, or that somebody wrote by hand.

        Raises JobError that names what is wrong: no JSON, another schema, an unknown or missing field, a wrong value.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise JobError(f"The job is not JSON: {error}.") from error
        if not isinstance(data, dict):
            raise JobError("The job is not a JSON object.")
        schema = data.pop("schema", None)
        if schema != SCHEMA:
            raise JobError(f"schema: {schema!r} is not {SCHEMA}, the one that this version of Lento reads.")
        known = {declared.name: declared for declared in fields(cls)}
        for name in data:
            if name not in known:
                raise JobError(f"{name}: there is no such field in a job.")
        for name in ("factor", "fps", "host_fps", "retimed", "shutter"):
            if name in data:
                data[name] = _number(name, data[name])
        for name in ("files", "cuts_at", "no_cuts_at", "speeds", "sounds"):
            if not isinstance(data.get(name, []), list):
                raise JobError(f"{name}: {data[name]!r} is not a list.")
            data[name] = tuple(data.get(name, []))
        try:
            data["speeds"] = tuple(
                (_number("speeds", time), _number("speeds", speed)) for time, speed in data["speeds"]
            )
            data["sounds"] = tuple(
                tuple(_number("sounds", part) if at else part for at, part in enumerate(entry))
                for entry in data["sounds"]
            )
        except (TypeError, ValueError) as error:
            raise JobError("speeds, sounds: every entry must be a list.") from error
        for name in ("source", "output", "start", "end"):
            if name not in data:
                raise JobError(f"{name}: missing from the job.")
        return cls(**data)

    def digest(self) -> str:
        """A short name for what the job's frames look like: equal for equal frames, whatever the output folder.

        The version of Lento is part of it, and so are size and time of every file that the job reads and that is there.
        """
        told = {declared.name: getattr(self, declared.name) for declared in fields(self)}
        told |= {"output": None, "version": __version__, "media": _media_stamps(self)}
        told["sound_files"] = [_stamp(path) for path, _, _ in self.sounds]
        told["weights"] = _stamp(self.weights) if self.weights else None
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:8]


def _said(value: Any) -> str:
    return "on" if value is True else in_words(value) if isinstance(value, Fraction) else repr(value)


def _listed(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(name: str, value: Any) -> Any:
    """A number that JSON has as one, or as text, to the digits that are written; the field's check sees all else."""
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        return value
    try:
        return parse_factor(str(value))
    except ValueError as error:
        raise JobError(f"{name}: {error}.") from error


def _plain(value: Any) -> Any:
    """A field's value as JSON can hold it."""
    if isinstance(value, Fraction):
        return str(value)
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value


PLACEMENTS = (
    Choice("ripple", "Ripple", "Replaces the range and moves everything later by the added length"),
    Choice("overlay", "Overlay", "Lies on the next free channel above; nothing moves"),
)


@dataclass(frozen=True)
class Placement:
    """What becomes of the timeline: options of the host beside those of a Job, which the worker never sees."""

    placement: str = option("ripple", label="Placement", help="Where the slowed frames go", choices=PLACEMENTS)
    bake_modifiers: bool = option(
        False,
        label="Bake Modifiers",
        help="Render the strip's modifiers into the frames instead of giving them to the new strip",
    )


AROUND = 100
"""Images before and after the range, of which no job looks at more: for cuts at its ends, and repeats."""
Stamp = tuple[int, int]
"""Size, and modification time in nanoseconds."""


def _media_stamps(job: Job) -> list[Stamp | None]:
    """The movie's stamp, or those of an image sequence's files.

    Blender waits for it: the folder is read once, since asking for each of thousands of files by its path takes long on
    Windows, and where it says nothing of their times, as on Linux, only those that the job may look at are asked for.
    """
    if not job.files:
        return [_stamp(job.source)]
    near = slice(max(0, job.start - AROUND), job.end + AROUND)
    wanted = dict.fromkeys(job.files if job.retimed else job.files[near])
    found: dict[str, Stamp] = {}
    try:
        with os.scandir(job.source) as entries:
            for entry in entries:
                if entry.name in wanted and entry.is_file():
                    status = entry.stat()
                    found[entry.name] = (status.st_size, status.st_mtime_ns)
    except OSError:
        pass  # a file that is just being replaced, or no folder: the worker says what is wrong
    # what is not found by its name may be there under another spelling, where the file system allows for that
    return [found.get(name) or _stamp(os.path.join(job.source, name)) for name in wanted]


def _stamp(path: str) -> Stamp | None:
    """A file's stamp; None where it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
