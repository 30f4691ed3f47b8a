"""`make install` and `make uninstall` on a real API server.

There is no kubelet and no agent: the tests say in their place that a pod runs, and what a node trusts.
"""

import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from private_registry.api import names
from private_registry.kube import kinds
from private_registry.kube.client import Kube, Object
from tests.cluster.commands import output
from tests.cluster.processes import ControlPlane
from tests.integration.conftest import ROOT, credentials
from tests.waiting import aeventually

WITHIN = 60
"""Seconds that the scripts wait at most; nothing here takes that long unless it fails."""

READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-24T16:00:00Z"}


class Make:
    """`make TARGET NAME=value...` in the background, with what it prints in a file."""

    def __init__(self, cluster: ControlPlane, target: str, **variables: str) -> None:
        settings = {"KUBECONFIG": str(cluster.kubeconfig), "TIMEOUT": str(WITHIN)}
        assignments = [f"{name}={value}" for name, value in {**settings, **variables}.items()]
        self._output = cluster.kubeconfig.with_name(f"{target}.log")
        with self._output.open("wb") as log:
            self._process = subprocess.Popen(
                ["make", "-f", "manifests/manifests.mk", target, *assignments],
                cwd=ROOT,
                # The kubectl that is found when nothing names one.
                env={**os.environ, "PATH": f"{cluster.kubectl.parent}:{os.environ['PATH']}"},
                stdout=log,
                stderr=log,
            )

    @property
    def said(self) -> str:
        return self._output.read_text()

    async def says(self, text: str) -> None:
        """Wait until it has printed this."""

        async def printed() -> bool:
            ended = self._process.poll() is not None
            if ended and text not in self.said:
                pytest.fail(self.said)
            return text in self.said

        await aeventually(printed, within=WITHIN, what=f"make says {text!r}")

    def ended(self) -> int:
        """Wait for the end, and return the exit status."""
        return self._process.wait(timeout=3 * WITHIN)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ControlPlane]:
    """An API server with nothing in it."""
    with ControlPlane(tmp_path) as running:
        yield running


@pytest_asyncio.fixture
async def admin(cluster: ControlPlane) -> AsyncIterator[Kube]:
    async with Kube(credentials(cluster)) as client:
        yield client


def changed_files() -> str:
    """What git has to say about what is installed from."""
    return output("git", "status", "--porcelain", "--", "manifests", "crds", cwd=ROOT)


def of_ours(kind: str, name: str, namespace: str = "", **more: object) -> Object:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, **more}


async def pretend_that_pods_run(admin: Kube, namespace: str) -> None:
    """Report every pod of a namespace as ready, once there is one."""

    async def reported() -> bool:
        pods = (await admin.list(kinds.POD, namespace)).items
        for pod in pods:
            status = {"status": {"phase": "Running", "conditions": [READY]}}
            await admin.merge(kinds.POD, namespace, pod["metadata"]["name"], status, subresource="status")
        return bool(pods)

    await aeventually(reported, within=WITHIN, what=f"there are pods in {namespace}")


async def install(cluster: ControlPlane, admin: Kube, **variables: str) -> Make:
    """Install, with one node that never runs anything: its agent is not waited for."""
    make = Make(cluster, "install", **variables)
    await make.says("private-registry-operator created")
    await pretend_that_pods_run(admin, names.OPERATOR_NAMESPACE)
    assert make.ended() == 0, make.said
    return make


def overlays_of(image: str) -> list[Path]:
    """What an installation of this image left behind; others may be under way in the same directory."""
    found = []
    for overlay in ROOT.glob(".*.*/kustomization.yaml"):
        with contextlib.suppress(FileNotFoundError):
            found += [overlay] if image in overlay.read_text() else []
    return found


async def test_install_takes_the_images_that_it_is_given(cluster: ControlPlane, admin: Kube) -> None:
    """`make install IMAGE=... REGISTRY_IMAGE=...` runs those, waits until they do, and changes no file."""
    before = changed_files()
    image = f"registry.example.com:5000/operator:1.2.3@sha256:{'0' * 64}"
    make = await install(cluster, admin, IMAGE=image, REGISTRY_IMAGE="registry.example.com/registry:3.1.1")
    assert "Installed" in make.said
    operator = await admin.get(kinds.DEPLOYMENT, names.OPERATOR_NAMESPACE, "private-registry-operator")
    agents = await admin.get(kinds.DAEMON_SET, names.AGENTS_NAMESPACE, "private-registry-agent")
    assert operator is not None
    assert agents is not None
    [container] = operator["spec"]["template"]["spec"]["containers"]
    assert container["image"] == image
    assert container["args"] == ["operator", "--registry-image=registry.example.com/registry:3.1.1"]
    assert agents["spec"]["template"]["spec"]["containers"][0]["image"] == image
    assert changed_files() == before
    assert not overlays_of(image)


def test_install_says_what_is_missing(cluster: ControlPlane) -> None:
    """Without IMAGE nothing is installed, and the message says what to give."""
    make = Make(cluster, "install")
    assert make.ended() != 0
    assert "IMAGE=registry.example.com/private-registry-operator:0.1.0" in make.said


def test_install_refuses_an_old_cluster(cluster: ControlPlane, tmp_path: Path) -> None:
    """Before it writes anything, it looks at the version of the API server."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("""#!/bin/sh\necho '{"major": "1", "minor": "29+"}'\n""")
    kubectl.chmod(0o755)
    make = Make(cluster, "install", IMAGE="operator", KUBECTL=str(kubectl))
    assert make.ended() != 0
    assert "This cluster runs Kubernetes 1.29; the operator needs 1.30 or newer" in make.said


async def test_install_says_what_keeps_it_from_running(cluster: ControlPlane, admin: Kube) -> None:
    """When the operator does not come up in time, its pods are shown, and the exit status is not 0."""
    make = Make(cluster, "install", IMAGE="operator", TIMEOUT="1")
    assert make.ended() != 0
    assert "deployment/private-registry-operator does not run yet" in make.said
    assert "Pending" in make.said


async def test_uninstall_waits_for_registries_and_nodes(cluster: ControlPlane, admin: Kube) -> None:
    """Nothing of the installation goes before the operator has let go of every registry, and every node that can has
    undone its trust; then everything goes, and volumes stay.
    """
    await install(cluster, admin, IMAGE="operator")
    team = of_ours("PrivateRegistry", "team", "default")
    team["metadata"]["finalizers"] = [names.FINALIZER]
    await admin.create(team)
    claim_spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    kept = {"name": "team-data", "namespace": "default", "labels": names.labels("team", "1")}
    await admin.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": kept, "spec": claim_spec})
    trusting = {"registry": "default/team", "entryHash": "0", "trusted": True, "reason": "Trusted"}
    for node, ready in (("up", "True"), ("down", "Unknown")):
        await admin.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
        conditions = {"status": {"conditions": [{**READY, "status": ready}]}}
        await admin.merge(kinds.NODE, None, node, conditions, subresource="status")
        await admin.create(of_ours("NodeTrust", node))
        await admin.merge(kinds.NODE_TRUST, None, node, {"status": {"registries": [trusting]}}, subresource="status")

    make = Make(cluster, "uninstall")
    await make.says("[1/4]")

    async def deleting() -> bool:
        live = await admin.get(kinds.PRIVATE_REGISTRY, "default", "team")
        return live is not None and "deletionTimestamp" in live["metadata"]

    await aeventually(deleting, within=WITHIN, what="the registry is being deleted")
    assert "[2/4]" not in make.said
    await admin.merge(kinds.PRIVATE_REGISTRY, "default", "team", {"metadata": {"finalizers": []}})
    await make.says("[2/4]")
    assert "[3/4]" not in make.said
    await admin.merge(kinds.NODE_TRUST, None, "up", {"status": {"registries": []}}, subresource="status")
    assert make.ended() == 0, make.said
    assert "These nodes are not Ready and keep what they have; should they come back, manifests/cleanup" in make.said
    assert "cleans them: down" in make.said
    assert "team-data" in make.said
    assert await admin.get(kinds.CLAIM, "default", "team-data") is not None
    kinds_of_cluster = "namespaces,clusterroles,clusterrolebindings,validatingadmissionpolicies,crds"
    ours = f"--selector={names.PART_OF}={names.MANAGER}"
    kubectl = (cluster.kubectl, f"--kubeconfig={cluster.kubeconfig}")
    assert output(*kubectl, "get", "--output=name", kinds_of_cluster, ours) == ""


async def test_uninstall_stops_where_a_node_does_not_follow(cluster: ControlPlane, admin: Kube) -> None:
    """A node that is up and still trusts a registry is named, and the operator that could help is left in place."""
    await install(cluster, admin, IMAGE="operator")
    trusting = {"registry": "default/team", "entryHash": "0", "trusted": True, "reason": "Trusted"}
    await admin.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "up"}})
    await admin.merge(kinds.NODE, None, "up", {"status": {"conditions": [READY]}}, subresource="status")
    await admin.create(of_ours("NodeTrust", "up"))
    await admin.merge(kinds.NODE_TRUST, None, "up", {"status": {"registries": [trusting]}}, subresource="status")
    make = Make(cluster, "uninstall", TIMEOUT="1")
    assert make.ended() != 0
    assert "these nodes still trust a registry, and nothing else was deleted: up" in make.said
    assert await admin.get(kinds.DEPLOYMENT, names.OPERATOR_NAMESPACE, "private-registry-operator") is not None


async def test_uninstall_stops_where_nobody_lets_go_of_a_registry(cluster: ControlPlane, admin: Kube) -> None:
    """Without a running operator a registry stays, and the message says why."""
    await install(cluster, admin, IMAGE="operator")
    team = of_ours("PrivateRegistry", "team", "default")
    team["metadata"]["finalizers"] = [names.FINALIZER]
    await admin.create(team)
    make = Make(cluster, "uninstall", TIMEOUT="1")
    assert make.ended() != 0
    assert "Nothing else was deleted: the operator has to run to let go of them" in make.said
    assert await admin.get(kinds.NAMESPACE, None, names.AGENTS_NAMESPACE) is not None


def test_uninstall_of_nothing_is_no_error(cluster: ControlPlane) -> None:
    """It can be run again, and on a cluster that never had it."""
    make = Make(cluster, "uninstall")
    assert make.ended() == 0, make.said


async def test_cleanup_is_refused_while_there_are_agents(cluster: ControlPlane, admin: Kube) -> None:
    """Agents that run would write again what was cleaned up."""
    await install(cluster, admin, IMAGE="operator")
    make = Make(cluster, "cleanup", IMAGE="operator")
    assert make.ended() != 0
    assert "The agents are still installed, and would write everything anew: make uninstall." in make.said


async def test_cleanup_leaves_nothing_behind(cluster: ControlPlane, admin: Kube) -> None:
    """On a cluster without operator it runs on every node, by the image that it is given, and goes again."""
    make = Make(cluster, "cleanup", IMAGE="operator:1.2.3")
    assert make.ended() == 0, make.said
    assert "Every node is as it was before there were registries." in make.said
    assert (await admin.list(kinds.DAEMON_SET)).items == []
    assert not overlays_of("operator:1.2.3")
