"""Where a rollout stands, and the way out when the next pod cannot start beside the last one. Pure.

A ReadWriteOnce volume is attached to one node. A next pod that was scheduled to another node waits for the volume for
ever while the last one serves. Then a pod without the volume first proves the image on that node, and only this one
rollout is finished by stopping the last pod before the next.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from private_registry.api import names
from private_registry.api.registry import PrivateRegistry
from private_registry.controller.health import diagnosis
from private_registry.controller.health.problem import Problem
from private_registry.registry.deployment import SPACE_CONTAINER, Strategy
from private_registry.registry.image_proof import COMPONENT as IMAGE_PROOF

Object = dict[str, Any]

PATIENCE = 60.0
"""Seconds that a pod on another node than the last one's has to start before the image is proven there."""

_ENDED = ("Succeeded", "Failed")

State = Literal["absent", "complete", "progressing", "failing"]


@dataclass(frozen=True)
class Rollout:
    """A Deployment's rollout: how far it is, what is wrong with it, and how it may be finished."""

    state: State
    problem: Problem | None = None
    strategy: Strategy = "RollingUpdate"
    prove_on: str = ""
    """Node on which the image is to be proven first; empty: none."""

    @property
    def busy(self) -> bool:
        """Whether the next rollout has to wait. One that fails may be replaced at once: that is its cure."""
        return self.state == "progressing"


ABSENT = Rollout("absent")


def of(registry: PrivateRegistry, deployment: Object | None, pods: tuple[Object, ...], now: datetime) -> Rollout:
    """The rollout as deployment and pods show it."""
    if deployment is None:
        return ABSENT
    if is_complete(deployment):
        return Rollout("complete")
    under_way = _under_way(registry, deployment, pods, now)
    if under_way.busy and (late := diagnosis.of_progress(deployment)):
        return replace(under_way, state="failing", problem=late)
    return under_way


def _under_way(registry: PrivateRegistry, deployment: Object, pods: tuple[Object, ...], now: datetime) -> Rollout:
    template = (deployment["spec"]["template"]["metadata"].get("annotations") or {}).get(names.TEMPLATE)
    new = [pod for pod in registry_pods(pods) if _template(pod) == template and not _is_leaving(pod)]
    old = [pod for pod in registry_pods(pods) if _template(pod) != template and is_ready(pod)]
    problem = diagnosis.of_deployment(deployment)
    for pod in new:
        problem = problem or diagnosis.of_pod(pod, now)
    if deployment["spec"]["strategy"]["type"] == "Recreate" and not problem:
        return Rollout("progressing", strategy="Recreate")
    if problem or not old or registry.spec.storage.access_mode != "ReadWriteOnce":
        return Rollout("failing" if problem else "progressing", problem)
    return _beside(new, old, pods, now)


def _beside(new: list[Object], old: list[Object], pods: tuple[Object, ...], now: datetime) -> Rollout:
    """A rollout whose next pod is expected to start beside the last one, on one node."""
    last_nodes = {pod["spec"].get("nodeName") for pod in old}
    for pod in new:
        node = pod["spec"].get("nodeName")
        if not node or node in last_nodes or _has_started(pod) or _scheduled_for(pod, now) < PATIENCE:
            continue
        image = pod["spec"]["containers"][0]["image"]
        proof = next((each for each in pods if _proves(each, image, node)), None)
        phase = ((proof or {}).get("status") or {}).get("phase")
        if proof is not None and phase == "Succeeded":
            return Rollout("progressing", strategy="Recreate")
        if proof is not None and (phase == "Failed" or diagnosis.of_pod(proof, now)):
            return Rollout("failing", diagnosis.of_pod(proof, now) or diagnosis.of_failed_proof(proof))
        return Rollout("progressing", prove_on=node)
    return Rollout("progressing")


def is_complete(deployment: Object) -> bool:
    """Whether every pod is of the newest template and available, and no older one is left."""
    status = deployment.get("status") or {}
    replicas = deployment["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
        and status.get("updatedReplicas", 0) == replicas
        and status.get("replicas", 0) == replicas
        and status.get("availableReplicas", 0) == replicas
    )


def serves_only(deployment: Object | None, pods: tuple[Object, ...], fingerprint: str) -> bool:
    """Whether no pod serves, or is about to, with another certificate than that of this fingerprint."""
    if deployment is None:
        return True
    made = (deployment["spec"]["template"], *registry_pods(pods))
    return is_complete(deployment) and all(was_started_with(each, fingerprint) for each in made)


def was_started_with(pod: Object, fingerprint: str) -> bool:
    """Whether a pod, unless it has ended, was made for the certificate of this fingerprint."""
    annotations = pod["metadata"].get("annotations") or {}
    return annotations.get(names.CERTIFICATE) == fingerprint or (pod.get("status") or {}).get("phase") in _ENDED


def has_arrived(deployment: Object) -> bool:
    """Whether the newest template was rolled out, whatever has become of its pods since.

    The Deployment's controller says so once (deployment/util, NewReplicaSetAvailable) and until the next template.
    """
    status = deployment.get("status") or {}
    return status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0) and any(
        each["type"] == "Progressing" and each.get("reason") == "NewReplicaSetAvailable"
        for each in status.get("conditions") or []
    )


def is_available(deployment: Object | None) -> bool:
    """Whether some pod of the Deployment is ready, of whichever template."""
    return bool(deployment and (deployment.get("status") or {}).get("availableReplicas", 0) > 0)


def registry_pods(pods: tuple[Object, ...]) -> list[Object]:
    """Those that serve, without those that prove an image."""
    return [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(names.COMPONENT) == "registry"]


def images(pods: tuple[Object, ...]) -> list[str]:
    """The registries that those run that serve and are ready."""
    ready = filter(is_ready, registry_pods(pods))
    every = [container for pod in ready for container in pod["spec"]["containers"]]
    return [container["image"] for container in every if container["name"] != SPACE_CONTAINER]


def is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _proves(pod: Object, image: str, node: str) -> bool:
    return (
        (pod["metadata"].get("labels") or {}).get(names.COMPONENT) == IMAGE_PROOF
        and pod["spec"].get("nodeName") == node
        and pod["spec"]["containers"][0]["image"] == image
    )


def _template(pod: Object) -> str | None:
    annotation: str | None = (pod["metadata"].get("annotations") or {}).get(names.TEMPLATE)
    return annotation


def _is_leaving(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def _has_started(pod: Object) -> bool:
    states = (pod.get("status") or {}).get("containerStatuses") or []
    return any((state.get("state") or {}).keys() & {"running", "terminated"} for state in states)


def _scheduled_for(pod: Object, now: datetime) -> float:
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "True":
            since = diagnosis.parse_time(condition.get("lastTransitionTime"))
            return (now - since).total_seconds() if since else 0.0
    return 0.0
