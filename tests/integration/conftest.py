"""What the integration tests share: one real control plane for all of them, and a client of it for each."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from private_registry.kube.client import Kube
from private_registry.kube.login import Credentials
from tests.cluster.commands import output
from tests.cluster.processes import ControlPlane
from tests.cluster.processes.copied import Original
from tests.integration.agent_node import NodeContainerd, original_agent
from tests.integration.agent_world import World
from tests.rights import record

ROOT = Path(__file__).parents[2]
PARTS = ("crds/nodetrusts", "crds/privateregistries", "manifests/namespaces", "manifests/rbac")
CHECKS_OWNERS = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement"
"""As strict as a cluster can be: to name an owner that is to wait takes a right of its own (manifests/rbac.yaml)."""
SERVICE_CIDR = "127.96.0.0/16,fd00:96::/112"
"""The addresses of the first range are all on loopback: a registry can listen on one without further ado."""


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server with our two kinds of objects."""
    with api_server(tmp_path_factory.mktemp("control-plane")) as running:
        yield running
    record.settle(running.requests())


@contextlib.contextmanager
def api_server(directory: Path) -> Iterator[ControlPlane]:
    """An API server that knows our two kinds of objects and the installation's roles, for whoever is no test."""
    with ControlPlane(directory, service_cidr=SERVICE_CIDR, flags=[CHECKS_OWNERS]) as running:
        kubectl = (running.kubectl, f"--kubeconfig={running.kubeconfig}")
        output(*kubectl, "apply", *(f"--filename={ROOT / part}.yaml" for part in PARTS))
        output(*kubectl, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield running


@pytest_asyncio.fixture
async def kube(control_plane: ControlPlane) -> AsyncIterator[Kube]:
    """A client of the API server that may do everything."""
    async with Kube(credentials(control_plane)) as client:
        yield client


def credentials(control_plane: ControlPlane) -> Credentials:
    return Credentials(control_plane.url, str(control_plane.ca_file), lambda: control_plane.token)


@pytest.fixture(scope="session")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeContainerd]:
    """A node whose containerd reads /etc/containerd/certs.d."""
    with NodeContainerd(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Original]:
    """What the tests' agents are copies of."""
    original = original_agent(tmp_path_factory.mktemp("agents"))
    yield original
    original.close()


@pytest_asyncio.fixture
async def world(
    control_plane: ControlPlane, kube: Kube, shared_node: NodeContainerd, original: Original, tmp_path: Path
) -> AsyncIterator[World]:
    """A cluster with one node, whose directories are empty before and after."""
    world = World(control_plane, kube, shared_node, tmp_path, original=original)
    await world.set_up()
    before = shared_node.hosts.read_bytes()
    try:
        yield world
    finally:
        world.tear_down()
        shutil.rmtree(shared_node.certs_d, ignore_errors=True)
        shared_node.certs_d.mkdir()
        shared_node.hosts.write_bytes(before)
