"""Registries with another TLS mode than the usual one."""

import json

from tests.certificates import a_certificate
from tests.cluster import versions
from tests.cluster.kind import Cluster
from tests.e2e import nodes
from tests.e2e.place import Place
from tests.kubectl import AGENTS
from tests.live_registry import LiveRegistry

WRONG_SCHEME = "server gave HTTP response to HTTPS client"


def test_plain_http_works_on_every_node(place: Place) -> None:
    """The procedure's own way: no certificate anywhere, and no node ever meets HTTP where it expected HTTPS."""
    registry = place.registry(spec={"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}})
    registry.push(versions.BUSYBOX_IMAGE, "busybox:v1")
    (image,) = place.push(registry, 1)
    nodes.pull_on_all(place.cluster, image)
    assert registry.run("busybox:v1", place.cluster.nodes) == [f"hello from {node}" for node in place.cluster.nodes]
    kubectl = place.kubectl
    agents = kubectl("logs", f"--namespace={AGENTS}", "--selector=app.kubernetes.io/component=agent", "--tail=-1")
    events = kubectl("get", "events", registry.at, "--output=json")
    trust = kubectl("get", "nodetrusts,privateregistries", "--all-namespaces", "--output=json")
    assert WRONG_SCHEME not in agents + events + trust


def test_a_certificate_that_names_no_address_is_trusted_by_its_name(place: Place) -> None:
    """Nodes reach the registry by the name in the certificate, through a line in /etc/hosts that goes with it."""
    before = nodes.trees(place.cluster)
    registry = LiveRegistry(place.kubectl, place.namespace)
    certificate = a_certificate([f"{registry.name}.{registry.namespace}.svc"])
    files = {"tls.crt": certificate.cert_pem, "tls.key": certificate.key_pem, "ca.crt": certificate.ca_pem}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place.namespace}}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "brought", "namespace": place.namespace},
        "type": "kubernetes.io/tls",
        "stringData": files,
    }
    place.kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": [namespace, secret]}))
    place.registry(spec={"tls": {"mode": "Secret", "secretName": "brought"}})
    (address,) = registry.get()["status"]["clusterIPs"]
    for node in place.cluster.nodes:
        (line,) = _lines_naming(place.cluster, node, registry)
        assert line.split()[:3] == [address, f"{registry.name}.{registry.namespace}.svc", "#"], line
    (image,) = place.push(registry, 1)
    nodes.pull_on_all(place.cluster, image)
    registry.delete()
    assert not nodes.changes(before, nodes.trees(place.cluster))


def _lines_naming(cluster: Cluster, node: str, registry: LiveRegistry) -> list[str]:
    hosts = cluster.exec_on_node(node, "cat", "/etc/hosts").splitlines()
    return [line for line in hosts if registry.key in line]
