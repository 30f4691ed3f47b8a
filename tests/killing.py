"""Ends what works on a file system in the middle, as SIGKILL would: nothing that cleans up runs."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest


class Crash(BaseException):
    """The process was killed here."""


@contextlib.contextmanager
def killed_at(step: int) -> Iterator[None]:
    """Let the process end before its n-th step on the file system from here on."""
    left = [step]

    def armed(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise Crash
            return call(*args, **kwargs)

        return wrapper

    with pytest.MonkeyPatch.context() as patch:
        for name in ("open", "mkdir", "rename", "unlink", "rmdir", "fsync"):
            patch.setattr(os, name, armed(getattr(os, name)))
        yield
