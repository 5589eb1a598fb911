# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from core.messages import Done, Error, Messenger, Progress, Ready, Record, Status, Warning, decode, describe, encode
from core.process import CANCELLED

RECORDS: list[Record] = [
    Status("Öffne\nclip"),
    Progress(3, 9, 2.5, None),
    Progress(3, 9, 2.5, 4.0),
    Warning("hm"),
    Error("no", 2),
    Done(0, "/r.json"),
    Done(4),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.kind)
def test_a_record_is_one_line_and_comes_back(record: Record) -> None:
    line = encode(record)
    assert "\n" not in line
    assert decode(line) == record


@pytest.mark.parametrize(
    "line", ["", "hello", "3", "[]", '{"kind": "song"}', '{"kind": "done"}', '{"kind": "status", "txt": ""}']
)
def test_noise_is_no_record(line: str) -> None:
    with pytest.raises(ValueError, match=".*"):
        decode(line)


def test_progress_for_people() -> None:
    assert describe(Progress(128, 480, 31.04, 11.4)) == "128/480 frames, 31.0 fps, 0:11 left"
    assert describe(Progress(1, 9, 0.1, 3723)) == "1/9 frames, 0.1 fps, 1:02:03 left"
    assert describe(Progress(0, 9, 0.0, None)) == "0/9 frames"


def test_a_reader_that_has_gone_does_not_stop_the_job() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    messenger = Messenger(Gone(), as_json=True)
    messenger.send(Status("one"))
    messenger.send(Status("two"))


def test_done_is_said_once_and_last() -> None:
    stream = io.StringIO()
    messenger = Messenger(stream, as_json=True)
    for code in (0, 2):
        messenger.begin()
        messenger.send(Status("one"))
        assert messenger.end(Done(code), Status("two")) == code
        assert messenger.end(Done(4), Status("cancelled")) == code
        messenger.send(Warning("from a thread that was left behind"))
        messenger.send(Ready(1))
    told = [decode(line) for line in stream.getvalue().splitlines()]
    assert told == [
        Status("one"), Status("two"), Done(0), Ready(1),
        Status("one"), Status("two"), Done(2), Ready(1),
    ]  # fmt: skip


@pytest.mark.parametrize(("ends", "expected"), [("raise Cancelled", 4), ("return '/r.json'", 0), ("time.sleep(60)", 4)])
def test_a_cancelled_job_that_leaves_a_thread_at_work_ends_once(ends: str, expected: int) -> None:
    program = (
        "import sys, threading, time\n"
        "from core import process\n"
        "from core.messages import Cancelled, Messenger, claim_stdout\n"
        "process.PATIENCE = 0.5\n"
        "messenger, cancel = Messenger(claim_stdout(), True), threading.Event()\n"
        "process.end_when_cancelled(cancel, messenger)\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "def work():\n"
        "    cancel.set()\n"
        f"    {ends}\n"
        "sys.exit(process.reported(messenger, work))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=os.getcwd())
    told = [decode(line) for line in ended.stdout.splitlines()]
    assert told == ([CANCELLED, Done(4)] if expected else [Done(0, "/r.json")])
    assert ended.returncode == expected


def test_nothing_else_reaches_standard_output() -> None:
    program = (
        "import os, sys\n"
        "from core.messages import Messenger, Status, claim_stdout\n"
        "stream = claim_stdout()\n"
        "print('python')\n"
        "os.write(1, b'a C library\\n')\n"
        "os.system('echo a child')\n"
        "Messenger(stream, True).send(Status('mine'))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=os.getcwd())
    assert ended.stdout == encode(Status("mine")) + "\n"
    assert sorted(ended.stderr.split("\n")) == ["", "a C library", "a child", "python"]


@pytest.mark.parametrize("as_json", [True, False])
def test_names_that_are_no_text_are_told(as_json: bool) -> None:
    program = (
        "from core.messages import Messenger, Status, claim_stdout\n"
        f"Messenger(claim_stdout(), {as_json}).send(Status('Opening caf\\udce9.mp4'))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=os.getcwd())
    assert ended.stdout.rstrip() == (encode(Status("Opening caf\udce9.mp4")) if as_json else r"Opening caf\udce9.mp4")
