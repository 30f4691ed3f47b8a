"""An asyncio event loop whose clock jumps: whenever nothing is left to do, it is the time of the next timer.

What waits for a minute is tested in a moment and to the second, with the constants that the program has.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    """Takes the time that it would wait as passed; waits for real only where no timer is set."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.passed += timeout or 0.0
        return super().select(None if timeout is None else 0)


class _JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.passed


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to the end, from time 0 on. Raises TimeoutError when it has none within a day."""

    async def within_a_day() -> T:
        async with asyncio.timeout(24 * 3600):
            return await coroutine

    with asyncio.Runner(loop_factory=_JumpingLoop) as runner:
        return runner.run(within_a_day())


def now() -> float:
    """Seconds since the beginning of run()."""
    return asyncio.get_running_loop().time()
