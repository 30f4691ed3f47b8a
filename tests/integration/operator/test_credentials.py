"""Who may push and who may pull, on the way from one answer to the other as well."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from private_registry.api import names
from private_registry.api.conditions import Type
from private_registry.distribution import Registry
from private_registry.kube import kinds
from private_registry.registry.credentials import encoded
from tests.integration.container import content
from tests.integration.operator.parts.cluster import Cluster

OPEN: dict[str, Any] = {"auth": {"mode": "None"}}
CLOSED: dict[str, Any] = {"auth": {"anonymousPull": False}}
OVERLAP = 10.0
"""Longer than three requests take on a busy machine, each of which costs the registry a bcrypt hash."""


@pytest.fixture
def waits() -> Mapping[str, float]:
    """An operator that lets a replaced credential go in time for a test."""
    return {"controller.registries.credentials.OVERLAP": OVERLAP, "controller.engine.RESYNC": 1.0}


async def login(cluster: Cluster) -> tuple[str, str]:
    found = await cluster.login()
    assert found
    return found


async def anyone(cluster: Cluster) -> Registry:
    """The registry for who has no credential."""
    return replace(await cluster.http(), login=None)


async def pulls(cluster: Cluster) -> Registry:
    """The registry as the nodes are told to find it."""
    told = json.loads((await cluster.entry())["data"]["entry.json"])
    return Registry(told["addresses"][0], told["port"], told["scheme"], told["caBundle"])


async def rotate(cluster: Cluster, value: str) -> None:
    change = {"metadata": {"annotations": {names.ROTATE: value}}}
    await cluster.kube.merge(kinds.PRIVATE_REGISTRY, cluster.namespace, "team", change)


async def test_pulling_needs_nothing_and_pushing_needs_a_credential(cluster: Cluster) -> None:
    """The credential is there with the registry, works as it is, and is all that lets anyone write."""
    await cluster.ready()
    http, credential = await anyone(cluster), await login(cluster)
    assert not await http.accepts()
    assert await replace(http, login=credential).accepts()
    assert (await replace(http, login=credential).writable()).yes
    assert (await http.serves()).yes
    open_side = await pulls(cluster)
    assert open_side.port == names.PULL_PORT
    assert await open_side.catalog() == []
    assert not (await open_side.writable()).yes
    assert "team-credentials" in await cluster.until_event("CredentialsCreated")
    config = json.loads(content(await cluster.get(kinds.SECRET, "team-credentials"))[".dockerconfigjson"])
    told = json.loads((await cluster.entry())["data"]["entry.json"])
    assert config["auths"].keys() >= {*told["hosts"], f"team.{cluster.namespace}:5000", "team:5000", "localhost:5000"}


async def test_nobody_pulls_without_a_credential_where_that_was_said(cluster: Cluster) -> None:
    """Nodes go to the port that asks for one, and there is no other."""
    await cluster.ready(CLOSED)
    closed = await pulls(cluster)
    assert closed.port == names.PORT
    assert not await closed.accepts()
    assert await replace(closed, login=await login(cluster)).accepts()
    service = await cluster.get(kinds.SERVICE, "team")
    assert [port["port"] for port in service["spec"]["ports"]] == [names.PORT]


async def test_no_pull_fails_on_the_way_from_one_to_the_other(cluster: Cluster) -> None:
    """Of whoever goes where the nodes are told to, with a credential only where all are asked for one: open, closed to
    pushes, to all, and opened again in the same steps. What is needed no more goes.
    """
    await cluster.ready(OPEN)
    failed, done, at_hand = list[str](), 0, list[tuple[str, str]]()

    async def pull() -> None:
        nonlocal done
        while True:
            told = await pulls(cluster)
            login = at_hand[0] if at_hand and told.port == names.PORT else None
            answer = await replace(told, login=login).is_open()
            done += 1
            if not answer.yes:
                failed.append(answer.message)

    async def arrived(port: int, before: int) -> bool:
        assert (await pulls(cluster)).port == port
        service = await cluster.get(kinds.SERVICE, "team")
        assert (names.PULL_PORT in [each["port"] for each in service["spec"]["ports"]]) is (port != names.PORT)
        return done > before + 20

    pulling = asyncio.create_task(pull())
    try:
        for auth in (None, CLOSED["auth"], {"anonymousPull": None}, OPEN["auth"]):
            before = done
            await cluster.change({"auth": auth})
            registry = await cluster.until_ready()
            port = registry.pull_port
            await cluster.until(lambda: arrived(port, before), what=f"nodes pull from {port}")  # noqa: B023
            assert await (await anyone(cluster)).accepts() is (auth is OPEN["auth"])
            at_hand[:] = [await login(cluster)] if auth in (None, CLOSED["auth"]) else []
    finally:
        await ended(pulling)
    assert failed == []
    for name in ("team-credentials", "team-htpasswd"):
        await cluster.until_gone(kinds.SECRET, name)


async def test_a_node_that_lags_behind_is_waited_for(cluster: Cluster) -> None:
    """Nobody is asked for a credential before every node pulls from where none is needed."""
    await cluster.ready(OPEN)
    cluster.agents.silent.add("node-b")
    await cluster.change({"auth": None})

    async def told() -> bool:
        return (await pulls(cluster)).port == names.PULL_PORT

    await cluster.until(told, what="the nodes are told of the other port")
    await cluster.until_condition(Type.RECONCILING, "True", says="every node to pull from port 5002")
    assert await (await anyone(cluster)).accepts()
    cluster.agents.agree("node-b")
    await cluster.until_ready()
    assert not await (await anyone(cluster)).accepts()


async def ended(*tasks: asyncio.Task[None]) -> None:
    """End what runs beside the test, with all its connections."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def pushing(cluster: Cluster) -> AsyncIterator[list[str]]:
    """Somebody begins uploads all the time, with the credential as he finds it, and one who reads it seldom."""
    failed = list[str]()
    http = await anyone(cluster)

    async def push(reads_every: int) -> None:
        while True:
            credential = await login(cluster)
            for _ in range(reads_every):
                if not await replace(http, login=credential).accepts():
                    failed.append(credential[0])

    tasks = [asyncio.create_task(push(each)) for each in (1, 3)]
    try:
        yield failed
        for task in tasks:
            if task.done():
                task.result()
    finally:
        await ended(*tasks)


async def test_a_credential_is_replaced_and_nobody_in_the_right_is_refused(cluster: Cluster) -> None:
    """People are told of the new one when the registry knows it, however long its pod takes to hear of it; the old one
    is good for a while after, and then no more. The pod is the same all the while.
    """
    await cluster.ready()
    (pod,) = await cluster.pods()
    http, old = await anyone(cluster), await login(cluster)
    async with pushing(cluster) as failed:
        cluster.kubelet.hold_secrets(True)
        await rotate(cluster, "once")

        async def prepared() -> bool:
            secret = content(await cluster.get(kinds.SECRET, "team-htpasswd"))
            return len(secret["htpasswd"].splitlines()) == 2

        await cluster.until(prepared, what="the new one is on its way to the pod")
        await cluster.touch()
        assert await login(cluster) == old
        cluster.kubelet.hold_secrets(False)

        async def replaced() -> bool:
            return await login(cluster) != old

        await cluster.until(replaced, what="people are told of the new one")
        assert await replace(http, login=old).accepts()
        assert await replace(http, login=await login(cluster)).accepts()

        async def refused() -> bool:
            return not await replace(http, login=old).accepts()

    await cluster.until(refused, what="the old one is refused")
    assert failed == []
    assert await replace(http, login=await login(cluster)).accepts()
    assert [each["metadata"]["uid"] for each in await cluster.pods()] == [pod["metadata"]["uid"]]


async def test_a_deleted_credential_is_refused_and_another_made(cluster: Cluster) -> None:
    """That is how one is revoked at once."""
    await cluster.ready()
    http, old = await anyone(cluster), await login(cluster)
    await cluster.delete(kinds.SECRET, "team-credentials")

    async def revoked() -> bool:
        assert not await replace(http, login=old).accepts()
        return await replace(http, login=await login(cluster)).accepts()

    await cluster.until(revoked, what="the old one is refused and another is good")


async def test_users_of_ones_own(cluster: Cluster) -> None:
    """Each by a Secret that stays its owner's: what it says is what the registry asks for; what is wrong is said."""
    await cluster.ready()
    http = await anyone(cluster)
    await cluster.change({"auth": {"users": [{"secretName": "ci"}]}})
    assert "there is no Secret ci" in await cluster.until_condition(Type.STALLED, "True", "SecretNotFound")
    for password in ("first", "second"):
        data = encoded({"username": "builder", "password": password})
        if password == "first":
            await cluster.add(kinds.SECRET, "ci", data=data)
        else:
            await cluster.kube.merge(kinds.SECRET, cluster.namespace, "ci", {"data": data})

        async def accepted(password: str = password) -> bool:
            return await replace(http, login=("builder", password)).accepts()

        await cluster.until(accepted, what=f"the builder logs in with the {password} password")
        await cluster.until_ready()
    assert not await replace(http, login=("builder", "first")).accepts()
    await cluster.kube.merge(kinds.SECRET, cluster.namespace, "ci", {"data": {"username": None}})
    said = await cluster.until_condition(Type.STALLED, "True", "CredentialsInvalid")
    assert "username in the Secret ci" in said
    await cluster.change({"auth": {"users": None}})
    await cluster.until_ready()
    assert not await replace(http, login=("builder", "second")).accepts()
    assert await replace(http, login=await login(cluster)).accepts()


async def test_another_ones_secret_of_that_name_stays(cluster: Cluster) -> None:
    """Nothing is built around a Secret that is not the registry's."""
    await cluster.add(kinds.SECRET, "team-credentials", data=encoded({"username": "x", "password": "y"}))
    await cluster.create()
    assert "Secret team-credentials" in await cluster.until_condition(Type.STALLED, "True", "NameTaken")
    assert content(await cluster.get(kinds.SECRET, "team-credentials"))["password"] == b"y"
