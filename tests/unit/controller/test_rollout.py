"""Where a rollout stands, and the way out when the next pod cannot start beside the last one."""

from typing import Any

import pytest

from private_registry.api import names
from private_registry.api.conditions import Reason
from private_registry.controller.health import rollout
from private_registry.controller.health.rollout import ABSENT, PATIENCE, Rollout
from tests.unit.controller.builders import (
    CREATING,
    NOW,
    a_condition,
    a_deployment,
    a_pod,
    a_proof_pod,
    a_registry,
    waiting,
)

Object = dict[str, Any]

UNDER_WAY = a_deployment(updated=1, replicas=2)
OLD = a_pod(template="old")
LATE = a_condition("Progressing", "False", message="timed out")
BAD_IMAGE = waiting("ImagePullBackOff")


def of(deployment: Object | None, *pods: Object, mode: str = "ReadWriteOnce") -> Rollout:
    return rollout.of(a_registry({"storage": {"accessMode": mode}}), deployment, pods, NOW)


def elsewhere(*, scheduled: float = PATIENCE, state: Object = CREATING) -> Object:
    """The next pod, on another node than the last one's."""
    return a_pod(node="other", ready=False, scheduled=scheduled, state=state)


class TestState:
    def test_before_the_first(self) -> None:
        """Nothing is rolled out yet, and nothing waits for it."""
        assert of(None) == ABSENT
        assert not ABSENT.busy

    def test_complete(self) -> None:
        """One pod, of the newest template, available."""
        assert of(a_deployment()) == Rollout("complete")

    @pytest.mark.parametrize(
        "deployment",
        [
            a_deployment(updated=0),
            a_deployment(replicas=2),
            a_deployment(available=0),
            {**a_deployment(), "status": {}},
        ],
        ids=["an old pod", "two pods", "not available", "no status yet"],
    )
    def test_under_way(self, deployment: Object) -> None:
        """Until the last pod of the template before is gone; the next rollout waits for that."""
        state = of(deployment, a_pod(ready=False, state=CREATING))
        assert state == Rollout("progressing")
        assert state.busy

    def test_a_status_of_an_older_spec_proves_nothing(self) -> None:
        """The Deployment controller has not looked yet."""
        deployment = a_deployment()
        deployment["metadata"]["generation"] = 3
        assert of(deployment) == Rollout("progressing")

    def test_a_problem_of_the_next_pod(self) -> None:
        """It fails while the last one serves; its correction need not wait."""
        state = of(UNDER_WAY, OLD, a_pod(ready=False, state=BAD_IMAGE))
        assert state.state == "failing"
        assert state.problem is not None
        assert state.problem.reason is Reason.IMAGE_CANNOT_BE_PULLED
        assert not state.busy

    def test_a_problem_of_another_pod_is_none_of_the_rollouts(self) -> None:
        """Neither the last template's pod nor one that is going says anything of the next."""
        going = a_pod(ready=False, state=BAD_IMAGE)
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        old = a_pod(template="older", ready=False, state=BAD_IMAGE)
        assert of(UNDER_WAY, OLD, old, going) == Rollout("progressing")

    def test_pods_that_are_refused(self) -> None:
        """There is no next pod, and the Deployment says why."""
        refused = a_deployment(updated=0, conditions=(a_condition("ReplicaFailure", message="quota"),))
        state = of(refused, OLD)
        assert state.problem is not None
        assert state.problem.reason is Reason.POD_REFUSED

    def test_one_that_takes_too_long(self) -> None:
        """A pod that waits for ever for a volume is no reason to keep a correction waiting."""
        state = of(a_deployment(updated=1, replicas=2, conditions=(LATE,)), OLD, a_pod(ready=False, state=CREATING))
        assert state.state == "failing"
        assert state.problem is not None
        assert state.problem.reason is Reason.ROLLOUT_FAILED

    def test_a_pods_own_problem_is_said_rather_than_the_deadline(self) -> None:
        """The cause, not that it took long."""
        late = a_deployment(updated=1, replicas=2, conditions=(LATE,))
        state = of(late, OLD, a_pod(ready=False, state=BAD_IMAGE))
        assert state.problem is not None
        assert state.problem.reason is Reason.IMAGE_CANNOT_BE_PULLED

    def test_a_complete_one_is_complete_whatever_was_said_before(self) -> None:
        """A deadline that was missed is forgiven."""
        assert of(a_deployment(conditions=(LATE,))) == Rollout("complete")


class TestAnotherNode:
    def test_it_gets_its_time(self) -> None:
        """A node that is slow to attach a volume is not a node that cannot."""
        assert of(UNDER_WAY, OLD, elsewhere(scheduled=PATIENCE - 1)) == Rollout("progressing")

    def test_then_the_image_is_proven_there(self) -> None:
        """Before the pod that serves has to make way."""
        assert of(UNDER_WAY, OLD, elsewhere()) == Rollout("progressing", prove_on="other")

    @pytest.mark.parametrize("phase", ["Pending", "Running"])
    def test_while_it_is_proven_the_last_pod_serves(self, phase: str) -> None:
        """Nothing is stopped for a promise."""
        assert of(UNDER_WAY, OLD, elsewhere(), a_proof_pod(phase)) == Rollout("progressing", prove_on="other")

    def test_a_proven_image_finishes_by_stopping_first(self) -> None:
        """This one rollout only."""
        assert of(UNDER_WAY, OLD, elsewhere(), a_proof_pod("Succeeded")) == Rollout("progressing", strategy="Recreate")

    def test_a_proof_on_another_node_proves_nothing(self) -> None:
        """Nor does one of another image."""
        other_node = a_proof_pod("Succeeded", node="third")
        other_image = a_proof_pod("Succeeded")
        other_image["spec"]["containers"][0]["image"] = "another"
        assert of(UNDER_WAY, OLD, elsewhere(), other_node, other_image) == Rollout("progressing", prove_on="other")

    def test_a_failed_proof_leaves_the_last_pod_alone(self) -> None:
        """The image is no registry: the rollout fails and what ran before serves."""
        state = of(UNDER_WAY, OLD, elsewhere(), a_proof_pod("Failed"))
        assert (state.state, state.strategy) == ("failing", "RollingUpdate")
        assert state.problem is not None
        assert state.problem.reason is Reason.NO_REGISTRY_IMAGE

    def test_a_proof_whose_image_cannot_be_pulled_says_so(self) -> None:
        """The pod of the registry never got as far as pulling it."""
        state = of(UNDER_WAY, OLD, elsewhere(), a_proof_pod("Pending", state=BAD_IMAGE))
        assert state.state == "failing"
        assert state.problem is not None
        assert state.problem.reason is Reason.IMAGE_CANNOT_BE_PULLED

    @pytest.mark.parametrize(
        "pods",
        [
            (OLD, a_pod(ready=False, scheduled=600, state=CREATING)),
            (OLD, elsewhere(scheduled=600, state={"running": {}})),
            (a_pod(template="old", ready=False), elsewhere(scheduled=600)),
        ],
        ids=["the same node", "it has started", "no pod serves"],
    )
    def test_where_nobody_has_to_make_way_nothing_is_proven(self, pods: tuple[Object, ...]) -> None:
        """The way round is for the one case that needs it."""
        assert of(UNDER_WAY, *pods) == Rollout("progressing")

    @pytest.mark.parametrize("mode", ["ReadWriteMany", "ReadWriteOncePod"])
    def test_other_volumes_need_no_way_round(self, mode: str) -> None:
        """They can be attached to both nodes, or the last pod stops first anyway."""
        assert of(UNDER_WAY, OLD, elsewhere(), mode=mode) == Rollout("progressing")

    def test_the_way_is_gone_to_its_end(self) -> None:
        """Once the last pod is stopped, the strategy stays until the rollout is complete, and then it is the usual."""
        recreating = a_deployment(updated=1, available=0, strategy="Recreate")
        assert of(recreating, elsewhere()) == Rollout("progressing", strategy="Recreate")
        assert of(a_deployment(strategy="Recreate")) == Rollout("complete", strategy="RollingUpdate")

    def test_the_deadline_does_not_end_the_way(self) -> None:
        """A slow pull of the image on the other node is no reason to turn back, though it is said."""
        late = a_deployment(updated=1, replicas=2, conditions=(LATE,))
        assert of(late, OLD, elsewhere()).prove_on == "other"
        assert of(late, OLD, elsewhere(), a_proof_pod("Succeeded")).strategy == "Recreate"


class TestAvailable:
    @pytest.mark.parametrize(
        ("deployment", "available"),
        [(None, False), (a_deployment(available=0), False), (a_deployment(updated=0), True)],
    )
    def test_some_pod_is_ready(self, deployment: Object | None, available: bool) -> None:
        """Of whichever template."""
        assert rollout.is_available(deployment) is available

    def test_pods_that_serve(self) -> None:
        """One that proves an image, or whose labels somebody took, is none."""
        bare = a_pod()
        bare["metadata"]["labels"] = None
        assert rollout.registry_pods((OLD, a_proof_pod("Running"), bare)) == [OLD]
        assert rollout.is_ready(OLD)
        assert not rollout.is_ready({"metadata": {}})


def test_a_pod_without_annotations_is_of_no_template() -> None:
    """A pod of a very old Deployment counts as the last one."""
    bare = a_pod()
    del bare["metadata"]["annotations"]
    deployment = a_deployment(updated=0)
    assert names.TEMPLATE in deployment["metadata"]["annotations"]
    assert of(deployment, bare) == Rollout("progressing")
