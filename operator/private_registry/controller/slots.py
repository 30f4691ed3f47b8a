"""Whose turn it is to be reconciled: namespaces share the operator evenly, however much one of them asks of it."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

AT_ONCE = 12
"""Keys that are reconciled at the same time."""
OF_ONE = 4
"""Of them, those of one namespace at most: what its registries keep waiting, an image that never answers say, is its
own affair."""


class Slots:
    """A free one goes to the namespace that has the fewest; of those with as few, to the one that waits longest."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def one(self, key: str) -> AsyncIterator[None]:
        """Hold one for the key `namespace/name` within the block."""
        namespace = key.partition("/")[0]
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(namespace, deque()).append(turn)
        self._give()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave(namespace)
            raise
        try:
            yield
        finally:
            self._leave(namespace)

    def _leave(self, namespace: str) -> None:
        self._running[namespace] -= 1
        if not self._running[namespace]:
            del self._running[namespace]
        self._give()

    def _give(self) -> None:
        """Give away what is free."""
        while self._running.total() < AT_ONCE and (namespace := self._next()):
            turns = self._waiting.pop(namespace)
            turn = turns.popleft()
            if turns:
                self._waiting[namespace] = turns  # behind the others
            if not turn.done():
                self._running[namespace] += 1
                turn.set_result(None)

    def _next(self) -> str:
        least = min(self._waiting, key=self._running.__getitem__, default="")
        return least if least and self._running[least] < OF_ONE else ""
