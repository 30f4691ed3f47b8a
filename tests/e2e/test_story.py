"""The story that `make demo` tells, as assertions."""

import pytest

from tests.cluster import versions
from tests.cluster.kind import Cluster
from tests.e2e import nodes
from tests.e2e.place import PREFIX
from tests.kubectl import Kubectl
from tests.story import Step, Story

STEPS = len(Story(Kubectl(""), "").steps())


@pytest.fixture(scope="module")
def story(operator: None, kubectl: Kubectl) -> list[Step]:
    gone_at_the_end = {"storage": {"reclaimPolicy": "Delete"}}
    return Story(kubectl, versions.OPERATOR_IMAGE, namespace=f"{PREFIX}story", spec=gone_at_the_end).steps()


@pytest.fixture(scope="module")
def before(operator: None, cluster: Cluster) -> nodes.Tree:
    return nodes.trees(cluster)


@pytest.mark.parametrize("number", range(STEPS), ids=lambda number: f"step {number + 1}")
def test_every_step_of_the_demo_is_true(number: int, story: list[Step], before: nodes.Tree, kubectl: Kubectl) -> None:
    """Install, apply, push, pull on every node, delete, restart: each does what the demo says that it does."""
    assert story[number].run()


def test_after_the_story_every_node_is_as_it_was(before: nodes.Tree, cluster: Cluster) -> None:
    """Seen from the nodes themselves: no file below /etc came, went or changed."""
    assert not nodes.changes(before, nodes.trees(cluster))
