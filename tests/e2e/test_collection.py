"""The space of deleted images comes back, on a real cluster, while every node goes on pulling."""

from tests import readme
from tests.e2e import nodes
from tests.e2e.place import Place
from tests.live_registry import LiveRegistry
from tests.waiting import eventually


def run_of(registry: LiveRegistry) -> dict[str, object]:
    """The last collection, by the registry's status."""
    found: dict[str, object] = (registry.get().get("status") or {}).get("garbageCollection") or {}
    return found


def used(place: Place, node: str, path: str) -> int:
    """Bytes that a directory of a node takes of its disk."""
    return int(place.cluster.exec_on_node(node, "du", "--summarize", "--block-size=1", path).split()[0])


def test_what_was_deleted_is_given_back(place: Place) -> None:
    """A dry run tells how much, the run gives it back; no pull fails, and pushes are taken again afterwards.

    What a workload uses by its digest is there although no tag leads to it any more.
    """
    registry = place.registry(spec={"garbageCollection": {"deleteUntagged": True}})
    images = place.push(registry, 20)
    pinned = f"{registry.host}/tiny@{registry.digest('tiny', '10')}"
    place.use("pinned", pinned)
    for image in images[10:]:
        assert registry.ask("DELETE", f"/v2/tiny/manifests/{image.rpartition(':')[2]}").status == 202
    node, path = volume_of(registry)
    # What was pushed within the hour stays, because its manifest may be on its way.
    place.cluster.exec_on_node(node, "find", path, "-type", "f", "-exec", "touch", "-d", "-2hours", "{}", "+")

    for command in readme.day_two("know before how much that is"):
        readme.run(place.kubectl, command, place.namespace)
    eventually(lambda: run_of(registry).get("askedDryRun"), within=120, every=1, what="the dry run is over")
    told, before = run_of(registry), used(place, node, path)
    assert (told["result"], told["blobs"]) == ("Succeeded", 27), told

    with nodes.pulling(place.cluster, images[:10]) as pulls:
        for command in readme.day_two("free the space of a deleted image"):
            readme.run(place.kubectl, command, place.namespace)
        eventually(lambda: "ReadOnly" in registry.conditions(), within=60, every=0.5, what="it is read-only")
        eventually(lambda: run_of(registry).get("asked"), within=180, every=1, what="the collection is over")
        registry.wait_ready(nodes=len(place.cluster.nodes))
        eventually(lambda: "ReadOnly" not in registry.conditions(), within=60, every=1, what="it takes pushes again")
        pulls.wait_for(10, within=60)
    assert not pulls.failed, f"{len(pulls.failed)} of {pulls.all} pulls failed:\n" + "\n".join(pulls.failed[:10])
    done = run_of(registry)
    assert (done["result"], done["blobs"], done["bytes"]) == ("Succeeded", 27, told["bytes"]), done
    assert before - used(place, node, path) >= int(str(done["bytes"]))
    for image in (pinned, *place.push(registry, 1, repository="after")):
        nodes.pull_on_all(place.cluster, image)


def volume_of(registry: LiveRegistry) -> tuple[str, str]:
    """The node that has its volume, and where."""
    claim = registry.kubectl.get("persistentvolumeclaim", f"{registry.name}-data", registry.at)
    spec = registry.kubectl.get("persistentvolume", claim["spec"]["volumeName"])["spec"]
    (pod,) = registry.pods()
    return pod["spec"]["nodeName"], (spec.get("hostPath") or spec.get("local"))["path"]
