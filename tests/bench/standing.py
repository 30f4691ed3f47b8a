"""What it costs to stand there with 20 registries: requests of the audit log, and memory."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any

from private_registry.kube import kinds
from private_registry.kube.client import Kube
from tests.bench.latency import create, ensure_namespace, is_ready, remove_registries
from tests.bench.measure import Figure, until
from tests.cluster.kind import Cluster

Object = dict[str, Any]

NAMESPACE = "bench-standing"
REGISTRIES = 20
_MUTATING = {"create", "update", "patch", "delete", "deletecollection"}
_OPERATOR = "system:serviceaccount:private-registry-system:private-registry-operator"
_AGENT = "system:serviceaccount:private-registry-nodes:private-registry-agent"
_CHILDREN = 10  # Service, four Secrets, two ConfigMaps, claim, Deployment, trust entry


async def figures(kube: Kube, cluster: Cluster, idle: float) -> list[Figure]:
    """Writes per registry, writes at rest, memory."""
    nodes = len(cluster.nodes)
    await ensure_namespace(kube, NAMESPACE)
    await remove_registries(kube, NAMESPACE)
    began = cluster.audit_size()
    wanted = [f"standing-{number}" for number in range(REGISTRIES)]
    for name in wanted:
        await create(kube, NAMESPACE, name)
        # One after the other: what is counted is what one registry costs.
        ready = partial(_is_ready, name, nodes)
        await until(kube, kinds.PRIVATE_REGISTRY, NAMESPACE, ready, within=180)
    # How full its volume is, is told with the rest, or a little later.
    await until(kube, kinds.PRIVATE_REGISTRY, NAMESPACE, _are_measured, within=120)
    made = list(_mutations(cluster, began))
    resting = cluster.audit_size()
    # The figure itself: in so many seconds nothing may happen.
    await asyncio.sleep(idle)
    at_rest = list(_mutations(cluster, resting))
    memory = {user: _resident(cluster, argument) for user, argument in (("operator", "operator"), ("agent", "agent"))}
    await remove_registries(kube, NAMESPACE)
    by_operator = [each for each in made if each["user"]["username"] == _OPERATOR]
    own = [each for each in by_operator if each["objectRef"]["resource"] == "privateregistries"]
    return [
        Figure(
            f"mutating requests in {idle / 60:.0f} idle minutes with {REGISTRIES} registries, Lease aside",
            len(at_rest), 0, "", _summary(at_rest),
        ),
        Figure("writes per registry created: on the object itself", len(own) / REGISTRIES, 4, "", "mean, operator"),
        Figure(
            "writes per registry created: in all", len(by_operator) / REGISTRIES, _CHILDREN + 6, "",
            f"mean, operator: {_summary(by_operator)}; agents: {(len(made) - len(by_operator)) / REGISTRIES:.1f}",
        ),
        Figure(f"memory with {REGISTRIES} registries: operator", memory["operator"], 110, "MiB", "resident"),
        Figure(f"memory with {REGISTRIES} registries: agent", memory["agent"], 64, "MiB", "resident, the largest"),
    ]  # fmt: skip


def _are_measured(seen: dict[str, Object]) -> bool:
    return all(((each.get("status") or {}).get("storage") or {}).get("total") for each in seen.values())


def _is_ready(name: str, nodes: int, seen: dict[str, Object]) -> bool:
    return is_ready(seen.get(name), nodes)


def _mutations(cluster: Cluster, offset: int) -> Iterable[Object]:
    """Mutating requests of operator and agents since an offset of the audit log, Leases aside."""
    for event in cluster.audit(offset):
        ours = event["user"]["username"] in {_OPERATOR, _AGENT}
        if ours and event["verb"] in _MUTATING and event["objectRef"]["resource"] != "leases":
            yield event


def _summary(events: list[Object]) -> str:
    counted = Counter(f"{each['verb']} {each['objectRef']['resource']}" for each in events)
    return ", ".join(f"{number} {what}" for what, number in counted.most_common(8))


def _resident(cluster: Cluster, program: str) -> float:
    """MiB of the largest process of ours on any node."""
    script = (
        "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null | "
        f"grep -q 'private.registry {program}' && awk '/^VmRSS/ {{print $2}}' $p/status; done; true"
    )
    found = [int(line) for node in cluster.nodes for line in cluster.exec_on_node(node, "sh", "-c", script).split()]
    assert found, f"no {program} runs"
    return max(found) / 1024
