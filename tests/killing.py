"""Ends what works on a file system in the middle, as SIGKILL would: nothing that cleans up runs."""

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

STEPS = ("open", "mkdir", "symlink", "rename", "unlink", "rmdir", "fchmod", "chown", "utime", "ftruncate", "kill")
"""The calls of `os` that read or change a file system, or tell somebody to; `fsync`, `write` and `pwrite` as well."""


class Crash(BaseException):
    """The process was killed here."""


@contextlib.contextmanager
def killed_at(step: int) -> Iterator[None]:
    """Let the process end before its n-th step on the file system from here on; of a write, in the middle of it.

    Steps that change nothing are not counted: to end before one of them is to end before the next that does.
    """
    left = step

    def happens(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        left -= name != "fsync" and not (name == "open" and not arguments[1] & (os.O_CREAT | os.O_WRONLY | os.O_RDWR))
        if left <= 0:
            raise Crash

    with each_step(happens):
        yield


@contextlib.contextmanager
def each_step(happens: Callable[[str, tuple[Any, ...]], None]) -> Iterator[None]:
    """Have this called before each step, with its name and arguments. What it raises is how the step ends.

    A write that ends so has written half, once. Nothing is forced to the disk: what the kernel has outlives a process.
    """

    def armed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **more: Any) -> Any:
            happens(name, arguments)
            return call(*arguments, **more)

        return wrapper

    class Written(io.FileIO):
        """A file as `os.fdopen` gives it."""

        torn = False

        def write(self, data: Any) -> int:
            try:
                happens("write", ())
            except BaseException:
                if not self.torn:
                    self.torn = True
                    super().write(bytes(data)[: len(data) // 2])
                raise
            return super().write(data)

    pwrite, torn = os.pwrite, set[int]()

    def write_at(file: int, data: bytes, offset: int) -> int:
        try:
            happens("pwrite", (file, data, offset))
        except BaseException:
            if file not in torn:
                torn.add(file)
                pwrite(file, data[: len(data) // 2], offset)
            raise
        return pwrite(file, data, offset)

    with pytest.MonkeyPatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, armed(name, getattr(os, name)))
        patch.setattr(os, "fsync", armed("fsync", lambda _: None))
        patch.setattr(os, "fdopen", lambda file, mode: io.BufferedWriter(Written(file, mode)))
        patch.setattr(os, "pwrite", write_at)
        yield
