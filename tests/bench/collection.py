"""What a collection costs those who use the registry: the time without pulls, and the time without pushes."""

import asyncio
import json
from pathlib import Path

from private_registry.api import names
from tests.bench.measure import Figure
from tests.cluster.kind import Cluster
from tests.e2e.place import BUILD, Place
from tests.kubectl import Kubectl
from tests.live_registry import LiveRegistry
from tests.waiting import eventually

IMAGES = 834
"""Of each kind, three blobs each: 5,004 in all."""
_STOP = "/tmp/stop"
_OUTAGE = Path(__file__).with_name("outage.py")


async def figures(cluster: Cluster) -> list[Figure]:
    """One collection of 5,000 blobs of which half are garbage."""
    place = Place(cluster, Kubectl(str(cluster.kubectl_program()), cluster.kubeconfig), "bench")
    return await _collection(place)


async def _collection(place: Place) -> list[Figure]:
    registry = place.ask_for("collected", {"auth": {"mode": "None"}, "storage": {"size": "1Gi"}})
    await asyncio.to_thread(registry.wait_ready, nodes=len(place.cluster.nodes))
    try:
        for repository in ("kept", "garbage"):
            await asyncio.to_thread(place.push, registry, IMAGES, repository=repository)
        await asyncio.to_thread(_age, place, registry)
        place.kubectl("exec", f"--namespace={BUILD}", "build", "--", "rm", "-f", _STOP)
        outage = asyncio.create_task(asyncio.to_thread(_outage, place, registry))
        run = await asyncio.to_thread(_collect, registry)
        place.kubectl("exec", f"--namespace={BUILD}", "build", "--", "touch", _STOP)
        longest = json.loads(await outage)
    finally:
        await asyncio.to_thread(registry.delete)
    assert run["result"] == "Succeeded", run
    assert run["blobs"] == IMAGES * 3, run
    (pull, pulls), (push, _) = longest["pull"], longest["push"]
    detail = (
        f"{run['blobs']} of {IMAGES * 6} blobs, {run['durationSeconds']} s from its beginning to its end; {pulls} pulls"
    )
    return [
        Figure("collection of 5,000 blobs, half garbage: time without pulls", pull, 0, "s", detail),
        Figure("of it, time without pushes", push, 60, "s"),
    ]


def _age(place: Place, registry: LiveRegistry) -> None:
    """Forget the images of one repository, and have all of them be two hours old."""
    claim = registry.kubectl.get("persistentvolumeclaim", f"{registry.name}-data", registry.at)
    spec = registry.kubectl.get("persistentvolume", claim["spec"]["volumeName"])["spec"]
    path = (spec.get("hostPath") or spec.get("local"))["path"]
    (pod,) = registry.pods()
    manifests = f"{path}/docker/registry/v2/repositories/garbage/_manifests"
    script = f"rm -r {manifests}/tags {manifests}/revisions && find {path} -name data -exec touch -d -2hours {{}} +"
    place.cluster.exec_on_node(pod["spec"]["nodeName"], "sh", "-c", script)


def _outage(place: Place, registry: LiveRegistry) -> str:
    ca = f"/tmp/{registry.namespace}.{registry.name}.crt"
    command = ("python3", "-", registry.host, "kept", "0", ca, _STOP)
    return place.kubectl("exec", f"--namespace={BUILD}", "--stdin", "build", "--", *command, stdin=_OUTAGE.read_text())


def _collect(registry: LiveRegistry) -> dict[str, object]:
    registry.kubectl("annotate", "privateregistry", registry.name, registry.at, f"{names.COLLECT}=bench")

    def over() -> dict[str, object]:
        run: dict[str, object] = (registry.get().get("status") or {}).get("garbageCollection") or {}
        assert run.get("asked") == "bench", registry.conditions()
        assert "ReadOnly" not in registry.conditions()
        assert "Reconciling" not in registry.conditions()
        return run

    return eventually(over, within=300, every=1, what="the collection is over")
