"""Mistakes that only a real node shows: what ran before goes on serving, and the status names the fix."""

from tests.cluster import versions
from tests.e2e import nodes
from tests.e2e.place import Place
from tests.live_registry import LiveRegistry
from tests.waiting import eventually


def test_a_wrong_image_leaves_the_running_registry_alone(place: Place) -> None:
    """An image that nobody has, then one that is no registry: both are named, and pulls go on until it is put right."""
    registry = place.registry()
    images = place.push(registry, 3)
    (serving,) = {pod["metadata"]["uid"] for pod in registry.pods()}

    registry.patch({"image": "localhost/nobody-has-this:v1"})
    _wait_stalled(registry, "ImageCannotBePulled", "the image localhost/nobody-has-this:v1 cannot be pulled")
    nodes.pull_on_all(place.cluster, images[0])

    registry.patch({"image": versions.BUSYBOX_IMAGE})
    _wait_stalled(registry, "NotARegistry", f"the image {versions.BUSYBOX_IMAGE} has no program `registry`")
    nodes.pull_on_all(place.cluster, images[1])

    assert serving in {pod["metadata"]["uid"] for pod in registry.pods()}
    registry.patch({"image": None})
    registry.wait_ready(nodes=len(place.cluster.nodes))
    nodes.pull_on_all(place.cluster, images[2])
    assert serving in {pod["metadata"]["uid"] for pod in registry.pods()}, "what ran before was not to be replaced"


def _wait_stalled(registry: LiveRegistry, reason: str, message: str) -> None:
    def stalled() -> bool:
        conditions = registry.conditions()
        said = conditions.get("Stalled", {})
        assert said.get("reason") == reason, conditions
        assert message in said["message"], said
        assert conditions["Available"]["status"] == "True", conditions
        return True

    eventually(stalled, within=60, every=0.5, what=f"{registry.key} is stalled: {reason}")
