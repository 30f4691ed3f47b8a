"""What a registry's conditions say, situation by situation, and that they say it in time."""

from private_registry.api import names
from private_registry.api.conditions import Type
from private_registry.kube import kinds
from private_registry.trust.reasons import Reason
from tests.integration.operator.parts.cluster import READY, SILENT, Cluster, a_node

NOBODY = {"kubernetes.io/hostname": "nobody"}


async def conditions(cluster: Cluster) -> dict[str, str]:
    registry = await cluster.registry()
    return {str(each.type): f"{each.status} {each.reason}" for each in registry.status.conditions}


async def test_a_claim_may_wait_for_its_pod(cluster: Cluster) -> None:
    """A claim that binds when its pod is scheduled is nothing to worry about; a pod that no node can run is."""
    await cluster.create({"scheduling": {"nodeSelector": NOBODY}})
    message = await cluster.until_condition(Type.STALLED, "True", "PodCannotBeScheduled")
    assert message == (
        "no node can run the registry's pod: 0/2 nodes are available: 2 node(s) didn't match Pod's node selector.; "
        "change spec.scheduling, spec.resources or the nodes"
    )
    assert await conditions(cluster) == {
        "Ready": "False PodCannotBeScheduled",
        "Available": "False PodCannotBeScheduled",
        "StorageReady": "Unknown WaitingForPod",
        "NodesTrusted": "Unknown RegistryUnavailable",
        "Stalled": "True PodCannotBeScheduled",
    }
    assert await cluster.kube.get(kinds.CONFIG_MAP, names.AGENTS_NAMESPACE, f"entry.{cluster.namespace}.team") is None

    await cluster.change({"scheduling": {"nodeSelector": None}})
    await cluster.until_ready()


async def test_a_node_that_does_not_trust(cluster: Cluster) -> None:
    """A node that fails its proof makes the registry not ready, though it serves; the node's words are passed on."""
    await cluster.ready()
    before = (await cluster.registry()).status.conditions

    cluster.agents.say("node-b", Reason.CONFIG_PATH_UNSET, "config_path is not set: set it")
    fix = "1/2 nodes trust it; node-b: ConfigPathUnset: config_path is not set: set it"
    message = await cluster.until_condition(Type.READY, "False", "NodesNotTrusted", says=fix)
    assert message == fix
    assert await conditions(cluster) == {
        "Ready": "False NodesNotTrusted",
        "Available": "True Serving",
        "StorageReady": "True Bound",
        "NodesTrusted": "False NodesNotTrusted",
    }
    status = (await cluster.registry()).status
    assert status.message == message
    assert status.nodes.summary == "1/2"
    assert [(each.node, each.reason) for each in status.nodes.problems] == [("node-b", "ConfigPathUnset")]
    assert await cluster.until_event("NotReady") == message

    cluster.agents.agree("node-b")
    after = (await cluster.until_ready()).status.conditions
    times = {each.type: each.last_transition_time for each in before}
    assert {each.type for each in after if each.last_transition_time != times[each.type]} <= {
        Type.READY,
        Type.NODES_TRUSTED,
    }


async def test_a_node_whose_agent_is_away(cluster: Cluster) -> None:
    """What an agent said last counts only while it is ready to say otherwise."""
    await cluster.ready()
    cluster.agents.set_ready("node-a", ready=False)
    fix = (
        "1/2 nodes trust it; node-a: AgentNotReady: its agent is not ready: "
        "kubectl -n private-registry-nodes get pods --field-selector spec.nodeName=node-a"
    )
    await cluster.until_condition(Type.NODES_TRUSTED, "Unknown", "AgentNotReady", says=fix)
    await cluster.until_condition(Type.READY, "False", "AgentNotReady")
    cluster.agents.set_ready("node-a", ready=True)
    await cluster.until_ready()


async def test_a_registry_that_is_down(cluster: Cluster) -> None:
    """Nodes keep their trust in a registry that is down, and nothing is claimed of them meanwhile."""
    entry_hash = (await cluster.ready()).status.entry_hash
    await cluster.kubelet.crash("team")
    why = "the registry ends with exit code 2 each time it is started: panic: the disk is on fire"
    await cluster.until_condition(Type.STALLED, "True", "PodCannotStart", says=why)
    assert await conditions(cluster) == {
        "Ready": "False PodCannotStart",
        "Available": "False PodCannotStart",
        "StorageReady": "True Bound",
        "NodesTrusted": "Unknown RegistryUnavailable",
        "Stalled": "True PodCannotStart",
    }
    await cluster.entry()

    (pod,) = await cluster.pods()
    await cluster.delete(kinds.POD, pod["metadata"]["name"])
    assert (await cluster.until_ready()).status.entry_hash == entry_hash


async def test_nodes_that_are_not_asked_for(cluster: Cluster) -> None:
    """A registry that no node is to trust is ready when it serves; nobody's node is touched."""
    await cluster.ready({"nodeTrust": {"enabled": False}})
    assert (await conditions(cluster))["NodesTrusted"] == "True NodeTrustDisabled"
    assert await cluster.kube.get(kinds.CONFIG_MAP, names.AGENTS_NAMESPACE, f"entry.{cluster.namespace}.team") is None

    await cluster.change({"nodeTrust": {"enabled": True, "nodeSelector": NOBODY}})
    await cluster.until_condition(Type.NODES_TRUSTED, "True", "NoNodesSelected")
    await cluster.until_ready()

    await cluster.change({"nodeTrust": {"nodeSelector": {"kubernetes.io/hostname": "node-b"}}})
    await cluster.until_condition(Type.NODES_TRUSTED, "True", "AllNodesTrust")
    assert (await cluster.until_ready()).status.nodes.summary == "1/1"

    await cluster.change({"nodeTrust": {"enabled": False}})
    await cluster.until_condition(Type.NODES_TRUSTED, "True", "NodeTrustDisabled")
    await cluster.until_gone(kinds.CONFIG_MAP, f"entry.{cluster.namespace}.team", names.AGENTS_NAMESPACE)


async def test_a_new_node_is_given_time(cluster: Cluster) -> None:
    """A node that has just joined makes no ready registry unready; one that has had its time counts."""
    await cluster.ready()
    await cluster.until_measured()
    cluster.agents.silent.add("node-c")
    await cluster.kube.create(a_node("node-c"))
    try:
        async with cluster.writes() as written:
            await cluster.set_node("node-c", READY)
            message = await cluster.until_condition(Type.READY, "False", "WaitingForNodes")
        assert message.startswith("2/3 nodes trust it; node-c: WaitingForNodes: its agent has not answered")
        # It was told once, when the time was up, and not before.
        assert [each for each in written if "status" in each] == [
            f"patch privateregistries/status {cluster.namespace}/team"
        ]
        cluster.agents.agree("node-c")
        assert (await cluster.until_ready()).status.nodes.summary == "3/3"

        await cluster.set_node("node-c", SILENT)

        async def not_counted() -> bool:
            assert (await cluster.registry()).status.nodes.summary == "2/2"
            return True

        await cluster.until(not_counted, what="a node that nobody hears of is not counted")
    finally:
        await cluster.delete(kinds.NODE, "node-c")
    await cluster.until_gone(kinds.NODE_TRUST, "node-c")
    await cluster.until_ready()


async def test_a_node_selector_reaches_the_agent(cluster: Cluster) -> None:
    """An agent cannot read Nodes: the labels that registries select by are copied for it, and follow the node."""
    await cluster.ready({"nodeTrust": {"nodeSelector": {"pool": "build"}}})
    assert (await conditions(cluster))["NodesTrusted"] == "True NoNodesSelected"

    await cluster.kube.merge(kinds.NODE, None, "node-a", {"metadata": {"labels": {"pool": "build"}}})
    try:
        await cluster.until_condition(Type.NODES_TRUSTED, "True", "AllNodesTrust")
        node_trust = await cluster.get(kinds.NODE_TRUST, "node-a")
        assert node_trust["spec"]["nodeLabels"] == {"pool": "build"}
        assert node_trust["metadata"]["ownerReferences"][0]["kind"] == "Node"
    finally:
        await cluster.kube.merge(kinds.NODE, None, "node-a", {"metadata": {"labels": {"pool": None}}})
    await cluster.until_condition(Type.NODES_TRUSTED, "True", "NoNodesSelected")
    assert (await cluster.get(kinds.NODE_TRUST, "node-a"))["spec"]["nodeLabels"] == {}


async def test_a_volume_that_cannot_be_written(cluster: Cluster) -> None:
    """A registry that answers and cannot store anything is not ready, and the condition says what to change."""
    await cluster.create({"storage": {"storageClassName": "roots"}})
    message = await cluster.until_condition(Type.STORAGE_READY, "False", "NotWritable")
    assert message.startswith("the registry cannot write to the claim team-data: POST ")
    assert message.endswith(
        "; its pod runs as user and group 65532: make the volume writable for that group, or use a volume that honours "
        "fsGroup"
    )
    found = await conditions(cluster)
    assert found["Available"] == "True Serving"
    assert found["Ready"] == "False NotWritable"
    assert found["Stalled"] == "True NotWritable"
