"""A node that is registered with the startup taint gets pods once it pulls from every registry that is for it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from private_registry.api.conditions import Type
from private_registry.kube import kinds
from private_registry.trust.reasons import Reason
from tests.integration.conftest import ROOT
from tests.integration.operator.parts.cluster import READY, Cluster, a_node
from tests.kubectl import Kubectl

NEW = "node-new"
TAINT = "privateregistry.dev/starting"
OTHER = "example.com/gpu"


@pytest.fixture
def opted_in(cluster: Cluster, kubectl: Kubectl) -> Iterator[None]:
    """What manifests/startup-taint adds to the installation: a right, and an argument."""
    rights = f"--filename={ROOT / 'manifests' / 'startup-taint' / 'rbac.yaml'}"
    kubectl("apply", rights)
    cluster.operator.start(f"--startup-taint={TAINT}")
    yield
    kubectl("delete", rights)


@asynccontextmanager
async def new_node(cluster: Cluster) -> AsyncIterator[None]:
    """A node that its kubelet registers with two taints, and whose agent says nothing yet."""
    cluster.agents.silent.add(NEW)
    taints = [{"key": TAINT, "effect": "NoExecute"}, {"key": OTHER, "effect": "NoSchedule"}]
    await cluster.kube.create({**a_node(NEW), "spec": {"taints": taints}})
    await cluster.set_node(NEW, READY)
    try:
        yield
    finally:
        await cluster.delete(kinds.NODE, NEW)
        await cluster.until_gone(kinds.NODE_TRUST, NEW)


async def taints(cluster: Cluster) -> set[str]:
    """Those of the new node, without what Kubernetes itself sets."""
    found = {each["key"] for each in (await cluster.get(kinds.NODE, NEW))["spec"].get("taints") or []}
    return {key for key in found if not key.startswith("node.kubernetes.io/")}


async def until_it_may_start(cluster: Cluster) -> None:
    """Wait until the startup taint is gone, and no other one."""

    async def may_start() -> bool:
        assert await taints(cluster) == {OTHER}
        return True

    await cluster.until(may_start, what="the startup taint is gone")


async def test_a_node_starts_once_it_is_proven(cluster: Cluster, opted_in: None) -> None:
    """Not while it has said nothing, nor while its proof fails, nor while its agent is away; its other taints stay."""
    await cluster.ready()
    async with new_node(cluster):
        await cluster.until_condition(Type.READY, "False", "WaitingForNodes")
        assert await taints(cluster) == {TAINT, OTHER}

        cluster.agents.silent.discard(NEW)
        cluster.agents.say(NEW, Reason.CONFIG_PATH_UNSET, "set it")
        await cluster.until_condition(Type.READY, "False", "NodesNotTrusted")
        assert await taints(cluster) == {TAINT, OTHER}

        cluster.agents.set_ready(NEW, ready=False)
        await cluster.until_condition(Type.NODES_TRUSTED, "Unknown", "AgentNotReady")
        async with cluster.writes() as written:
            cluster.agents.agree(NEW)
            cluster.agents.set_ready(NEW, ready=True)
            await until_it_may_start(cluster)
            await cluster.until_ready()
        assert [each for each in written if each.split()[1] == "nodes"] == [f"patch nodes {NEW}"]


async def test_with_nothing_to_trust_a_node_starts_at_once(cluster: Cluster, opted_in: None) -> None:
    """When there is no registry, and when the only one is no longer for nodes; no agent is asked."""
    async with new_node(cluster):
        await until_it_may_start(cluster)
    await cluster.ready()
    async with new_node(cluster):
        await cluster.until_condition(Type.READY, "False", "WaitingForNodes")
        assert await taints(cluster) == {TAINT, OTHER}
        await cluster.change({"nodeTrust": {"enabled": False}})
        await until_it_may_start(cluster)


async def test_a_registry_that_is_down_keeps_no_node_from_starting(cluster: Cluster, opted_in: None) -> None:
    """Its own pod may be waiting for just that node; no other pod could pull from it anyway."""
    await cluster.ready()
    async with new_node(cluster):
        await cluster.until_condition(Type.READY, "False", "WaitingForNodes")
        assert await taints(cluster) == {TAINT, OTHER}
        await cluster.kubelet.crash("team")
        await until_it_may_start(cluster)


async def test_a_taint_that_comes_later_goes_as_well(cluster: Cluster, opted_in: None) -> None:
    """Some provisioners set it when the node has registered: it goes from a node that is proven already."""
    await cluster.ready()
    late = {"spec": {"taints": [{"key": TAINT, "effect": "NoSchedule"}, {"key": OTHER, "effect": "NoSchedule"}]}}
    async with new_node(cluster):
        cluster.agents.agree(NEW)
        await until_it_may_start(cluster)
        await cluster.kube.merge(kinds.NODE, None, NEW, late)
        await until_it_may_start(cluster)


async def test_without_the_option_no_node_is_written_to(cluster: Cluster) -> None:
    """A taint of that key is somebody else's then; the operator has no right to write to a node either."""
    await cluster.ready()
    async with cluster.requests() as made, new_node(cluster):
        cluster.agents.agree(NEW)

        async def counts() -> bool:
            assert (await cluster.registry()).status.nodes.summary == "3/3"
            return True

        await cluster.until(counts, what="the new node trusts it")
        assert await taints(cluster) == {TAINT, OTHER}
    assert [each for user, each in made if user == cluster.operator.user and each.split()[1] == "nodes"] == []
