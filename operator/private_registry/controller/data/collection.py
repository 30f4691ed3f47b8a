"""Where a collection of garbage stands, read off the cluster at each look, and its next step. Pure.

The Job is the run: it is made suspended, and while it is there and has not ended the registry takes no writes. Once
every pod that could write is gone it is let go; when its pod has ended, or its time is over whatever happened, the
registry takes writes again. It stays as the record of what it did until the next one is due.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from private_registry.api import names
from private_registry.api.collection import GarbageCollectionStatus
from private_registry.api.conditions import Reason
from private_registry.api.registry import PrivateRegistry
from private_registry.controller.data import sweeps
from private_registry.controller.health import rollout
from private_registry.controller.health.problem import Problem
from private_registry.controller.registries.drift import is_ours, stamped
from private_registry.controller.registries.observe import Observed
from private_registry.data import collection as outcomes
from private_registry.data.in_use import InUse, ListInvalidError
from private_registry.data.readonly import Cause
from private_registry.data.schedule import ScheduleInvalidError, next_after
from private_registry.kube import kinds
from private_registry.kube.writes import Apply, Create, Delete, Merge, Write
from private_registry.registry.jobs import COMPONENT, collection_job, in_use_config_map, is_told_of_use, on_node

Object = dict[str, Any]

TIME = "%Y-%m-%dT%H:%M:%SZ"
QUIESCE = 600.0
"""Seconds that the rollout to pods that take no writes may take, before the run is given up."""
MARGIN = 60.0
"""Seconds beyond its own deadline after which a run counts as ended whatever its Job says."""
SWEEP = 2.0
"""Seconds until a sweep is looked at again that a run waits for: nothing tells of Jobs."""
LATE = 3600.0
"""Seconds after which a run that the schedule asked for is left out: who chose the night does not want it at noon."""
_LONGEST = 64
"""Characters of an annotation's value that are looked at."""
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Run:
    """What a look at a registry's collection came to."""

    status: GarbageCollectionStatus = field(default_factory=GarbageCollectionStatus)
    writes: tuple[Write, ...] = ()
    cause: Cause | None = None
    """While nobody may write."""
    halts: bool = False
    """Whether not even the registry may have the volume meanwhile."""
    untold: Object | None = None
    """The Job that could begin once it knows the images in use."""
    problems: tuple[Problem, ...] = ()
    next_look: float | None = None
    """Seconds until time alone makes a difference; None: it makes none."""


def look(registry: PrivateRegistry, seen: Observed, image: str, now: datetime) -> Run:
    """The run that is under way, or that is due; `image` is the operator's own."""
    before = registry.status.garbage_collection
    job = seen.get(kinds.JOB, names.collection_job(registry.name))
    if job is not None and not is_ours(job, registry.uid):
        text = (
            f"there is a Job {job['metadata']['name']} in namespace {registry.namespace} that is not this registry's: "
            "no garbage is collected; rename or delete it"
        )
        problems = (Problem(Reason.NAME_TAKEN, text),) if _due(registry, before, now) else ()
        return Run(before, problems=problems)
    if job is not None and not _ended(job, seen):
        return _under_way(registry, seen, job, now)
    told = seen.get(kinds.CONFIG_MAP, names.in_use(registry.name))
    if told is not None and is_ours(told, registry.uid):
        return Run(before, (Delete(told),))
    try:
        status = _scheduled(registry, _recorded(before, job, seen) if job else before, now)
    except ScheduleInvalidError as error:
        return Run(before, problems=(Problem(Reason.SPEC_INVALID, f"spec.garbageCollection: {error}"),))
    due = _due(registry, status, now)
    if due is None:
        return Run(status, next_look=_until(status.next_run, now))
    if job is not None:
        # What it did is to be known before it goes.
        return Run(status, (Delete(job),) if status == before else (), next_look=1.0)
    return _begun(registry, seen, status, due, image)


@dataclass(frozen=True)
class _Due:
    asked: str
    dry_run: bool


def _due(registry: PrivateRegistry, status: GarbageCollectionStatus, now: datetime) -> _Due | None:
    if (asked := registry.collect[:_LONGEST]) and asked != status.asked:
        return _Due(asked, dry_run=False)
    if (asked := registry.collect_dry_run[:_LONGEST]) and asked != status.asked_dry_run:
        return _Due(asked, dry_run=True)
    if status.next_run and datetime.fromisoformat(status.next_run) <= now:
        return _Due("", dry_run=False)
    return None


def _scheduled(registry: PrivateRegistry, status: GarbageCollectionStatus, now: datetime) -> GarbageCollectionStatus:
    """With the time of the next run. Raises ScheduleInvalidError."""
    spec = registry.spec.garbage_collection
    if spec.schedule is None:
        return status.model_copy(update={"schedule": "", "next_run": ""})
    schedule = f"{spec.schedule} {spec.time_zone}"
    known = status.schedule == schedule and status.next_run
    if known and (now - datetime.fromisoformat(status.next_run)).total_seconds() < LATE:
        return status
    following = next_after(spec.schedule, spec.time_zone, now)
    return status.model_copy(update={"schedule": schedule, "next_run": following.strftime(TIME)})


def _begun(registry: PrivateRegistry, seen: Observed, status: GarbageCollectionStatus, due: _Due, image: str) -> Run:
    """The Job, as soon as the registry is as it is asked for: a rollout under way is waited for, and a sweep."""
    refused = ""
    if not image:
        refused = "the operator does not know its own image: give it --image"
    elif _is_for_one_pod(registry, seen) and not registry.spec.garbage_collection.allow_outage:
        refused = (
            "the volume is for one pod at a time (ReadWriteOncePod), so nobody could pull meanwhile: set "
            "spec.garbageCollection.allowOutage if that is meant"
        )
    if refused:
        return Run(status, problems=(Problem(Reason.COLLECTION_REFUSED, f"no garbage is collected: {refused}"),))
    deployment = seen.get(kinds.DEPLOYMENT, registry.name)
    nodes = _nodes(seen)
    if deployment is None or not rollout.is_complete(deployment) or not nodes:
        return Run(status)
    if _is_swept(registry, seen):
        return Run(status, next_look=SWEEP)
    job = collection_job(registry, image=image, asked=due.asked, dry_run=due.dry_run, node=_only(nodes))
    return Run(status, (Create(job),))


def _is_swept(registry: PrivateRegistry, seen: Observed) -> bool:
    """Whether retention deletes at this time, which a registry that takes no writes would refuse."""
    sweep = seen.get(kinds.JOB, names.sweep(registry.name))
    return sweep is not None and is_ours(sweep, registry.uid) and not sweeps.has_ended(sweep)


def _under_way(registry: PrivateRegistry, seen: Observed, job: Object, now: datetime) -> Run:
    before = registry.status.garbage_collection
    if _is_dry(job):
        return _let_go(registry, seen, job, Run(before), {}) if job["spec"].get("suspend") else Run(before)
    created = datetime.fromisoformat(job["metadata"]["creationTimestamp"])
    deadline = job["spec"]["activeDeadlineSeconds"]
    limit = created + timedelta(seconds=QUIESCE if job["spec"].get("suspend") else QUIESCE + deadline + MARGIN)
    lifted = (created + timedelta(seconds=QUIESCE + deadline + MARGIN)).strftime(TIME)
    cause = Cause(Reason.COLLECTING, f"garbage is collected: pushes are taken again when it is done, or at {lifted}")
    halts = _is_for_one_pod(registry, seen)
    if now >= limit:
        why = (
            "the registry's pods did not become read-only in time, or the images in use could not be listed"
            if job["spec"].get("suspend")
            else "it took too long"
        )
        return Run(before, (_given_up(job, why),))
    waits = Run(before, (), cause, halts=halts, next_look=(limit - now).total_seconds())
    if not job["spec"].get("suspend") or not _writers_are_gone(registry, seen, halts=halts):
        return waits
    return _let_go(registry, seen, job, waits, {"spec": {"affinity": on_node(_only(_nodes(seen)))}})


def _let_go(registry: PrivateRegistry, seen: Observed, job: Object, waits: Run, template: Object) -> Run:
    """Begin, once it knows what it has to: a list of before may lack what came into use since."""
    told = seen.get(kinds.CONFIG_MAP, names.in_use(registry.name))
    if is_told_of_use(job) and (told is None or _is_for(told) != job["metadata"]["uid"]):
        return replace(waits, untold=job)
    return replace(waits, writes=(Merge({"spec": {"suspend": False, "template": template}}, job),))


def _is_for(told: Object) -> str:
    return str((told["metadata"].get("annotations") or {}).get(names.COLLECTED_BY, ""))


def told(registry: PrivateRegistry, seen: Observed, job: Object, in_use: InUse) -> Write:
    """What tells the Job the images in use, or gives it up where it cannot be told."""
    try:
        desired = stamped(in_use_config_map(registry, in_use.text(), job["metadata"]["uid"]))
    except ListInvalidError as error:
        return _given_up(job, str(error))
    live = seen.get(kinds.CONFIG_MAP, desired["metadata"]["name"])
    if live is None:
        return Create(desired)
    if is_ours(live, registry.uid):
        return Apply(desired, live)
    name = live["metadata"]["name"]
    return _given_up(job, f"there is a ConfigMap {name} that is not this registry's: rename or delete it")


def _given_up(job: Object, why: str) -> Merge:
    return Merge({"metadata": {"annotations": {names.GIVEN_UP: why}}, "spec": {"suspend": True}}, job)


def _writers_are_gone(registry: PrivateRegistry, seen: Observed, *, halts: bool) -> bool:
    """Whether no pod is left, and none will come, that takes writes."""
    deployment = seen.get(kinds.DEPLOYMENT, registry.name)
    if deployment is None or not rollout.is_complete(deployment):
        return False
    pods = _pods(seen)
    if halts:
        return deployment["spec"].get("replicas", 1) == 0 and not pods
    made = (deployment["spec"]["template"], *pods)
    return all(names.READ_ONLY in (each["metadata"].get("annotations") or {}) for each in made)


def _ended(job: Object, seen: Observed) -> bool:
    """Whether nothing of it touches the volume any more."""
    if names.GIVEN_UP in (job["metadata"].get("annotations") or {}):
        return True
    pods = _of_job(job, seen)
    conditions = (job.get("status") or {}).get("conditions") or []
    over = any(each["type"] in ("Complete", "Failed") and each["status"] == "True" for each in conditions)
    return (over or bool(pods)) and all(_phase(pod) in _ENDED for pod in pods)


def _recorded(before: GarbageCollectionStatus, job: Object, seen: Observed) -> GarbageCollectionStatus:
    """The status after a run that has ended."""
    metadata = job["metadata"]
    if before.last_run == metadata["creationTimestamp"] and before.result:
        return before
    annotations = metadata.get("annotations") or {}
    outcome, ended = _outcome(job, seen)
    message = annotations.get(names.GIVEN_UP) or outcome.error
    seconds = (ended - datetime.fromisoformat(metadata["creationTimestamp"])).total_seconds() if ended else 0
    figures = outcome.model_dump(exclude={"error"})
    return before.model_copy(
        update={
            **figures,
            "asked": annotations.get(names.COLLECT) or before.asked,
            "asked_dry_run": annotations.get(names.COLLECT_DRY_RUN) or before.asked_dry_run,
            # The next one of a schedule is worked out anew.
            "next_run": "" if names.COLLECT in annotations and not annotations[names.COLLECT] else before.next_run,
            "last_run": metadata["creationTimestamp"],
            "result": "Failed" if message else "Succeeded",
            "dry_run": _is_dry(job),
            "duration_seconds": max(0, round(seconds)),
            "message": message[:1024],
        }
    )


def _outcome(job: Object, seen: Observed) -> tuple[outcomes.Outcome, datetime | None]:
    """What its pod left behind, and when it ended."""
    for pod in _of_job(job, seen):
        for state in (pod.get("status") or {}).get("containerStatuses") or []:
            if ended := (state.get("state") or {}).get("terminated"):
                text = ended.get("message") or ""
                found = outcomes.read(text) or outcomes.Outcome(
                    error=text[-500:] or f"it ended with {ended['exitCode']}"
                )
                when = ended.get("finishedAt")
                return found, datetime.fromisoformat(when) if when else None
    conditions = (job.get("status") or {}).get("conditions") or []
    why = [each.get("message") or each.get("reason", "") for each in conditions if each["type"] == "Failed"]
    return outcomes.Outcome(error=next(iter(why), "its pod is gone, and with it what it did")[:500]), None


def _of_job(job: Object, seen: Observed) -> list[Object]:
    """The Job's own pods, by the label that its controller gives them."""
    uid = job["metadata"]["uid"]
    labels = [(pod, pod["metadata"].get("labels") or {}) for pod in seen.pods]
    return [
        pod
        for pod, of in labels
        if of.get(names.COMPONENT) == COMPONENT and of.get("batch.kubernetes.io/controller-uid") == uid
    ]


def _pods(seen: Observed) -> list[Object]:
    """Pods of the registry itself that have not ended."""
    return [pod for pod in rollout.registry_pods(seen.pods) if _phase(pod) not in _ENDED]


def _nodes(seen: Observed) -> set[str]:
    return {pod["spec"]["nodeName"] for pod in _pods(seen) if pod["spec"].get("nodeName")}


def _only(nodes: Iterable[str]) -> str:
    """The one node where everything is; empty where the volume is on several, or on none."""
    found = list(nodes)
    return found[0] if len(found) == 1 else ""


def _is_for_one_pod(registry: PrivateRegistry, seen: Observed) -> bool:
    claim = seen.get(kinds.CLAIM, registry.claim_name)
    modes = (claim["spec"].get("accessModes") if claim else None) or [registry.spec.storage.access_mode]
    return list(modes) == ["ReadWriteOncePod"]


def _is_dry(job: Object) -> bool:
    return names.COLLECT_DRY_RUN in (job["metadata"].get("annotations") or {})


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase", ""))


def _until(moment: str, now: datetime) -> float | None:
    return max(0.0, (datetime.fromisoformat(moment) - now).total_seconds()) if moment else None
