"""The ways out: in order, in the wrong order, and when the operator is gone for good. Each ends installed again."""

import re
from collections.abc import Iterator

import pytest

from tests.cluster import versions
from tests.cluster.kind import Cluster
from tests.e2e import nodes
from tests.e2e.conftest import install
from tests.e2e.place import Place
from tests.kubectl import AGENTS, OPERATOR, Kubectl
from tests.story import ROOT, Story
from tests.waiting import eventually

_NAMES = ("operator", "agents/daemonset", "rbac", "policies", "namespaces")
PARTS = tuple(f"--filename={ROOT / 'manifests' / name}.yaml" for name in _NAMES)


@pytest.fixture(scope="module")
def bare(operator: None, cluster: Cluster, kubectl: Kubectl) -> nodes.Tree:
    """The nodes when they trust no registry at all."""
    kubectl("delete", "privateregistries", "--all", "--all-namespaces", "--timeout=120s")
    return nodes.trees(cluster)


@pytest.fixture
def way_out(bare: nodes.Tree, place: Place) -> Iterator[Place]:
    """A place with an installation that a test may do to what it likes: it is there again afterwards."""
    yield place
    install(place.cluster, place.kubectl)


def test_uninstalling_takes_registries_first_and_leaves_nothing(way_out: Place, bare: nodes.Tree) -> None:
    """`make uninstall` with two registries present: they go, the nodes undo, then the installation goes."""
    for name in ("one", "other"):
        way_out.registry(name)
    said = Story(way_out.kubectl, versions.OPERATOR_IMAGE, namespace=way_out.namespace).uninstall()
    assert "Uninstalled." in said
    assert not nodes.changes(bare, nodes.trees(way_out.cluster))
    left = way_out.kubectl("get", "namespaces,crds,clusterroles,clusterrolebindings", "--output=name")
    assert not re.findall(r".*private-?registry.*", left)


def test_an_installation_that_was_deleted_first_is_applied_again(way_out: Place, bare: nodes.Tree) -> None:
    """Nodes go on pulling without it. The next one takes up both registries, with a new CA, and lets go of them."""
    one, other = way_out.registry("one"), way_out.registry("other")
    trusting = nodes.trees(way_out.cluster)
    way_out.kubectl("delete", *PARTS, within=240)
    for image in way_out.push(one, 2):
        nodes.pull_on_all(way_out.cluster, image)
    assert not nodes.changes(trusting, nodes.trees(way_out.cluster))
    install(way_out.cluster, way_out.kubectl)
    for registry in (one, other):
        registry.wait_ready(nodes=len(way_out.cluster.nodes))
        (image,) = way_out.push(registry, 1)
        nodes.pull_on_all(way_out.cluster, image)
        registry.delete()
    assert not nodes.changes(bare, nodes.trees(way_out.cluster))


def test_definitions_that_were_deleted_with_it_are_applied_again(way_out: Place, bare: nodes.Tree) -> None:
    """Deleting `install.yaml` deletes the registries as objects, which wait for an operator. The next one lets go."""
    for name in ("one", "other"):
        way_out.registry(name)
    _delete_everything(way_out.kubectl)
    install(way_out.cluster, way_out.kubectl)
    _wait_gone(way_out.kubectl, "crd/privateregistries.privateregistry.dev")
    eventually(lambda: nodes.are(way_out.cluster, bare), within=30, what="no node trusts a registry")


def test_nodes_are_cleaned_when_the_operator_is_gone_for_good(way_out: Place, bare: nodes.Tree) -> None:
    """`make cleanup` stands alone: on every node it removes what carries our mark, and nothing else."""
    kubectl = way_out.kubectl
    registry = way_out.registry()
    trusting = nodes.trees(way_out.cluster)
    _delete_everything(kubectl)
    no_finalizer = '--patch={"metadata":{"finalizers":null}}'
    kubectl("patch", "privateregistry", registry.name, registry.at, "--type=merge", no_finalizer)
    _wait_gone(kubectl, "crd/privateregistries.privateregistry.dev")
    assert not nodes.changes(trusting, nodes.trees(way_out.cluster))
    said = Story(kubectl, versions.OPERATOR_IMAGE).make("cleanup", IMAGE=versions.OPERATOR_IMAGE)
    assert "Every node is as it was" in said
    assert not nodes.changes(bare, nodes.trees(way_out.cluster))


def _delete_everything(kubectl: Kubectl) -> None:
    """What `kubectl delete -f manifests/install.yaml` does, until somebody loses patience with it."""
    kubectl("delete", f"--filename={ROOT / 'manifests' / 'install.yaml'}", "--wait=false")
    for namespace in (OPERATOR, AGENTS):
        _wait_gone(kubectl, f"namespace/{namespace}")


def _wait_gone(kubectl: Kubectl, name: str) -> None:
    kubectl("wait", "--for=delete", name, "--timeout=120s")
