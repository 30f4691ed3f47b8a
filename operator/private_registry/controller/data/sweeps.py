"""Where the retention of a registry stands, and its next step. Pure: everything is read off the cluster at each look.

The Job is the run, and stays as the record of it until the next one is due. It is concluded once: from then on the
status names its time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from private_registry.api.registry import PrivateRegistry
from private_registry.api.retention import RetentionStatus
from private_registry.controller.registries.drift import is_ours
from private_registry.data.orders import Result, parse_result
from private_registry.data.schedule import next_after

Object = dict[str, Any]

TIME = "%Y-%m-%dT%H:%M:%SZ"
BLOCKED = "Blocked"
"""Result while something is in the way of a sweep that is due."""
LATE = timedelta(hours=1)
"""After which a run that the schedule asked for is left out: who chose the night does not want it at noon."""


@dataclass(frozen=True)
class Forget:
    """Nothing is asked for any more: what there is of it goes."""


@dataclass(frozen=True)
class Begin:
    """Make the Job of a sweep; `replaces` is the last one, which goes first."""

    replaces: Object | None


@dataclass(frozen=True)
class Follow:
    """A sweep is under way."""

    job: Object


@dataclass(frozen=True)
class Conclude:
    """A sweep has ended, and the status does not tell of it yet."""

    job: Object


@dataclass(frozen=True)
class Blocked:
    """Something is in the way."""

    why: str


@dataclass(frozen=True)
class Rest:
    """Nothing is due before `until`; None: before somebody asks for it."""

    until: datetime | None


Step = Forget | Begin | Follow | Conclude | Blocked | Rest


def scheduled(registry: PrivateRegistry, now: datetime) -> RetentionStatus:
    """The status with the time of the next run. Raises ScheduleInvalidError."""
    spec, status = registry.spec.retention, registry.status.retention
    if status.result == BLOCKED:
        status = status.model_copy(update={"result": "", "message": ""})
    following = status.next_run
    if spec is None or spec.schedule is None:
        following = ""
    else:
        changed = status.observed_generation != registry.generation
        # What is due is not put off by a change of something else at that moment.
        missed = bool(following) and now - datetime.fromisoformat(following) > LATE
        done = bool(following) and following <= status.last_run
        due = bool(following) and datetime.fromisoformat(following) <= now
        if not following or missed or done or (changed and not due):
            following = next_after(spec.schedule, spec.time_zone, now).strftime(TIME)
    return status.model_copy(update={"next_run": following, "observed_generation": registry.generation})


def step(registry: PrivateRegistry, status: RetentionStatus, job: Object | None, now: datetime) -> Step:
    """What to do next; `status` has the time of the next run."""
    if registry.spec.retention is None or registry.deleting:
        return Forget()
    if job is not None and not is_ours(job, registry.uid):
        text = f"there is a Job {job['metadata']['name']} that is not this registry's: rename or delete it"
        return Blocked(text) if _is_due(registry, status, now) else _rest(status)
    if job is not None and job["metadata"]["creationTimestamp"] != status.last_run:
        return Conclude(job) if has_ended(job) else Follow(job)
    return Begin(job) if _is_due(registry, status, now) else _rest(status)


def _rest(status: RetentionStatus) -> Rest:
    return Rest(datetime.fromisoformat(status.next_run) if status.next_run else None)


def _is_due(registry: PrivateRegistry, status: RetentionStatus, now: datetime) -> bool:
    asked = bool(registry.sweep) and registry.sweep != status.asked
    return asked or (bool(status.next_run) and datetime.fromisoformat(status.next_run) <= now)


def has_ended(job: Object) -> bool:
    return _ending(job) is not None


def _ending(job: Object) -> Object | None:
    conditions = (job.get("status") or {}).get("conditions") or []
    ended = [each for each in conditions if each["type"] in ("Complete", "Failed") and each["status"] == "True"]
    return ended[0] if ended else None


def result_of(job: Object, pods: list[Object]) -> Result:
    """What the pod of a Job that has ended left behind; where it left nothing, why."""
    for pod in pods:
        for status in (pod.get("status") or {}).get("containerStatuses") or []:
            ended = (status.get("state") or {}).get("terminated") or {}
            if found := parse_result(ended.get("message") or ""):
                return found
    ending = _ending(job) or {}
    return Result(
        "Failed", message=f"the sweep ended without a result: {ending.get('message') or ending.get('reason')}"
    )


def concluded(status: RetentionStatus, mode: str, result: Result, *, began: str, asked: str) -> RetentionStatus:
    """The status after a run; `asked` is the value of the annotation that it was for."""
    return status.model_copy(
        update={
            "last_run": began,
            "mode": mode,
            "result": result.result,
            "kept": result.kept,
            "would_delete": result.would_delete,
            "deleted": result.deleted,
            "message": result.message[:1024],
            "asked": asked or status.asked,
        }
    )
