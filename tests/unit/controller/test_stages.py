"""Which doors a registry has on the way from one answer to another: who pulled pulls, who could not still cannot."""

from typing import Any

import pytest

from private_registry.api.registry import Copies, Doors
from private_registry.controller.health import summary
from private_registry.controller.registries import credentials
from tests.unit.controller.builders import a_registry
from tests.unit.controller.small_cluster import made

Object = dict[str, Any]

OPEN: Object = {"auth": {"mode": "None"}}
ANYONE_PULLS: Object = {}
CLOSED: Object = {"auth": {"anonymousPull": False}}
PULL_SECRET: Object = {"auth": {"anonymousPull": False, "pullSecret": {"namespaces": ["apps"]}}}


def doors(before: Object, after: Object, *, told: bool = False, followed: bool = True) -> Doors:
    """After the change; `told`: the namespaces have the pull secret, `followed`: nodes go by what was published."""
    cluster = made(before)
    copies = Copies(observed_generation=2 if told else 1)
    status = cluster.status.model_copy(update={"copies": copies})
    registry = a_registry(after, generation=2, status=status)
    seen = cluster.observe(registry)
    by = summary.published_hash(registry, seen) if followed else ""
    return credentials.staged(registry, seen, followed=by).doors


@pytest.mark.parametrize("followed", [True, False])
def test_nobody_is_asked_before_the_namespaces_have_the_pull_secret(followed: bool) -> None:
    """Where anyone pulls; once they have it, everybody is asked."""
    assert not doors(ANYONE_PULLS, PULL_SECRET, followed=followed).pulls_ask
    assert doors(ANYONE_PULLS, PULL_SECRET, told=True, followed=followed).pulls_ask
    assert doors(OPEN, PULL_SECRET) == Doors(asks=False, pulls=True)


def test_what_is_closed_is_not_opened_on_the_way() -> None:
    """Another port comes closed, and goes closed."""
    for told in (True, False):
        assert doors(CLOSED, PULL_SECRET, told=told) == Doors(asks=True, pulls=True, pulls_ask=True)
        assert doors(PULL_SECRET, PULL_SECRET, told=told) == Doors(asks=True, pulls=True, pulls_ask=True)
    assert doors(PULL_SECRET, CLOSED) == Doors(asks=True, pulls=True, pulls_ask=True)


def test_what_is_opened_is_open_at_once() -> None:
    """Nobody has to be waited for."""
    assert doors(PULL_SECRET, ANYONE_PULLS) == Doors(asks=True, pulls=True)
    assert doors(PULL_SECRET, OPEN) == Doors(asks=False, pulls=True)
