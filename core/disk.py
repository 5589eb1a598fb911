# SPDX-License-Identifier: GPL-3.0-or-later
"""What the disk says -> sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .messages import InputError


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Raise InputError where `what`, such as "The environment /x", cannot be written."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{what} cannot be written ({error.strerror}): free some space, or choose another folder."
        ) from error
