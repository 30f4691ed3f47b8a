"""How a test waits: on a condition, with a deadline, and with a message that says what was seen instead.

The only poll loops of the test suite. Nothing else in `tests/` sleeps.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

OFTEN, SELDOM = 0.05, 0.5
"""Seconds between two questions. Each costs somebody: they become fewer while time goes by, from the one to the other.
Who asks more often than that wants to be there at a certain moment, and goes on so.
"""


def eventually(probe: Callable[[], T], *, within: float, every: float = 0.1, what: str) -> T:
    """Return the first truthy value of `probe`, which is asked every `every` seconds, and less often later on.

    Raises AssertionError with `what` and the last value after `within` seconds. An AssertionError or OSError of the
    probe counts as "not yet" (a server that does not listen yet refuses connections); anything else passes through.
    """
    began = time.monotonic()
    deadline = began + within
    while True:
        seen: object
        try:
            value = probe()
            if value:
                return value
            seen = value
        except (AssertionError, OSError) as error:
            seen = error
        if time.monotonic() >= deadline:
            raise AssertionError(_too_late(what, within, seen))
        time.sleep(_pause(every, time.monotonic() - began))


async def aeventually(probe: Callable[[], Awaitable[T]], *, within: float, every: float = 0.1, what: str) -> T:
    """As `eventually`, for a probe that is awaited. A probe that hangs is cut off at the deadline."""
    began = time.monotonic()
    deadline = began + within
    seen: object = "no answer at all"
    while True:
        try:
            value = await asyncio.wait_for(probe(), max(every, deadline - time.monotonic()))
            if value:
                return value
            seen = value
        except TimeoutError:
            pass
        except (AssertionError, OSError) as error:
            seen = error
        if time.monotonic() >= deadline:
            raise AssertionError(_too_late(what, within, seen))
        await asyncio.sleep(_pause(every, time.monotonic() - began))


async def paced(every: float) -> AsyncIterator[int]:
    """Count, a number in so many seconds, for somebody who does something again and again; none is made up for."""
    begin = time.monotonic()
    for number in itertools.count():
        yield number
        begin = max(begin + every, time.monotonic())
        await asyncio.sleep(begin - time.monotonic())


def _pause(every: float, waited: float) -> float:
    return every if every < OFTEN else max(every, min(waited / 20, SELDOM))


def _too_late(what: str, within: float, seen: object) -> str:
    return f"{what}: not within {within:g} s; last seen: {seen!r}"
