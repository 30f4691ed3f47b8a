"""What a kubelet says of a pod."""

from typing import Any


def pod_status(
    pod: dict[str, Any], phase: str, state: dict[str, Any], *, ready: bool, last: dict[str, Any] | None, since: str
) -> dict[str, Any]:
    """A pod's status without its address; every container is in the same state. `since`: of its conditions."""
    yes_or_no = "True" if ready else "False"
    statuses: list[dict[str, Any]] = [
        {
            "name": spec["name"],
            "image": spec["image"],
            "imageID": "",
            "ready": ready,
            "restartCount": 1 if last else 0,
            "state": state,
            **({"lastState": last} if last else {}),
        }
        for spec in pod["spec"]["containers"]
    ]
    conditions = {"PodScheduled": "True", "Initialized": "True", "ContainersReady": yes_or_no, "Ready": yes_or_no}
    return {
        "phase": phase,
        "conditions": [
            {"type": kind, "status": value, "lastTransitionTime": since} for kind, value in conditions.items()
        ],
        "containerStatuses": statuses,
    }
