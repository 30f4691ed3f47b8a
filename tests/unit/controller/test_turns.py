"""Whose turn it is to have its containerd restarted."""

from typing import Any

import pytest

from private_registry.controller.fleet.turns import turns
from tests.unit.controller.builders import a_node

Object = dict[str, Any]


def a_node_trust(state: str = "", *, turn: str = "", edit: str = "e1") -> Object:
    """`state` of the opt-in; none: the node is not opted in."""
    spec = {"nodeLabels": {}, **({"restartTurn": turn} if turn else {})}
    return {"spec": spec, "status": {"runtimeConfig": {"state": state, "edit": edit}} if state else {}}


def given(not_ready: tuple[str, ...] = (), **node_trusts: Object) -> dict[str, str]:
    """The turns that are not empty."""
    nodes = {name: a_node(name, ready=name not in not_ready) for name in node_trusts}
    return {name: turn for name, turn in turns(node_trusts, nodes).items() if turn}


def test_one_at_a_time() -> None:
    """Of all that wait, one gets its turn, for the edit that it has asked about; nobody else while it has it."""
    assert given(a=a_node_trust(), b=a_node_trust("Waiting", edit="e2"), c=a_node_trust("Waiting")) == {"b": "e2"}
    for state in ("Waiting", "Restarting"):
        assert given(a=a_node_trust("Waiting"), b=a_node_trust(state, turn="e1")) == {"b": "e1"}


@pytest.mark.parametrize("state", ["Managed", "Refused", ""])
def test_the_next_one_follows_when_the_first_is_done(state: str) -> None:
    """An outcome ends a turn, and so does an opt-out."""
    assert given(a=a_node_trust(state, turn="e1"), b=a_node_trust("Waiting", edit="e2")) == {"b": "e2"}


def test_a_node_that_changed_its_mind_asks_anew() -> None:
    """A turn is for one edit of one file, not for whatever comes later."""
    assert given(a=a_node_trust("Waiting", turn="e1", edit="e2"), b=a_node_trust()) == {"a": "e2"}


def test_nobody_follows_a_failure() -> None:
    """What took one node's containerd down is not tried on the next; an opt-out of that node goes on."""
    waiting = a_node_trust("Waiting", edit="e2")
    assert given(a=a_node_trust("Failed", turn="e1"), b=waiting) == {}
    assert given(a=a_node_trust(turn="e1"), b=waiting) == {"b": "e2"}


def test_a_node_that_went_silent_in_its_turn_keeps_it() -> None:
    """Whether its restart went well is not known, so nobody follows; nor does one that is not ready get a turn."""
    waiting = a_node_trust("Waiting", edit="e2")
    for state in ("Restarting", "Managed"):
        assert given(("a",), a=a_node_trust(state, turn="e1"), b=waiting) == {"a": "e1"}
    assert given(("a",), a=a_node_trust("Waiting"), b=waiting) == {"b": "e2"}


def test_the_control_plane_comes_last() -> None:
    """If something is wrong with the edit, a worker is the one to find out."""
    nodes = {"a": a_node("a"), "b": a_node("b")}
    nodes["a"]["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] = ""
    assert turns({name: a_node_trust("Waiting") for name in nodes}, nodes) == {"a": "", "b": "e1"}
