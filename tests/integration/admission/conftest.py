"""An API server of each version with the installation in it. It is another one than that of the other tests, which have
no use for a policy, for Pod Security and for workloads that nobody runs.
"""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from private_registry.api import names
from private_registry.kube.client import Kube, Object
from tests.cluster import versions
from tests.cluster.commands import output
from tests.cluster.processes import ControlPlane
from tests.integration.conftest import CHECKS_OWNERS, ROOT, credentials
from tests.rights import record

NAMESPACE = "registries"
ACCOUNTS = (f"system:serviceaccount:{names.OPERATOR_NAMESPACE}:", f"system:serviceaccount:{names.AGENTS_NAMESPACE}:")


def kubectl(cluster: ControlPlane, *arguments: str, given: Object | None = None) -> str:
    """Run kubectl as a person would, in the project's directory, with an object as its file if one is given.

    Raises CommandError with what it said.
    """
    command: list[str | Path] = [cluster.kubectl, f"--kubeconfig={cluster.kubeconfig}", *arguments]
    if given is not None:
        path = cluster.kubeconfig.with_name("given.json")
        path.write_text(json.dumps(given))
        command.append(f"--filename={path}")
    return output(*command, cwd=ROOT)


@pytest.fixture(scope="session", params=[versions.KUBERNETES, versions.OLDEST_KUBERNETES])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server with the installation, as `kubectl apply -k manifests` leaves it, and an empty namespace."""
    directory = tmp_path_factory.mktemp("installed")
    with ControlPlane(directory, version=request.param, flags=[CHECKS_OWNERS]) as running:
        kubectl(running, "apply", "-k", "manifests")
        kubectl(running, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        kubectl(running, "create", "namespace", NAMESPACE)
        kubectl(running, "label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
        yield running
    # Tests speak here in the names of operator and agents: what those need of their rights, it does not tell.
    people = (each for each in running.requests() if not each["user"]["username"].startswith(ACCOUNTS))
    record.settle(people, of=f" of people on {request.param}")


@pytest_asyncio.fixture
async def admin(cluster: ControlPlane) -> AsyncIterator[Kube]:
    """A client that may do everything."""
    async with Kube(credentials(cluster)) as client:
        yield client
