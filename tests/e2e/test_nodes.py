"""What happens to nodes: they lose files, agents and power, are drained, get and lose labels."""

import time

import pytest

from tests.cluster.kind import Cluster
from tests.e2e import nodes
from tests.e2e.place import Place, agents_are_ready
from tests.kubectl import AGENTS, OPERATOR
from tests.live_registry import LiveRegistry
from tests.waiting import eventually

REPAIRED_WITHIN = 5.0


def test_wiped_files_are_back_within_five_seconds(team: LiveRegistry, cluster: Cluster) -> None:
    """Whoever empties certs.d on a node finds it as it was before he can wonder."""
    before = nodes.trees(cluster)
    for node in cluster.nodes:
        wiped = time.monotonic()
        # Twice, where the agent puts something back in the middle of the first.
        cluster.exec_on_node(node, "sh", "-c", f"rm -r {nodes.CERTS_D} || rm -r {nodes.CERTS_D}")
        eventually(
            lambda: nodes.are(cluster, before),
            within=REPAIRED_WITHIN,
            what=f"{node} is as it was before",
        )
        assert time.monotonic() - wiped < REPAIRED_WITHIN
    team.wait_ready(nodes=len(cluster.nodes))


def test_an_agent_that_is_deleted_leaves_everything_as_it_is(team: LiveRegistry, shared: Place) -> None:
    """The next agent finds the files, proves them, and touches nothing."""
    before = nodes.trees(shared.cluster)
    agents = shared.kubectl.agents()
    shared.kubectl("delete", "pods", *agents.values(), f"--namespace={AGENTS}")
    assert not nodes.changes(before, nodes.trees(shared.cluster))
    agents_are_ready(shared.kubectl, shared.cluster.nodes)
    team.wait_ready(nodes=len(shared.cluster.nodes))
    assert not nodes.changes(before, nodes.trees(shared.cluster))


def test_only_nodes_with_the_label_trust_a_registry_that_asks_for_one(place: Place) -> None:
    """Nodes follow their labels: the files come with the label, go with it, and are on no other node."""
    _, first, second = place.cluster.nodes
    label = f"example.com/{place.namespace}"
    kubectl, cluster = place.kubectl, place.cluster
    kubectl("label", "node", first, f"{label}=blue")
    try:
        registry = place.ask_for(spec={"nodeTrust": {"nodeSelector": {label: "blue"}}})
        registry.wait_ready(nodes=1)
        directory = f"{nodes.CERTS_D}/{registry.host}"
        assert [node for node in cluster.nodes if nodes.has(cluster, node, directory)] == [first]
        (image,) = place.push(registry, 1)
        nodes.pull(cluster, first, image)
        with pytest.raises(nodes.PullError, match="no such host"):
            nodes.pull(cluster, second, image)

        kubectl("label", "node", second, f"{label}=blue")
        registry.wait_ready(nodes=2)
        nodes.pull(cluster, second, image)

        kubectl("label", "node", first, f"{label}-")
        registry.wait_ready(nodes=1)
        eventually(lambda: not nodes.has(cluster, first, directory), within=10, what=f"{first} trusts it no longer")
    finally:
        kubectl("label", "node", first, second, f"{label}-")


def test_a_drained_node_goes_on_trusting_and_pulling(team: LiveRegistry, shared: Place) -> None:
    """Agents stay on a node that is drained, so it counts and pulls as before."""
    (serves_on,) = {pod["spec"]["nodeName"] for pod in team.pods()}
    drained = next(node for node in shared.cluster.nodes[1:] if node != serves_on)
    (image,) = shared.push(team, 1, repository="drained")
    _drain(shared, drained)
    try:
        nodes.pull(shared.cluster, drained, image)
        team.wait_ready(nodes=len(shared.cluster.nodes))
    finally:
        shared.kubectl("uncordon", drained)


def test_a_registry_whose_node_is_drained_comes_back_with_its_images(place: Place) -> None:
    """Its volume is a directory of that node, so it waits there, says so, and keeps trust and images."""
    registry = place.registry()
    (image,) = place.push(registry, 1)
    trusting = nodes.trees(place.cluster)
    (serves_on,) = {pod["spec"]["nodeName"] for pod in registry.pods()}
    _drain(place, serves_on)
    try:
        eventually(
            lambda: registry.conditions()["Available"]["status"] == "False", within=60, what="it is not available"
        )
        told = registry.conditions()["NodesTrusted"]
        assert (told["status"], told["reason"]) == ("Unknown", "RegistryUnavailable")
        assert not nodes.changes(trusting, nodes.trees(place.cluster))
    finally:
        place.kubectl("uncordon", serves_on)
    registry.wait_ready(nodes=len(place.cluster.nodes))

    def pulled() -> bool:
        nodes.pull_on_all(place.cluster, image)
        return True

    # That it serves again was seen from the operator's node. Each node's kube-proxy hears of it for itself.
    eventually(pulled, within=10, what="every node pulls again")


def test_a_node_that_was_off_catches_up_with_what_it_missed(place: Place) -> None:
    """A node loses power. One registry is deleted meanwhile, which it holds up for a minute at most. When it is back,
    it trusts what there is, and nothing is left of what is gone.
    """
    kubectl, cluster = place.kubectl, place.cluster
    (operator,) = kubectl.items("pods", f"--namespace={OPERATOR}")
    stays_on = operator["spec"]["nodeName"]
    lost = next(node for node in cluster.nodes[1:] if node != stays_on)
    elsewhere = {"scheduling": {"nodeSelector": {"kubernetes.io/hostname": stays_on}}}
    stays = place.registry("stays", elsewhere)
    trusting_one = nodes.trees(cluster)
    goes = place.registry("goes", elsewhere)
    cluster.stop_node(lost)
    try:
        goes.delete(within=150)
        left_behind = kubectl.items("events", goes.at, "--field-selector=reason=NodesLeftBehind")
        assert lost in left_behind[0]["message"], left_behind
        stays.wait_ready(nodes=len(cluster.nodes) - 1)
    finally:
        cluster.start_node(lost)
    eventually(cluster.healthy, within=120, every=1, what=f"{lost} is back")
    (image,) = place.push(stays, 1)
    stays.wait_ready(nodes=len(cluster.nodes))
    nodes.pull_on_all(cluster, image)
    eventually(
        lambda: nodes.are(cluster, trusting_one),
        within=30,
        every=0.5,
        what="no node has anything of the registry that is gone",
    )
    told = kubectl.get("nodetrust", lost)["status"]["registries"]
    assert goes.key not in {row["registry"] for row in told}


def _drain(place: Place, node: str) -> None:
    command = ("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=120s")
    place.kubectl(*command)
