"""Which nodes are waited for before a certificate of another CA is served."""

from datetime import timedelta
from typing import Any

import pytest

from private_registry.api import names
from private_registry.controller.health import confirmation
from private_registry.controller.health.confirmation import LOST_NODE, SETTLES, Confirmation
from private_registry.trust import entry as trust
from private_registry.trust.reasons import Reason
from tests.unit.controller.builders import NOW, a_condition, a_node, a_row, a_world, at
from tests.unit.controller.small_cluster import made

Object = dict[str, Any]


def published(*, since: float = 3600.0) -> Object:
    """The entry of the registry `team`, which is what it is for so many seconds."""
    obj = made().objects["ConfigMap", "entry.registries.team"]
    about = {**obj["metadata"], "annotations": {names.SINCE: (NOW - timedelta(seconds=since)).isoformat()}}
    return {**obj, "metadata": about}


HASH = trust.hash_of(trust.data_of(published()))


def row(reason: Reason = Reason.TRUSTED, entry_hash: str = HASH) -> Object:
    return a_row(trusted=reason is Reason.TRUSTED, reason=reason, entry_hash=entry_hash)


def confirmed(*nodes: Object, since: float = 3600.0, **rows: Object) -> Confirmation:
    return confirmation.of("registries/team", published(since=since), a_world(*nodes, rows=rows), NOW)


def silent(name: str = "worker", *, since: float = 3600.0) -> Object:
    """A node of which nobody has heard for so many seconds."""
    node = a_node(name)
    node["status"]["conditions"] = [a_condition("Ready", "Unknown", since=since)]
    return node


def test_nodes_that_trust_it_have_it() -> None:
    """All of them, and then nothing is waited for."""
    assert confirmed(a_node("a"), a_node("b"), a=row(), b=row()) == Confirmation(HASH)
    assert confirmed(a_node(), worker=row()).settled


@pytest.mark.parametrize("reason", [Reason.UNREACHABLE, Reason.CERTIFICATE_INVALID, Reason.CONFIG_PATH_UNSET])
def test_a_node_that_cannot_pull_has_it_all_the_same(reason: Reason) -> None:
    """A registry that is down, say: its files were written and read back before anybody was asked."""
    assert confirmed(a_node(), worker=row(reason)).settled


@pytest.mark.parametrize(
    "reason",
    [
        Reason.APPLYING,
        Reason.FILE_SYSTEM_ERROR,
        Reason.CONFLICT,
        Reason.ENTRY_NOT_UNDERSTOOD,
        Reason.RUNTIME_UNAVAILABLE,
        Reason.DAEMON_CONFIG_INVALID,
        Reason.CONFIG_PATH_UNREADABLE,
    ],
)
def test_a_node_that_knows_of_it_and_has_not_got_it(reason: Reason) -> None:
    """It speaks of the newest entry, and has the files of an earlier one."""
    found = confirmed(a_node(), worker=row(reason))
    assert not found.settled
    assert found.waited[0].startswith("worker (")


def test_a_node_that_goes_by_an_earlier_one() -> None:
    """However well it trusts that."""
    found = confirmed(a_node("a"), a_node("b"), a=row(), b=row(entry_hash="older"))
    assert found.waited == ("b (its agent has not answered for the newest entry yet)",)
    assert not found.settled


def test_a_ready_node_whose_agent_never_spoke() -> None:
    """It is waited for, unless it is so new that the newest entry will be its first."""
    assert confirmed(a_node()).waited == ("worker (its agent has not answered yet)",)
    assert confirmed(a_node(age=5)).settled


def test_a_node_that_is_not_meant() -> None:
    """Of another system, or being rid of the registry, or gone: there is nothing to have."""
    assert confirmed(a_node(system="windows"), worker=row(entry_hash="older")).settled
    assert confirmed(a_node(), worker=row(Reason.UNDOING, entry_hash="")).settled
    assert confirmed(gone=row(entry_hash="older")).settled


def test_a_node_that_is_not_ready_is_waited_for_and_then_passed_over() -> None:
    """From when it was first waited for, or since when it is silent: whichever was later; to the second."""
    for since, silence in ((LOST_NODE - 1, 3600.0), (3600.0, LOST_NODE - 1)):
        found = confirmed(silent(since=silence), since=since, worker=row(entry_hash="older"))
        assert found.waited[0].startswith("worker (not ready: at most until ")
        assert (found.passed, found.next_look) == ((), 1.0)
        assert not found.settled
    found = confirmed(silent(since=LOST_NODE), since=LOST_NODE, worker=row(entry_hash="older"))
    assert (found.waited, found.passed) == ((), ("worker",))
    assert found.settled


def test_a_node_that_is_not_ready_and_never_had_it() -> None:
    """Nothing is on it, and the newest entry will be its first."""
    assert confirmed(silent(), since=0).waited == ()


def test_people_have_time_to_hear_of_it() -> None:
    """A pod that has the CA mounted gets another one a minute or so later."""
    early = confirmed(a_node(), since=SETTLES - 10, worker=row())
    assert (early.waited, early.settled, early.next_look) == ((), False, 10.0)
    assert confirmed(a_node(), since=SETTLES, worker=row()).settled


def test_an_entry_that_never_changed() -> None:
    """It is what it is since it was created."""
    obj = published()
    del obj["metadata"]["annotations"]
    obj["metadata"]["creationTimestamp"] = at(SETTLES - 10)
    found = confirmation.of("registries/team", obj, a_world(a_node(), rows={"worker": row()}), NOW)
    assert found.next_look == 10.0


def test_nothing_is_confirmed_where_nothing_is_published() -> None:
    """An empty confirmation admits nothing."""
    assert not Confirmation().settled
