"""Only what is used and what a rule keeps stays, on a real cluster, where a kubelet brings the sweep its lists."""

from private_registry.api import names
from tests import readme
from tests.e2e import nodes
from tests.e2e.place import Place
from tests.live_registry import LiveRegistry, Object
from tests.waiting import eventually

LAST_ONE = {"rules": [{"repositories": "*", "keepLast": 1}]}


def test_what_is_used_stays(place: Place) -> None:
    """A report first, which deletes nothing and says why what stays does; then the rest goes, and no more than that."""
    registry = place.registry(spec={"retention": LAST_ONE})
    images = place.push(registry, 4)
    by_digest = f"{registry.host}/tiny@{registry.digest('tiny', '0')}"
    place.use("by-digest", by_digest)
    place.use("by-tag", images[1])

    registry.kubectl("annotate", "privateregistry", registry.name, registry.at, f"{names.SWEEP}=report")
    said = swept(registry, "Report")
    assert (said["kept"], said["wouldDelete"], said["deleted"]) == (3, 1, 0), said
    report = registry.kubectl.get("configmap", f"{registry.name}-retention", registry.at)["data"]["report"]
    (line,) = (line for line in report.splitlines() if line.endswith("would go"))
    assert line.startswith("tiny:2 sha256:"), report
    assert registry.digest("tiny", "2")

    for command in readme.day_two("keep only what runs"):
        readme.run(place.kubectl, command, place.namespace)
    done = swept(registry, "Enforce")
    assert (done["kept"], done["wouldDelete"], done["deleted"]) == (3, 0, 1), done
    assert not registry.digest("tiny", "2")
    for image in (by_digest, images[1], images[3]):
        nodes.pull_on_all(place.cluster, image)


def swept(registry: LiveRegistry, mode: str) -> Object:
    """How the sweep of this mode ended."""

    def over() -> Object:
        found: Object = (registry.get().get("status") or {}).get("retention") or {}
        assert (found.get("mode"), found.get("result")) == (mode, "Succeeded"), found
        return found

    # The operator makes a new list each minute, and the kubelet takes its time with what it mounts.
    return eventually(over, within=300, every=1, what=f"the sweep is over, with the mode {mode}")
