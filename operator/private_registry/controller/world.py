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
from private_registry.api.hosts import parse_host
from private_registry.kube import kinds
from private_registry.kube.client import Kube
from private_registry.trust import entry as trust

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
    published: dict[str, frozenset[str]] = field(default_factory=dict)
    """The names, without port, that nodes are told to trust for each registry that has an entry, by its key."""

    complete: bool = False
    """Whether the marker is there that lets agents undo entries."""

    def keys(self) -> Iterable[str]:
        """Of all registries."""
        return tuple(self.registries)

    def runtimes(self, nodes: Iterable[str]) -> dict[str, Iterable[Object]]:
        """What the agents of these nodes found on them."""
        statuses = {node: self.node_trusts.get(node, {}).get("status") or {} for node in nodes}
        return {node: status.get("runtimes") or () for node, status in statuses.items()}

    def agent_ready(self) -> dict[str, bool]:
        """Whether the agent's pod is ready, by the name of its node; a node without agent is not in it."""
        ready: dict[str, bool] = defaultdict(bool)
        for pod in self.agent_pods.values():
            if node := pod["spec"].get("nodeName"):
                ready[node] |= is_true(pod, "Ready") and not pod["metadata"].get("deletionTimestamp")
        return dict(ready)


async def look(kube: Kube, agents_namespace: str) -> World:
    """The world as it is: nobody's host, claim or turn is given away because a watch has not told of it yet."""
    registries, nodes, node_trusts, namespaces = await asyncio.gather(
        *(kube.list(kind) for kind in (kinds.PRIVATE_REGISTRY, kinds.NODE, kinds.NODE_TRUST, kinds.NAMESPACE))
    )
    pods, deployments, entries = await asyncio.gather(
        kube.list(kinds.POD, agents_namespace, labels=f"{OURS},{names.COMPONENT} in ({','.join(names.AGENTS)})"),
        kube.list(kinds.DEPLOYMENT, labels=OURS),
        list_entries(kube, agents_namespace),
    )
    return World(
        registries={_key(obj): obj for obj in registries.items},
        nodes={obj["metadata"]["name"]: obj for obj in nodes.items},
        node_trusts={obj["metadata"]["name"]: obj for obj in node_trusts.items},
        namespaces={obj["metadata"]["name"]: obj for obj in namespaces.items},
        agent_pods={_key(obj): obj for obj in pods.items},
        deployments=deployments_by_registry(deployments.items),
        published={key: names_in(entry) for key, entry in entries.items()},
    )


async def list_entries(kube: Kube, agents_namespace: str) -> dict[str, Object]:
    """The trust entries that there are, by registry."""
    labels = ",".join(f"{key}={value}" for key, value in trust.LABELS.items())
    listing = await kube.list(kinds.CONFIG_MAP, agents_namespace, labels=labels)
    return {key: obj for obj in listing.items if (key := key_of_entry(obj))}


def names_in(entry: Object) -> frozenset[str]:
    """Names of hosts, without port, that a trust entry has nodes trust; none where it cannot be read."""
    try:
        return frozenset(parse_host(host).name for host in trust.parse(entry).hosts)
    except trust.EntryInvalidError:
        return frozenset()


def deployments_by_registry(deployments: Iterable[Object]) -> dict[str, Object]:
    """Deployments by the key of their registry, without those that are nobody's."""
    return {key: obj for obj in deployments if (key := registry_key(obj))}


def _key(obj: Object) -> str:
    return names.key(obj["metadata"]["namespace"], obj["metadata"]["name"])


def is_true(obj: Object, condition: str) -> bool:
    """Whether the object's status has this condition, with status True."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return any(item["type"] == condition and item["status"] == "True" for item in conditions)


def is_linux(node: Object) -> bool:
    return bool((node["metadata"].get("labels") or {}).get("kubernetes.io/os", "linux") == "linux")


def registry_key(child: Object) -> str | None:
    """Key of the registry that an object beside it belongs to, by its labels; None for what is not ours.

    Whoever may write in a namespace can write these labels: they speak of registries of that namespace alone.
    """
    labels = child["metadata"].get("labels") or {}
    instance = labels.get(names.INSTANCE)
    if labels.get(names.PART_OF) != names.MANAGER or not instance:
        return None
    return names.key(child["metadata"]["namespace"], instance)


def key_of_entry(obj: Object) -> str | None:
    """Key of the registry that a trust entry, an object of the agents' namespace, is about; None when it is none."""
    labels = obj["metadata"].get("labels") or {}
    parts = names.registry_of_entry(obj["metadata"]["name"])
    return names.key(*parts) if parts and trust.LABELS.items() <= labels.items() else None
