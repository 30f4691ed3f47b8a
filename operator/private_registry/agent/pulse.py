"""Wakes whoever waits, a moment after the first of several reasons to: one look serves them all."""

import asyncio
import contextlib


class Pulse:
    """Like an event that is cleared by waiting for it."""

    def __init__(self, delay: float) -> None:
        """`delay`: seconds in which further reasons are gathered."""
        self._delay = delay
        self._event = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def set(self, delay: float | None = None) -> None:
        """There is a reason to look, now or `delay` seconds from now."""
        loop = asyncio.get_running_loop()
        at = loop.time() + (self._delay if delay is None else delay)
        if self._timer is None or at < self._timer.when():
            self._cancel()
            self._timer = loop.call_at(at, self._fire)

    async def wait(self, timeout: float | None = None) -> None:
        """Return at the next reason, or after `timeout` seconds without one."""
        # Not wait_for: before Python 3.12 it swallows a cancellation that comes together with the reason.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._event.wait()
        self._event.clear()

    def _fire(self) -> None:
        self._timer = None
        self._event.set()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
