"""Copies of objects that follow the API server, and a way to wait for what they show: the parts' eyes."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from private_registry.kube.client import Kube
from private_registry.kube.kinds import Kind
from private_registry.kube.reflector import Reflector

T = TypeVar("T")


class Mirror:
    """Every part looks into the same one, and is told of every change in it."""

    def __init__(self, kube: Kube) -> None:
        """Nothing is followed yet."""
        self.tick = asyncio.Event()
        """Set at the next change, and replaced: take it before you look, await it after."""
        self._kube = kube
        self._reflectors: list[Reflector] = []

    def follow(self, kind: Kind, namespace: str | None = None, *, labels: str | None = None) -> Reflector:
        """A copy of these objects, by name, once `run` runs."""
        reflector = Reflector(self._kube, kind, namespace, labels=labels, changed=self.changed)
        self._reflectors.append(reflector)
        return reflector

    def changed(self) -> None:
        """Have everyone look again."""
        before, self.tick = self.tick, asyncio.Event()
        before.set()

    async def until(self, probe: Callable[[], T]) -> T:
        """Wait until the objects are such that `probe` gives something truthy, and return that."""
        while True:
            tick = self.tick
            if value := probe():
                return value
            await tick.wait()

    async def run(self) -> None:
        await asyncio.gather(*(reflector.run() for reflector in self._reflectors))

    async def synced(self) -> None:
        """Wait until there is a complete copy of everything."""
        await self.until(lambda: all(reflector.synced for reflector in self._reflectors))
