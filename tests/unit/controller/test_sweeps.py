"""When a sweep is due, and what comes next of one that is there."""

from datetime import UTC, datetime
from typing import Any

import pytest

from private_registry.api import names
from private_registry.api.registry import PrivateRegistry
from private_registry.api.retention import RetentionStatus
from private_registry.controller.data.sweeps import (
    BLOCKED,
    Begin,
    Blocked,
    Conclude,
    Follow,
    Forget,
    Rest,
    concluded,
    result_of,
    scheduled,
    step,
)
from private_registry.data.orders import Result
from private_registry.data.schedule import ScheduleInvalidError
from tests.registries import a_registry

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
RULES: dict[str, Any] = {"rules": [{"repositories": "*", "keepLast": 1}]}
NIGHTLY = {**RULES, "schedule": "0 3 * * *"}
TONIGHT = "2026-11-27T03:00:00Z"


def registry(spec: dict[str, Any] | None = RULES, *, asked: str = "", **status: Any) -> PrivateRegistry:
    made = a_registry({"retention": spec} if spec else {})
    seen = made.status.model_copy(update={"retention": RetentionStatus(**status)})
    return made.model_copy(update={"status": seen, "sweep": asked})


def a_job(*, ended: str = "", began: str = "2026-11-26T11:59:00Z", uid: str = "") -> dict[str, Any]:
    about = {"name": "team-sweep", "creationTimestamp": began, "labels": names.labels("team", uid or registry().uid)}
    conditions = [{"type": ended, "status": "True", "message": "it took too long"}] if ended else []
    return {"metadata": about, "status": {"conditions": conditions}}


def next_step(of: PrivateRegistry, job: dict[str, Any] | None = None) -> object:
    return step(of, scheduled(of, NOW), job, NOW)


def test_without_a_request_nothing_begins() -> None:
    """Rules alone sweep nothing: a schedule or the annotation asks for it."""
    assert next_step(registry()) == Rest(None)


def test_the_annotation_asks_once_for_each_value() -> None:
    """Another value than before begins a sweep; the one that was seen to does not."""
    assert next_step(registry(asked="a")) == Begin(None)
    assert next_step(registry(asked="a").model_copy(update={"sweep": ""})) == Rest(None)
    done = registry(asked="a")
    status = concluded(scheduled(done, NOW), "Report", Result("Succeeded"), began="2026-11-26T11:59:00Z", asked="a")
    assert step(done, status, a_job(ended="Complete"), NOW) == Rest(None)
    assert step(done.model_copy(update={"sweep": "b"}), status, a_job(ended="Complete"), NOW) == Begin(
        a_job(ended="Complete")
    )


def test_a_schedule_asks_from_then_on() -> None:
    """A new one does not begin with what it has missed, and begins at its time."""
    fresh = registry(NIGHTLY)
    assert scheduled(fresh, NOW).next_run == TONIGHT
    assert next_step(fresh) == Rest(datetime(2026, 11, 27, 3, tzinfo=UTC))
    due = registry(NIGHTLY, next_run="2026-11-26T11:59:59Z", observed_generation=1)
    assert next_step(due) == Begin(None)


def test_after_a_run_the_next_one_is_worked_out() -> None:
    """It is not begun twice for one time."""
    done = registry(NIGHTLY, next_run="2026-11-26T11:59:00Z", last_run="2026-11-26T11:59:00Z", observed_generation=1)
    assert scheduled(done, NOW).next_run == TONIGHT


def test_a_run_that_nobody_was_there_for_is_left_out() -> None:
    """An operator that was away for a night does not delete at noon."""
    assert scheduled(registry(NIGHTLY, next_run="2026-11-26T03:00:00Z", observed_generation=1), NOW).next_run == TONIGHT


def test_another_schedule_counts_at_once() -> None:
    """But what is due is not put off by a change of the spec at that moment."""
    assert scheduled(registry(NIGHTLY, next_run="2026-12-01T03:00:00Z", observed_generation=0), NOW).next_run == TONIGHT
    due = registry(NIGHTLY, next_run="2026-11-26T11:59:59Z", observed_generation=0)
    assert next_step(due) == Begin(None)
    assert scheduled(registry(RULES, next_run=TONIGHT), NOW).next_run == ""


def test_a_schedule_that_cannot_be_read_is_said() -> None:
    """The CRD takes five fields, whatever is in them."""
    with pytest.raises(ScheduleInvalidError):
        scheduled(registry({**RULES, "schedule": "99 3 * * *"}), NOW)


def test_a_run_is_followed_and_concluded_once() -> None:
    """What the status names already is the record of the last run."""
    asked = registry(asked="a")
    assert next_step(asked, a_job()) == Follow(a_job())
    for ended in ("Complete", "Failed"):
        assert next_step(asked, a_job(ended=ended)) == Conclude(a_job(ended=ended))
    told = registry(asked="a", last_run="2026-11-26T11:59:00Z")
    told = told.model_copy(update={"sweep": ""})
    assert next_step(told, a_job(ended="Complete")) == Rest(None)


def test_a_job_of_somebody_else_is_left_alone() -> None:
    """It is in the way of a sweep, and said to be; without one that is due nobody is told."""
    assert isinstance(next_step(registry(asked="a"), a_job(uid="other")), Blocked)
    assert next_step(registry(), a_job(uid="other")) == Rest(None)


def test_what_is_asked_for_no_more_goes() -> None:
    """So it does where the registry is being deleted: the last sweep that runs ends."""
    assert next_step(registry(None, last_run="2026-11-26T11:59:00Z"), a_job()) == Forget()
    assert next_step(registry().model_copy(update={"deleting": True}), a_job()) == Forget()


def test_what_was_in_the_way_is_not_said_for_ever() -> None:
    """It is said again at each look at which it still is."""
    status = scheduled(registry(result=BLOCKED, message="a Job of somebody else", kept=3), NOW)
    assert (status.result, status.message, status.kept) == ("", "", 3)


def a_pod(message: str) -> dict[str, Any]:
    return {"status": {"containerStatuses": [{"state": {"terminated": {"message": message}}}]}}


def test_a_result_is_what_the_pod_left_behind() -> None:
    """Where it left none, the Job tells why."""
    result = Result("Succeeded", kept=1, would_delete=2)
    assert result_of(a_job(ended="Complete"), [a_pod(result.text())]) == result
    for pods in ([], [a_pod("Killed")]):
        assert result_of(a_job(ended="Failed"), pods) == Result(
            "Failed", message="the sweep ended without a result: it took too long"
        )
