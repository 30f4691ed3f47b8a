"""Which namespaces a label selector selects: as Kubernetes means it."""

from typing import Any

import pytest

from private_registry.api.registry import PullSecretSpec
from private_registry.api.selectors import LabelSelector

LABELS = {"team": "a", "stage": "test"}


def row(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, True),
        ({"matchLabels": {"team": "a"}}, True),
        ({"matchLabels": {"team": "a", "stage": "live"}}, False),
        ({"matchLabels": {"other": ""}}, False),
        (row("team", "In", "a", "b"), True),
        (row("team", "In", "b"), False),
        (row("other", "In", "a"), False),
        (row("team", "NotIn", "b"), True),
        (row("team", "NotIn", "a"), False),
        (row("other", "NotIn", "a"), True),
        (row("team", "Exists"), True),
        (row("other", "Exists"), False),
        (row("team", "DoesNotExist"), False),
        (row("other", "DoesNotExist"), True),
        ({"matchLabels": {"team": "a"}, **row("stage", "In", "live")}, False),
        ({"matchLabels": {"team": "a"}, **row("stage", "In", "test")}, True),
    ],
)
def test_all_of_it_has_to_match(selector: dict[str, Any], selected: bool) -> None:
    """An empty one matches everything; a label that is not there has none of the values."""
    assert LabelSelector.model_validate(selector).matches(LABELS) is selected


def test_names_and_selector_add_up() -> None:
    """A namespace gets the pull secret by its name or by its labels; without a selector, by its name alone."""
    named = PullSecretSpec.model_validate({"namespaces": ["apps"]})
    assert named.selects("apps", {})
    assert not named.selects("other", LABELS)
    both = PullSecretSpec.model_validate({"namespaces": ["apps"], "namespaceSelector": {"matchLabels": {"team": "a"}}})
    assert both.selects("apps", {})
    assert both.selects("other", LABELS)
    assert not both.selects("other", {"team": "b"})
