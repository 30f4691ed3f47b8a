"""What a registry may be called in the name of an image."""

from typing import Any

import pytest

from private_registry.controller.data.usage import names_of
from tests.registries import a_registry

SERVICE: dict[str, Any] = {
    "spec": {"ports": [{"port": 5000, "nodePort": 30500}, {"port": 5002}]},
    "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}, {"hostname": "LB.example.com"}]}},
}


def found(host: str, spec: dict[str, Any] | None = None) -> bool:
    registry = a_registry(spec)
    status = registry.status.model_copy(update={"cluster_ips": ("10.96.0.7", "fd00::7")})
    published = ["team.registries.svc:5000", "registry.example.com", "other.example.com:8443"]
    return names_of(registry.model_copy(update={"status": status}), SERVICE, published, "cluster.local").has(host)


@pytest.mark.parametrize(
    "host",
    [
        "team.registries.svc:5000",
        "team.registries.svc.cluster.local:5000",
        "team.registries:5000",
        "team:5000",
        "10.96.0.7:5000",
        "[fd00::7]:5000",
        "registry.example.com",
        "registry.example.com:443",
        "other.example.com:8443",
        "192.0.2.7:5000",
        "lb.example.com:5000",
        "LB.example.com:5000",
        "any-node:30500",
        "10.0.0.1:30500",
    ],
)
def test_every_name_of_a_registry_is_known(host: str) -> None:
    """What nodes are told, what pods and people may use beside it, with and without the port that is meant anyway."""
    assert found(host)


@pytest.mark.parametrize(
    "host", ["team.registries.svc", "team.other.svc:5000", "other.example.com", "registry.example.com:80", "docker.io"]
)
def test_names_of_others_are_not_known(host: str) -> None:
    """Their images are nobody's business here."""
    assert not found(host)


def test_without_tls_the_port_is_another() -> None:
    """A name without port means 80 then."""
    plain = {"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}}
    assert found("registry.example.com:80", plain)
    assert not found("registry.example.com:443", plain)
