"""The URL paths of the API server, and which kind an object is of."""

import pytest

from private_registry.kube import kinds
from private_registry.kube.kinds import Kind


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (kinds.SECRET.path("registries", "team-http"), "/api/v1/namespaces/registries/secrets/team-http"),
        (kinds.CONFIG_MAP.path("registries"), "/api/v1/namespaces/registries/configmaps"),
        (kinds.DEPLOYMENT.path("registries", "team"), "/apis/apps/v1/namespaces/registries/deployments/team"),
        (kinds.DEPLOYMENT.path(), "/apis/apps/v1/deployments"),
        (kinds.NODE.path(None, "worker"), "/api/v1/nodes/worker"),
        # A kind without namespaces has none, whoever asks.
        (kinds.NODE.path("registries", "worker"), "/api/v1/nodes/worker"),
        (
            kinds.NODE_TRUST.path(None, "worker", "status"),
            "/apis/privateregistry.dev/v1alpha1/nodetrusts/worker/status",
        ),
        (
            kinds.PRIVATE_REGISTRY.path("registries", "team", "status"),
            "/apis/privateregistry.dev/v1alpha1/namespaces/registries/privateregistries/team/status",
        ),
    ],
)
def test_paths(path: str, wanted: str) -> None:
    """Core and named groups, collections, objects and subresources."""
    assert path == wanted


ALL = [kind for kind in vars(kinds).values() if isinstance(kind, Kind)]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.kind)
def test_an_object_knows_its_kind(kind: Kind) -> None:
    """By what it says of itself."""
    assert kinds.of({"apiVersion": kind.api_version, "kind": kind.kind}) is kind


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [("v1", "Deployment"), ("extensions/v1beta1", "Deployment"), ("rbac.authorization.k8s.io/v1", "ClusterRole")],
)
def test_a_kind_that_is_none_of_our_business(api_version: str, kind: str) -> None:
    """Neither an unknown one nor one of another group is taken for one that we know."""
    with pytest.raises(KeyError):
        kinds.of({"apiVersion": api_version, "kind": kind})
