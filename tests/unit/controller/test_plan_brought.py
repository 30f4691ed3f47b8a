"""A certificate that its owner brings: what serves does not break with it."""

import base64
from typing import Any

import pytest

from private_registry.api.conditions import Reason
from private_registry.trust.entry import parse
from tests.unit.controller.builders import ADDRESS, AUTHORITY, a_brought_secret, a_registry
from tests.unit.controller.changes import planned
from tests.unit.controller.small_cluster import SmallCluster

Object = dict[str, Any]

SPEC: Object = {"tls": {"mode": "Secret", "secretName": "brought"}}
BROUGHT = ("Secret", "brought")
COPY = ("Secret", "team-certificate")
ENTRY = ("ConfigMap", "entry.registries.team")


def serving(secret: Object | None = None) -> SmallCluster:
    """A cluster in which a registry serves with what was brought."""
    cluster = SmallCluster(secret or a_brought_secret())
    cluster.converge(a_registry(SPEC))
    return cluster.as_it_is()


def break_it(cluster: SmallCluster) -> None:
    cluster.objects[BROUGHT]["data"]["tls.key"] = base64.b64encode(b"no key").decode()


def lose_it(cluster: SmallCluster) -> None:
    del cluster.objects[BROUGHT]


broken = pytest.mark.parametrize(
    ("accident", "reason"), [(break_it, Reason.CERTIFICATE_INVALID), (lose_it, Reason.SECRET_NOT_FOUND)]
)


@broken
def test_what_serves_goes_on_serving(accident: Any, reason: Reason) -> None:
    """The registry has a copy that was checked; nothing is written, and the reason is said."""
    cluster = serving()
    accident(cluster)
    result = cluster.converge(a_registry(SPEC))
    assert cluster.writes == []
    assert [problem.reason for problem in result.problems] == [reason]
    assert result.serving is not None
    assert result.serving.ca_bundle == AUTHORITY.cert_pem


@broken
def test_its_owner_can_change_everything_else(accident: Any, reason: Reason) -> None:
    """The pod rolls, with the copy."""
    cluster = serving()
    accident(cluster)
    cluster.converge(a_registry({**SPEC, "image": "another"}, generation=2))
    assert cluster.writes == [("apply", "Deployment", "team")]


@broken
def test_a_lost_entry_comes_back(accident: Any, reason: Reason) -> None:
    """Nodes go on trusting what serves."""
    cluster = serving()
    entry = cluster.objects.pop(ENTRY)
    accident(cluster)
    cluster.converge(a_registry(SPEC))
    assert parse(cluster.objects[ENTRY]) == parse(entry)


def test_nodes_are_not_told_of_what_nobody_can_serve() -> None:
    """With the copy lost as well there is no telling how to verify the registry: no entry rather than a wrong one."""
    cluster = serving()
    for key in (BROUGHT, COPY, ENTRY):
        del cluster.objects[key]
    cluster.converge(a_registry(SPEC))
    assert cluster.writes == []


def test_a_new_registry_waits_for_its_secret() -> None:
    """There is nothing to serve with, and no pod is started to fail for want of it."""
    cluster = SmallCluster()
    result = cluster.converge(a_registry(SPEC))
    assert [problem.reason for problem in result.problems] == [Reason.SECRET_NOT_FOUND]
    assert not {COPY, ENTRY, ("Deployment", "team")} & set(cluster.objects)
    cluster.objects[BROUGHT] = a_brought_secret()
    assert cluster.converge(a_registry(SPEC)).problems == ()
    assert {COPY, ENTRY, ("Deployment", "team")} <= set(cluster.objects)


def test_another_certificate_rolls_the_pod() -> None:
    """A registry reads it at its start only."""
    cluster = serving()
    cluster.objects[BROUGHT] = a_brought_secret()
    cluster.converge(a_registry(SPEC))
    assert ("apply", *COPY) in cluster.writes
    assert ("apply", "Deployment", "team") in cluster.writes


def test_one_that_names_no_address_is_trusted_by_name_only() -> None:
    """Nodes verify the name that it has, and are told of no other."""
    cluster = serving(a_brought_secret(hosts=("team.registries.svc",)))
    entry = parse(cluster.objects[ENTRY])
    assert (entry.server_name, entry.hosts) == ("team.registries.svc", ("team.registries.svc:5000",))
    named = parse(serving().objects[ENTRY])
    assert (named.server_name, named.hosts) == ("", ("team.registries.svc:5000", f"{ADDRESS}:5000"))


def test_without_a_ca_people_are_given_none() -> None:
    """The roots that they have vouch for it; a ConfigMap of the time before goes."""
    cluster = serving()
    assert ("ConfigMap", "team-ca") in cluster.objects
    del cluster.objects[BROUGHT]["data"]["ca.crt"]
    cluster.converge(a_registry(SPEC))
    assert ("ConfigMap", "team-ca") not in cluster.objects
    assert parse(cluster.objects[ENTRY]).ca_bundle == ""


def test_a_host_that_it_does_not_name_is_refused() -> None:
    """No node would be able to verify it."""
    spec = {**SPEC, "nodeTrust": {"additionalHosts": ["registry.example.com:5000"]}}
    result = planned(serving(), spec)
    assert [problem.reason for problem in result.problems] == [Reason.CERTIFICATE_INVALID]
