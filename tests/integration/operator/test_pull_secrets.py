"""A credential that pulls and does nothing else: on which port it is good, from when, until when."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from private_registry.api import names
from private_registry.distribution import RegistryError
from private_registry.kube import kinds
from tests.integration.container import content
from tests.integration.operator.elsewhere import Elsewhere, closed, doors, port_of_nodes
from tests.integration.operator.parts.cluster import PATIENCE, Cluster
from tests.integration.pushing import push

Object = dict[str, Any]


@pytest.fixture
def waits() -> Mapping[str, float]:
    """An operator that looks at every copy every second, and has a replaced credential go in time for a test."""
    return {
        "controller.engine.RESYNC": 1.0,
        "controller.copies.loop.LOOK": 1.0,
        "controller.copies.loop.AGAIN": 1.0,
        "controller.copies.loop.LOOK_PER_COPY": 0.0,
        "controller.registries.credentials.OVERLAP": 10.0,
    }


async def test_a_pull_secret_pulls_and_does_nothing_else(cluster: Cluster, elsewhere: Elsewhere) -> None:
    """Nodes are led to the port on which it is good; it is refused for everything where one can push."""
    namespace = await elsewhere.add()
    registry = await cluster.ready(closed(namespaces=[namespace]))
    assert registry.status.pull_secret_name == elsewhere.pull_secret
    assert registry.status.copies.pull_secret_namespaces == (namespace,)
    assert await port_of_nodes(cluster) == names.PULL_PORT
    own, pulls = await doors(cluster)
    await push(f"https://{own.address}:{own.port}", "app", login=await cluster.login())
    mine = await elsewhere.login(namespace)
    assert await replace(pulls, login=mine).tags("app") == ["v1"]
    digest = await replace(pulls, login=mine).manifest_digest("app", "v1")
    assert digest
    assert not await pulls.accepts()
    assert not await replace(own, login=mine).accepts()
    assert "401" in (await replace(own, login=mine).writable()).message
    assert "405" in (await replace(pulls, login=mine).writable()).message
    for door in (own, pulls):
        with pytest.raises(RegistryError, match=r"answered 40[15]"):
            await replace(door, login=mine).delete_manifest("app", digest)
    found = await cluster.get(kinds.SECRET, elsewhere.pull_secret, namespace)
    config = json.loads(content(found)[".dockerconfigjson"])
    told = json.loads((await cluster.entry())["data"]["entry.json"])
    assert config["auths"].keys() >= {*told["hosts"], f"team.{cluster.namespace}:5000"}


async def test_where_docker_has_to_pull_it_is_good_there(cluster: Cluster, elsewhere: Elsewhere) -> None:
    """Only while that is asked for; no pod is restarted for it."""
    namespace = await elsewhere.add()
    await cluster.ready(closed(namespaces=[namespace]))
    (pod,) = await cluster.pods()
    own, _ = await doors(cluster)
    mine = replace(own, login=await elsewhere.login(namespace))
    for wanted in (True, False):
        await cluster.change(closed(dockerNodes=wanted))

        async def accepted(wanted: bool = wanted) -> bool:
            return await mine.accepts() is wanted

        await cluster.until(accepted, what=f"the pull secret is good on port 5000: {wanted}")
    await cluster.until_ready()
    assert [each["metadata"]["uid"] for each in await cluster.pods()] == [pod["metadata"]["uid"]]


class Puller:
    """A kubelet of another namespace, which reads the pull secret and pulls with it, all the time."""

    def __init__(self, elsewhere: Elsewhere, namespace: str) -> None:
        self.failed: list[str] = []
        self.done = 0
        self._elsewhere = elsewhere
        self._namespace = namespace

    async def run(self) -> None:
        cluster = self._elsewhere.cluster
        own, _ = await doors(cluster)
        while True:
            login = await self._elsewhere.login(self._namespace)
            at = replace(own, port=await port_of_nodes(cluster), login=login)
            answer = await at.is_open()
            self.done += 1
            if not answer.yes:
                self.failed.append(f"{login[0]} at {at.port}: {answer.message}")

    async def pulled(self, more: int, *, since: int) -> bool:
        assert self.done >= since + more, self.done
        return True


async def ended(task: asyncio.Task[None]) -> None:
    """End it with all its connections. Raises what it died of."""
    died = task.done()
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    if died and isinstance(outcome, BaseException):
        raise outcome


async def test_a_rotation_reaches_every_copy_and_no_pull_fails(cluster: Cluster, elsewhere: Elsewhere) -> None:
    """The registry knows the new one before any copy holds it, and the old one for a while after."""
    namespace, other = await elsewhere.add(), await elsewhere.add()
    await cluster.ready(closed(namespaceSelector=elsewhere.selector))
    await elsewhere.until_there(namespace, other)
    old = await elsewhere.login(namespace)
    _, pulls = await doors(cluster)
    puller = Puller(elsewhere, namespace)
    pulling = asyncio.create_task(puller.run())
    try:
        cluster.kubelet.hold_secrets(True)
        about = {"annotations": {names.ROTATE: "once"}}
        await cluster.kube.merge(kinds.PRIVATE_REGISTRY, cluster.namespace, "team", {"metadata": about})

        async def prepared() -> bool:
            return "next-pull" in content(await cluster.get(kinds.SECRET, "team-htpasswd"))

        await cluster.until(prepared, what="the new one is on its way to the pod")
        assert await elsewhere.login(namespace) == old
        cluster.kubelet.hold_secrets(False)
        for each in (namespace, other):

            async def replaced(each: str = each) -> bool:
                return await elsewhere.login(each) != old

            await cluster.until(replaced, what=f"{each} has the new one")
        assert await replace(pulls, login=old).accepts()

        async def refused() -> bool:
            return not await replace(pulls, login=old).accepts()

        await cluster.until(refused, what="the old one is refused")
    finally:
        await ended(pulling)
    assert puller.failed == []
    assert puller.done > 5


async def test_whoever_deletes_the_credential_revokes_it(cluster: Cluster, elsewhere: Elsewhere) -> None:
    """The one that was given away is refused, and each copy has another that works."""
    namespace = await elsewhere.add()
    await cluster.ready(closed(namespaces=[namespace]))
    old = await elsewhere.login(namespace)
    _, pulls = await doors(cluster)
    await cluster.delete(kinds.SECRET, "team-pull")

    async def revoked() -> bool:
        new = await elsewhere.login(namespace)
        return new != old and await replace(pulls, login=new).accepts()

    await cluster.until(revoked, what="another one works")
    assert not await replace(pulls, login=old).accepts()


@pytest.mark.parametrize("before", [{"auth": {"mode": "None"}}, {}], ids=["open", "open to pulls"])
async def test_no_pull_fails_when_a_registry_is_closed_and_opened(
    cluster: Cluster, elsewhere: Elsewhere, before: Object
) -> None:
    """Nobody is asked for a credential before the namespaces have one, and none goes before nobody is asked."""
    namespace = await elsewhere.add()
    await cluster.ready(before)
    own, pulls = await doors(cluster)
    failed, asked = list[str](), list[bool]()

    async def pull() -> None:
        while True:
            secret = await cluster.kube.get(kinds.SECRET, namespace, elsewhere.pull_secret)
            login = elsewhere.login_in(secret) if secret else None
            told = replace(own, port=await port_of_nodes(cluster))
            answer = await replace(told, login=login).is_open()
            if not answer.yes:
                failed.append(f"{login and login[0]} at {told.port}: {answer.message}")
            asked.append(bool(login))

    pulling = asyncio.create_task(pull())
    try:
        await cluster.change({"auth": {"mode": "Basic", **closed(namespaces=[namespace])["auth"]}})
        await cluster.until_ready(within=2 * PATIENCE)
        await elsewhere.until_there(namespace)
        assert not await pulls.accepts()
        assert not await own.accepts()
        reached = len(asked)

        async def pulled() -> bool:
            assert asked[reached:].count(True) > 10
            return True

        await cluster.until(pulled, what="the pull secret was used")
        auth = {"anonymousPull": None, "pullSecret": None, **before.get("auth", {})}
        await cluster.change({"auth": auth})
        await cluster.until_ready(within=2 * PATIENCE)
        await elsewhere.until_gone(namespace)
    finally:
        await ended(pulling)
    assert failed == []
    await cluster.until_gone(kinds.SECRET, "team-pull")
    assert (await cluster.registry()).status.copies.namespaces == ()
