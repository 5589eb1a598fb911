# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from core.messages import Done, Error, Messenger, Progress, Record, Status, Warning, decode, describe, encode

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
