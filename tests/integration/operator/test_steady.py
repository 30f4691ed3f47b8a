"""With nothing to do the operator writes nothing; what it does not watch, it sees at its next look."""

import asyncio
from collections.abc import Mapping

import pytest

from private_registry.api import names
from private_registry.api.conditions import Type
from private_registry.controller.copies import shares
from private_registry.kube import kinds
from tests.integration.operator.elsewhere import Elsewhere, closed
from tests.integration.operator.parts.cluster import Cluster

LOOKS = 5
"""At every registry and at the fleet, in the time in which nothing may be written."""


@pytest.fixture
def waits() -> Mapping[str, float]:
    """An operator that looks at everything every second."""
    looks = {"controller.copies.loop.LOOK": 1.0, "controller.copies.loop.LOOK_PER_COPY": 0.0}
    return {"controller.engine.RESYNC": 1.0, **looks}


async def looks(cluster: Cluster, times: int) -> None:
    """Wait until the operator has looked at each of its keys so many times more, as far as its metrics tell."""
    registries = (await cluster.kube.list(kinds.PRIVATE_REGISTRY)).items
    keys = len(registries) + len([each for each in registries if shares.concerns(each)]) + 1
    begin = await asyncio.to_thread(cluster.operator.reconciles)

    async def enough() -> bool:
        now = await asyncio.to_thread(cluster.operator.reconciles)
        assert now - begin >= times * keys, (begin, now, keys)
        return True

    await cluster.until(enough, within=60, what=f"{times} looks")


async def test_nothing_to_do_is_nothing_written(cluster: Cluster, elsewhere: Elsewhere) -> None:
    """However often it looks, and when it is started anew, a steady cluster gets no mutating request at all: not with
    copies in other namespaces either, and not where one of them cannot be.
    """
    await cluster.ready()
    free, taken = await elsewhere.add(), await elsewhere.add()
    about = {"name": names.pull_secret_copy(cluster.namespace, "shared"), "namespace": taken}
    await cluster.kube.create({"apiVersion": "v1", "kind": "Secret", "metadata": about})
    copies = {**closed(namespaceSelector=elsewhere.selector, serviceAccounts=["default", "missing"])}
    copies["tls"] = {"caDistribution": {"namespaceSelector": elsewhere.selector}}
    await cluster.create(copies, name="shared")
    await cluster.until_condition(Type.STALLED, "True", "NameTaken", name="shared")
    await cluster.until_condition(Type.AVAILABLE, "True", name="shared")
    await elsewhere.until_attached(free, about["name"])
    open_to_all = {"auth": {"mode": "None"}}
    await cluster.ready({**open_to_all, "tls": {"mode": "Disabled"}, "nodeTrust": {"enabled": False}}, name="plain")
    await cluster.ready(open_to_all, name="open")
    await cluster.create({"storage": {"claimName": "missing"}}, name="stalled")
    for name in ("team", "shared", "plain", "open"):
        await cluster.until_measured(name)
    await looks(cluster, 2)
    async with cluster.writes() as written:
        await looks(cluster, LOOKS)
        # Not in the way of what serves the operator here, while it already asks.
        await asyncio.to_thread(cluster.operator.restart)
        await looks(cluster, LOOKS)
    assert written == []
    await cluster.until_ready()


async def test_deleted_secrets_come_back_at_the_next_look(cluster: Cluster) -> None:
    """Secrets are not watched. The registry goes on serving, and at the next look its Secrets are there again."""
    await cluster.ready()
    for name in ("team-config", "team-certificate"):
        await cluster.delete(kinds.SECRET, name)
    assert (await (await cluster.http()).serves()).yes

    async def are_back() -> bool:
        return all([await cluster.get(kinds.SECRET, name) for name in ("team-config", "team-certificate")])

    await cluster.until(are_back, what="both Secrets are back")
    await cluster.until_ready()
    assert (await (await cluster.http()).serves()).yes


async def test_an_edited_secret_is_put_right_at_the_next_look(cluster: Cluster) -> None:
    """A certificate that somebody broke is replaced; what signs uploads is kept, whatever it is."""
    await cluster.ready()
    broken, mine = {"data": {"tls.crt": "AAAA"}}, {"stringData": {"http-secret": "mine"}}
    await cluster.kube.merge(kinds.SECRET, cluster.namespace, "team-certificate", broken)
    signs = await cluster.kube.merge(kinds.SECRET, cluster.namespace, "team-config", mine)

    async def is_whole() -> bool:
        secret = await cluster.get(kinds.SECRET, "team-certificate")
        return bool(secret["data"]["tls.crt"] != "AAAA")

    await cluster.until(is_whole, what="the certificate is whole again")
    await cluster.until_ready()
    kept = await cluster.get(kinds.SECRET, "team-config")
    assert kept["data"]["http-secret"] == signs["data"]["http-secret"]
