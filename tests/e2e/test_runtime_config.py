"""Nodes whose containerd reads no directory for registries, and an administrator who lets the agents see to it.

They are a cluster of their own, which is also the one where neither pods nor Services have an IPv4 address, and where
nodes are closed to pods until they trust their registries.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from private_registry.api import names
from tests.cluster import images, versions
from tests.cluster.kind import Cluster
from tests.cluster.processes.process import program
from tests.e2e import nodes
from tests.e2e.conftest import install
from tests.e2e.place import Place, agents_are_ready
from tests.kubectl import Kubectl
from tests.story import Story
from tests.waiting import eventually

READS_NOTHING = "v2.1.9"
"""The last minor version of containerd that has no directory built in."""
DOCKERFILE = """\
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
COPY containerd /usr/local/bin/
RUN sed -i '/registry\\]/d; /config_path/d' /etc/containerd/config.toml
"""
STARTING = "privateregistry.dev/starting"
TURNS = "--output=jsonpath={.metadata.name} {.spec.restartTurn}{'\\n'}"
LABEL = f"{names.RUNTIME_CONFIG}={names.MANAGE}"


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A cluster of two nodes with the operator on it, which is there for one test."""
    monkeypatch.setenv("STARTUP_TAINT", "yes")
    cluster = Cluster()
    log = cluster.cache / "logs" / "bare.log"
    older = program(f"containerd-{READS_NOTHING}", "containerd")
    image = images.Image("private-registry-bare:1", DOCKERFILE, {"containerd": older}, base=cluster.image())
    images.ensure(image, cluster.cache, log)
    bare = Cluster(versions.BARE_CLUSTER, cluster.cache)
    bare.delete(log)
    try:
        bare.create(image.name, log, workers=1, patches=(), family="ipv6")
        for name in (versions.REGISTRY_IMAGE, versions.OPERATOR_IMAGE):
            bare.load_image(name, log)
        kubectl = Kubectl(str(bare.kubectl_program()), bare.kubeconfig)
        install(bare, kubectl)
        yield Place(bare, kubectl, "registries")
    finally:
        bare.delete(log)


@contextmanager
def undone(place: Place) -> Iterator[None]:
    """At the end no node is opted in."""
    try:
        yield
    finally:
        place.kubectl("label", "nodes", "--all", f"{names.RUNTIME_CONFIG}-")
        agents_are_ready(place.kubectl, place.cluster.nodes)
        eventually(lambda: not _opt_ins(place), within=60, what="no node is opted in any more")


def test_nodes_that_were_opted_in_are_configured_one_after_the_other(place: Place, tmp_path: Path) -> None:
    """The message has the line that does it. Each containerd is restarted once, in turn; containers go on running, and
    without the label every node is as it was, to the byte.
    """
    kubectl, cluster = place.kubectl, place.cluster
    control_plane, worker = cluster.nodes
    registry = place.ask_for()
    sleepers = [_sleeper(place, node) for node in cluster.nodes]
    for node in cluster.nodes:
        eventually(
            lambda node=node: f"kubectl label node {node} {LABEL}" in _message(place, node),  # type: ignore[misc]
            within=60,
            what=f"{node} says what cures it",
        )
        eventually(
            lambda node=node: not nodes.has(cluster, node, nodes.CERTS_D),  # type: ignore[misc]
            within=30,
            what=f"{node} has no files that nobody reads",
        )
    kubectl("taint", "node", worker, f"{STARTING}:NoSchedule")
    before = nodes.trees(cluster)
    running = {name: _container(place, name) for name in sleepers}
    since = {node: _started(cluster, node) for node in cluster.nodes}
    states = tmp_path / "states"
    with kubectl.watching(states, "nodetrusts", TURNS), undone(place):
        eventually(states.read_text, within=30, what="the watch has begun")
        assert _is_closed(place, worker)
        kubectl("label", "node", *cluster.nodes, LABEL)
        for node in cluster.nodes:
            eventually(lambda node=node: _is_managed(place, node), within=90, what=f"{node} is configured")  # type: ignore[misc]
        turns = eventually(lambda: _turns(states, cluster.nodes), within=30, what="every node has had its turn")
        assert sorted(map(sorted, filter(None, turns))) == [[control_plane], [worker]]
        registry.wait_ready(nodes=len(cluster.nodes))
        eventually(lambda: not _is_closed(place, worker), within=30, what=f"{worker} is open to pods")
        (image,) = place.push(registry, 1)
        address = kubectl.get("service", registry.name, registry.at)["spec"]["clusterIP"]
        assert ":" in address
        for name in (image, image.replace(registry.host, f"[{address}]:5000")):
            nodes.pull_on_all(cluster, name)
        assert {name: _container(place, name) for name in sleepers} == running
        assert all(_started(cluster, node) != since[node] for node in cluster.nodes)

        restarted = {node: _started(cluster, node) for node in cluster.nodes}
        kubectl("label", "node", *cluster.nodes, f"{names.RUNTIME_CONFIG}-")
        eventually(lambda: nodes.are(cluster, before), within=60, every=0.5, what="the nodes are as they were before")
        assert {node: _started(cluster, node) for node in cluster.nodes} == restarted

    Story(kubectl, versions.OPERATOR_IMAGE, namespace=place.namespace).uninstall()
    assert "private-registry" not in kubectl("get", "clusterroles,clusterrolebindings,namespaces", "--output=name")


def _opt_ins(place: Place) -> list[str]:
    """The nodes that have something to say of their opt-in."""
    found = place.kubectl.items("nodetrusts")
    return [each["metadata"]["name"] for each in found if each.get("status", {}).get("runtimeConfig")]


def _is_managed(place: Place, node: str) -> bool:
    config = place.kubectl.get("nodetrust", node).get("status", {}).get("runtimeConfig", {})
    assert config.get("state") == "Managed", config
    return True


def _is_closed(place: Place, node: str) -> bool:
    taints = place.kubectl.get("node", node)["spec"].get("taints") or []
    return STARTING in [each["key"] for each in taints]


def _turns(states: Path, nodes: Sequence[str]) -> list[set[str]]:
    """Which nodes had the turn at the same time, one state after the other. Each of these must have had one."""
    having, turns = set[str](), [set[str]()]
    for line in states.read_text().splitlines():
        node, _, turn = line.partition(" ")
        having = having | {node} if turn else having - {node}
        if having != turns[-1]:
            turns.append(having)
    assert (had := set[str]().union(*turns)) == set(nodes), had
    return turns


def _message(place: Place, node: str) -> str:
    return str(place.kubectl.get("nodetrust", node).get("status", {}).get("message", ""))


def _started(cluster: Cluster, node: str) -> str:
    """When the containerd of a node was started last."""
    return cluster.exec_on_node(node, "systemctl", "show", "--property=ExecMainStartTimestampMonotonic", "containerd")


def _sleeper(place: Place, node: str) -> str:
    """A pod that runs on a node until its namespace goes."""
    name = f"sleeper-{node}"
    place.kubectl(
        "run", name, f"--namespace={place.namespace}", f"--image={versions.OPERATOR_IMAGE}",
        f'--overrides={{"spec": {{"nodeName": "{node}", "terminationGracePeriodSeconds": 0}}}}',
        "--command", "--", "sleep", "infinity",
    )  # fmt: skip
    place.kubectl("wait", f"pod/{name}", f"--namespace={place.namespace}", "--for=condition=Ready", "--timeout=60s")
    return name


def _container(place: Place, name: str) -> dict[str, Any]:
    """The run of a pod's container: another one after a restart."""
    (status,) = place.kubectl.get("pod", name, f"--namespace={place.namespace}")["status"]["containerStatuses"]
    return {key: status[key] for key in ("containerID", "restartCount", "state")}
