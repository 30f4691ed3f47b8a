"""From one CA to the next: what a registry serves, and whom everybody is told to trust, at every moment in between."""

import base64
from dataclasses import replace
from typing import Any

import pytest

from private_registry import pki
from private_registry.api import names
from private_registry.controller.facts import Facts
from private_registry.controller.health.confirmation import Confirmation
from private_registry.controller.registries.plan import plan
from private_registry.registry.certificates import CA_KEY
from private_registry.trust import entry as trust
from private_registry.trust import publish
from tests.unit.controller.builders import (
    ADDRESS,
    AUTHORITY,
    NOW,
    a_brought_secret,
    a_key,
    a_pod,
    a_registry,
    facts,
)
from tests.unit.controller.changes import planned
from tests.unit.controller.small_cluster import SmallCluster, key_of, made

Object = dict[str, Any]

NEXT = pki.create_authority(a_key(7), serial=7, now=NOW)
BOTH = AUTHORITY.cert_pem + NEXT.cert_pem
REGISTRY = a_registry()
SPEC: Object = {"tls": {"mode": "Secret", "secretName": "brought"}}
BROUGHT = a_registry(SPEC)

ENTRY = ("ConfigMap", "entry.registries.team")
PEOPLE = ("ConfigMap", "team-ca")
CERTIFICATE = ("Secret", "team-certificate")
DEPLOYMENT = ("Deployment", "team")

BEGUN = facts(ca_bundle=BOTH, succession=True)
PROMOTED = facts(authority=NEXT, ca_bundle=BOTH)
ENDED = facts(authority=NEXT, ca_bundle=NEXT.cert_pem)
STEPS = (BEGUN, PROMOTED, ENDED)


def told(cluster: SmallCluster) -> set[str]:
    """Whom nodes are to trust."""
    return {f"{block}\n" for block in publish.blocks(trust.parse(cluster.objects[ENTRY]).ca_bundle)}


def signed_by(cluster: SmallCluster) -> str:
    return publish.joined(_decoded(cluster.objects[CERTIFICATE], CA_KEY))


def _decoded(secret: Object, key: str) -> str:
    return base64.b64decode(secret["data"][key]).decode()


def after(*steps: Facts) -> SmallCluster:
    cluster = made()
    for known in steps:
        cluster.converge(REGISTRY, known)
    return cluster


def test_step_by_step() -> None:
    """Told of both, served by the next one, told of that alone; and a step that was taken asks for no write."""
    cluster = after(BEGUN)
    assert (told(cluster), signed_by(cluster)) == ({AUTHORITY.cert_pem, NEXT.cert_pem}, AUTHORITY.cert_pem)
    assert [key for _, *key in cluster.writes] == [[*PEOPLE], [*ENTRY]]
    cluster = after(BEGUN, PROMOTED)
    assert (told(cluster), signed_by(cluster)) == ({AUTHORITY.cert_pem, NEXT.cert_pem}, NEXT.cert_pem)
    cluster = after(*STEPS)
    assert (told(cluster), signed_by(cluster)) == ({NEXT.cert_pem}, NEXT.cert_pem)
    assert cluster.objects[PEOPLE]["data"][CA_KEY] == NEXT.cert_pem
    steady = cluster.as_it_is()
    steady.converge(REGISTRY, ENDED)
    assert steady.writes == []


@pytest.mark.parametrize("until", range(1, len(STEPS) + 1))
def test_killed_after_any_write_it_comes_to_the_same_end(until: int) -> None:
    """In each step, and also when the CA has gone on meanwhile."""
    whole = after(*STEPS)
    killed_in = after(*STEPS[: until - 1]).as_it_is()
    killed_in.converge(REGISTRY, STEPS[until - 1])
    for killed in killed_in.left_behind:
        started_anew = killed.as_it_is()
        for known in STEPS[until - 1 :]:
            started_anew.converge(REGISTRY, known)
        assert started_anew.desired() == whole.desired()


def test_at_no_moment_is_anything_served_that_nobody_was_told_of() -> None:
    """After any write of any step: nodes and people trust the certificate that a pod may meet, before and after it."""
    cluster = made()
    for known in STEPS:
        cluster = cluster.as_it_is()
        cluster.converge(REGISTRY, known)
        for moment in cluster.left_behind:
            assert signed_by(moment) in told(moment)
            assert signed_by(moment) in moment.objects[PEOPLE]["data"][CA_KEY]
            for running in (each for each in moment.replica_sets if each["spec"]["replicas"]):
                assert running["spec"]["template"]["metadata"]["annotations"][names.CERTIFICATE]


def test_no_node_that_lacks_the_ca_meets_it() -> None:
    """Whatever the rest of the cluster has come to: this registry's own nodes decide what it serves."""
    waits = Confirmation("hash", waited=("b (FileSystemError)",))
    for confirmation in (Confirmation(), waits, Confirmation("of another entry")):
        result = planned(made(), ca_bundle=BOTH, authority=NEXT, confirmation=confirmation)
        assert {key_of(write.obj) for write in result.writes} == {PEOPLE, ENTRY}  # type: ignore[union-attr]
        assert result.serving
        assert result.serving.certificate.ca_pem == AUTHORITY.cert_pem
    result = planned(made(), ca_bundle=BOTH, authority=NEXT, confirmation=waits)
    assert result.waiting == "nodes to have the next CA: b (FileSystemError)"
    assert planned(made(), ca_bundle=BOTH, authority=NEXT).waiting == "everybody to have heard of the next CA"


def test_a_registry_that_is_down_is_told_of_as_well() -> None:
    """Or it would hold up all the others: its entry gets the next CA and stays as it is otherwise."""
    cluster = made()
    before = trust.parse(cluster.objects[ENTRY])
    cluster.reconcile(a_registry({"nodeTrust": {"nodeSelector": {"pool": "x"}}}), replace(BEGUN, serves=False))
    assert trust.parse(cluster.objects[ENTRY]) == replace(before, ca_bundle=BOTH)


def test_a_pod_that_is_leaving_still_serves() -> None:
    """The CA of its certificate goes when it is gone, and not when another pod is ready."""
    cluster = after(BEGUN, PROMOTED)
    result = cluster.reconcile(REGISTRY, ENDED)
    assert result.serving
    last = a_pod()
    last["metadata"] |= {"annotations": {names.CERTIFICATE: "of the last one"}, "deletionTimestamp": "now"}
    next_one = a_pod(node="other")
    next_one["metadata"]["annotations"][names.CERTIFICATE] = result.serving.fingerprint
    seen = replace(after(BEGUN, PROMOTED).observe(REGISTRY), pods=(last, next_one))
    held = plan(REGISTRY, seen, replace(ENDED, serves=True))
    assert held.serving
    assert set(publish.blocks(held.serving.ca_bundle)) == set(publish.blocks(BOTH))
    last["status"]["phase"] = "Failed"
    over = plan(REGISTRY, seen, replace(ENDED, serves=True))
    assert over.serving
    assert over.serving.ca_bundle == NEXT.cert_pem


def test_a_lost_ca_costs_nobody_a_pull() -> None:
    """Another one that nobody has heard of is told of first, beside the CA of what is served."""
    cluster = made()
    known = facts(authority=NEXT, ca_bundle=NEXT.cert_pem)
    cluster.reconcile(REGISTRY, known)
    assert (told(cluster), signed_by(cluster)) == ({AUTHORITY.cert_pem, NEXT.cert_pem}, AUTHORITY.cert_pem)
    cluster.converge(REGISTRY, known)
    assert (told(cluster), signed_by(cluster)) == ({NEXT.cert_pem}, NEXT.cert_pem)


def test_nodes_that_go_by_the_entry_before_still_trust_it() -> None:
    """While the certificate is the one that they know: a rotation alone makes no registry unready."""
    cluster = made()
    before = trust.hash_of(trust.data_of(cluster.objects[ENTRY]))
    result = cluster.converge(REGISTRY, BEGUN)
    assert result.serving
    published = cluster.objects[ENTRY]
    assert publish.as_good(published, result.serving.fingerprint) == before
    assert publish.as_good(published, "of another certificate") == ""
    assert published["metadata"]["annotations"][names.SINCE] == NOW.isoformat()
    cluster.converge(a_registry({"nodeTrust": {"nodeSelector": {"pool": "x"}}}), BEGUN)
    assert publish.as_good(cluster.objects[ENTRY], result.serving.fingerprint) == ""


class TestBrought:
    def cluster(self) -> SmallCluster:
        cluster = SmallCluster(a_brought_secret())
        cluster.converge(BROUGHT)
        return cluster.as_it_is()

    def test_another_ca_is_told_of_first(self) -> None:
        """Then the certificate is served, and the last CA goes when no pod serves it any more."""
        cluster = self.cluster()
        cluster.objects["Secret", "brought"] = a_brought_secret(authority=NEXT)
        result = planned(cluster, SPEC)
        assert {key_of(write.obj) for write in result.writes} == {PEOPLE, ENTRY}  # type: ignore[union-attr]
        cluster.converge(BROUGHT)
        order = [(kind, name) for _, kind, name in cluster.writes]
        assert order.index(ENTRY) < order.index(CERTIFICATE) < order.index(DEPLOYMENT)
        assert (told(cluster), signed_by(cluster)) == ({NEXT.cert_pem}, NEXT.cert_pem)

    def test_from_the_roots_of_the_nodes_to_a_ca_and_back(self) -> None:
        """Nodes believe their own roots beside any CA: they are told of one before, and forget it after."""
        cluster = self.cluster()
        with_ca = cluster.objects["Secret", "brought"]
        public = a_brought_secret(authority=NEXT)
        del public["data"]["ca.crt"]
        cluster.objects["Secret", "brought"] = public
        cluster.converge(BROUGHT)
        assert told(cluster) == set()
        cluster.objects["Secret", "brought"] = with_ca
        result = planned(cluster, SPEC)
        assert CERTIFICATE not in {key_of(write.obj) for write in result.writes}  # type: ignore[union-attr]
        cluster.converge(BROUGHT)
        assert (told(cluster), signed_by(cluster)) == ({AUTHORITY.cert_pem}, AUTHORITY.cert_pem)

    def test_one_of_the_same_ca_waits_for_nobody(self) -> None:
        """Everybody believes it already."""
        cluster = self.cluster()
        cluster.objects["Secret", "brought"] = a_brought_secret()
        result = planned(cluster, SPEC, confirmation=Confirmation("hash", waited=("b",)))
        assert CERTIFICATE in {key_of(write.obj) for write in result.writes}  # type: ignore[union-attr]
        assert ADDRESS in trust.parse(cluster.objects[ENTRY]).addresses
