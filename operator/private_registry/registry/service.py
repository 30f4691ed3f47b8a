"""The Service of a registry: its address is state on every node, so it is made once and kept."""

from collections.abc import Sequence
from typing import Any

from private_registry.api import names
from private_registry.api.registry import PrivateRegistry
from private_registry.registry.metadata import metadata

PORT_NAME = "registry"
PULL_PORT_NAME = "pulls"


def service(registry: PrivateRegistry, *, pulls: bool = False, cluster_ips: Sequence[str] = ()) -> dict[str, Any]:
    """The Service. `cluster_ips` only when it is made anew after someone deleted it: the addresses that nodes know.

    `pulls`: with the port for those who only pull, because its pods have it, will have it or still may.

    Node ports are left to the server, which keeps what it once gave.
    """
    ports = [(PORT_NAME, names.PORT), *([(PULL_PORT_NAME, names.PULL_PORT)] if pulls else [])]
    spec: dict[str, Any] = {
        "type": registry.spec.service.type,
        "selector": names.selector(registry.name),
        "ports": [{"name": name, "port": port, "protocol": "TCP", "targetPort": name} for name, port in ports],
        "ipFamilyPolicy": "PreferDualStack",
    }
    if cluster_ips:
        spec |= {"clusterIP": cluster_ips[0], "clusterIPs": list(cluster_ips)}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(registry, registry.name), "spec": spec}
