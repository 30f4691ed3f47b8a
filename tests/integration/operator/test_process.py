"""Killed anywhere, started anew, two at once: the operator's registries come out the same."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from private_registry.api import names
from private_registry.controller.main import _own_image
from private_registry.kube import kinds
from tests.cluster.processes import ControlPlane
from tests.contract.documents import named, rendered
from tests.integration.operator.parts.cluster import NODES, Cluster
from tests.integration.operator.parts.process import ACCOUNT, Operator
from tests.kubectl import Kubectl

CHILDREN = 8
"""And the finalizer: so many writes at least, each of them the last one before a kill."""

STOPPED_WITHIN = 4.0
"""Seconds."""


async def killed_after_each_write(cluster: Cluster, *, until: str) -> int:
    """Start the operator anew until there is nothing left to do, to be killed after every single write; how often."""
    deaths = 0
    while True:
        cluster.operator.start(writes=1)

        async def died_or_done() -> str:
            if not cluster.operator.is_running():
                return "died"
            return "done" if await (is_ready if until == "ready" else is_gone)(cluster) else ""

        if await cluster.until(died_or_done, what=f"the operator is killed, or team is {until}") == "done":
            cluster.operator.stop()
            return deaths
        deaths += 1


async def is_ready(cluster: Cluster) -> bool:
    body = await cluster.kube.get(kinds.PRIVATE_REGISTRY, cluster.namespace, "team") or {}
    conditions = (body.get("status") or {}).get("conditions") or []
    return {"type": "Ready", "status": "True"}.items() <= dict(next(iter(conditions), {})).items()


async def is_gone(cluster: Cluster) -> bool:
    return await cluster.kube.get(kinds.PRIVATE_REGISTRY, cluster.namespace, "team") is None


async def test_killed_after_each_write_of_a_creation(cluster: Cluster) -> None:
    """`kill -9` between any two writes: the next start goes on, and ends where an undisturbed one does."""
    cluster.operator.stop()
    await cluster.create()
    async with cluster.writes() as written:
        deaths = await killed_after_each_write(cluster, until="ready")
    assert deaths > CHILDREN
    created = [each for each in written if each.startswith("create ")]
    assert len(created) == len(set(created)), "nothing is made twice"

    cluster.operator.start()
    await cluster.until_ready()
    assert (await (await cluster.http()).serves()).yes


async def test_killed_after_each_write_of_a_deletion(cluster: Cluster) -> None:
    """`kill -9` anywhere in a deletion: every node is clean before the object is gone, and nothing is left behind."""
    registry = await cluster.ready({"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}})
    cluster.operator.kill()
    cluster.agents.silent.update(NODES)
    await cluster.delete(kinds.PRIVATE_REGISTRY, "team")
    async with cluster.requests() as requests:
        cluster.operator.start(writes=1)
        await cluster.until_gone(kinds.CONFIG_MAP, names.entry(cluster.namespace, "team"), names.AGENTS_NAMESPACE)
        for node in NODES:
            cluster.agents.agree(node)
        # Three of the four writes: that it dies of the last one may not be seen any more.
        assert await killed_after_each_write(cluster, until="gone") >= 3
    made = [each for _, each in requests]
    cleaned = [made.index(f"patch nodetrusts/status {node}") for node in NODES]
    released = made.index(f"patch privateregistries {cluster.namespace}/team")
    assert max(cleaned) < released

    owned = f"{names.REGISTRY_UID}={registry.uid}"
    for kind in (kinds.SERVICE, kinds.DEPLOYMENT, kinds.CONFIG_MAP, kinds.SECRET):
        assert (await cluster.kube.list(kind, labels=owned)).items == []
    await cluster.get(kinds.CLAIM, "team-data")


async def test_it_stops_at_once(cluster: Cluster) -> None:
    """SIGTERM ends it in a moment, and it lets go of the Lease: nobody has to wait for the next one."""
    begin = time.monotonic()
    cluster.operator.stop()
    assert time.monotonic() - begin < STOPPED_WITHIN
    lease = await cluster.get(kinds.LEASE, "private-registry-operator", names.OPERATOR_NAMESPACE)
    assert lease["spec"]["holderIdentity"] == ""


async def test_while_the_operator_is_away(cluster: Cluster) -> None:
    """Clients are served; what was asked for and what was spoilt meanwhile is seen to when it is back."""
    await cluster.ready()
    await cluster.ready(name="leaving")
    cluster.operator.kill()
    await cluster.change({"storage": {"deleteEnabled": False}})
    await cluster.create(name="coming")
    await cluster.delete(kinds.PRIVATE_REGISTRY, "leaving")
    await cluster.delete(kinds.CONFIG_MAP, "team-ca")
    assert (await cluster.registry("leaving")).deleting
    await cluster.get(kinds.CONFIG_MAP, names.entry(cluster.namespace, "leaving"), names.AGENTS_NAMESPACE)

    cluster.operator.start()
    await cluster.until_ready("coming")
    await cluster.until_gone(kinds.PRIVATE_REGISTRY, "leaving")
    await cluster.until_ready()
    assert not await (await cluster.http()).deletion_enabled()


QUICK = {"kube.lease.DURATION": 6.0, "kube.lease.RENEW_WITHIN": 4.0, "kube.lease.RETRY": 0.5}
SECOND = "private-registry-second"


@pytest.fixture
def second(control_plane: ControlPlane, kubectl: Kubectl, installed: None, tmp_path: Path) -> Iterator[Operator]:
    """A second operator, under an account of its own so that what it does is told from what the first one does."""
    account = f"{names.OPERATOR_NAMESPACE}:{SECOND}"
    namespace = f"--namespace={names.OPERATOR_NAMESPACE}"
    kubectl("create", "serviceaccount", SECOND, namespace)
    kubectl("create", "clusterrolebinding", SECOND, f"--clusterrole={names.MANAGER}", f"--serviceaccount={account}")
    kubectl("create", "rolebinding", SECOND, namespace, f"--role={names.MANAGER}", f"--serviceaccount={account}")
    with Operator(control_plane, tmp_path, account=SECOND) as operator:
        operator.log_in(kubectl("create", "token", SECOND, namespace).strip())
        yield operator
    kubectl("delete", "clusterrolebinding", SECOND)
    kubectl("delete", "serviceaccount,rolebinding", SECOND, namespace)


async def test_a_second_operator_waits_for_its_turn(cluster: Cluster, second: Operator) -> None:
    """It is alive, not ready and writes nothing; it takes over when the first is killed, and when it stops."""
    first = cluster.operator
    first.start(waits=QUICK)
    second.start(waits=QUICK, leading=False)
    async with cluster.requests() as requests:
        await cluster.ready(name="by-the-first")
    assert not second.is_leading()
    assert [each for user, each in requests if user == second.user] == []

    first.kill()
    async with cluster.requests() as requests:
        await cluster.ready(name="by-the-second")
    assert second.is_leading()
    assert [each for user, each in requests if user == first.user] == []

    first.start(waits=QUICK, leading=False)
    assert not first.is_leading()
    second.stop()
    await cluster.ready(name="by-the-first-again")
    assert first.is_leading()


async def test_the_operator_knows_its_own_image(cluster: Cluster) -> None:
    """In a pod, which has the host's name, it is that pod's; elsewhere there is none."""
    namespace, name = names.OPERATOR_NAMESPACE, socket.gethostname()
    assert await _own_image(cluster.kube, namespace) == ""
    template = named(rendered("manifests"), "Deployment", ACCOUNT)["spec"]["template"]
    about = {"name": name, "namespace": namespace}
    await cluster.kube.create({**template, "apiVersion": "v1", "kind": "Pod", "metadata": about})
    try:
        assert await _own_image(cluster.kube, namespace) == template["spec"]["containers"][0]["image"]
    finally:
        await cluster.kube._call("DELETE", kinds.POD.path(namespace, name), body={"gracePeriodSeconds": 0})
