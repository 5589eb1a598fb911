# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches a checkpoint of the catalogue: goes on after a break, and keeps nothing that is not the right file.

HTTP as RFC 9110 has it: ranges (section 14) with If-Range, so that a file that changed in between is fetched anew.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from ..disk import explained
from ..messages import Cancelled, InputError, Progress, Status
from . import store
from .catalogue import Entry
from .store import CHUNK, Model, Tell

SILENCE = 30.0
"""Seconds that a server may be silent."""
TRIES = 4
PAUSE = 1.0
"""Seconds before the second try; twice as many before each next."""


def download(entry: Entry, folder: Path, tell: Tell, cancel: threading.Event) -> Model:
    """The model of a catalogue's entry, fetched, verified and put into the folder.

    Raises InputError where it cannot be had, is not the file that it has to be, or is none of a known network; what was
    fetched until a break stays for the next time.
    """
    store.keep_theirs(entry.id, folder)
    with explained(f"The folder of models {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    suffix = Path(urllib.parse.urlsplit(entry.url).path).suffix.lower()
    part = folder / f"{entry.id}{suffix if suffix in store.SUFFIXES else '.pkl'}.part"
    _fetch_with_patience(entry, part, tell, cancel)
    digest = store.sha256_of(part)
    wanted = entry.sha256 or store.known_hash(entry.url, folder)
    if wanted and digest != wanted:
        _forget(part)
        raise InputError(
            f"{entry.url} gave a file that is not {entry.label} (its SHA-256 is {digest[:12]}..., not "
            f"{wanted[:12]}...): it was deleted. Try again; if it happens again, get the file from its authors and "
            "import it."
        )
    try:
        recognised = store.recognise(part)
    except InputError as error:
        _forget(part)
        raise InputError(
            f"{entry.url} gave no {entry.label}, and the file was deleted: {str(error).replace(str(part), 'it')}"
        ) from error
    if recognised[0] != entry.engine:
        _forget(part)
        raise InputError(f"{entry.url} gave {recognised[1]}, not {entry.label}: the file was deleted.")
    kept = part.with_suffix("")
    with explained(f"The folder of models {folder}"):
        part.replace(kept)
        _tag(part).unlink(missing_ok=True)
    store.remember_hash(entry.url, digest, folder)
    return store.describe(entry.id, kept, recognised, entry.url, digest)


def _fetch_with_patience(entry: Entry, part: Path, tell: Tell, cancel: threading.Event) -> None:
    """Fetch, and go on some times after breaks."""
    pause = PAUSE
    for attempt in range(1, TRIES + 1):
        try:
            _fetch(entry, part, tell, cancel)
            return
        except urllib.error.HTTPError as error:
            if error.code < 500 or attempt == TRIES:
                raise InputError(
                    f"{entry.url} answers {error.code} ({error.reason}): {entry.label} is not there now. Try later, or "
                    f"get it from {entry.source} and import it."
                ) from error
        except (OSError, http.client.HTTPException) as error:  # the disk's are explained where they come from
            if attempt == TRIES:
                reason = getattr(error, "reason", None) or error
                raise InputError(
                    f"{entry.label} could not be downloaded from {entry.url} ({reason}): check the connection, and try "
                    "again to go on after what is there."
                ) from error
        tell(Status(f"{entry.label}: the connection broke, going on"))
        if cancel.wait(pause):
            raise Cancelled("Cancelled.")
        pause *= 2


def _fetch(entry: Entry, part: Path, tell: Tell, cancel: threading.Event) -> None:
    with explained(f"The folder of models {part.parent}"):
        there = part.stat().st_size if part.exists() else 0
    tag = _read_tag(part) if there else ""
    request = urllib.request.Request(entry.url, headers={"User-Agent": "Lento", "Accept-Encoding": "identity"})
    if there and tag:
        request.add_header("Range", f"bytes={there}-")
        request.add_header("If-Range", tag)
    try:
        answer = urllib.request.urlopen(request, timeout=SILENCE)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        answer = urllib.request.urlopen(entry.url, timeout=SILENCE)  # what is there is longer than the file
    with answer:
        goes_on = answer.status == 206
        there = there if goes_on else 0
        total = there + int(answer.headers.get("Content-Length") or 0)
        with explained(f"The folder of models {part.parent}"):
            _write_tag(part, answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "")
            if not goes_on:
                part.write_bytes(b"")
        began, before = time.monotonic(), there
        while chunk := answer.read1(CHUNK):
            if cancel.is_set():
                raise Cancelled("Cancelled.")
            # opened anew for every piece: what a file kept back for later, it would complain about when it is closed,
            # among the failures of the connection
            with explained(f"The folder of models {part.parent}"), open(part, "ab") as file:
                file.write(chunk)
            there += len(chunk)
            speed = (there - before) / max(1e-3, time.monotonic() - began)
            left = round((total - there) / max(1.0, speed), 1) if total else None
            tell(Progress(there, max(total, there), speed, left, entry.label, "bytes"))
        if there < total:
            raise http.client.IncompleteRead(b"", total - there)


def _tag(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _read_tag(part: Path) -> str:
    try:
        told: Any = json.loads(_tag(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""  # without it the file is fetched anew
    return str(told)


def _write_tag(part: Path, tag: str) -> None:
    _tag(part).write_text(json.dumps(tag), encoding="utf-8")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag(part).unlink(missing_ok=True)
