"""A registry that goes leaves nothing on any node, however it goes."""

from tests.e2e import nodes
from tests.e2e.place import Place
from tests.waiting import eventually


def test_deleting_a_namespace_cleans_the_nodes_of_its_registries(place: Place) -> None:
    """Also when everything around a registry is taken away at once, its nodes come first."""
    before = nodes.trees(place.cluster)
    one, other = place.registry("one"), place.registry("other")
    assert nodes.changes(before, nodes.trees(place.cluster))
    place.kubectl("delete", "namespace", place.namespace, "--wait=false")

    eventually(lambda: not one.pods() and not other.pods(), within=60, every=0.5, what="pods, which go first, are gone")
    # Kubernetes would look again after half of their grace period. A change of the namespace makes it look now.
    place.kubectl("annotate", "namespace", place.namespace, "example.com/look=now")

    def gone() -> bool:
        left = place.kubectl("get", "privateregistries", one.at, "--output=name")
        assert not left, left
        return True

    eventually(gone, within=30, every=0.5, what=f"{one.key} and {other.key} are gone")
    assert not nodes.changes(before, nodes.trees(place.cluster))
