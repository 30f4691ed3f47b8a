"""Lets what works on a file system fail from some step on, as a disk does that is full, read-only or broken."""

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.killing import STEPS, each_step

_ADDING = ("mkdir", "symlink", "rename", "write", "pwrite", "fsync")
_CHANGING = (*STEPS[1:-1], "write", "pwrite", "pwrite over")
_FAILING = {
    errno.ENOSPC: (*_ADDING, "create"),
    errno.EROFS: (*_CHANGING, "create", "open to write"),
    errno.EIO: (*_CHANGING, "create", "open to write", "open", "fsync"),
}


@dataclass
class Failures:
    count: int = 0


@contextlib.contextmanager
def failing_from(step: int, error: int) -> Iterator[Failures]:
    """Let the n-th step that can fail with this error do so, and every later one; tells how many there were."""
    left, failures = step, Failures()

    def happens(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if _kind(name, arguments) not in _FAILING[error]:
            return
        left -= 1
        if left <= 0:
            failures.count += 1
            raise OSError(error, os.strerror(error), *(each for each in arguments[:1] if isinstance(each, str)))

    with each_step(happens):
        yield failures


def _kind(name: str, arguments: tuple[Any, ...]) -> str:
    if name == "pwrite":
        file, data, offset = arguments
        return "pwrite" if offset + len(data) > os.fstat(file).st_size else "pwrite over"
    if name != "open":
        return name
    flags = arguments[1]
    if flags & os.O_CREAT:
        return "create"
    return "open to write" if flags & (os.O_WRONLY | os.O_RDWR) else "open"
