"""What the nodes believe of one registry: who is asked, who counts, and what is said of the others."""

from typing import Any

import pytest

from private_registry.api.conditions import Reason
from private_registry.controller.health.nodes import Nodes, judge, lagging, listing
from private_registry.controller.world import World
from tests.unit.controller.builders import NOW, a_node, a_row, a_world, an_agent_pod

Object = dict[str, Any]

KEY = "registries/team"


def judged(world: World, selector: dict[str, str] | None = None, entry_hash: str = "hash") -> Nodes:
    return judge(KEY, entry_hash, selector or {}, world, NOW)


def names_of(nodes: Nodes) -> list[str]:
    return [verdict.node for verdict in nodes.verdicts]


def reason_of(world: World) -> tuple[str, str]:
    [verdict] = judged(world).verdicts
    return verdict.state, verdict.reason


class TestDesired:
    def test_all_ready_linux_nodes(self) -> None:
        """In the order of their names; one that is not ready or of another system is not waited for."""
        world = a_world(a_node("b"), a_node("a"), a_node("down", ready=False), a_node("windows", system="windows"))
        assert names_of(judged(world)) == ["a", "b"]

    def test_those_that_the_selector_matches(self) -> None:
        """All of its labels."""
        one = a_node("one", pool="build", zone="a")
        other = a_node("other", pool="build")
        assert names_of(judged(a_world(one, other), {"pool": "build", "zone": "a"})) == ["one"]
        assert names_of(judged(a_world(one, other), {"pool": "none"})) == []

    def test_a_node_without_labels(self) -> None:
        """Counts as Linux, and matches no selector."""
        bare = a_node()
        bare["metadata"]["labels"] = None
        assert names_of(judged(a_world(bare))) == ["worker"]
        assert names_of(judged(a_world(bare), {"pool": "build"})) == []

    @pytest.mark.parametrize(("age", "pending"), [(119, 1), (120, 0)])
    def test_a_new_node_has_two_minutes(self, age: float, pending: int) -> None:
        """A cluster that grows does not make its registries unready."""
        world = a_world(a_node(age=age), rows={})
        assert judged(world).pending == pending
        assert len(judged(world).verdicts) == 1 - pending

    def test_a_new_node_that_trusts_already_counts(self) -> None:
        """It was quicker than it had to be."""
        assert judged(a_world(a_node(age=5))).trusted == 1

    def test_the_next_look_is_when_the_first_is_old_enough(self) -> None:
        """No watch tells that time passes."""
        world = a_world(a_node("a", age=30), a_node("b", age=100), rows={})
        assert judged(world).next_look == 20
        assert judged(a_world(a_node())).next_look is None


class TestVerdict:
    def test_trusted(self) -> None:
        """The agent is ready and says so of the entry that is published."""
        nodes = judged(a_world(a_node()))
        assert (nodes.trusted, nodes.others) == (1, ())

    def test_what_the_agent_says_is_passed_on(self) -> None:
        """Reason and message, with the fix, as the node's agent found them."""
        row = a_row(trusted=False, reason="ConfigPathUnset", message="set config_path")
        [verdict] = judged(a_world(a_node(), rows={"worker": row})).verdicts
        assert (verdict.state, verdict.reason, verdict.message) == ("untrusted", "ConfigPathUnset", "set config_path")

    def test_trust_in_an_older_entry_is_none(self) -> None:
        """The agent has not answered for the newest one yet."""
        rows = {"worker": a_row(entry_hash="older")}
        assert reason_of(a_world(a_node(), rows=rows)) == ("untrusted", Reason.WAITING_FOR_NODES)

    def test_a_node_that_does_not_list_it(self) -> None:
        """Its agent has not seen the entry yet, whatever else it lists."""
        other = {**a_row(), "registry": "registries/other"}
        assert reason_of(a_world(a_node(), rows={"worker": other})) == ("untrusted", Reason.WAITING_FOR_NODES)
        assert reason_of(a_world(a_node(), rows={})) == ("untrusted", Reason.WAITING_FOR_NODES)

    def test_an_agent_that_is_not_ready_proves_nothing(self) -> None:
        """Its last word may be hours old: not known, rather than trusted or not."""
        for trusted in (True, False):
            world = a_world(a_node(), rows={"worker": a_row(trusted=trusted)}, agents=(an_agent_pod(ready=False),))
            assert reason_of(world) == ("unknown", Reason.AGENT_NOT_READY)

    def test_an_agent_that_is_going_proves_nothing(self) -> None:
        """During an update of the DaemonSet the next one speaks for the node."""
        going = an_agent_pod()
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        assert reason_of(a_world(a_node(), agents=(going,))) == ("unknown", Reason.AGENT_NOT_READY)
        successor = an_agent_pod()
        successor["metadata"]["name"] = "agent-next"
        assert reason_of(a_world(a_node(), agents=(going, successor))) == ("trusted", "")

    def test_a_node_without_agent_is_named_with_the_command_that_shows_it(self) -> None:
        """A DaemonSet that does not tolerate its taint, for one."""
        [verdict] = judged(a_world(a_node(), agents=())).verdicts
        assert (verdict.state, verdict.reason) == ("untrusted", Reason.NO_AGENT)
        assert "kubectl -n private-registry-nodes get pods --field-selector spec.nodeName=worker" in verdict.message


def test_nodes_that_still_list_a_registry() -> None:
    """On these something may be left: an absent row proves a clean node."""
    world = a_world(
        a_node("a"),
        a_node("b"),
        rows={"a": a_row(trusted=False, reason="Undoing"), "b": {**a_row(), "registry": "x/y"}},
    )
    bare: Object = {"metadata": {"name": "c"}}
    assert listing(KEY, [*world.node_trusts.values(), bare]) == ["a"]


@pytest.mark.parametrize(
    ("row", "lags"),
    [
        (a_row(), False),
        (a_row(entry_hash="older"), True),
        (a_row(trusted=False, reason="Applying"), True),
        # The disk is full: what it pulls by is still what the entry before said.
        (a_row(trusted=False, reason="FileSystemError"), True),
        (a_row(trusted=False, reason="Unreachable"), False),
        (a_row(trusted=False, reason="Undoing", entry_hash=""), False),
    ],
    ids=lambda value: value["reason"] + value["entryHash"] if isinstance(value, dict) else None,
)
def test_a_node_that_still_pulls_by_an_earlier_entry(row: Object, lags: bool) -> None:
    """A port is not closed before every node has left it, which is a matter of its files."""
    assert lagging(KEY, "hash", a_world(a_node(), rows={"worker": row})) == (["worker"] if lags else [])
