"""Conditions as the Kubernetes API conventions have them, and the reasons that ours give.

A reason is a word that a program may act on, so the words live here once. `lastTransitionTime` moves only with the
status, and `now` is an argument: this room has no clock.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Literal

from pydantic import Field

from private_registry.api.model import Written

Status = Literal["True", "False", "Unknown"]


class Type(StrEnum):
    """The conditions of a PrivateRegistry. Reconciling, Stalled (kstatus), ReadOnly and Outdated: only while True."""

    READY = "Ready"
    AVAILABLE = "Available"
    STORAGE_READY = "StorageReady"
    NODES_TRUSTED = "NodesTrusted"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    READ_ONLY = "ReadOnly"
    """Pushes and deletions are refused; Ready says nothing of it, because whoever pulls is served."""
    OUTDATED = "Outdated"
    """A warning: nothing else depends on it."""


class Reason(StrEnum):
    """Why a condition is what it is."""

    # things are as asked for
    READY = "Ready"
    SERVING = "Serving"
    BOUND = "Bound"
    ALL_NODES = "AllNodesTrust"
    NO_NODES_SELECTED = "NoNodesSelected"
    TRUST_DISABLED = "NodeTrustDisabled"
    # on the way there
    PROGRESSING = "Progressing"
    ROLLING_OUT = "RollingOut"
    UPGRADE_QUEUED = "UpgradeQueued"
    UPGRADE_HALTED = "UpgradeHalted"
    WAITING_FOR_POD = "WaitingForPod"
    PROVISIONING = "Provisioning"
    WAITING_FOR_NODES = "WaitingForNodes"
    PROVING_IMAGE = "ProvingImage"
    DELETING = "Deleting"
    # the registry
    NOT_SERVING = "NotServing"
    REGISTRY_UNAVAILABLE = "RegistryUnavailable"
    IMAGE_CANNOT_BE_PULLED = "ImageCannotBePulled"
    NO_REGISTRY_IMAGE = "NotARegistry"
    POD_CANNOT_BE_SCHEDULED = "PodCannotBeScheduled"
    POD_CANNOT_START = "PodCannotStart"
    POD_REFUSED = "PodRefused"
    ROLLOUT_FAILED = "RolloutFailed"
    DELETE_NOT_AS_ASKED = "DeleteNotAsAsked"
    # storage
    CLAIM_NOT_FOUND = "ClaimNotFound"
    CLAIM_IN_USE = "ClaimInUse"
    CLAIM_LOST = "ClaimLost"
    CLAIM_DIFFERS = "ClaimDiffers"
    CLAIM_LEAVING = "ClaimBeingDeleted"
    NO_STORAGE_CLASS = "StorageClassNotFound"
    NO_DEFAULT_CLASS = "NoDefaultStorageClass"
    PROVISIONING_FAILED = "ProvisioningFailed"
    NOT_WRITABLE = "NotWritable"
    RESIZE_REFUSED = "ResizeRefused"
    # no writes for now
    REQUESTED = "Requested"
    DISK_FULL = "DiskFull"
    COLLECTING = "Collecting"
    COLLECTION_REFUSED = "CollectionRefused"
    # names and certificates
    NAME_TAKEN = "NameTaken"
    HOST_INVALID = "HostInvalid"
    HOST_NOT_ALLOWED = "HostNotAllowed"
    HOST_TAKEN = "HostTaken"
    SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105
    CERTIFICATE_INVALID = "CertificateInvalid"
    CREDENTIALS_INVALID = "CredentialsInvalid"
    PLAIN_HTTP_NOT_ACKNOWLEDGED = "PlainHTTPNotAcknowledged"
    SPEC_INVALID = "SpecInvalid"
    TOO_MANY_REGISTRIES = "TooManyRegistries"
    REFUSED_BY_SERVER = "RefusedByServer"
    # other namespaces
    TOO_MANY_NAMESPACES = "TooManyNamespaces"
    # nodes
    NODES_NOT_TRUSTED = "NodesNotTrusted"
    AGENT_NOT_READY = "AgentNotReady"
    NO_AGENT = "NoAgent"
    # versions with known holes
    REGISTRY_OUTDATED = "RegistryOutdated"
    RUNTIME_OUTDATED = "RuntimeOutdated"


class Condition(Written):
    """One condition; the field names are those of metav1.Condition."""

    type: Type
    status: Status
    reason: Reason
    message: str = Field(default="", max_length=32768)
    observed_generation: int = 0
    last_transition_time: str = ""
    """RFC 3339, UTC, seconds; empty before merge() has set it."""


def merge(new: Iterable[Condition], old: Sequence[Condition], *, generation: int, now: str) -> tuple[Condition, ...]:
    """The new conditions, each keeping the transition time of the old one of its type and status."""
    before = {condition.type: condition for condition in old}
    merged = []
    for condition in new:
        same = before.get(condition.type)
        kept = same.last_transition_time if same and same.status == condition.status else ""
        merged.append(
            condition.model_copy(update={"observed_generation": generation, "last_transition_time": kept or now})
        )
    return tuple(merged)


def find(conditions: Iterable[Condition], wanted: Type) -> Condition | None:
    return next((condition for condition in conditions if condition.type is wanted), None)
