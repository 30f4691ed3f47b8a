"""What operator and sweep tell each other."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from private_registry.api.retention import Rule
from private_registry.data.images import Reference
from private_registry.data.in_use import MAX_BYTES, InUse, ListInvalidError
from private_registry.data.orders import (
    MAX_RESULT,
    Orders,
    Result,
    cut,
    parse_orders,
    parse_result,
)

TAKEN = datetime(2026, 11, 26, 12, tzinfo=UTC)
RULES = (Rule(repositories="team/*", keep_last=3, keep_younger_than="72h", keep_tags=("v*",)),)


def test_orders_are_read_as_they_were_written() -> None:
    """Rules, mode, time and images."""
    used = frozenset([Reference("a/b", tag="v1"), Reference("a/b", digest=f"sha256:{1:064x}")])
    orders = Orders("Enforce", RULES, InUse(TAKEN, used))
    assert parse_orders(orders.text()) == orders


def test_too_many_images_are_refused() -> None:
    """Rather than leaving some of them out, which would be deleted."""
    used = frozenset(Reference("a", digest=f"sha256:{number:064x}") for number in range(20_000))
    with pytest.raises(ListInvalidError, match="20000 images of this registry are in use"):
        Orders("Enforce", RULES, InUse(TAKEN, used)).text()


GOOD = {
    "taken": "2026-11-26T12:00:00Z",
    "mode": "Report",
    "rules": [{"repositories": "*", "keepLast": 1}],
    "images": ["a:v1"],
}


@pytest.mark.parametrize(
    "change",
    [{"taken": "2026-11-26T12:00:00"}, {"taken": None}, {"rules": []}, {"mode": "x"}, {"images": ["a"]}, {"more": 1}],
)
def test_half_an_order_is_none(change: dict[str, Any]) -> None:
    """A list that cannot be read does not count as an empty one."""
    assert parse_orders(json.dumps(GOOD)).in_use.images == {Reference("a", tag="v1")}
    with pytest.raises(ListInvalidError):
        parse_orders(json.dumps({**GOOD, **change}))


@pytest.mark.parametrize("text", ["", "{}", "[]", "null"])
def test_an_empty_file_is_no_order(text: str) -> None:
    """As it is where a mount has gone."""
    with pytest.raises(ListInvalidError):
        parse_orders(text)


def test_a_result_is_read_as_it_was_written() -> None:
    """With its counts and its message."""
    result = Result("Succeeded", kept=1, would_delete=2, deleted=3, message="all well")
    assert parse_result(result.text()) == result


def test_a_long_message_is_cut() -> None:
    """To what a kubelet takes, however many bytes a character has."""
    text = Result("Failed", message="ß" * 5000).text()
    assert len(text.encode()) <= MAX_RESULT
    assert parse_result(text)


@pytest.mark.parametrize("text", ["", "Killed", "[]", '{"result": "Failed"}', '{"result": "x"}'])
def test_what_is_no_result_counts_as_none(text: str) -> None:
    """A container may be ended in the middle of anything."""
    assert parse_result(text) is None


def test_a_long_list_is_cut_at_a_line() -> None:
    """And says how much is missing."""
    assert cut(["one", "two", "three"], 8) == "one\ntwo\nand 1 more\n"
    assert len(cut(["x" * 99] * 20_000).encode()) < MAX_BYTES + 100
