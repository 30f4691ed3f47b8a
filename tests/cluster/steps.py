"""Numbered steps with their times, each with a log file: what a person sees of a long run."""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


class StepError(Exception):
    """A step did not succeed. The message names it and holds the end of its log."""


def clock(seconds: float) -> str:
    """Return `3:10` for 190 seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


class Steps:
    """Counts steps up to `total`; a step that is reached writes to a log file of its own in `logs`."""

    def __init__(self, total: int, logs: Path, out: TextIO | None = None) -> None:
        """Prepare; nothing is printed."""
        self._total = total
        self._logs = logs
        self._out = out or sys.stdout
        self._reached = 0
        logs.mkdir(parents=True, exist_ok=True)

    def log(self, name: str) -> Path:
        """Return the log file for `name`, emptied."""
        path = self._logs / (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + ".log")
        path.write_bytes(b"")
        return path

    @contextmanager
    def step(self, title: str) -> Iterator[Path]:
        """Announce a step, yield its log file, and print the time it took. Raises StepError for any exception."""
        self._reached += 1
        number = f"[{self._reached}/{self._total}]"
        begun = time.monotonic()
        print(f"{number} {title} … ", end="", flush=True, file=self._out)
        try:
            yield self.log(title)
        except Exception as error:
            print(f"failed after {clock(time.monotonic() - begun)}", flush=True, file=self._out)
            raise StepError(f"step {number} {title} failed: {error}") from error
        print(clock(time.monotonic() - begun), flush=True, file=self._out)
