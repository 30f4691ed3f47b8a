"""How a test waits: on a condition, with a deadline, and with a message that says what was seen instead.

The only poll loops of the test suite. Nothing else in `tests/` sleeps.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(probe: Callable[[], T], *, within: float, every: float = 0.1, what: str) -> T:
    """Return the first truthy value of `probe`, which is asked every `every` seconds.

    Raises AssertionError with `what` and the last value after `within` seconds. An AssertionError or OSError of the
    probe counts as "not yet" (a server that does not listen yet refuses connections); anything else passes through.
    """
    deadline = time.monotonic() + within
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
        time.sleep(every)


async def aeventually(probe: Callable[[], Awaitable[T]], *, within: float, every: float = 0.1, what: str) -> T:
    """As `eventually`, for a probe that is awaited. A probe that hangs is cut off at the deadline."""
    deadline = time.monotonic() + within
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
        await asyncio.sleep(every)


def _too_late(what: str, within: float, seen: object) -> str:
    return f"{what}: not within {within:g} s; last seen: {seen!r}"
