"""What only one registry can have, and who has it."""

from collections.abc import Mapping
from typing import Any

import pytest

from private_registry.api import names
from private_registry.api.registry import RegistryStatus
from private_registry.controller.facts import Blocker
from private_registry.controller.registries.tenancy import claim_user, is_one_too_many, taken_hosts, upgrade_blocker
from private_registry.controller.world import World
from tests.unit.controller.builders import a_body, a_condition, a_deployment, a_registry

Object = dict[str, Any]

EARLIER, LATER = "2025-01-01T00:00:00Z", "2027-01-01T00:00:00Z"
NAME = "registry.example.com"
HOST = f"{NAME}:5000"
SHARED: Object = {"storage": {"claimName": "shared"}}
WITH_HOST: Object = {"nodeTrust": {"additionalHosts": [HOST]}}


def a_world(*bodies: Object, published: Mapping[str, str] | None = None, **deployments: Object) -> World:
    """These registries, Deployments by the names of theirs, and by theirs the one host that nodes have of each."""
    registries = {f"{body['metadata']['namespace']}/{body['metadata']['name']}": body for body in bodies}
    told = {f"registries/{name}": frozenset([host]) for name, host in (published or {}).items()}
    named = {
        f"registries/{name}": {**each, "metadata": {**each["metadata"], "name": name}}
        for name, each in deployments.items()
    }
    return World(registries=registries, deployments=named, published=told)


class TestHosts:
    def test_the_older_one_has_it(self) -> None:
        """Nobody loses a name to a newcomer."""
        other = a_body(WITH_HOST, name="other", created=EARLIER)
        assert taken_hosts(a_registry(WITH_HOST), a_world(other)) == {NAME: "registries/other"}

    def test_a_name_is_had_with_every_port(self) -> None:
        """Another port is no way to somebody's name, which nodes may have to resolve for all of them."""
        other = a_body({"nodeTrust": {"additionalHosts": [f"{NAME}:443", NAME]}}, name="other", created=EARLIER)
        assert taken_hosts(a_registry(WITH_HOST), a_world(other)) == {NAME: "registries/other"}

    def test_a_younger_one_does_not(self) -> None:
        """The newcomer is told, not the one that had it."""
        assert taken_hosts(a_registry(WITH_HOST), a_world(a_body(WITH_HOST, name="other", created=LATER))) == {}

    def test_of_two_of_the_same_second_the_first_by_name_has_it(self) -> None:
        """Each sees the same winner."""
        one, two = a_body(WITH_HOST, name="one"), a_body(WITH_HOST, name="two")
        assert taken_hosts(a_registry(WITH_HOST, name="one"), a_world(one, two)) == {}
        assert taken_hosts(a_registry(WITH_HOST, name="two"), a_world(one, two)) == {NAME: "registries/one"}

    def test_of_two_of_the_same_second_the_one_that_runs_has_it(self) -> None:
        """A newcomer that comes at once, with a name that sorts first, takes nothing away."""
        world = a_world(a_body(WITH_HOST, name="one"), a_body(WITH_HOST, name="two"), two=a_deployment())
        assert taken_hosts(a_registry(WITH_HOST, name="one"), world) == {NAME: "registries/two"}
        assert taken_hosts(a_registry(WITH_HOST, name="two"), world) == {}

    def test_of_two_older_ones_the_oldest_is_named(self) -> None:
        """The message tells who has it, and that is one."""
        oldest = a_body(WITH_HOST, name="z", created="2024-01-01T00:00:00Z")
        older = a_body(WITH_HOST, name="a", created=EARLIER)
        assert taken_hosts(a_registry(WITH_HOST), a_world(older, oldest)) == {NAME: "registries/z"}

    def test_what_nodes_have_been_told_stays(self) -> None:
        """An older registry that asks for the name of a younger one later gets it from nobody, whatever its age."""
        older, younger = a_body(WITH_HOST, name="older", created=EARLIER), a_body(WITH_HOST)
        world = a_world(older, younger, published={"team": NAME, "older": "older.registries.svc"})
        assert taken_hosts(a_registry(WITH_HOST), world) == {}
        for asking in (a_registry(WITH_HOST, name="older"), a_registry(WITH_HOST, name="new", created=LATER)):
            assert taken_hosts(asking, world) == {NAME: "registries/team"}, "whoever has it is named"

    def test_what_nodes_still_have_is_not_free(self) -> None:
        """Whoever gives a name up has it until the nodes are told so."""
        leaving = a_body(name="leaving", created=LATER)
        world = a_world(leaving, a_body(WITH_HOST), published={"leaving": NAME})
        assert taken_hosts(a_registry(WITH_HOST), world) == {NAME: "registries/leaving"}

    @pytest.mark.parametrize("spec", [{}, {"nodeTrust": {}}, {"nodeTrust": {"additionalHosts": None}}])
    def test_a_spec_without_hosts_takes_none(self, spec: Object) -> None:
        """The objects of others are read as they are, whatever they leave out."""
        assert taken_hosts(a_registry(WITH_HOST), a_world(a_body(spec, name="other", created=EARLIER))) == {}


class TestClaims:
    def test_the_older_one_has_it(self) -> None:
        """The first that named the claim keeps it."""
        older = a_world(a_body(SHARED, name="other", created=EARLIER))
        assert claim_user(a_registry(SHARED), older) == "registries/other"

    def test_a_younger_one_does_not(self) -> None:
        """The one that runs is not disturbed."""
        assert claim_user(a_registry(SHARED), a_world(a_body(SHARED, name="x", created=LATER))) == ""

    def test_of_two_of_the_same_second_the_one_that_runs_has_it(self) -> None:
        """Its volume has images already, whatever the names are."""
        world = a_world(a_body(SHARED, name="a"), a_body(SHARED, name="b"), b=a_deployment())
        assert claim_user(a_registry(SHARED, name="a"), world) == "registries/b"
        assert claim_user(a_registry(SHARED, name="b"), world) == ""

    def test_a_younger_one_that_runs_does_not(self) -> None:
        """A Deployment that somebody deleted does not cost its registry the claim."""
        younger = a_world(a_body(SHARED, name="x", created=LATER), x=a_deployment())
        assert claim_user(a_registry(SHARED), younger) == ""

    def test_a_claim_of_the_operators_making_is_its_registrys(self) -> None:
        """Naming the claim of the registry next door does not share it."""
        older = a_world(a_body(name="other", created=EARLIER))
        assert claim_user(a_registry({"storage": {"claimName": "other-data"}}), older) == "registries/other"

    def test_another_namespace_has_its_own(self) -> None:
        """Claims of one name in two namespaces are two."""
        elsewhere = a_world(a_body(SHARED, name="other", namespace="elsewhere", created=EARLIER))
        assert claim_user(a_registry(SHARED), elsewhere) == ""

    def test_the_registry_itself_is_no_other(self) -> None:
        """It is in the world as well."""
        assert claim_user(a_registry(SHARED), a_world(a_body(SHARED))) == ""


ARRIVED = {**a_condition("Progressing"), "reason": "NewReplicaSetAvailable"}


class TestRoom:
    def test_the_oldest_have_it(self) -> None:
        """A namespace has so many registries, and one more is one too many."""
        world = a_world(a_body(name="a", created=EARLIER), a_body(name="b", created=EARLIER), a_body(name="c"))
        assert is_one_too_many(a_registry(name="c"), world, 2)
        assert not is_one_too_many(a_registry(name="c"), world, 3)

    def test_those_of_others_take_none(self) -> None:
        """However many another tenant makes."""
        world = a_world(a_body(name="a", namespace="elsewhere", created=EARLIER), a_body())
        assert not is_one_too_many(a_registry(), world, 1)

    def test_a_younger_one_takes_none(self) -> None:
        """Whoever has room loses it to nobody."""
        assert not is_one_too_many(a_registry(), a_world(a_body(), a_body(name="new", created=LATER)), 1)

    def test_what_nodes_have_been_told_stays(self) -> None:
        """Whatever the administrator allows now, a registry that is pulled from goes on being looked after."""
        world = a_world(a_body(name="a", created=EARLIER), a_body(), published={"team": NAME})
        assert not is_one_too_many(a_registry(), world, 1)
        before = a_registry(status=RegistryStatus(entry_hash="5f"))
        assert not is_one_too_many(before, a_world(a_body(name="a", created=EARLIER), a_body()), 1)


OTHER = a_body(name="other", created=EARLIER)


class TestUpgrade:
    def test_one_at_a_time(self) -> None:
        """While another registry's upgrade is not complete, this one waits."""
        world = a_world(OTHER, other=a_deployment(updated=0, rolled_out_for="upgrade"))
        assert upgrade_blocker(a_registry(), world) == Blocker("registries/other", failing=False)

    @pytest.mark.parametrize(
        "condition",
        [a_condition("Progressing", "False"), a_condition("ReplicaFailure", "True")],
        ids=["past its deadline", "pods are refused"],
    )
    def test_it_stops_at_the_first_that_fails(self, condition: Object) -> None:
        """Someone has to see to it: the others keep what works."""
        world = a_world(OTHER, other=a_deployment(updated=0, rolled_out_for="upgrade", conditions=(condition,)))
        assert upgrade_blocker(a_registry(), world) == Blocker("registries/other", failing=True)

    def test_a_stalled_registry_has_failed(self) -> None:
        """Its status has the reason, an image that cannot be pulled for example, long before its deadline."""
        body = a_body(name="other", created=EARLIER) | {"status": {"conditions": [a_condition("Stalled")]}}
        world = a_world(body, other=a_deployment(updated=0, rolled_out_for="upgrade"))
        assert upgrade_blocker(a_registry(), world) == Blocker("registries/other", failing=True)

    def test_what_does_not_block(self) -> None:
        """An upgrade that arrived, whatever became of its pod, an owner's own rollout, and the registry itself."""
        world = a_world(
            *(a_body(name=name) for name in ("done", "down_since", "owners", "team")),
            done=a_deployment(rolled_out_for="upgrade", conditions=(ARRIVED,)),
            down_since=a_deployment(rolled_out_for="upgrade", available=0, conditions=(ARRIVED,)),
            owners=a_deployment(updated=0),
            team=a_deployment(updated=0, rolled_out_for="upgrade"),
        )
        assert upgrade_blocker(a_registry(), world) is None

    @pytest.mark.parametrize("change", [{"name": "another"}, {"labels": {names.REGISTRY_UID: "another"}}])
    def test_what_only_looks_like_one_holds_up_nobody(self, change: Object) -> None:
        """Anyone may make a Deployment with such labels in his own namespace."""
        deployment = a_deployment(updated=0, rolled_out_for="upgrade")
        world = a_world(OTHER, other=deployment)
        world.deployments["registries/other"]["metadata"] |= change
        assert upgrade_blocker(a_registry(), world) is None
        assert upgrade_blocker(a_registry(), a_world(other=deployment)) is None
