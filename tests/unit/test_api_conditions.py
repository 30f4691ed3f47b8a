"""Conditions: their time moves with their status and with nothing else."""

from private_registry.api.conditions import Condition, Reason, Status, Type, find, merge

BEFORE, NOW = "2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z"


def ready(status: Status, reason: Reason = Reason.READY, message: str = "") -> Condition:
    return Condition(type=Type.READY, status=status, reason=reason, message=message)


def at(condition: Condition, time: str) -> Condition:
    return condition.model_copy(update={"last_transition_time": time})


def test_a_first_condition_begins_now() -> None:
    """A condition that was not there before has its time from this moment."""
    (merged,) = merge([ready("True")], [], generation=1, now=NOW)
    assert merged.last_transition_time == NOW


def test_the_same_status_keeps_its_time() -> None:
    """Another reason or message is no transition: the time still says since when it is so."""
    old = at(ready("False", Reason.NOT_SERVING, "refused"), BEFORE)
    (merged,) = merge([ready("False", Reason.ROLLING_OUT, "wait")], [old], generation=2, now=NOW)
    assert merged.last_transition_time == BEFORE
    assert (merged.reason, merged.message) == (Reason.ROLLING_OUT, "wait")


def test_another_status_begins_now() -> None:
    """From False to True is a transition, and so is from False to Unknown."""
    old = at(ready("False"), BEFORE)
    for status in ("True", "Unknown"):
        (merged,) = merge([ready(status)], [old], generation=2, now=NOW)
        assert merged.last_transition_time == NOW


def test_what_is_gone_is_gone() -> None:
    """Reconciling and Stalled are there only while they are true; the order is that of the new conditions."""
    stalled = at(Condition(type=Type.STALLED, status="True", reason=Reason.NAME_TAKEN), BEFORE)
    available = Condition(type=Type.AVAILABLE, status="True", reason=Reason.SERVING)
    merged = merge([ready("True"), available], [stalled], generation=2, now=NOW)
    assert [condition.type for condition in merged] == [Type.READY, Type.AVAILABLE]


def test_every_condition_says_which_generation_it_speaks_of() -> None:
    """A reader sees whether the spec that he wrote is already meant."""
    old = at(ready("True"), BEFORE).model_copy(update={"observed_generation": 1})
    (merged,) = merge([ready("True")], [old], generation=2, now=NOW)
    assert merged.observed_generation == 2


def test_nothing_new_is_the_same_again() -> None:
    """A condition that says the same as before is equal to it, so a steady registry's status is never written."""
    once = merge([ready("True")], [], generation=1, now=BEFORE)
    assert merge([ready("True")], once, generation=1, now=NOW) == once


def test_they_are_written_as_kubernetes_writes_them() -> None:
    """The fields are those of metav1.Condition, so kubectl wait and kstatus read them."""
    (merged,) = merge([ready("True")], [], generation=1, now=NOW)
    assert merged.model_dump(by_alias=True, mode="json") == {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "message": "",
        "observedGeneration": 1,
        "lastTransitionTime": NOW,
    }


def test_finding_one() -> None:
    """A condition is found by its type, or is not there."""
    assert find([ready("True")], Type.READY) == ready("True")
    assert find([ready("True")], Type.STALLED) is None
