"""What keeps a pod, a claim or a Deployment from becoming what it should be, in our words. Pure.

Sources of the reasons: k8s.io/kubernetes/pkg/kubelet (container states), pkg/scheduler (PodScheduled), the deployment
controller (ReplicaFailure) and the volume binder's events.
"""

from datetime import datetime
from typing import Any

from private_registry.api.conditions import Reason
from private_registry.controller.health.problem import Concern, Problem
from private_registry.registry.deployment import SPACE_CONTAINER

Object = dict[str, Any]

_PULL = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
_NOT_STARTED = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"}
_MISSING_PROGRAM = ("executable file not found", "no such file or directory")

UNSCHEDULED_FOR = 15.0
"""Seconds a pod may be unschedulable before that is a problem: the volume binder and autoscalers need a moment."""


def of_pod(pod: Object, now: datetime) -> Problem | None:
    """The problem of a registry's pod, when it has one that waiting alone will not cure."""
    status = pod.get("status") or {}
    for state in status.get("containerStatuses") or []:
        if problem := _of_container(state, pod):
            return problem
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            since = parse_time(condition.get("lastTransitionTime")) or now
            if (now - since).total_seconds() >= UNSCHEDULED_FOR:
                return Problem(
                    Reason.POD_CANNOT_BE_SCHEDULED,
                    f"no node can run the registry's pod: {condition.get('message', 'no reason given')}; "
                    "change spec.scheduling, spec.resources or the nodes",
                )
    return None


def _of_container(state: Object, pod: Object) -> Problem | None:
    # As it was asked for: the name in the state may be any other that the runtime has for the same image.
    asked = {container["name"]: container["image"] for container in pod["spec"]["containers"]}
    image = asked[state["name"]]
    waiting = (state.get("state") or {}).get("waiting") or {}
    ended = (state.get("state") or {}).get("terminated") or (state.get("lastState") or {}).get("terminated") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    beside = state["name"] == SPACE_CONTAINER
    who = "the container space, which tells how full the volume is," if beside else "the registry"
    if reason in _PULL:
        return Problem(
            Reason.IMAGE_CANNOT_BE_PULLED,
            f"the image {image} cannot be pulled ({reason}): {message}; correct "
            + ("--image of the operator" if beside else "spec.image")
            + " or spec.scheduling.imagePullSecrets",
        )
    failure = f"{message} {ended.get('message', '')}"
    not_started = reason in _NOT_STARTED or ended.get("reason") in _NOT_STARTED
    if not beside and not_started and any(text in failure for text in _MISSING_PROGRAM):
        return Problem(
            Reason.NO_REGISTRY_IMAGE,
            f"the image {image} has no program `registry`: spec.image must be the CNCF distribution registry, "
            "3.1.1 or newer",
        )
    if reason in _NOT_STARTED:
        return Problem(Reason.POD_CANNOT_START, f"{who} cannot start ({reason}): {message}")
    if reason == "CrashLoopBackOff":
        last = (ended.get("message") or "").strip().splitlines()
        return Problem(
            Reason.POD_CANNOT_START,
            f"{who} ends with exit code {ended.get('exitCode', '?')} each time it is started"
            + (f": {last[-1][:500]}" if last else ""),
        )
    return None


def of_deployment(deployment: Object) -> Problem | None:
    """Pods that the API server refuses to the Deployment: a quota, an admission policy, Pod Security."""
    for condition in (deployment.get("status") or {}).get("conditions") or []:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return Problem(Reason.POD_REFUSED, f"the API server refuses the pod: {condition.get('message', '')}")
    return None


def of_progress(deployment: Object) -> Problem | None:
    """A rollout that took longer than its progressDeadlineSeconds; the Deployment controller goes on trying."""
    for condition in (deployment.get("status") or {}).get("conditions") or []:
        if condition["type"] == "Progressing" and condition["status"] == "False":
            return Problem(
                Reason.ROLLOUT_FAILED,
                f"the registry's next pod does not become ready: {condition.get('message', 'no reason given')}; see "
                "its events (kubectl describe pod) and correct the spec, which is then rolled out at once",
            )
    return None


def of_claim(claim: Object, storage_classes: tuple[Object, ...], events: tuple[Object, ...]) -> Problem | None:
    """The problem of a claim that is not bound; None while it may still become so by itself."""
    name = claim["metadata"]["name"]
    phase = (claim.get("status") or {}).get("phase", "Pending")
    if phase == "Lost":
        volume = claim["spec"].get("volumeName", "")
        return Problem(Reason.CLAIM_LOST, f"the claim {name} has lost its volume {volume}", Concern.STORAGE)
    if phase == "Bound":
        return None
    known = ", ".join(sorted(each["metadata"]["name"] for each in storage_classes)) or "none"
    wanted = claim["spec"].get("storageClassName")
    if wanted is None and not claim["spec"].get("volumeName"):
        return Problem(
            Reason.NO_DEFAULT_CLASS,
            f"the claim {name} names no storage class and the cluster has no default one (there are: {known}); "
            "make one the default, or delete this PrivateRegistry and name one in spec.storage.storageClassName",
            Concern.STORAGE,
        )
    if wanted and wanted not in {each["metadata"]["name"] for each in storage_classes}:
        return Problem(
            Reason.NO_STORAGE_CLASS,
            f"the storage class {wanted} of the claim {name} does not exist (there are: {known}); create it, or delete "
            "this PrivateRegistry and name another class",
            Concern.STORAGE,
        )
    for event in reversed(events):
        if event.get("reason") == "ProvisioningFailed":
            return Problem(
                Reason.PROVISIONING_FAILED,
                f"no volume for the claim {name} (classes: {known}): {event.get('message', '')}",
                Concern.STORAGE,
            )
    return None


def parse_time(text: str | None) -> datetime | None:
    """A time as the API server writes it."""
    return datetime.fromisoformat(text) if text else None


def of_failed_proof(pod: Object) -> Problem:
    """A pod that was to prove an image, and ended otherwise: by its program, or by the kubelet (evicted, shut down)."""
    image, node = pod["spec"]["containers"][0]["image"], pod["spec"].get("nodeName", "")
    status = pod["status"]
    if reason := status.get("reason"):
        return Problem(
            Reason.POD_CANNOT_START,
            f"node {node} ended the pod {pod['metadata']['name']}, which tries the image {image} there ({reason}): "
            f"{status.get('message', 'no message').rstrip('.')}; delete that pod to have it tried again",
        )
    return Problem(
        Reason.NO_REGISTRY_IMAGE,
        f"`registry --version` of the image {image} failed on node {node}: spec.image must be the CNCF distribution "
        "registry, 3.1.1 or newer",
    )
