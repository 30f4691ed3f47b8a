"""Every reason that a condition may have is one that the program gives; each is reached here, from the objects on."""

import ast
import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from private_registry.api import conditions, names
from private_registry.api.collection import GarbageCollectionStatus
from private_registry.api.conditions import Reason
from private_registry.api.registry import RegistryStatus
from private_registry.api.storage import StorageStatus
from private_registry.controller.facts import Blocker
from private_registry.controller.health import summary
from private_registry.controller.health.problem import Concern, Problem
from private_registry.controller.health.versions import outdated
from private_registry.data.space import causes
from private_registry.registry.jobs import collection_job
from private_registry.trust import reasons as trust_reasons
from tests.unit.controller.builders import (
    CREATING,
    NOW,
    a_claim,
    a_condition,
    a_node,
    a_pod,
    a_registry,
    a_storage_class,
    an_agent_pod,
    an_unschedulable_pod,
    at,
    waiting,
)
from tests.unit.controller.scenes import status_of
from tests.unit.controller.small_cluster import made

Object = dict[str, Any]

PACKAGE = Path(conditions.__file__).parent.parent
DEPLOYMENT = ("Deployment", "team")
CLAIM = ("PersistentVolumeClaim", "team-data")
PENDING = a_claim("Pending")
CLASS = a_storage_class()


def rolling(next_pod: Object, *deployment_conditions: Object) -> RegistryStatus:
    """A registry whose next image is being rolled out, by this pod."""
    cluster = made()
    spec = {"image": "next"}
    cluster.reconcile(a_registry(spec, generation=2))
    deployment = cluster.objects[DEPLOYMENT]
    deployment["status"] |= {"conditions": list(deployment_conditions)}
    next_pod["metadata"]["annotations"] = {names.TEMPLATE: deployment["metadata"]["annotations"][names.TEMPLATE]}
    return status_of(spec, objects=cluster.objects, pods=(a_pod(template="last"), next_pod))


def leaving(obj: Object) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}


def starting(state: Object, node: str = "worker") -> Object:
    return a_pod(ready=False, node=node, state=state)


def upgrading(*, failing: bool) -> RegistryStatus:
    """A registry of an older operator, behind another one."""
    older = made().objects
    older[DEPLOYMENT]["metadata"]["annotations"][names.TEMPLATE] = "of an older operator"
    blocker = Blocker("registries/other", failing=failing)
    return status_of(objects=older, before=RegistryStatus(observed_generation=1), upgrade_blocker=blocker)


def claiming(claim: Object, *classes: Object, events: tuple[Object, ...] = ()) -> RegistryStatus:
    return status_of(changed={CLAIM: claim}, storage_classes=classes, claim_events=events, serves=False)


def hosts(host: str, **known: Any) -> RegistryStatus:
    return status_of({"nodeTrust": {"additionalHosts": [host]}}, **known)


def brought(secret: Object | None) -> RegistryStatus:
    changed = {} if secret is None else {("Secret", "brought"): secret}
    return status_of({"tls": {"mode": "Secret", "secretName": "brought"}}, objects=made().objects, changed=changed)


def pushing(secret: Object) -> RegistryStatus:
    spec = {"auth": {"mode": "Basic", "users": [{"secretName": "ci"}]}}
    return status_of(spec, objects=made().objects, changed={("Secret", "ci"): secret})


def foreign() -> Object:
    service = copy.deepcopy(made().objects["Service", "team"])
    service["metadata"]["labels"] = {}
    return service


def told(reason: Reason, concern: Concern = Concern.REGISTRY) -> RegistryStatus:
    """What only a real registry or API server can say: integration tests ask them."""
    return status_of(problems=(Problem(reason, "it says no", concern),))


OLD_CONTAINERD = {"name": "containerd", "version": "1.6.20"}


NIGHTLY = "0 3 * * *"


def a_collection() -> Object:
    """The Job of one that has just begun."""
    job = collection_job(a_registry(), image="operator", asked="now", dry_run=False, node="")
    job["metadata"] |= {"uid": "job", "creationTimestamp": at(1)}
    return job


SITUATIONS: dict[Reason, Callable[[], RegistryStatus]] = {
    Reason.READY: status_of,
    Reason.SERVING: status_of,
    Reason.BOUND: status_of,
    Reason.ALL_NODES: status_of,
    Reason.NO_NODES_SELECTED: lambda: status_of(nodes=()),
    Reason.TRUST_DISABLED: lambda: status_of({"nodeTrust": {"enabled": False}}),
    Reason.PROGRESSING: lambda: status_of(objects={}, serves=False),
    Reason.ROLLING_OUT: lambda: rolling(starting(CREATING)),
    Reason.UPGRADE_QUEUED: lambda: upgrading(failing=False),
    Reason.UPGRADE_HALTED: lambda: upgrading(failing=True),
    Reason.WAITING_FOR_POD: lambda: claiming(PENDING, a_storage_class(mode="WaitForFirstConsumer")),
    Reason.PROVISIONING: lambda: claiming(PENDING, CLASS),
    Reason.WAITING_FOR_NODES: lambda: status_of(rows={}),
    Reason.PROVING_IMAGE: lambda: rolling(starting(CREATING, node="other")),
    Reason.DELETING: lambda: summary.deleting(a_registry(), "nodes undo their trust: a", NOW),
    Reason.NOT_SERVING: lambda: status_of(serves=False),
    Reason.REGISTRY_UNAVAILABLE: lambda: status_of(serves=False),
    Reason.IMAGE_CANNOT_BE_PULLED: lambda: rolling(starting(waiting("ErrImagePull"))),
    Reason.NO_REGISTRY_IMAGE: lambda: rolling(starting(waiting("StartError", "executable file not found in $PATH"))),
    Reason.POD_CANNOT_BE_SCHEDULED: lambda: rolling(an_unschedulable_pod()),
    Reason.POD_CANNOT_START: lambda: rolling(starting(waiting("CrashLoopBackOff"))),
    Reason.POD_REFUSED: lambda: rolling(starting(CREATING), a_condition("ReplicaFailure")),
    Reason.ROLLOUT_FAILED: lambda: rolling(starting(CREATING), a_condition("Progressing", "False")),
    Reason.DELETE_NOT_AS_ASKED: lambda: told(Reason.DELETE_NOT_AS_ASKED),
    Reason.CLAIM_NOT_FOUND: lambda: status_of({"storage": {"claimName": "missing"}}, objects=made().objects),
    Reason.CLAIM_IN_USE: lambda: status_of(claim_user="registries/older"),
    Reason.CLAIM_LOST: lambda: claiming(a_claim("Lost")),
    Reason.NO_STORAGE_CLASS: lambda: claiming(PENDING, a_storage_class("another")),
    Reason.NO_DEFAULT_CLASS: lambda: claiming(a_claim("Pending", storage_class=None), CLASS),
    Reason.PROVISIONING_FAILED: lambda: claiming(PENDING, CLASS, events=({"reason": "ProvisioningFailed"},)),
    Reason.NOT_WRITABLE: lambda: told(Reason.NOT_WRITABLE, Concern.STORAGE),
    Reason.CLAIM_DIFFERS: lambda: status_of({"storage": {"storageClassName": "fast"}}, changed={CLAIM: a_claim()}),
    Reason.CLAIM_LEAVING: lambda: status_of(changed={CLAIM: leaving(a_claim())}),
    Reason.RESIZE_REFUSED: lambda: told(Reason.RESIZE_REFUSED, Concern.STORAGE),
    Reason.NAME_TAKEN: lambda: status_of(changed={("Service", "team"): foreign()}),
    Reason.HOST_INVALID: lambda: hosts("not a host"),
    Reason.HOST_NOT_ALLOWED: lambda: hosts("docker.io"),
    Reason.HOST_TAKEN: lambda: hosts("a.example.com:5000", taken_hosts={"a.example.com": "registries/older"}),
    Reason.SECRET_NOT_FOUND: lambda: brought(None),
    Reason.CERTIFICATE_INVALID: lambda: brought({"data": {}}),
    Reason.CREDENTIALS_INVALID: lambda: pushing({"metadata": {"name": "ci"}}),
    Reason.DISK_FULL: lambda: status_of(read_only=causes(StorageStatus(total="20Gi", free="1Gi", full=True))),
    Reason.COLLECTING: lambda: status_of(changed={("Job", "team-collection"): a_collection()}),
    Reason.COLLECTION_REFUSED: lambda: status_of(
        {"garbageCollection": {"schedule": NIGHTLY}},
        before=RegistryStatus(
            garbage_collection=GarbageCollectionStatus(schedule=f"{NIGHTLY} Etc/UTC", next_run=at(10))
        ),
    ),
    Reason.REQUESTED: lambda: status_of({"storage": {"readOnly": True}}),
    Reason.PLAIN_HTTP_NOT_ACKNOWLEDGED: lambda: status_of({"tls": {"mode": "Disabled"}, "auth": {"mode": "Basic"}}),
    Reason.SPEC_INVALID: lambda: summary.refused(a_registry(), Reason.SPEC_INVALID, "spec.storage.size: too long", NOW),
    Reason.TOO_MANY_REGISTRIES: lambda: summary.refused(a_registry(), Reason.TOO_MANY_REGISTRIES, "delete one", NOW),
    Reason.REFUSED_BY_SERVER: lambda: told(Reason.REFUSED_BY_SERVER),
    Reason.TOO_MANY_NAMESPACES: lambda: told(Reason.TOO_MANY_NAMESPACES, Concern.COPIES),
    Reason.NODES_NOT_TRUSTED: lambda: status_of(rows={"worker": {"trusted": False, "reason": "Unreachable"}}),
    Reason.AGENT_NOT_READY: lambda: status_of(agents=(an_agent_pod(ready=False),)),
    Reason.REGISTRY_OUTDATED: lambda: status_of(outdated=outdated(["registry:3.1.0"], {})),
    Reason.RUNTIME_OUTDATED: lambda: status_of(outdated=outdated([], {"worker": [OLD_CONTAINERD]})),
    Reason.NO_AGENT: lambda: status_of(nodes=(a_node(),), agents=()),
}


@pytest.mark.parametrize("reason", SITUATIONS)
def test_each_reason_is_said_where_it_belongs(reason: Reason) -> None:
    """A program that acts on a reason meets it in a condition, or with the node that it speaks of."""
    status = SITUATIONS[reason]()
    said = [each.reason for each in status.conditions] + [each.reason for each in status.nodes.problems]
    assert reason in said


def test_each_reason_has_its_situation() -> None:
    """A reason that is added is added here as well."""
    assert set(SITUATIONS) == set(Reason)


def uses(tree: ast.AST, module: str) -> Iterator[str]:
    """The members of `Reason` of this module that a file uses, by whatever name it imports it."""
    known = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == module
        for alias in node.names
        if alias.name == "Reason"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in known:
            yield node.attr


@pytest.mark.parametrize("room", [conditions, trust_reasons], ids=["of a registry", "of a node"])
def test_no_reason_is_dead(room: Any) -> None:
    """Each word in the list is one that the program says."""
    used = {
        attribute for path in PACKAGE.rglob("*.py") for attribute in uses(ast.parse(path.read_text()), room.__name__)
    }
    # Its one use is the verdict beside the list.
    used.add("TRUSTED")
    assert [reason.name for reason in room.Reason if reason.name not in used] == []
