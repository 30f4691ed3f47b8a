"""What the end-to-end tests share: the kind cluster with this checkout's operator in it, and a clean end."""

import fcntl
import re
from collections.abc import Generator, Iterator

import pytest

from tests.cluster import versions
from tests.cluster.kind import Cluster
from tests.e2e import diagnostics, nodes
from tests.e2e.place import PREFIX, Place, agents_are_ready
from tests.kubectl import Kubectl
from tests.live_registry import LiveRegistry
from tests.rights import record
from tests.story import Story
from tests.waiting import eventually


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster of `make cluster`, with every node turned on and open to pods, and for one run at a time."""
    cluster = Cluster()
    if not cluster.kubeconfig.exists() or not cluster.nodes:
        pytest.exit("there is no cluster to test on: make it with `make cluster`", returncode=1)
    with (cluster.cache / "e2e.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for node in cluster.nodes:  # an interrupted run may have turned one off; to one that is on this does nothing
            cluster.start_node(node)
        eventually(cluster.healthy, within=120, every=1, what="every node is ready")
        for node in cluster.nodes:
            cluster.kubectl("uncordon", node)
        began = cluster.audit_size()
        yield cluster
        record.settle(cluster.audit(began))


@pytest.fixture(scope="session")
def kubectl(cluster: Cluster) -> Kubectl:
    return Kubectl(str(cluster.kubectl_program()), cluster.kubeconfig)


@pytest.fixture(scope="session")
def operator(cluster: Cluster, kubectl: Kubectl) -> Iterator[None]:
    """The operator and its agents, of this checkout's image. At the end every node has to be as it was before."""
    install(cluster, kubectl)
    _delete_leftovers(kubectl)
    before = nodes.trees(cluster)
    yield
    _delete_leftovers(kubectl)
    assert not nodes.changes(before, nodes.trees(cluster)), "the tests leave the nodes changed"


def install(cluster: Cluster, kubectl: Kubectl) -> None:
    """What `make install` does, and everything that runs is of the image as it is loaded now."""
    Story(kubectl, versions.OPERATOR_IMAGE).install()
    agents_are_ready(kubectl, cluster.nodes)


def _delete_leftovers(kubectl: Kubectl) -> None:
    """Delete all registries, and the namespaces of these tests: Kubernetes takes its time over one that has pods."""
    kubectl("delete", "privateregistries", "--all", "--all-namespaces", "--timeout=120s")
    names = [each["metadata"]["name"] for each in kubectl.items("namespaces")]
    leftovers = [name for name in names if name.startswith(PREFIX)]
    if leftovers:
        kubectl("delete", "namespaces", *leftovers, "--ignore-not-found", "--timeout=180s", within=200)


@pytest.fixture
def place(operator: None, cluster: Cluster, kubectl: Kubectl, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A namespace of the test's own, which is on its way out when the test is over."""
    name = PREFIX + re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_")).strip("-")[:40].rstrip("-")
    yield Place(cluster, kubectl, name)
    kubectl("delete", "privateregistries", "--all", f"--namespace={name}", "--timeout=120s")
    kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")


@pytest.fixture(scope="session")
def shared(operator: None, cluster: Cluster, kubectl: Kubectl) -> Place:
    """A namespace for what several tests look at and none of them changes for good."""
    return Place(cluster, kubectl, f"{PREFIX}shared")


@pytest.fixture(scope="session")
def team(shared: Place) -> LiveRegistry:
    """A registry that every node trusts, with `busybox:v1` and a few tiny images in it."""
    registry = shared.registry()
    registry.push(versions.BUSYBOX_IMAGE, "busybox:v1")
    return registry


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test tells how the cluster was at that moment."""
    report = yield
    funcargs = getattr(item, "funcargs", {})
    place = funcargs.get("place") or funcargs.get("shared")
    if report.failed and isinstance(place, Place):
        report.sections += list(diagnostics.sections(place.kubectl, place.namespace))
    elif report.failed and (kubectl := funcargs.get("kubectl")):
        report.sections += list(diagnostics.sections(kubectl, "registries"))
    return report
