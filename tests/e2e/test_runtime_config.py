"""Nodes whose containerd reads no directory for registries, and an administrator who lets the agents see to it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from private_registry.api import names
from tests.cluster import versions
from tests.cluster.commands import output
from tests.cluster.kind import Cluster
from tests.cluster.processes.process import program
from tests.e2e import nodes
from tests.e2e.place import Place, agents_are_ready
from tests.waiting import eventually

READS_NOTHING = "v2.1.9"
"""The last minor version that has no directory built in."""
PROGRAM, CONFIG = "/usr/local/bin/containerd", "/etc/containerd/config.toml"
WITHOUT = f"sed -i '/registry\\]/d; /config_path/d' {CONFIG}"
TURNS = "--output=jsonpath={.metadata.name} {.spec.restartTurn}{'\\n'}"
LABEL = f"{names.RUNTIME_CONFIG}={names.MANAGE}"


@contextmanager
def reading_nothing(cluster: Cluster, changed: Sequence[str]) -> Iterator[None]:
    """Nodes with an older containerd, in whose configuration nobody has set `config_path`."""
    older = program(f"containerd-{READS_NOTHING}", "containerd")
    try:
        for node in changed:
            cluster.exec_on_node(node, "cp", "--preserve=all", CONFIG, "/root/config.toml")
            cluster.exec_on_node(node, "cp", "--preserve=all", PROGRAM, "/root/containerd")
            output("docker", "cp", older, f"{node}:{PROGRAM}.new")
            cluster.exec_on_node(node, "sh", "-c", f"{WITHOUT} && mv {PROGRAM}.new {PROGRAM}")
            cluster.exec_on_node(node, "systemctl", "restart", "containerd")
        yield
    finally:
        for node in changed:
            cluster.exec_on_node(node, "mv", "/root/containerd", PROGRAM)
            cluster.exec_on_node(node, "mv", "/root/config.toml", CONFIG)
            cluster.exec_on_node(node, "systemctl", "restart", "containerd")
        eventually(cluster.healthy, within=120, every=1, what="every node is ready")


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
    workers = cluster.nodes[1:]
    with reading_nothing(cluster, workers):
        registry = place.ask_for()
        sleepers = [_sleeper(place, node) for node in workers]
        for node in workers:
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
        before = {node: tree for node, tree in nodes.trees(cluster).items() if node in workers}
        running = {name: _container(place, name) for name in sleepers}
        since = {node: _started(cluster, node) for node in workers}
        states = tmp_path / "states"
        with kubectl.watching(states, "nodetrusts", TURNS), undone(place):
            eventually(states.read_text, within=30, what="the watch has begun")
            kubectl("label", "node", *workers, LABEL)
            for node in workers:
                eventually(lambda node=node: _is_managed(place, node), within=90, what=f"{node} is configured")  # type: ignore[misc]
            turns = eventually(lambda: _turns(states, workers), within=30, what="every node has had its turn")
            assert all(len(turn) <= 1 for turn in turns), turns
            registry.wait_ready(nodes=len(cluster.nodes))
            (image,) = place.push(registry, 1)
            nodes.pull_on_all(cluster, image)
            assert {name: _container(place, name) for name in sleepers} == running
            assert all(_started(cluster, node) != since[node] for node in workers)

            restarted = {node: _started(cluster, node) for node in workers}
            kubectl("label", "node", *workers, f"{names.RUNTIME_CONFIG}-")

            def as_before() -> bool:
                assert not (changed := nodes.changes(before, nodes.trees(cluster))), changed
                return True

            eventually(as_before, within=60, every=0.5, what="the nodes are as they were before")
            assert {node: _started(cluster, node) for node in workers} == restarted


def _opt_ins(place: Place) -> list[str]:
    """The nodes that have something to say of their opt-in."""
    found = place.kubectl.items("nodetrusts")
    return [each["metadata"]["name"] for each in found if each.get("status", {}).get("runtimeConfig")]


def _is_managed(place: Place, node: str) -> bool:
    config = place.kubectl.get("nodetrust", node).get("status", {}).get("runtimeConfig", {})
    assert config.get("state") == "Managed", config
    return True


def _turns(states: Path, nodes: Sequence[str]) -> list[set[str]]:
    """Which nodes had the turn, state after state; nothing as long as one of these had none."""
    having, turns = set[str](), list[set[str]]()
    for line in states.read_text().splitlines():
        node, _, turn = line.partition(" ")
        having = having | {node} if turn else having - {node}
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
