"""What the watches have shown so far, for decisions that span registries and nodes.

Complete from the beginning, and from then on fed by kopf's events, which may miss a deletion, so nothing irreversible
is decided from it: a deletion lists afresh, and the fleet loop compares it with a fresh list at its resync.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from private_registry.api import names
from private_registry.kube import kinds
from private_registry.kube.client import Kube

Object = dict[str, Any]

OURS: Final = f"{names.PART_OF}={names.MANAGER}"
"""Label selector of everything that belongs to the operator, its agents or a registry."""


@dataclass
class World:
    """The objects of every watched kind that are not read anew in each reconcile."""

    registries: dict[str, Object] = field(default_factory=dict)
    nodes: dict[str, Object] = field(default_factory=dict)
    node_trusts: dict[str, Object] = field(default_factory=dict)
    namespaces: dict[str, Object] = field(default_factory=dict)
    agent_pods: dict[str, Object] = field(default_factory=dict)
    """By `namespace/name`."""
    deployments: dict[str, Object] = field(default_factory=dict)
    """Of registries, by the key of their registry."""

    complete: bool = False
    """Whether the marker is there that lets agents undo entries."""

    def keys(self) -> Iterable[str]:
        """Of all registries."""
        return tuple(self.registries)

    def agent_ready(self) -> dict[str, bool]:
        """Whether the agent's pod is ready, by the name of its node; a node without agent is not in it."""
        ready: dict[str, bool] = defaultdict(bool)
        for pod in self.agent_pods.values():
            if node := pod["spec"].get("nodeName"):
                ready[node] |= is_true(pod, "Ready") and not pod["metadata"].get("deletionTimestamp")
        return dict(ready)


async def look(kube: Kube) -> World:
    """The world as it is: nobody's host, claim or turn is given away because a watch has not told of it yet."""
    registries, nodes, node_trusts, namespaces, pods, deployments = await asyncio.gather(
        kube.list(kinds.PRIVATE_REGISTRY),
        kube.list(kinds.NODE),
        kube.list(kinds.NODE_TRUST),
        kube.list(kinds.NAMESPACE),
        kube.list(kinds.POD, labels=f"{OURS},{names.COMPONENT} in ({','.join(names.AGENTS)})"),
        kube.list(kinds.DEPLOYMENT, labels=OURS),
    )
    return World(
        registries={_key(obj): obj for obj in registries.items},
        nodes={obj["metadata"]["name"]: obj for obj in nodes.items},
        node_trusts={obj["metadata"]["name"]: obj for obj in node_trusts.items},
        namespaces={obj["metadata"]["name"]: obj for obj in namespaces.items},
        agent_pods={_key(obj): obj for obj in pods.items},
        deployments=by_registry(deployments.items),
    )


def by_registry(children: Iterable[Object]) -> dict[str, Object]:
    """Children of one kind by the key of their registry, without those that are nobody's."""
    return {key: obj for obj in children if (key := registry_key(obj))}


def _key(obj: Object) -> str:
    return names.key(obj["metadata"]["namespace"], obj["metadata"]["name"])


def is_true(obj: Object, condition: str) -> bool:
    """Whether the object's status has this condition, with status True."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return any(item["type"] == condition and item["status"] == "True" for item in conditions)


def is_linux(node: Object) -> bool:
    return bool((node["metadata"].get("labels") or {}).get("kubernetes.io/os", "linux") == "linux")


def registry_key(child: Object) -> str | None:
    """Key of the registry that a child belongs to, by its labels; None for what is not ours."""
    labels = child["metadata"].get("labels") or {}
    instance = labels.get(names.INSTANCE)
    if labels.get(names.PART_OF) != names.MANAGER or not instance:
        return None
    namespace = labels.get(names.REGISTRY_NAMESPACE) or child["metadata"].get("namespace")
    return names.key(namespace, instance) if namespace else None
