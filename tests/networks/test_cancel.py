# SPDX-License-Identifier: GPL-3.0-or-later
"""A slow network hears a cancel in the middle of a frame."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from core.job import Job
from core.messages import Done, Progress, Record, decode
from scripts.clips import write_clip
from scripts.made_weights import checkpoint_of

ROOT = Path(__file__).resolve().parents[2]


def test_cancelled_within_two_seconds(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 6, size=(1280, 720), sound=False)
    torch.save(checkpoint_of("dain"), tmp_path / "dain.pth")
    job = Job(
        source=str(clip), output=str(tmp_path / "o"), start=0, end=6, engine="dain", weights=str(tmp_path / "dain.pth"),
        device="cpu", precision="fp32",
    )  # fmt: skip
    (tmp_path / "job.json").write_text(job.to_json())
    process = subprocess.Popen(
        [sys.executable, "-m", "core", "run", str(tmp_path / "job.json"), "--json"], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    told: list[Record] = []
    for line in process.stdout:
        told.append(decode(line))
        if isinstance(told[-1], Progress) and not told[-1].phase:
            break
    time.sleep(1)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert time.monotonic() - began < 2.5
    assert process.returncode == 4, errors
    records = [decode(line) for line in output.splitlines()]
    assert records[-1] == Done(4)
    assert [record for record in records if isinstance(record, Done)] == [Done(4)]
