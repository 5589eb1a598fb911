# SPDX-License-Identifier: GPL-3.0-or-later
"""An index of packages and a server of files on loopback, and a disk, which can fail in every way that real ones do."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest


@contextmanager
def small_disk(folder: Path, megabytes: int = 1) -> Iterator[Path]:
    """A file system of that size in a new folder; skips the test where nobody may mount one."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted without the rights for it: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def wheel(folder: Path, name: str, version: str = "1.0", size: int = 100) -> Path:
    """A real wheel with one module of `size` bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    module = b"VALUE = 1\n" + b"#" * size
    about = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": module,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{file},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')},{len(data)}\n"
        for file, data in files.items()
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file, data in {**files, f"{about}/RECORD": (record + f"{about}/RECORD,,\n").encode()}.items():
            archive.writestr(zipfile.ZipInfo(file), data)  # without the time: the same wheel again is the same file
    return path


@dataclass
class Server:
    """Files on loopback, and how they are given."""

    folder: Path
    address: str = ""
    asked: list[str] = field(default_factory=list)
    """Paths of requests, with their Range."""
    missing: set[str] = field(default_factory=set)
    """Files that are answered with 404."""
    broken_after: dict[str, int] = field(default_factory=dict)
    """File -> bytes after which the connection is cut, once."""
    slow: set[str] = field(default_factory=set)
    """Files whose bytes come slowly."""
    silent: set[str] = field(default_factory=set)
    """Files of which nothing comes."""


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """Serve the files of a folder, and, under /simple/, those of them that are wheels as a package index.

    It answers as a proxy for any other address, too, with the same files.
    """
    told = Server(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            self.path = self.path.partition("://")[2].partition("/")[2] if "://" in self.path else self.path[1:]
            self.path = f"/{unquote(self.path)}"  # a proxy is asked for whole addresses
            told.asked.append(f"{self.path} {self.headers.get('Range', '')}".strip())
            if self.path.startswith("/simple/"):
                self._page(self.path.strip("/").split("/")[1].replace("-", "_"))
                return
            self._file(self.path.strip("/"))

        def _page(self, name: str) -> None:
            links = [
                f'<a href="/{path.name}#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}">{path.name}</a>'
                for path in told.folder.glob("*.whl")
                if path.name.split("-")[0].lower() == name.lower()
            ]
            body = f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _file(self, name: str) -> None:
            path = told.folder / name
            if name in told.missing or not path.is_file():
                self.send_error(404)
                return
            if name in told.silent:
                time.sleep(3)
                self.close_connection = True
                return
            data, start = path.read_bytes(), 0
            tag = f'"{hashlib.sha256(data).hexdigest()[:8]}"'
            wanted = self.headers.get("Range", "")
            if wanted.startswith("bytes=") and self.headers.get("If-Range", tag) == tag:
                start = int(wanted[6:].split("-")[0])
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("ETag", tag)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            if self.command == "HEAD":
                return
            if name in told.broken_after:
                self.wfile.write(data[start : told.broken_after.pop(name)])
                self.close_connection = True
                return
            step = 4096 if name in told.slow else 1 << 20
            for position in range(start, len(data), step):
                try:
                    self.wfile.write(data[position : position + step])
                except (BrokenPipeError, ConnectionResetError):
                    return
                if name in told.slow:
                    time.sleep(0.05)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    told.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
