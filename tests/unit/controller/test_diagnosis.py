"""What is wrong with a pod, a claim or a Deployment, in words with the fix."""

from typing import Any

import pytest

from private_registry.api.conditions import Reason
from private_registry.controller.health import diagnosis
from private_registry.controller.health.problem import Concern, Problem
from tests.unit.controller.builders import (
    CREATING,
    IMAGE,
    NOW,
    a_claim,
    a_condition,
    a_deployment,
    a_pod,
    a_proof_pod,
    a_storage_class,
    an_unschedulable_pod,
    at,
    waiting,
)

Object = dict[str, Any]

NO_PROGRAM = 'exec: "registry": executable file not found in $PATH'


def of(pod: Object) -> Problem | None:
    return diagnosis.of_pod(pod, NOW)


def ended(reason: str = "Error", message: str = "", code: int = 1) -> Object:
    return {"terminated": {"reason": reason, "message": message, "exitCode": code}}


class TestPod:
    @pytest.mark.parametrize(
        "pod",
        [
            a_pod(),
            a_pod(ready=False, state=CREATING),
            a_pod(ready=False, state=waiting("PodInitializing")),
            {"spec": {}},
        ],
        ids=["serves", "is created", "is initialised", "has no status"],
    )
    def test_one_that_is_well_or_on_its_way_has_none(self, pod: Object) -> None:
        """Waiting alone will do."""
        assert of(pod) is None

    @pytest.mark.parametrize(
        "reason",
        ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"],
    )
    def test_an_image_that_cannot_be_pulled(self, reason: str) -> None:
        """Which image, what the runtime said, and the two fields that cure it."""
        problem = of(a_pod(ready=False, state=waiting(reason, "not found")))
        assert problem == Problem(
            Reason.IMAGE_CANNOT_BE_PULLED,
            f"the image {IMAGE} cannot be pulled ({reason}): not found; correct spec.image or "
            "spec.scheduling.imagePullSecrets",
        )

    @pytest.mark.parametrize(
        ("state", "last_state"),
        [
            (waiting("CreateContainerError", NO_PROGRAM), {}),
            (waiting("RunContainerError", "stat /usr/bin/registry: no such file or directory"), {}),
            (waiting("CrashLoopBackOff", "back-off"), ended("StartError", NO_PROGRAM, 128)),
            (ended("StartError", NO_PROGRAM, 128), {}),
        ],
    )
    def test_an_image_that_is_no_registry(self, state: Object, last_state: Object) -> None:
        """However kubelet and runtime put it."""
        problem = of(a_pod(ready=False, state=state, last_state=last_state))
        assert problem == Problem(
            Reason.NO_REGISTRY_IMAGE,
            f"the image {IMAGE} has no program `registry`: spec.image must be the CNCF distribution registry, "
            "3.1.1 or newer",
        )

    def test_a_container_that_cannot_start(self) -> None:
        """A Secret without the key that is mounted, for one."""
        problem = of(a_pod(ready=False, state=waiting("CreateContainerConfigError", "couldn't find key http-secret")))
        assert problem == Problem(
            Reason.POD_CANNOT_START,
            "the registry cannot start (CreateContainerConfigError): couldn't find key http-secret",
        )

    def test_a_registry_that_ends_at_once(self) -> None:
        """Its exit code and the last line that it wrote."""
        pod = a_pod(
            ready=False, state=waiting("CrashLoopBackOff"), last_state=ended(message="starting\nno such host\n", code=2)
        )
        assert of(pod) == Problem(
            Reason.POD_CANNOT_START, "the registry ends with exit code 2 each time it is started: no such host"
        )

    def test_one_that_ends_without_a_word(self) -> None:
        """Its exit code alone."""
        pod = a_pod(ready=False, state=waiting("CrashLoopBackOff"), last_state=ended(code=137))
        problem = of(pod)
        assert problem is not None
        assert problem.message.endswith("exit code 137 each time it is started")

    def test_a_container_beside_it(self) -> None:
        """One that a webhook put into the pod keeps it from being ready as well, and is named by its image."""
        pod = a_pod(ready=False)
        pod["spec"]["containers"].append({"name": "proxy", "image": "mesh/proxy:1"})
        pod["status"]["containerStatuses"].append({"name": "proxy", "state": waiting("ErrImagePull")})
        problem = of(pod)
        assert problem is not None
        assert "the image mesh/proxy:1 cannot be pulled" in problem.message

    def test_one_restart_is_no_problem(self) -> None:
        """A registry that ended once and runs again is watched, not accused."""
        assert of(a_pod(last_state=ended())) is None

    @pytest.mark.parametrize(("since", "found"), [(14, False), (15, True)])
    def test_a_pod_that_fits_nowhere(self, since: float, found: bool) -> None:
        """Volume binder and autoscaler get a moment first."""
        wanted = Problem(
            Reason.POD_CANNOT_BE_SCHEDULED,
            "no node can run the registry's pod: 0/3 nodes are available; change spec.scheduling, spec.resources or "
            "the nodes",
        )
        assert of(an_unschedulable_pod(since=since)) == (wanted if found else None)

    def test_a_failed_proof_says_what_was_proven_where(self) -> None:
        """The image ran and was no registry."""
        problem = diagnosis.of_failed_proof(a_proof_pod("Failed"))
        assert problem.reason is Reason.NO_REGISTRY_IMAGE
        assert IMAGE in problem.message
        assert "node other" in problem.message

    def test_a_proof_that_the_node_ended_says_nothing_of_the_image(self) -> None:
        """An evicted pod proves nothing, so it is to be tried again, and not the image to be changed."""
        pod = a_proof_pod("Failed")
        pod["status"] |= {"reason": "Evicted", "message": "The node was low on resource: memory."}
        assert diagnosis.of_failed_proof(pod) == Problem(
            Reason.POD_CANNOT_START,
            f"node other ended the pod {pod['metadata']['name']}, which tries the image {IMAGE} there (Evicted): "
            "The node was low on resource: memory; delete that pod to have it tried again",
        )


class TestDeployment:
    def test_pods_that_the_server_refuses(self) -> None:
        """A quota, for one, in the server's own words."""
        refused = a_condition("ReplicaFailure", message="exceeded quota: small")
        assert diagnosis.of_deployment(a_deployment(conditions=(refused,))) == Problem(
            Reason.POD_REFUSED, "the API server refuses the pod: exceeded quota: small"
        )

    def test_one_that_makes_no_progress(self) -> None:
        """Its deadline is over; what the pod waits for is in its events."""
        late = a_condition("Progressing", "False", message='ReplicaSet "team-1" has timed out progressing.')
        problem = diagnosis.of_progress(a_deployment(conditions=(late,)))
        assert problem is not None
        assert problem.reason is Reason.ROLLOUT_FAILED
        assert "timed out progressing" in problem.message

    def test_one_that_is_well(self) -> None:
        """No condition, no problem; nor with one that says that all is well."""
        well = (a_condition("Progressing"), a_condition("ReplicaFailure", "False"))
        for deployment in (a_deployment(), a_deployment(conditions=well), {}):
            assert diagnosis.of_deployment(deployment) is None
            assert diagnosis.of_progress(deployment) is None


CLASSES = (a_storage_class("standard"), a_storage_class("fast"))


class TestClaim:
    def of(self, claim: Object, *events: Object, classes: tuple[Object, ...] = CLASSES) -> Problem | None:
        problem = diagnosis.of_claim(claim, classes, events)
        assert problem is None or problem.concern is Concern.STORAGE
        return problem

    @pytest.mark.parametrize("phase", ["Bound", "Pending"])
    def test_one_that_is_bound_or_may_become_so_has_none(self, phase: str) -> None:
        """A volume takes its time."""
        assert self.of(a_claim(phase)) is None
        assert self.of({**a_claim(), "status": {}}) is None

    def test_a_lost_volume(self) -> None:
        """Which one it was."""
        claim = a_claim("Lost")
        claim["spec"]["volumeName"] = "pv-1"
        assert self.of(claim) == Problem(
            Reason.CLAIM_LOST, "the claim team-data has lost its volume pv-1", Concern.STORAGE
        )

    def test_no_default_class(self) -> None:
        """The classes that there are, and both cures."""
        problem = self.of(a_claim("Pending", storage_class=None))
        assert problem is not None
        assert problem.reason is Reason.NO_DEFAULT_CLASS
        assert problem.message == (
            "the claim team-data names no storage class and the cluster has no default one (there are: fast, standard);"
            " make one the default, or delete this PrivateRegistry and name one in spec.storage.storageClassName"
        )

    def test_no_class_at_all(self) -> None:
        """A cluster without storage says so."""
        problem = self.of(a_claim("Pending", storage_class=None), classes=())
        assert problem is not None
        assert "(there are: none)" in problem.message

    def test_a_class_that_does_not_exist(self) -> None:
        """Which one, and which ones do."""
        problem = self.of(a_claim("Pending", storage_class="fats"))
        assert problem is not None
        assert problem.reason is Reason.NO_STORAGE_CLASS
        assert "the storage class fats of the claim team-data does not exist (there are: fast, standard)" in (
            problem.message
        )

    def test_a_claim_for_a_volume_without_class(self) -> None:
        """An empty class and a volume that is named are both asked for on purpose."""
        named = a_claim("Pending", storage_class=None)
        named["spec"]["volumeName"] = "pv-1"
        assert self.of(named) is None
        assert self.of(a_claim("Pending", storage_class="")) is None

    def test_a_provisioner_that_fails(self) -> None:
        """Its newest words."""
        events = [{"reason": "ProvisioningFailed", "message": text} for text in ("old", "no space left")]
        problem = self.of(a_claim("Pending"), *events, {"reason": "ExternalProvisioning", "message": "waiting"})
        assert problem == Problem(
            Reason.PROVISIONING_FAILED,
            "no volume for the claim team-data (classes: fast, standard): no space left",
            Concern.STORAGE,
        )

    def test_what_failed_before_it_was_bound(self) -> None:
        """Past trouble is past."""
        assert self.of(a_claim("Bound"), {"reason": "ProvisioningFailed", "message": "old"}) is None


def test_times_are_read_as_the_server_writes_them() -> None:
    """UTC, to the second."""
    assert diagnosis.parse_time(at(0)) == NOW
    assert diagnosis.parse_time(None) is None
