"""An installation of the operator in the tests' API server, two nodes, and a cluster around it for each test."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from private_registry.api import names
from private_registry.kube import kinds
from private_registry.kube.client import Kube
from tests.cluster.processes import ControlPlane
from tests.integration.conftest import ROOT, SERVICE_CIDR, credentials
from tests.integration.operator.elsewhere import Elsewhere
from tests.integration.operator.parts.cluster import NODES, READY, Cluster, a_node
from tests.integration.operator.parts.process import ACCOUNT, Operator
from tests.integration.operator.parts.proxy import PODS
from tests.integration.operator.parts.volumes import storage_classes
from tests.kubectl import Kubectl
from tests.waiting import aeventually


@pytest.fixture(scope="package")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    return Kubectl(str(control_plane.kubectl), control_plane.kubeconfig)


@pytest.fixture(scope="package", autouse=True)
def pods_on_loopback() -> Iterator[None]:
    """The pods' addresses on loopback: whoever is in the cluster reaches a pod by its own address."""
    route = ["local", PODS, "dev", "lo"]
    subprocess.run(["ip", "route", "add", *route], check=True)
    yield
    subprocess.run(["ip", "route", "del", *route], check=True)


@pytest.fixture(scope="package")
def installed(control_plane: ControlPlane, kubectl: Kubectl) -> Iterator[None]:
    """The installation but for the operator's Deployment, two ready nodes, and storage classes."""
    for part in ("policies", "agents/daemonset"):
        kubectl("apply", f"--filename={ROOT / 'manifests' / part}.yaml")
    for storage_class in storage_classes():
        kubectl.apply(json.dumps(storage_class))
    for name in NODES:
        kubectl.apply(json.dumps(a_node(name)))
        kubectl("patch", "node", name, "--subresource=status", f"--patch={json.dumps(READY)}")
    yield
    kubectl("delete", "node", *NODES)


@pytest.fixture(scope="package")
def operator(
    control_plane: ControlPlane, kubectl: Kubectl, installed: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    """The operator; it runs once a test needs it."""
    token = kubectl("create", "token", ACCOUNT, f"--namespace={names.OPERATOR_NAMESPACE}").strip()
    with Operator(control_plane, tmp_path_factory.mktemp("operator")) as operator:
        operator.log_in(token)
        yield operator


@pytest.fixture
def ipv6_services() -> Iterator[None]:
    """The Services' IPv6 range on loopback, as the other one is by itself."""
    _, ipv6_range = SERVICE_CIDR.split(",")
    route = ["local", ipv6_range, "dev", "lo"]
    subprocess.run(["ip", "-6", "route", "add", *route], check=True)
    yield
    subprocess.run(["ip", "-6", "route", "del", *route], check=True)


@pytest.fixture
def waits() -> Mapping[str, float]:
    """Constants of the operator that a module's tests have otherwise than the rest."""
    return {}


@pytest_asyncio.fixture
async def cluster(
    control_plane: ControlPlane, operator: Operator, waits: Mapping[str, float], tmp_path: Path
) -> AsyncIterator[Cluster]:
    """A namespace of its own in which registries run, with a running operator."""
    operator.ensure(waits)
    async with Kube(credentials(control_plane)) as kube, Cluster(control_plane, kube, operator, tmp_path) as cluster:
        yield cluster
    await aeventually(_connections_are_closed, within=5, every=0.01, what="every connection is closed")


@pytest_asyncio.fixture
async def elsewhere(cluster: Cluster) -> AsyncIterator[Elsewhere]:
    """Namespaces of the test's own, beside that of its registry."""
    found = Elsewhere(cluster)
    yield found
    await cluster.clear()
    for name in found.made:
        await cluster.kube._call("DELETE", kinds.NAMESPACE.path(None, name))


async def _connections_are_closed() -> bool:
    """Whether what a cancelled watch leaves, a TLS connection that takes its leave, has gone as well."""
    loop: Any = asyncio.get_running_loop()
    return all(transport._sock is None for transport in loop._transports.values())
