"""The Service of a registry: its address is state on every node, so it is made once and kept."""

from collections.abc import Sequence
from typing import Any

from private_registry.api import names
from private_registry.api.registry import PrivateRegistry
from private_registry.registry.metadata import metadata

PORT_NAME = "registry"


def service(registry: PrivateRegistry, *, cluster_ips: Sequence[str] = ()) -> dict[str, Any]:
    """The Service. `cluster_ips` only when it is made anew after someone deleted it: the addresses that nodes know.

    Node ports are left to the server, which keeps what it once gave.
    """
    spec: dict[str, Any] = {
        "type": registry.spec.service.type,
        "selector": names.selector(registry.name),
        "ports": [{"name": PORT_NAME, "port": names.PORT, "protocol": "TCP", "targetPort": PORT_NAME}],
        "ipFamilyPolicy": "PreferDualStack",
    }
    if cluster_ips:
        spec |= {"clusterIP": cluster_ips[0], "clusterIPs": list(cluster_ips)}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(registry, registry.name), "spec": spec}
