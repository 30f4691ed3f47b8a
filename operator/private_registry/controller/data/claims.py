"""What becomes of a registry's claim: it is made, kept, made to grow, or waited for. Pure.

Whatever cannot be, the pod that serves goes on serving from the claim as it is.
"""

from dataclasses import dataclass
from typing import Any

from private_registry.api.conditions import Reason
from private_registry.api.registry import PrivateRegistry
from private_registry.controller.health import diagnosis
from private_registry.controller.health.problem import Concern, Problem
from private_registry.controller.registries.drift import is_ours
from private_registry.controller.registries.observe import Observed
from private_registry.kube import kinds
from private_registry.registry.claim import claim, is_smaller, is_to_grow, with_size_of

Object = dict[str, Any]

GONE_WITH_ITS_PODS = (
    "is being deleted: it goes with the last pod that uses it, and all images with it. Copy them elsewhere while the "
    "registry still serves them; then delete this PrivateRegistry and make it anew"
)


@dataclass(frozen=True)
class Decision:
    """What to do about a claim."""

    desired: Object | None = None
    """To be there; None: it stays as it is, or is somebody else's to make."""
    usable: bool = True
    """Whether a pod may be made that mounts it."""
    problems: tuple[Problem, ...] = ()
    waiting: str = ""
    """For what; empty: for nothing."""


def decide(registry: PrivateRegistry, seen: Observed, used_by: str) -> Decision:
    """`used_by`: another registry that uses the claim."""
    name, live = registry.claim_name, seen.get(kinds.CLAIM, registry.claim_name)
    if used_by:
        text = (
            f"the claim {name} is used by the registry {used_by}; two registries on one volume would delete each "
            "other's images: make this one anew, with a claim of its own"
        )
        return _unusable(Reason.CLAIM_IN_USE, text)
    if live is None:
        if (desired := claim(registry)) is not None:
            return Decision(desired)
        text = (
            f"spec.storage.claimName: there is no PersistentVolumeClaim {name} in namespace {registry.namespace}; "
            "create it"
        )
        return _unusable(Reason.CLAIM_NOT_FOUND, text)
    if live["metadata"].get("deletionTimestamp"):
        return _leaving(registry, seen, name)
    if differs := _differs(registry, live):
        return _unusable(Reason.CLAIM_DIFFERS, f"the claim {name} was kept and {differs}")
    return _kept(registry, seen, live)


def _kept(registry: PrivateRegistry, seen: Observed, live: Object) -> Decision:
    """A claim that is used, and may be asked to grow."""
    problems = [each for each in (diagnosis.of_claim(live, seen.storage_classes, seen.claim_events),) if each]
    desired, waiting = claim(registry, live), ""
    if desired and is_to_grow(registry, live):
        if obstacle := _cannot_grow(live, seen.storage_classes):
            problems.append(_storage(Reason.RESIZE_REFUSED, obstacle))
        if obstacle or not _is_bound(live):
            desired = with_size_of(desired, live)  # one that is not bound yet cannot be changed, and is looked at then
    elif desired and (growing := _growing(live)):
        failed = (live.get("status") or {}).get("allocatedResourceStatuses", {}).get("storage", "")
        if failed.endswith(("Infeasible", "Failed")):
            problems.append(_storage(Reason.RESIZE_REFUSED, f"{growing}, and its driver cannot do it: {failed}"))
        else:
            waiting = growing
    return Decision(desired, problems=tuple(problems), waiting=waiting)


def _leaving(registry: PrivateRegistry, seen: Observed, name: str) -> Decision:
    """A claim that is being deleted: it may be an earlier registry's that has just gone, or this one's."""
    deployment = seen.get(kinds.DEPLOYMENT, registry.name)
    if deployment is not None and is_ours(deployment, registry.uid):
        return _unusable(Reason.CLAIM_LEAVING, f"the claim {name} {GONE_WITH_ITS_PODS}")
    return Decision(usable=False, waiting=f"the claim {name}, which is being deleted, to be gone")


def _differs(registry: PrivateRegistry, live: Object) -> str:
    """What of a claim that was kept is not as it is asked for, and cannot be changed."""
    if (desired := claim(registry, live)) is None:
        return ""
    for field, of_spec in (("storageClassName", "storageClassName"), ("accessModes", "accessMode")):
        if field in desired["spec"] and (has := live["spec"].get(field)) != desired["spec"][field]:
            has = ", ".join(has) if isinstance(has, list) else has
            return (
                f"has the {of_spec} {has!r}: delete this PrivateRegistry, which the claim outlives, and make it anew "
                f"with that in spec.storage.{of_spec}; or, if its images may go, delete the claim"
            )
    return ""


def _cannot_grow(live: Object, classes: tuple[Object, ...]) -> str:
    """Why a claim stays as large as it is; empty: nothing is known of that."""
    name, wanted = live["metadata"]["name"], live["spec"].get("storageClassName")
    if not wanted:
        return f"the claim {name} cannot grow: its volume is of no storage class; {_WAY_OUT}"
    found = next((each for each in classes if each["metadata"]["name"] == wanted), None)
    if found is None:
        return f"the claim {name} cannot grow: its storage class {wanted} is not there any more; {_WAY_OUT}"
    if not found.get("allowVolumeExpansion"):
        return (
            f"the claim {name} cannot grow: its storage class {wanted} has no allowVolumeExpansion; have the "
            f"administrator set it if the driver can, or {_WAY_OUT}"
        )
    return ""


_WAY_OUT = "make another PrivateRegistry of that size and copy the images over"


def _growing(live: Object) -> str:
    """What a claim is on its way to, that has been asked to grow; empty: it is there."""
    status = live.get("status") or {}
    asked, has = live["spec"]["resources"]["requests"]["storage"], (status.get("capacity") or {}).get("storage")
    said = {each["type"] for each in status.get("conditions") or [] if each["status"] == "True"}
    if not has or not (said & {"Resizing", "FileSystemResizePending"} or is_smaller(has, asked)):
        return ""
    text = f"the claim {live['metadata']['name']} to grow from {has} to {asked}"
    if "FileSystemResizePending" in said:
        return f"{text}: its volume has, and its file system is next, with some drivers only when a pod starts"
    return text


def _is_bound(live: Object) -> bool:
    return bool((live.get("status") or {}).get("phase") == "Bound")


def _unusable(reason: Reason, text: str) -> Decision:
    return Decision(usable=False, problems=(_storage(reason, text),))


def _storage(reason: Reason, text: str) -> Problem:
    return Problem(reason, text, Concern.STORAGE)
