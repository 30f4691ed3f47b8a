"""A tenant who makes and deletes registries as fast as the API server lets him, and what his neighbour sees of it."""

import asyncio
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from statistics import median

from private_registry.kube import kinds
from private_registry.kube.client import ApiError
from tests.integration.operator.parts.cluster import Cluster
from tests.integration.operator.test_tenants import PLAIN, Tenant, asking, tenant_beside

AT_ONCE = 16
"""Requests of his under way at any time: a few hundred of them a second, where the API server answers so many."""
MADE = 100
"""Registries by which he is well on his way."""
SAMPLES = 5
NOTICEABLE = 1.0
"""Seconds beside which a factor means nothing."""
FACTOR = 5.0


class Churn:
    """His registries, each of which is deleted as soon as it is there; half ask for a name that all of them want."""

    def __init__(self, tenant: Tenant) -> None:
        self.made = 0
        self.ending = False
        self._tenant = tenant
        self._numbers = count()
        self._began = time.monotonic()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._worker())

    async def _worker(self) -> None:
        while not self.ending:
            number = next(self._numbers)
            name = f"churn-{number}"
            spec = asking("wanted.registry.example.com") if number % 2 else PLAIN
            with suppress(ApiError):
                await self._tenant.ask_for(name, spec)
                self.made += 1
                await self._tenant.kube._call("DELETE", kinds.PRIVATE_REGISTRY.path(self._tenant.namespace, name))

    @property
    def rate(self) -> float:
        """Registries per second so far."""
        return self.made / (time.monotonic() - self._began)


async def reaction(cluster: Cluster) -> float:
    """Seconds from a change of a spec to that of its Service."""
    service = await cluster.get(kinds.SERVICE, "team")
    other = "NodePort" if service["spec"]["type"] == "ClusterIP" else "ClusterIP"
    began = time.monotonic()
    await cluster.change({"service": {"type": other}})

    async def changed() -> bool:
        return bool((await cluster.get(kinds.SERVICE, "team"))["spec"]["type"] == other)

    await cluster.until(changed, what="the Service is changed")
    return time.monotonic() - began


async def test_a_neighbours_churn(cluster: Cluster, tmp_path: Path) -> None:
    """A change is made within a small multiple of what it takes alone, all the while; and then all is as before."""
    await cluster.ready(PLAIN)
    alone = [await reaction(cluster) for _ in range(SAMPLES)]
    async with tenant_beside(cluster, tmp_path / "mallory") as mallory:
        churn = Churn(mallory)
        running = asyncio.create_task(churn.run())
        try:
            await cluster.until(lambda: made(churn, MADE), within=60, what="he is well on his way")
            beside = [await reaction(cluster) for _ in range(SAMPLES)]
            rate = churn.rate
        finally:
            churn.ending = True
            await running
        print(f"alone {median(alone):.2f} s, beside {rate:.0f}/s {median(beside):.2f} s, at most {max(beside):.2f} s")
        assert median(beside) < FACTOR * max(median(alone), NOTICEABLE)
        assert max(beside) < 2 * FACTOR * max(median(alone), NOTICEABLE)
        await cluster.until(lambda: gone(mallory), within=120, what="what he left is gone")
    await cluster.until_ready()


async def made(churn: Churn, wanted: int) -> bool:
    return churn.made >= wanted


async def gone(tenant: Tenant) -> bool:
    left = (await tenant.kube.list(kinds.PRIVATE_REGISTRY, tenant.namespace)).items
    assert not left, f"{len(left)} are left"
    return True
