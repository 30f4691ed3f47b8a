"""The status of a registry: what was seen, in the conditions of the design's table. Pure.

Nothing is claimed here that was not observed: Available says that /v2/ answered through the Service, NodesTrusted that
the runtimes answered.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from private_registry.api import names
from private_registry.api.conditions import Condition, Reason, Status, Type, find, merge
from private_registry.api.registry import MAX_PROBLEMS, NodeProblem, NodesStatus, PrivateRegistry, RegistryStatus
from private_registry.api.storage import StorageStatus
from private_registry.controller.health.nodes import Nodes
from private_registry.controller.health.problem import Concern, Problem
from private_registry.controller.registries.observe import Observed, cluster_ips
from private_registry.controller.registries.plan import Plan
from private_registry.distribution import Answer
from private_registry.kube import kinds
from private_registry.trust import entry as trust

TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Findings:
    """Everything that a status is made of."""

    seen: Observed
    plan: Plan
    problems: tuple[Problem, ...]
    """Of the plan, and of the writes that the API server refused."""
    serves: Answer
    nodes: Nodes
    outdated: Sequence[tuple[Reason, str]] = ()
    """What runs and has known holes."""
    storage: StorageStatus = field(default_factory=StorageStatus)
    """How full the volume is."""


def summarise(registry: PrivateRegistry, found: Findings, now: datetime) -> RegistryStatus:
    """The status of a registry that is not being deleted."""
    problems = _all_problems(found)
    available = _available(found, problems)
    storage = _storage(registry, found, problems)
    nodes = _nodes(registry, found, available)
    conditions = [_ready(problems, available, storage, nodes), available, storage, nodes]
    if (reconciling := _reconciling(registry, found, available, problems)) is not None:
        conditions.append(reconciling)
    if problems:
        first = problems[0]
        conditions.append(_condition(Type.STALLED, "True", first.reason, "; ".join(each.message for each in problems)))
    if causes := found.plan.read_only:
        message = "; ".join(each.message for each in causes)
        conditions.append(_condition(Type.READ_ONLY, "True", causes[0].reason, message))
    if found.outdated:
        reason, message = found.outdated[0][0], "; ".join(text for _, text in found.outdated)
        conditions.append(_condition(Type.OUTDATED, "True", reason, message))
    return _status(registry, found, tuple(conditions), now)


def refused(registry: PrivateRegistry, reason: Reason, message: str, now: datetime) -> RegistryStatus:
    """The status of an object for which nothing is done; what runs for it goes on running."""
    said = [
        _condition(Type.READY, "False", reason, message),
        _condition(Type.STALLED, "True", reason, message),
    ]
    kept = [each for each in registry.status.conditions if each.type not in (Type.READY, Type.STALLED)]
    conditions = merge([*said, *kept], registry.status.conditions, generation=registry.generation, now=_text(now))
    update = {"conditions": conditions, "observed_generation": registry.generation, "message": message}
    return registry.status.model_copy(update=update)


def deleting(registry: PrivateRegistry, waiting_for: str, now: datetime) -> RegistryStatus:
    """The status while nodes undo their trust."""
    said = [
        _condition(Type.READY, "False", Reason.DELETING, waiting_for),
        _condition(Type.NODES_TRUSTED, "False", Reason.DELETING, waiting_for),
    ]
    kept = [each for each in registry.status.conditions if each.type in (Type.AVAILABLE, Type.STORAGE_READY)]
    conditions = merge([*said, *kept], registry.status.conditions, generation=registry.generation, now=_text(now))
    update = {"conditions": conditions, "observed_generation": registry.generation, "message": waiting_for}
    return registry.status.model_copy(update=update)


def _status(
    registry: PrivateRegistry, found: Findings, conditions: tuple[Condition, ...], now: datetime
) -> RegistryStatus:
    seen = found.seen
    merged = merge(conditions, registry.status.conditions, generation=registry.generation, now=_text(now))
    ca, secret = names.ca_config_map(registry.name), names.credentials_secret(registry.name)
    ready = find(merged, Type.READY)
    pull = names.pull_secret_copy(registry.namespace, registry.name)
    desired, trusted = len(found.nodes.verdicts), found.nodes.trusted
    return RegistryStatus(
        observed_generation=registry.generation,
        host=found.plan.entry.hosts[0] if found.plan.entry else registry.status.host or registry.host,
        cluster_ips=cluster_ips(seen.get(kinds.SERVICE, registry.name)) or registry.status.cluster_ips,
        ca_config_map_name=ca if seen.get(kinds.CONFIG_MAP, ca) and registry.certificate_secret else "",
        credentials_secret_name=secret if seen.get(kinds.SECRET, secret) else "",
        pull_secret_name=pull
        if registry.has_pull_user or seen.get(kinds.SECRET, names.pull_secret(registry.name))
        else "",
        size=_size(registry, seen),
        storage=found.storage,
        entry_hash=published_hash(registry, seen),
        message=ready.message if ready and ready.status != "True" else "",
        conditions=merged,
        nodes=NodesStatus(
            desired=desired,
            trusted=trusted,
            summary=f"{trusted}/{desired}",
            problems=tuple(
                NodeProblem(node=each.node, reason=each.reason, message=each.message)
                for each in found.nodes.others[:MAX_PROBLEMS]
            ),
        ),
        copies=registry.status.copies,
        retention=registry.status.retention,
        garbage_collection=found.plan.run.status,
    )


def _all_problems(found: Findings) -> tuple[Problem, ...]:
    of_rollout = found.plan.rollout.problem
    # A claim that cannot be bound also keeps the pod from being scheduled: the cause is named first.
    return (*found.problems, *([of_rollout] if of_rollout else []))


def _ready(problems: tuple[Problem, ...], *parts: Condition) -> Condition:
    if problems:
        return _condition(Type.READY, "False", problems[0].reason, problems[0].message)
    for part in parts:
        if part.status != "True":
            return _condition(Type.READY, "False", part.reason, part.message)
    return _condition(Type.READY, "True", Reason.READY, "")


def _available(found: Findings, problems: tuple[Problem, ...]) -> Condition:
    if found.serves.yes:
        return _condition(Type.AVAILABLE, "True", Reason.SERVING, "/v2/ answers through the Service")
    for problem in problems:
        if problem.concern in (Concern.REGISTRY, Concern.STORAGE):
            return _condition(Type.AVAILABLE, "False", problem.reason, problem.message)
    return _condition(Type.AVAILABLE, "False", Reason.NOT_SERVING, found.serves.message)


def _storage(registry: PrivateRegistry, found: Findings, problems: tuple[Problem, ...]) -> Condition:
    for problem in problems:
        if problem.concern is Concern.STORAGE:
            return _condition(Type.STORAGE_READY, "False", problem.reason, problem.message)
    name = registry.claim_name
    claim = found.seen.get(kinds.CLAIM, name)
    if claim is not None and claim["metadata"].get("deletionTimestamp"):
        return _condition(Type.STORAGE_READY, "Unknown", Reason.PROVISIONING, f"the claim {name} is being deleted")
    if claim is not None and (claim.get("status") or {}).get("phase") == "Bound":
        return _condition(Type.STORAGE_READY, "True", Reason.BOUND, f"the claim {name} is bound")
    classes = {each["metadata"]["name"]: each for each in found.seen.storage_classes}
    of_claim = classes.get(((claim or {}).get("spec") or {}).get("storageClassName") or "")
    if of_claim is not None and of_claim.get("volumeBindingMode") == "WaitForFirstConsumer":
        return _condition(
            Type.STORAGE_READY,
            "Unknown",
            Reason.WAITING_FOR_POD,
            f"the claim {name} is bound when the pod is scheduled",
        )
    return _condition(Type.STORAGE_READY, "Unknown", Reason.PROVISIONING, f"the claim {name} waits for its volume")


def _nodes(registry: PrivateRegistry, found: Findings, available: Condition) -> Condition:
    if not registry.spec.node_trust.enabled:
        return _condition(Type.NODES_TRUSTED, "True", Reason.TRUST_DISABLED, "spec.nodeTrust.enabled is false")
    if available.status != "True":
        return _condition(
            Type.NODES_TRUSTED, "Unknown", Reason.REGISTRY_UNAVAILABLE, "no node can prove its trust: see Available"
        )
    nodes = found.nodes
    if not nodes.verdicts and not nodes.pending:
        return _condition(
            Type.NODES_TRUSTED, "True", Reason.NO_NODES_SELECTED, "spec.nodeTrust.nodeSelector matches no ready node"
        )
    if not nodes.verdicts:
        return _condition(
            Type.NODES_TRUSTED,
            "Unknown",
            Reason.WAITING_FOR_NODES,
            f"{nodes.pending} nodes are less than 2 minutes old",
        )
    if not nodes.others:
        return _condition(Type.NODES_TRUSTED, "True", Reason.ALL_NODES, f"{nodes.trusted} nodes proved their trust")
    first = next((each for each in nodes.others if each.state == "untrusted"), nodes.others[0])
    message = f"{nodes.trusted}/{len(nodes.verdicts)} nodes trust it; {first.node}: {first.reason}: {first.message}"
    if first.state == "unknown":
        return _condition(Type.NODES_TRUSTED, "Unknown", Reason.AGENT_NOT_READY, message)
    waiting = all(each.reason in (Reason.WAITING_FOR_NODES, "Applying") for each in nodes.others)
    reason = Reason.WAITING_FOR_NODES if waiting else Reason.NODES_NOT_TRUSTED
    return _condition(Type.NODES_TRUSTED, "False", reason, message)


def _reconciling(
    registry: PrivateRegistry, found: Findings, available: Condition, problems: tuple[Problem, ...]
) -> Condition | None:
    plan = found.plan
    if plan.queued_behind:
        reason = Reason.UPGRADE_HALTED if plan.queued_behind.failing else Reason.UPGRADE_QUEUED
        state = "fails" if plan.queued_behind.failing else "is not complete"
        message = (
            f"the operator's upgrade rolls one registry at a time: the rollout of {plan.queued_behind.key} {state}"
        )
        return _condition(Type.RECONCILING, "True", reason, message)
    if plan.waiting:
        return _condition(Type.RECONCILING, "True", Reason.PROGRESSING, f"waiting for {plan.waiting}")
    if plan.rollout.prove_on:
        node = plan.rollout.prove_on
        return _condition(
            Type.RECONCILING, "True", Reason.PROVING_IMAGE, f"the image is proven on {node} before the pod moves there"
        )
    if plan.rollout.busy:
        return _condition(Type.RECONCILING, "True", Reason.ROLLING_OUT, "the next pod is not ready yet")
    if available.status != "True" and not problems:
        return _condition(Type.RECONCILING, "True", Reason.PROGRESSING, available.message)
    if registry.shares and registry.status.copies.observed_generation != registry.generation:
        return _condition(Type.RECONCILING, "True", Reason.PROGRESSING, "waiting for the copies in other namespaces")
    return None


def _size(registry: PrivateRegistry, seen: Observed) -> str:
    claim = seen.get(kinds.CLAIM, registry.claim_name) or {}
    capacity: str = ((claim.get("status") or {}).get("capacity") or {}).get("storage", "")
    requests = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    return capacity or requests.get("storage", "")


def _condition(kind: Type, status: Status, reason: Reason, message: str) -> Condition:
    return Condition(type=kind, status=status, reason=reason, message=message[:4096])


def _text(now: datetime) -> str:
    return now.strftime(TIME)


def published_hash(registry: PrivateRegistry, seen: Observed) -> str:
    """Hash of the trust entry that nodes are asked to believe; empty when there is none."""
    entry = seen.get(kinds.CONFIG_MAP, names.entry(registry.namespace, registry.name))
    return trust.hash_of(trust.data_of(entry)) if entry else ""


def is_urgent(new: RegistryStatus, old: RegistryStatus) -> bool:
    """Whether a change of status is one that somebody waits for; others may join the next one."""
    if not old.conditions or new.observed_generation != old.observed_generation:
        return True
    watched = (Type.READY, Type.AVAILABLE, Type.STALLED)
    return any(_said(new, kind) != _said(old, kind) for kind in watched)


def _said(status: RegistryStatus, kind: Type) -> str | None:
    condition = find(status.conditions, kind)
    return condition.status if condition else None
