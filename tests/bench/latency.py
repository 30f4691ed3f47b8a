"""How fast: from a change to its effect, each time on a registry of its own."""

import asyncio
import time
from typing import Any

from private_registry.api import names
from private_registry.kube import kinds
from private_registry.kube.client import Kube
from tests.bench.measure import Figure, seconds, timed, until
from tests.cluster.kind import Cluster

Object = dict[str, Any]

NAMESPACE = "bench"
_REPAIRS = 5


async def figures(kube: Kube, cluster: Cluster, runs: int) -> list[Figure]:
    """Times of creation, change and repair."""
    await ensure_namespace(kube, NAMESPACE)
    nodes = len(cluster.nodes)
    await remove_registries(kube, NAMESPACE)
    created, after_pod = [], []
    for number in range(runs):
        whole, rest = await _creation(kube, f"run-{number}", nodes)
        created.append(whole)
        after_pod.append(rest)
        await remove_registries(kube, NAMESPACE)
    await create(kube, NAMESPACE, "steady")
    await until(kube, kinds.PRIVATE_REGISTRY, NAMESPACE, lambda seen: is_ready(seen.get("steady"), nodes), within=120)
    changed = [await _child_changed(kube, number) for number in range(runs)]
    told = [await _nodes_told(kube, nodes) for _ in range(runs)]
    deleted = [
        *[await _child_repaired(kube, kinds.CONFIG_MAP, names.ca_config_map("steady")) for _ in range(_REPAIRS)],
        *[await _child_repaired(kube, kinds.SERVICE, "steady") for _ in range(_REPAIRS)],
    ]
    wiped = [await asyncio.to_thread(_files_repaired, cluster) for _ in range(_REPAIRS)]
    await remove_registries(kube, NAMESPACE)
    return [
        seconds("apply to Ready with all 3 nodes trusted, images present", created, 15),
        seconds("of it, pod ready to Ready", after_pod, 3),
        seconds("spec change to child changed", changed, 1),
        seconds("spec change to `hosts.toml` on every node, and proven", told, 2),
        seconds("deleted child to repaired", deleted, 5),
        seconds("wiped `certs.d` to repaired", wiped, 5),
    ]


async def _creation(kube: Kube, name: str, nodes: int) -> tuple[float, float]:
    """Seconds from apply to Ready, and from the pod's readiness to it."""

    def pod_is_ready(seen: dict[str, Object]) -> bool:
        return any(
            _has(pod, "Ready") for pod in seen.values() if pod["metadata"].get("labels", {}).get(names.INSTANCE) == name
        )

    ready = until(kube, kinds.PRIVATE_REGISTRY, NAMESPACE, lambda seen: is_ready(seen.get(name), nodes), within=120)
    pod = until(kube, kinds.POD, NAMESPACE, pod_is_ready, within=120)
    waiting = asyncio.gather(ready, pod)
    await asyncio.sleep(0)
    began = time.monotonic()
    await create(kube, NAMESPACE, name)
    ready_at, pod_at = await waiting
    return ready_at - began, ready_at - pod_at


async def _child_changed(kube: Kube, number: int) -> float:
    """Seconds from a change of the spec to the Deployment's."""
    wanted = {"memory": f"{129 + number}Mi", "cpu": "100m"}

    def applied(seen: dict[str, Object]) -> bool:
        container = seen["steady"]["spec"]["template"]["spec"]["containers"][0]
        return bool(container["resources"]["requests"]["memory"] == wanted["memory"])

    spec = {"spec": {"resources": {"requests": wanted}}}
    taken = await timed(
        lambda: kube.merge(kinds.PRIVATE_REGISTRY, NAMESPACE, "steady", spec),
        until(kube, kinds.DEPLOYMENT, NAMESPACE, applied, within=60),
    )
    # The next change would wait for this one's rollout.
    await until(kube, kinds.DEPLOYMENT, NAMESPACE, lambda seen: _rolled_out(seen["steady"]), within=120)
    return taken


async def _nodes_told(kube: Kube, nodes: int) -> float:
    """Seconds from `nodeTrust.enabled: true` until every node's runtime has proved it."""
    key = names.key(NAMESPACE, "steady")

    def rows(seen: dict[str, Object]) -> list[Object]:
        statuses = [obj.get("status") or {} for obj in seen.values()]
        return [row for status in statuses for row in status.get("registries") or [] if row["registry"] == key]

    def turn(enabled: bool) -> Any:
        body = {"spec": {"nodeTrust": {"enabled": enabled}}}
        return kube.merge(kinds.PRIVATE_REGISTRY, NAMESPACE, "steady", body)

    await turn(False)
    await until(kube, kinds.NODE_TRUST, None, lambda seen: not rows(seen), within=60)
    return await timed(
        lambda: turn(True),
        until(kube, kinds.NODE_TRUST, None, lambda seen: sum(r["trusted"] for r in rows(seen)) == nodes, within=60),
    )


async def _child_repaired(kube: Kube, kind: kinds.Kind, name: str) -> float:
    """Seconds from the deletion of a child until it is there again."""
    # Once its owner has nothing left to write to it.
    await until(kube, kinds.DEPLOYMENT, NAMESPACE, lambda seen: _rolled_out(seen["steady"]), within=120)
    live = await kube.get(kind, NAMESPACE, name)
    assert live, name
    uid = live["metadata"]["uid"]
    return await timed(
        lambda: kube.delete(live),
        until(kube, kind, NAMESPACE, lambda seen: name in seen and seen[name]["metadata"]["uid"] != uid, within=60),
    )


def _files_repaired(cluster: Cluster) -> float:
    """Seconds from the removal of everything in a node's certs.d until the registry's file is there again."""
    file = f"/etc/containerd/certs.d/steady.{NAMESPACE}.svc:5000/hosts.toml"
    script = (
        f"test -e '{file}' && rm -rf /etc/containerd/certs.d/* && began=$(date +%s%N) && "
        f"for i in $(seq 1200); do [ -e '{file}' ] && break; sleep 0.05; done; "
        f"test -e '{file}' && echo $(( $(date +%s%N) - began ))"
    )
    return int(cluster.exec_on_node(cluster.nodes[-1], "sh", "-c", script, timeout=90)) / 1e9


async def create(kube: Kube, namespace: str, name: str) -> None:
    await kube.create(
        {
            "apiVersion": names.API_VERSION,
            "kind": "PrivateRegistry",
            "metadata": {"name": name, "namespace": namespace},
            # Twenty of the usual size, of two containers each, are more than two small nodes have room for.
            "spec": {
                "storage": {"size": "1Gi", "reclaimPolicy": "Delete"},
                "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
            },
        }
    )


async def remove_registries(kube: Kube, namespace: str) -> None:
    """Delete every registry of a namespace and wait until they and their pods are gone."""
    for obj in (await kube.list(kinds.PRIVATE_REGISTRY, namespace)).items:
        await kube.delete(obj)
    await until(kube, kinds.PRIVATE_REGISTRY, namespace, lambda seen: not seen, within=180)
    await until(kube, kinds.POD, namespace, lambda seen: not seen, within=180)


async def ensure_namespace(kube: Kube, name: str) -> None:
    if await kube.get(kinds.NAMESPACE, None, name) is None:
        await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def is_ready(registry: Object | None, nodes: int) -> bool:
    status = (registry or {}).get("status") or {}
    return _has(registry or {}, "Ready") and status["nodes"]["summary"] == f"{nodes}/{nodes}"


def _rolled_out(deployment: Object) -> bool:
    status = deployment.get("status") or {}
    same = status.get("observedGeneration") == deployment["metadata"]["generation"]
    return same and status.get("updatedReplicas") == status.get("replicas") == status.get("availableReplicas") == 1


def _has(obj: Object, condition: str) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or []
    return any(each["type"] == condition and each["status"] == "True" for each in conditions)
