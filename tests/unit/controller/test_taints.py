"""Startup taints: which nodes still have something to wait for, and what is written to one that has not."""

import asyncio
from dataclasses import replace
from ipaddress import ip_network
from typing import Any, cast

import pytest

from private_registry.api.hosts import Rules
from private_registry.controller.fleet.loop import Fleet
from private_registry.controller.fleet.taints import held_up, is_starting, without
from private_registry.controller.world import World
from private_registry.kube.client import Kube
from private_registry.trust import entry as trust
from private_registry.trust import publish
from tests.unit.controller.builders import (
    ADDRESS,
    CHANCE,
    NOW,
    SETTINGS,
    a_condition,
    a_node,
    a_registry,
    a_row,
    a_world,
    an_agent_pod,
)

Object = dict[str, Any]

KEY = "registries/team"
TAINT = "privateregistry.dev/starting"
RULES = Rules(service_ranges=(ip_network("10.96.0.0/16"),))


def an_entry(**selector: str) -> Object:
    registry = a_registry({"tls": {"mode": "Disabled"}, "nodeTrust": {"nodeSelector": selector}})
    built = publish.build(registry, cluster_ips=[ADDRESS], ca_bundle="", rules=RULES)
    return publish.config_map(built.entry, registry, "agents")


def proven(**of: Any) -> Object:
    """What a node says that trusts an_entry()."""
    return a_row(entry_hash=trust.hash_of(trust.data_of(an_entry())), **of)


def available(world: World, status: str = "True") -> World:
    """The world with the registry in it."""
    return replace(world, registries={KEY: {"status": {"conditions": [a_condition("Available", status)]}}})


def held(world: World, entry: Object | None = None) -> set[str]:
    return set(held_up(world, {KEY: entry or an_entry()}, NOW))


def starting(*others: str) -> Object:
    taints = [{"key": key, "effect": "NoSchedule"} for key in (TAINT, *others)]
    return {**a_node(), "spec": {"taints": taints}}


def test_a_node_waits_until_it_is_proven() -> None:
    """Its agent is ready and trusts the very entry that is published; however young the node is."""
    assert held(available(a_world(a_node(age=5), rows={}))) == {"worker"}
    assert held(available(a_world(a_node(age=5), rows={"worker": proven(trusted=False)}))) == {"worker"}
    assert held(available(a_world(a_node(age=5), rows={"worker": a_row(entry_hash="older")}))) == {"worker"}
    assert held(available(a_world(a_node(age=5), rows={"worker": proven()}))) == set()


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(a_world(a_node(), rows={"worker": proven()}, agents=()), id="no agent"),
        pytest.param(a_world(a_node(), rows={"worker": proven()}, agents=(an_agent_pod(ready=False),)), id="unready"),
        pytest.param(a_world(a_node(ready=False), rows={"worker": proven()}), id="node not ready"),
    ],
)
def test_what_was_said_once_is_no_proof(world: World) -> None:
    """Of a node that is down, or whose agent is gone or not ready."""
    assert held(available(world)) == {"worker"}


def test_nobody_waits_for_what_is_not_for_him() -> None:
    """A registry that selects other nodes; and no registry is for a node that runs no agent of ours."""
    assert held(available(a_world(a_node(), rows={})), an_entry(pool="build")) == set()
    assert held(available(a_world(a_node(pool="build"), rows={})), an_entry(pool="build")) == {"worker"}
    assert held(available(a_world(a_node(system="windows"), rows={}))) == set()
    assert held_up(a_world(a_node(), rows={}), {}, NOW) == frozenset()


@pytest.mark.parametrize("status", ["False", "Unknown"])
def test_a_registry_that_does_not_serve_holds_up_nobody(status: str) -> None:
    """No pod could pull from it, and its own pod may be waiting for just this node."""
    assert held(available(a_world(a_node(), rows={}), status)) == set()


def test_an_entry_that_cannot_be_read_holds_up_everybody() -> None:
    """Another operator wrote it, or somebody edited it: whom it selects is known once it has been written anew."""
    entry = an_entry()
    entry["data"] = {trust.KEY: "{}"}
    assert held(available(a_world(a_node(), rows={"worker": proven()})), entry) == {"worker"}


def test_a_taint_is_known_by_its_key() -> None:
    """Whatever its value and effect; every other taint is somebody else's."""
    assert is_starting(starting("example.com/gpu"), TAINT)
    assert without(starting("example.com/gpu"), TAINT) == [{"key": "example.com/gpu", "effect": "NoSchedule"}]
    assert not is_starting(a_node(), TAINT)
    assert not is_starting(starting(), "")
    assert not is_starting({"metadata": {}, "spec": {"taints": None}}, TAINT)


@pytest.mark.parametrize(
    ("others", "left"), [((), None), (("example.com/gpu",), [{"key": "example.com/gpu", "effect": "NoSchedule"}])]
)
def test_a_taint_goes_only_from_the_node_as_it_was_seen(others: tuple[str, ...], left: object) -> None:
    """One that somebody else adds in that moment would be lost: the API server is told which version is meant."""
    sent: list[Object] = []

    class Recorder:
        async def merge(self, _kind: object, _namespace: None, _name: str, body: Object) -> None:
            sent.append(body)

    node = starting(*others)
    node["metadata"]["resourceVersion"] = "7"
    world = a_world(node)
    fleet = Fleet(cast("Kube", Recorder()), world, SETTINGS, CHANCE)
    asyncio.run(fleet._let_start(world, {}, TAINT))
    assert sent == [{"metadata": {"resourceVersion": "7"}, "spec": {"taints": left}}]
