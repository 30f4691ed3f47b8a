"""One task per key: woken by watches, level-triggered, never twice at once.

kopf's handlers only wake a key; what has to be done is found out by the reconcile function, from what there is. An
error is retried with growing pauses; a key that nobody wakes is looked at again at the resync, because watches miss
deletions and some things (Secrets of users, certificates that grow old) are not watched at all.
"""

import asyncio
import logging
import math
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from private_registry.controller import metrics
from private_registry.controller.slots import Slots
from private_registry.kube.client import ApiError, ConflictError

logger = logging.getLogger(__name__)

DEBOUNCE = 0.05
"""Seconds in which further wakes of a key join the first: one change arrives as several events."""
RESYNC = 60.0
"""Seconds after which a quiet key is looked at again, ± 10 %."""
FIRST_RETRY, LAST_RETRY = 0.5, 60.0


@dataclass(frozen=True)
class Next:
    """What a reconcile asks for: to be called again before the resync, or never again unless woken."""

    after: float = math.inf
    """Seconds."""
    done: bool = False


Reconcile = Callable[[str], Awaitable[Next]]


class Engine:
    """Runs one reconcile function over many keys. Tasks live until stop() or until the reconcile says done."""

    def __init__(self, name: str, reconcile: Reconcile) -> None:
        self._name = name
        self._reconcile = reconcile
        self._woken: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._slots = Slots()
        self._stopped = False

    def wake(self, key: str) -> None:
        """Have this key reconciled soon, unless stopped; when it is under way, it runs once more."""
        if self._stopped:
            return
        self._woken.setdefault(key, asyncio.Event()).set()
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._run(key), name=f"{self._name} {key}")

    def wake_all(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.wake(key)

    async def stop(self) -> None:
        """End all tasks. The watches may go on for a while: what they wake has no effect any more."""
        self._stopped = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: str) -> None:
        woken, failures = self._woken[key], 0
        while True:
            await asyncio.sleep(DEBOUNCE)
            woken.clear()
            try:
                async with self._slots.one(key):
                    with metrics.reconcile(self._name):
                        wanted = await self._reconcile(key)
                failures, pause = 0, min(wanted.after, RESYNC)
                if wanted.done and not woken.is_set():
                    del self._tasks[key], self._woken[key]
                    return
            except ConflictError as error:
                # Somebody wrote between our look and our write: look again.
                failures += 1
                pause = retry_pause(failures)
                logger.info("changed meanwhile, looking again", extra={"key": key, "error": str(error)})
            except ApiError as error:
                failures += 1
                pause = retry_pause(failures)
                logger.warning("the API server refused", extra={"key": key, "error": str(error), "retry": pause})
            except Exception:
                failures += 1
                pause = retry_pause(failures)
                logger.exception("reconcile failed", extra={"key": key, "retry": pause})
            await _woken_within(woken, pause * random.uniform(0.9, 1.1))  # noqa: S311


def retry_pause(failures: int) -> float:
    """Seconds before the next try after so many failures in a row: doubling, bounded."""
    return min(FIRST_RETRY * 2.0 ** (failures - 1), LAST_RETRY)


async def _woken_within(woken: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        pass
