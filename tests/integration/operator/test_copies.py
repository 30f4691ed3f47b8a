"""What other namespaces have of a registry: they get it, keep it in step, and lose it."""

import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from private_registry.api.conditions import Type
from private_registry.kube import kinds
from private_registry.registry.credentials import encoded
from tests.integration.operator.elsewhere import Elsewhere, closed
from tests.integration.operator.parts.cluster import Cluster

Object = dict[str, Any]

_number = itertools.count(1)


WAITS = {
    "controller.engine.RESYNC": 1.0,
    "controller.copies.loop.LOOK": 1.0,
    "controller.copies.loop.AGAIN": 1.0,
    "controller.copies.loop.LOOK_PER_COPY": 0.0,
}


@pytest.fixture
def waits() -> Mapping[str, float]:
    """An operator that looks at every copy every second."""
    return WAITS


async def test_namespaces_come_and_go(cluster: Cluster, elsewhere: Elsewhere) -> None:
    """By name or by label, before the registry or after it; whatever is not asked for has nothing."""
    first, other = await elsewhere.add(), await elsewhere.add(selected=False)
    named = f"elsewhere-named-{next(_number)}"
    await cluster.ready(closed(namespaces=[named], namespaceSelector=elsewhere.selector))
    await elsewhere.until_there(first)
    second = await elsewhere.add()
    await cluster.kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": named}})
    elsewhere.made.append(named)
    await elsewhere.until_there(second, named)
    await elsewhere.set_label(other, elsewhere.label)
    await elsewhere.until_there(other)
    await elsewhere.set_label(first, None)
    await elsewhere.until_gone(first)
    await cluster.change(closed(namespaces=None))
    await elsewhere.until_gone(named)
    await cluster.kube._call("DELETE", kinds.NAMESPACE.path(None, second))
    elsewhere.made.remove(second)

    async def forgotten() -> bool:
        registry = await cluster.until_ready()
        assert registry.status.copies.pull_secret_namespaces == (other,)
        return True

    await cluster.until(forgotten, what="the status names who has it")
    await elsewhere.until_there(other)


async def test_what_somebody_does_to_a_copy_is_put_right(cluster: Cluster, elsewhere: Elsewhere) -> None:
    """Deleted or edited, it is as it should be after the next look."""
    namespace = await elsewhere.add()
    await cluster.ready(closed(namespaces=[namespace]))
    right = await elsewhere.login(namespace)
    wrong = {"data": encoded({".dockerconfigjson": '{"auths": {}}'})}
    await cluster.kube.merge(kinds.SECRET, namespace, elsewhere.pull_secret, wrong)

    async def is_right() -> bool:
        try:
            return await elsewhere.login(namespace) == right
        except KeyError:
            return False

    await cluster.until(is_right, what="the copy is right again")
    await cluster.delete(kinds.SECRET, elsewhere.pull_secret, namespace)
    await cluster.until(is_right, what="the copy is back")


async def test_another_ones_secret_is_left_alone(cluster: Cluster, elsewhere: Elsewhere) -> None:
    """It is named, the other namespaces are seen to, and it is still there when the registry is gone."""
    taken, free = await elsewhere.add(), await elsewhere.add()
    about = {"name": elsewhere.pull_secret, "namespace": taken}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": about, "data": encoded({"mine": "x"})}
    foreign = await cluster.kube.create(body)
    await cluster.create(closed(namespaces=[taken, free], serviceAccounts=["default"]))
    said = await cluster.until_condition(Type.STALLED, "True", "NameTaken")
    assert f"Secret {elsewhere.pull_secret} in namespace {taken}" in said
    await cluster.until_condition(Type.AVAILABLE, "True")
    await elsewhere.until_there(free)
    assert await elsewhere.attached(taken) == []
    await cluster.delete(kinds.PRIVATE_REGISTRY, "team")
    await cluster.until_gone(kinds.PRIVATE_REGISTRY, "team")
    left = await cluster.get(kinds.SECRET, elsewhere.pull_secret, taken)
    assert left["metadata"]["resourceVersion"] == foreign["metadata"]["resourceVersion"]


async def test_service_accounts_have_it_where_that_is_asked_for(cluster: Cluster, elsewhere: Elsewhere) -> None:
    """Beside what they have; those that come later as well; and it is taken from them again, alone."""
    namespace = await elsewhere.add()
    await elsewhere.account(namespace, "builder", "mine", "theirs")
    await cluster.ready(closed(namespaces=[namespace]))
    assert await elsewhere.attached(namespace, "builder") == ["mine", "theirs"]
    await cluster.change(closed(serviceAccounts=["builder", "default", "later"]))
    await elsewhere.until_attached(namespace, elsewhere.pull_secret)
    await elsewhere.account(namespace, "later")
    await elsewhere.until_attached(namespace, elsewhere.pull_secret, account="later")
    assert set(await elsewhere.attached(namespace, "builder")) == {"mine", "theirs", elsewhere.pull_secret}
    await cluster.change(closed(serviceAccounts=["builder"]))
    await elsewhere.until_attached(namespace)
    await elsewhere.until_attached(namespace, account="later")
    new = await elsewhere.add()
    await cluster.change(closed(namespaces=[new], serviceAccounts=["default"]))
    await elsewhere.until_attached(new, elsewhere.pull_secret)
    await elsewhere.until_gone(namespace)
    assert await elsewhere.attached(namespace, "builder") == ["mine", "theirs"]
    await cluster.delete(kinds.PRIVATE_REGISTRY, "team")
    await cluster.until_gone(kinds.PRIVATE_REGISTRY, "team")
    assert await elsewhere.attached(new) == []


async def test_the_ca_goes_where_it_is_asked_for(cluster: Cluster, elsewhere: Elsewhere) -> None:
    """As it is beside the registry, to namespaces that come as well; and away again."""
    first = await elsewhere.add()
    spec = {"tls": {"caDistribution": {"namespaceSelector": elsewhere.selector}}}
    await cluster.ready(spec)

    async def has_ca(namespace: str) -> bool:
        found = await cluster.get(kinds.CONFIG_MAP, elsewhere.ca, namespace)
        beside = await cluster.get(kinds.CONFIG_MAP, "team-ca")
        assert found["data"] == beside["data"]
        return True

    await cluster.until(lambda: has_ca(first), what="the CA is there")
    second = await elsewhere.add()
    await cluster.until(lambda: has_ca(second), what="the CA is in a new namespace")
    beside = await cluster.get(kinds.CONFIG_MAP, "team-ca")
    assert (await cluster.registry()).status.copies.ca_namespaces == (first, second)
    await cluster.kube.merge(kinds.CONFIG_MAP, first, elsewhere.ca, {"data": {"ca.crt": "no CA"}})
    await cluster.until(lambda: has_ca(first), what="an edited one is put right")
    await elsewhere.set_label(first, None)
    await cluster.until_gone(kinds.CONFIG_MAP, elsewhere.ca, first)
    await cluster.change({"tls": {"mode": "Disabled", "caDistribution": None}, "auth": {"mode": "None"}})
    await cluster.until_gone(kinds.CONFIG_MAP, elsewhere.ca, second)
    assert beside["data"]["ca.crt"]
    await cluster.until_ready()


async def test_a_registry_that_goes_leaves_nothing(cluster: Cluster, elsewhere: Elsewhere) -> None:
    """Neither copies nor items in ServiceAccounts; and a namespace that is going is no obstacle."""
    both = [await elsewhere.add(), await elsewhere.add()]
    spec = {
        **closed(namespaceSelector=elsewhere.selector, serviceAccounts=["default"]),
        "tls": {"caDistribution": {"namespaceSelector": elsewhere.selector}},
    }
    await cluster.ready(spec)
    for namespace in both:
        await elsewhere.until_attached(namespace, elsewhere.pull_secret)
    await cluster.kube.merge(kinds.NAMESPACE, None, both[1], {"metadata": {"finalizers": ["example.com/kept"]}})
    await cluster.kube._call("DELETE", kinds.NAMESPACE.path(None, both[1]))
    elsewhere.made.remove(both[1])
    try:
        await cluster.delete(kinds.PRIVATE_REGISTRY, "team")
        await cluster.until_gone(kinds.PRIVATE_REGISTRY, "team")
    finally:
        await cluster.kube.merge(kinds.NAMESPACE, None, both[1], {"metadata": {"finalizers": None}})
    assert await cluster.kube.get(kinds.SECRET, both[0], elsewhere.pull_secret) is None
    assert await cluster.kube.get(kinds.CONFIG_MAP, both[0], elsewhere.ca) is None
    assert await elsewhere.attached(both[0]) == []


async def test_killed_after_any_write_nothing_is_forgotten(cluster: Cluster, elsewhere: Elsewhere) -> None:
    """While copies are made and while they go: the next start ends the same, and no copy outlives its registry."""
    await cluster.ready()
    both = [await elsewhere.add(), await elsewhere.add()]
    spec = {"tls": {"caDistribution": {"namespaceSelector": elsewhere.selector}}}

    async def everywhere() -> list[bool]:
        return [await cluster.kube.get(kinds.CONFIG_MAP, each, elsewhere.ca) is not None for each in both]

    async def is_made() -> bool:
        registry = await cluster.registry()
        return registry.status.copies.observed_generation == registry.generation

    async def is_gone() -> bool:
        return await cluster.kube.get(kinds.PRIVATE_REGISTRY, cluster.namespace, "team") is None

    async def killed_after_each_write(*, until: Callable[[], Awaitable[bool]]) -> int:
        deaths = 0
        while True:
            cluster.operator.start(waits=WAITS, writes=1)

            async def died_or_done() -> str:
                died = not cluster.operator.is_running()
                return "died" if died else "done" if await until() else ""

            if await cluster.until(died_or_done, what="the operator is killed or done") == "done":
                cluster.operator.stop()
                return deaths
            deaths += 1

    cluster.operator.stop()
    await cluster.change(spec)
    async with cluster.writes() as written:
        assert await killed_after_each_write(until=is_made) >= 2  # where they may be, and copies, two at a time
    assert len([each for each in written if each.startswith("create configmaps")]) == 2
    assert await everywhere() == [True, True]
    await cluster.delete(kinds.PRIVATE_REGISTRY, "team")
    assert await killed_after_each_write(until=is_gone) >= 3  # the entry, copies, that there are none
    assert await everywhere() == [False, False]


@pytest.mark.parametrize("writes", [1, 2, 3, 4])
async def test_killed_while_copies_are_made_it_finds_them_again(
    cluster: Cluster, elsewhere: Elsewhere, writes: int
) -> None:
    """Where one may be is noted before it is made: with the registry goes whatever there is by then."""
    await cluster.ready()
    both = [await elsewhere.add(), await elsewhere.add()]
    cluster.operator.stop()
    await cluster.change({"tls": {"caDistribution": {"namespaceSelector": elsewhere.selector}}})
    cluster.operator.start(waits=WAITS, writes=writes)

    async def died() -> bool:
        return not cluster.operator.is_running()

    await cluster.until(died, what="the operator has written, and died")
    await cluster.delete(kinds.PRIVATE_REGISTRY, "team")
    cluster.operator.start(waits=WAITS)
    await cluster.until_gone(kinds.PRIVATE_REGISTRY, "team")
    for namespace in both:
        assert await cluster.kube.get(kinds.CONFIG_MAP, namespace, elsewhere.ca) is None


async def test_a_copy_that_somebody_else_holds_holds_up_nothing(cluster: Cluster, elsewhere: Elsewhere) -> None:
    """It is going, which is all that the operator can do for it."""
    namespace = await elsewhere.add()
    await cluster.ready(closed(namespaces=[namespace]))
    kept = {"metadata": {"finalizers": ["example.com/kept"]}}
    await cluster.kube.merge(kinds.SECRET, namespace, elsewhere.pull_secret, kept)
    await cluster.delete(kinds.PRIVATE_REGISTRY, "team")
    await cluster.until_gone(kinds.PRIVATE_REGISTRY, "team")
    going = await cluster.get(kinds.SECRET, elsewhere.pull_secret, namespace)
    assert going["metadata"]["deletionTimestamp"]
    await cluster.kube.merge(kinds.SECRET, namespace, elsewhere.pull_secret, {"metadata": {"finalizers": None}})
