"""Killed between any two writes, a registry ends up the same; and once there, nothing is written (invariants 1, 9).

Every way to serve, with the operator's own claim and with another's, trusted by nodes or not, open to all or to
whoever has a credential: from nothing to each of them, and from one to the next, with a kill after every write on the
way.
"""

from functools import cache
from itertools import product
from typing import Any

import pytest

from private_registry.registry.credentials import NEXT_PULL
from tests.unit.controller.builders import CHANCE, a_brought_secret, a_claim, a_registry, facts
from tests.unit.controller.small_cluster import SmallCluster

Object = dict[str, Any]

MODES: dict[str, Object] = {
    "managed": {"mode": "Managed"},
    "brought": {"mode": "Secret", "secretName": "brought"},
    "plain": {"mode": "Disabled"},
}
STORAGES: dict[str, Object] = {"own claim": {}, "another's claim": {"claimName": "shared"}}
TRUST = {"trusted": True, "not trusted": False}
AUTHS: dict[str, Object] = {
    "open": {"mode": "None"},
    "open to pulls": {"mode": "Basic", "acknowledgePlainHTTP": True},
    "closed": {"mode": "Basic", "acknowledgePlainHTTP": True, "anonymousPull": False},
    "closed but for pull secrets": {
        "mode": "Basic",
        "acknowledgePlainHTTP": True,
        "anonymousPull": False,
        "pullSecret": {"namespaces": ["apps"]},
    },
}

SPECS: dict[str, Object] = {
    f"{mode}, {storage}, {trust}, {auth}": {
        "tls": MODES[mode],
        "storage": STORAGES[storage],
        "nodeTrust": {"enabled": TRUST[trust]},
        "auth": AUTHS[auth],
    }
    for mode, storage, trust, auth in product(MODES, STORAGES, TRUST, AUTHS)
}


def _differences(before: str, after: str) -> list[str]:
    return [field for field in SPECS[before] if SPECS[before][field] != SPECS[after][field]]


CHANGES = [
    (before, after)
    for before, after in product(SPECS, SPECS)
    # One at a time, and a registry keeps its claim for life.
    if _differences(before, after) in (["tls"], ["nodeTrust"], ["auth"]) and "own claim" in before
]

every_spec = pytest.mark.parametrize("spec", SPECS)
every_change = pytest.mark.parametrize(("before", "after"), CHANGES, ids=[" -> ".join(change) for change in CHANGES])


def an_empty_cluster() -> SmallCluster:
    """A cluster with what a user brings: a Secret with a certificate, and a claim."""
    shared = a_claim(name="shared")
    del shared["metadata"]["labels"]
    return SmallCluster(shared, a_brought_secret())


EMPTY = an_empty_cluster()


@cache
def made(spec: str) -> SmallCluster:
    """A cluster in which this registry was created."""
    cluster = EMPTY.as_it_is()
    cluster.converge(a_registry(SPECS[spec]))
    return cluster


@every_spec
def test_killed_after_any_write_a_new_registry_comes_to_the_same_end(spec: str) -> None:
    """The next start goes on from whatever objects there are, and writes only those that are missing."""
    whole = made(spec)
    for done, killed in enumerate(whole.left_behind, start=1):
        started_anew = killed.as_it_is()
        started_anew.converge(a_registry(SPECS[spec]))
        assert started_anew.desired() == whole.desired()
        assert sorted(whole.writes[:done] + started_anew.writes) == sorted(whole.writes)


@every_change
def test_killed_after_any_write_a_changed_registry_comes_to_the_end_of_a_new_one(before: str, after: str) -> None:
    """What the earlier spec needed is gone, and a running pod never lost what it mounts on the way there."""
    registry = a_registry(SPECS[after], generation=2)
    whole = made(before).as_it_is()
    whole.converge(registry)
    for killed in [whole, *whole.left_behind]:
        started_anew = killed.as_it_is()
        started_anew.converge(registry)
        assert started_anew.desired() == made(after).desired()


@every_spec
def test_a_steady_registry_gets_no_write(spec: str) -> None:
    """Started anew, with no memory and other random numbers, the operator finds nothing to do, and nothing wrong."""
    steady = made(spec).as_it_is()
    planned = steady.converge(a_registry(SPECS[spec]), facts(chance=CHANCE))
    assert steady.writes == []
    assert planned.problems == ()
    assert planned.rollout.state == "complete"


@pytest.mark.parametrize("spec", [spec for spec in SPECS if "own claim, trusted" in spec])
def test_what_chance_made_is_made_once(spec: str) -> None:
    """Keys, certificates and tokens are read back from their Secrets, however often the operator starts anew."""
    registry = a_registry(SPECS[spec])
    whole = EMPTY.as_it_is()
    whole.converge(registry, facts(chance=CHANCE))
    for killed in whole.left_behind:
        started_anew = killed.as_it_is()
        started_anew.converge(registry, facts(chance=CHANCE))
        for (kind, name), obj in killed.objects.items():
            if kind == "Secret":
                # What is to come has come by then.
                made_once = {key: value for key, value in obj["data"].items() if key != NEXT_PULL}
                after = started_anew.objects[kind, name]["data"]
                assert made_once.items() <= after.items()
                assert NEXT_PULL not in after
