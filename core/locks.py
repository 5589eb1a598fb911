# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks between processes: on an open file, and gone with the process that holds it, however that ends."""

from __future__ import annotations

import errno
import os
from typing import IO, Any

PLACES = 1 << 20
"""Bytes that stand for those who share a lock, where the system knows exclusive locks alone."""


def take(file: IO[Any], shared: bool = False) -> bool:
    """Lock the file without waiting; False where another process holds it, or, for a shared lock, holds it alone."""
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(file.fileno(), os.getpid() % PLACES if shared else 0, os.SEEK_SET)
            count = 1 if shared else PLACES
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, count)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return False
        if error.errno in (errno.ENOLCK, errno.ENOTSUP):
            return True  # a network folder without locks
        raise
    return True
