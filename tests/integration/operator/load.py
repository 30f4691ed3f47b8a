"""Who uses a registry all the time, and believes only what he was told to: nodes that pull, people who push.

A node has the CAs of the entry that it last confirmed, a person those of the ConfigMap beside the registry; every
request is a connection of its own, whose certificate is verified against them.
"""

import asyncio
import json
from types import TracebackType
from typing import Self

import aiohttp

from private_registry.api import names
from private_registry.distribution import Registry, RegistryError
from private_registry.kube import kinds
from private_registry.trust import entry as trust
from tests.integration.operator.parts.cluster import NODES, Cluster
from tests.integration.pushing import push
from tests.waiting import paced

IMAGE = "app"
PATIENCE = 30.0
"""Seconds that a client waits for an answer, on a machine with other things to do."""


PULLS, PUSHES = 0.2, 0.3
"""Seconds from one to the next, on each node and of all people: no rollout and no gap in one is over between two."""


class Load:
    """One pull after the other on each node, and one push after the other; an async context manager."""

    def __init__(self, cluster: Cluster, name: str = "team", *, pushes: bool = True) -> None:
        """The registry of that name is ready. Without `pushes` one only pulls what was pushed at the beginning."""
        self.failures: list[str] = []
        self.pulls = self.pushes = 0
        self._cluster = cluster
        self._name = name
        self._goes_on_pushing = pushes
        self._on_disk: dict[str, trust.Entry] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self.push()
        self._tasks = [asyncio.create_task(self._pull_for_ever(node)) for node in NODES]
        if self._goes_on_pushing:
            self._tasks.append(asyncio.create_task(self._push_for_ever()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended = [task.exception() for task in self._tasks if task.done() and not task.cancelled()]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert not ended, ended

    def __str__(self) -> str:
        return f"{self.pulls} pulls, {self.pushes} pushes, {len(self.failures)} failures"

    async def more(self, number: int = 5) -> None:
        """Return after so many more pulls and pushes."""
        pulls, pushes = self.pulls + number, self.pushes + number * self._goes_on_pushing

        async def done() -> bool:
            assert not any(task.done() for task in self._tasks)
            return self.pulls >= pulls and self.pushes >= pushes

        await self._cluster.until(done, within=60, what=f"{number} more pulls and pushes")

    async def _pull_for_ever(self, node: str) -> None:
        async for _ in paced(PULLS):
            self._look_at_disk(node)
            told = self._on_disk[node]
            server = (told.addresses[0], told.port, told.scheme, told.ca_bundle, told.server_name)
            registry = Registry(*server, deadline=PATIENCE)
            try:
                if await registry.manifest_digest(IMAGE, "v1") is None:
                    self.failures.append(f"{node} finds no image")
            except RegistryError as error:
                self.failures.append(f"{node}: {error}")
            self.pulls += 1

    def _look_at_disk(self, node: str) -> None:
        """Take over the entry that the node says it has: until then it goes by the last one."""
        if entry := self._cluster.agents.entry_on(node, self._cluster.namespace, self._name):
            self._on_disk[node] = entry

    async def _push_for_ever(self) -> None:
        async for _ in paced(PUSHES):
            try:
                await self.push()
            except (aiohttp.ClientError, OSError) as error:
                self.failures.append(f"a push: {error}")
            self.pushes += 1

    async def push(self) -> None:
        """Push once, as people do. Raises aiohttp.ClientError when that is not taken."""
        told = json.loads((await self._cluster.entry(self._name))["data"][trust.KEY])
        config_map = await self._cluster.kube.get(
            kinds.CONFIG_MAP, self._cluster.namespace, names.ca_config_map(self._name)
        )
        assert config_map or told["scheme"] == "http", "people are told of no CA"
        await push(
            f"{told['scheme']}://{told['addresses'][0]}:{names.PORT}",
            IMAGE,
            login=await self._cluster.login(self._name),
            ca_bundle=config_map["data"]["ca.crt"] if config_map else "",
            server_name=told["serverName"],
        )
