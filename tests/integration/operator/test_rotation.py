"""Certificates and CAs that are replaced while everybody goes on pulling and pushing, and verifies what he meets."""

import base64
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from private_registry import pki
from private_registry.api import names
from private_registry.api.conditions import Type
from private_registry.controller.fleet import authorities
from private_registry.controller.fleet.authorities import Authorities
from private_registry.controller.fleet.succession import CA_SECRET
from private_registry.kube import kinds
from private_registry.pki import Certificate, fingerprint
from private_registry.trust import entry as trust
from private_registry.trust import publish
from private_registry.trust.reasons import Reason
from tests.certificates import a_certificate, an_authority
from tests.integration.container import content
from tests.integration.operator.load import Load
from tests.integration.operator.parts.cluster import READY, SILENT, Cluster, Object

# `make soak` takes the long way, which is run before a change of all this is called done.
RENEWALS, SUCCESSIONS = (20, 3) if os.environ.get("SOAK") else (1, 1)
LEAF_LIFE = 120.0
RENEWAL = 80.0
LONG = 180.0
"""Seconds that a rotation has, on a machine with other things to do."""


@pytest.fixture
def waits() -> Mapping[str, float]:
    """Certificates that live for two minutes, and an operator that sees at once what it cannot watch."""
    return {
        "pki.LEAF_LIFE": LEAF_LIFE,
        "controller.engine.RESYNC": 1.0,
        "controller.fleet.loop.BUSY": 0.5,
        "controller.health.confirmation.LOST_NODE": 8.0,
    }


async def ca(cluster: Cluster) -> Authorities:
    return authorities.read(await cluster.get(kinds.SECRET, CA_SECRET, names.OPERATOR_NAMESPACE))


async def rotate(cluster: Cluster, value: str) -> Authorities:
    """Ask for another CA; the authorities as they were before."""
    await until_rotated(cluster)  # a test before this one may have left one under way
    before = await ca(cluster)
    about = {"annotations": {names.ROTATE_CA: f"{cluster.namespace} {value}"}}
    await cluster.kube.merge(kinds.SECRET, names.OPERATOR_NAMESPACE, CA_SECRET, {"metadata": about})
    return before


async def until_rotated(cluster: Cluster, before: Authorities | None = None, *, within: float = LONG) -> Authorities:
    """The authorities once no rotation is under way, and the CA is another one than before."""

    async def over() -> Authorities:
        known = await ca(cluster)
        assert known.upcoming is None, "the next one signs nothing yet"
        assert not known.previous, "the last one is still trusted"
        assert before is None or known.current != before.current, "it is the same"
        return known

    return await cluster.until(over, within=within, what="the CA was replaced")


async def told(cluster: Cluster, name: str = "team") -> str:
    """The CAs that nodes are told of."""
    return trust.parse(await cluster.entry(name)).ca_bundle


async def until_told(cluster: Cluster, ca_pem: str, name: str = "team") -> None:
    """Return when nodes and people are told of this CA and of no other."""

    async def only() -> bool:
        people = await cluster.get(kinds.CONFIG_MAP, names.ca_config_map(name))
        assert await told(cluster, name) == ca_pem
        assert people["data"]["ca.crt"] == ca_pem
        return True

    await cluster.until(only, within=LONG, what="everybody is told of one CA")


async def served(cluster: Cluster) -> Certificate:
    """The certificate that the next pod of the registry would serve."""
    found = content(await cluster.get(kinds.SECRET, "team-certificate"))
    return Certificate(found["tls.crt"].decode(), found["tls.key"].decode(), found.get("ca.crt", b"").decode())


async def until_served_by(cluster: Cluster, cert_pem: str, *, within: float = LONG) -> None:
    """Return when each pod of the registry has this certificate, and no other is left."""

    async def rolled() -> bool:
        pods = await cluster.pods()
        found = [pod["metadata"]["annotations"][names.CERTIFICATE] for pod in pods]
        assert found == [fingerprint(cert_pem)], found
        return True

    await cluster.until(rolled, within=within, what="the pod serves the next certificate")


async def until_another(cluster: Cluster, first: Certificate) -> Certificate:
    """The certificate that follows."""

    async def renewed() -> Certificate:
        after = await served(cluster)
        assert after != first
        return after

    return await cluster.until(renewed, within=LEAF_LIFE, what="another certificate is there")


async def never_unready(cluster: Cluster) -> None:
    """Whatever was replaced, the registry never was anything but ready: the event tells of the first time only."""
    assert not [reason for reason in await cluster.events() if reason.startswith("Not")]


async def test_a_certificate_is_renewed_at_two_thirds_of_its_life(cluster: Cluster) -> None:
    """Not sooner and not later, by the next pod beside the last; nobody meets a gap, or what he does not believe."""
    await cluster.ready()
    async with Load(cluster) as load:
        for _ in range(RENEWALS):
            first = await served(cluster)
            second = await until_another(cluster, first)
            ends = [_read(each).not_valid_after_utc for each in (first, second)]
            assert RENEWAL - 2 <= (ends[1] - ends[0]).total_seconds() <= RENEWAL + 10
            assert second.ca_pem == first.ca_pem
            await until_served_by(cluster, second.cert_pem)
        await load.more()
    print(f"{RENEWALS} renewals, {load}")
    assert load.failures == []
    await never_unready(cluster)


async def test_the_ca_is_replaced(cluster: Cluster) -> None:
    """Both are trusted before the next one signs, and the last one goes last; events tell how far it is."""
    await cluster.ready()
    async with Load(cluster) as load:
        for number in range(SUCCESSIONS):
            before = await rotate(cluster, f"{number}")
            after = await until_rotated(cluster, before)
            await until_told(cluster, after.current.cert_pem)
            assert (await served(cluster)).ca_pem == after.current.cert_pem
        await load.more()
    print(f"{SUCCESSIONS} rotations of the CA, {load}")
    assert load.failures == []
    await never_unready(cluster)
    events = await cluster.kube.list(kinds.EVENT, names.OPERATOR_NAMESPACE, fields=f"involvedObject.name={CA_SECRET}")
    assert {each["reason"] for each in events.items} >= {"CARotationStarted", "CARotationServing", "CARotationDone"}
    assert "PRIVATE" not in json.dumps(events.items) + cluster.operator.log.read_text()


async def test_an_old_ca_is_replaced_by_itself(cluster: Cluster) -> None:
    """At four fifths of its life nobody has to ask: the same way, and nobody notices."""
    await cluster.ready()
    await until_rotated(cluster)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    old = pki.create_authority(key, serial=1, now=now - pki.AUTHORITY_LIFE * 0.81)
    async with Load(cluster) as load:
        pair = {"tls.crt": old.cert_pem, "tls.key": old.key_pem}
        data = {name: base64.b64encode(pem.encode()).decode() for name, pem in pair.items()}
        await cluster.kube.merge(kinds.SECRET, names.OPERATOR_NAMESPACE, CA_SECRET, {"data": data})
        after = await until_rotated(cluster, Authorities(old))
        await until_told(cluster, after.current.cert_pem)
        await load.more()
    assert load.failures == []
    events = await cluster.kube.list(kinds.EVENT, names.OPERATOR_NAMESPACE, fields=f"involvedObject.name={CA_SECRET}")
    assert any("its time has come" in each["message"] for each in events.items)
    await never_unready(cluster)


async def test_a_node_that_lags_is_waited_for(cluster: Cluster) -> None:
    """However long: it is named, the registry stays ready, and no certificate of the next CA is made before."""
    await cluster.ready()
    cluster.agents.silent.add("node-b")
    async with Load(cluster) as load:
        before = await rotate(cluster, "with a node that lags")
        why = "its agent has not answered for the newest entry yet"
        waiting = f"waiting for nodes to have the next CA: node-b ({why})"
        await cluster.until_condition(Type.RECONCILING, "True", "Progressing", says=waiting, within=LONG)
        await cluster.until_condition(Type.READY, "True")
        await load.more(20)
        known = await ca(cluster)
        assert known.current == before.current
        assert known.upcoming
        assert (await served(cluster)).ca_pem == before.current.cert_pem
        cluster.agents.agree("node-b")
        await until_rotated(cluster, before)
        await load.more()
    assert load.failures == []
    await never_unready(cluster)


async def test_a_node_that_cannot_write_is_waited_for(cluster: Cluster) -> None:
    """It has heard of the next CA, and does not have it: what counts is on the disk."""
    await cluster.ready()
    cluster.agents.say("node-b", Reason.FILE_SYSTEM_ERROR, "/etc/containerd/certs.d: no space left on device")
    before = await rotate(cluster, "with a node whose disk is full")
    waiting = "waiting for nodes to have the next CA: node-b (FileSystemError)"
    await cluster.until_condition(Type.RECONCILING, "True", "Progressing", says=waiting, within=LONG)
    assert (await ca(cluster)).current == before.current
    cluster.agents.agree("node-b")
    await until_rotated(cluster, before)


async def test_a_node_that_is_not_ready_is_passed_over(cluster: Cluster) -> None:
    """After it was waited for, by name, for as long as that takes; it has what it needs when it is back."""
    await cluster.ready()
    cluster.agents.silent.add("node-b")
    await cluster.set_node("node-b", SILENT)
    try:
        before = await rotate(cluster, "without a node")
        waiting = "waiting for nodes to have the next CA: node-b (not ready: at most until "
        await cluster.until_condition(Type.RECONCILING, "True", "Progressing", says=waiting, within=LONG)
        after = await until_rotated(cluster, before)
        assert "node-b" in await cluster.until_event("CertificateReplaced")
    finally:
        await cluster.set_node("node-b", READY)
        cluster.agents.agree("node-b")
    await until_told(cluster, after.current.cert_pem)
    await cluster.until_ready()


@pytest.mark.parametrize("writes", range(1, 9))
async def test_killed_in_the_middle_it_goes_on(cluster: Cluster, writes: int) -> None:
    """After any of its writes: the next start finds in the cluster how far it was, and nobody notices."""
    await cluster.ready()
    waits = cluster.operator.waits
    async with Load(cluster) as load:
        cluster.operator.stop()
        before = await ca(cluster)
        about = {"annotations": {names.ROTATE_CA: f"{cluster.namespace} killed"}}
        await cluster.kube.merge(kinds.SECRET, names.OPERATOR_NAMESPACE, CA_SECRET, {"metadata": about})
        cluster.operator.start(waits=waits, writes=writes)

        async def dead() -> bool:
            return not cluster.operator.is_running()

        await cluster.until(dead, within=LONG, what="the operator was killed")
        await load.more(2)
        cluster.operator.start(waits=waits)
        await until_rotated(cluster, before)
        await load.more(2)
    assert load.failures == []


async def test_a_registry_that_comes_in_the_middle(cluster: Cluster) -> None:
    """It is trusted by both from the beginning, and takes part in the rest."""
    await cluster.ready()
    cluster.agents.silent.add("node-b")
    before = await rotate(cluster, "with another registry")
    await cluster.until_condition(Type.RECONCILING, "True", "Progressing", within=LONG)
    await cluster.create(name="later")

    async def known() -> bool:
        return len(publish.blocks(await told(cluster, "later"))) == 2

    await cluster.until(known, what="the nodes are told of both CAs of the other registry")
    cluster.agents.agree("node-b")
    after = await until_rotated(cluster, before)
    await until_told(cluster, after.current.cert_pem, "later")
    await cluster.until_ready("later")


async def test_a_lost_ca_is_made_good(cluster: Cluster) -> None:
    """Whoever deletes the CA's Secret costs the registries another certificate, and nobody a pull."""
    await cluster.ready()
    await until_rotated(cluster)
    async with Load(cluster) as load:
        before = await ca(cluster)
        await cluster.delete(kinds.SECRET, CA_SECRET, names.OPERATOR_NAMESPACE)

        async def replaced() -> bool:
            known = await ca(cluster)
            assert (await served(cluster)).ca_pem == known.current.cert_pem != before.current.cert_pem
            assert await told(cluster) == known.current.cert_pem
            return True

        await cluster.until(replaced, within=LONG, what="another CA is the only one")
        await load.more()
    assert load.failures == []
    await never_unready(cluster)


BROUGHT = {"tls": {"mode": "Secret", "secretName": "brought"}}


def as_cert_manager_has_it(certificate: Certificate) -> Object:
    """The Secret as cert-manager 1.x writes it, with all that is beside the certificate."""
    parts = {"tls.crt": certificate.cert_pem, "tls.key": certificate.key_pem, "ca.crt": certificate.ca_pem}
    return {
        "type": "kubernetes.io/tls",
        "metadata": {
            "labels": {"controller.cert-manager.io/fao": "true"},
            "annotations": {
                "cert-manager.io/alt-names": "team.registries.svc",
                "cert-manager.io/certificate-name": "team",
                "cert-manager.io/common-name": "",
                "cert-manager.io/ip-sans": "",
                "cert-manager.io/issuer-group": "cert-manager.io",
                "cert-manager.io/issuer-kind": "Issuer",
                "cert-manager.io/issuer-name": "ca-issuer",
                "cert-manager.io/uri-sans": "",
            },
        },
        "data": {key: base64.b64encode(pem.encode()).decode() for key, pem in parts.items()},
    }


async def bring(cluster: Cluster, certificate: Certificate) -> None:
    """Write the Secret anew, in one request, as cert-manager does."""
    change = as_cert_manager_has_it(certificate)
    if await cluster.kube.get(kinds.SECRET, cluster.namespace, "brought"):
        await cluster.kube.merge(kinds.SECRET, cluster.namespace, "brought", change)
    else:
        await cluster.add(kinds.SECRET, "brought", type=change["type"], data=change["data"])
        await cluster.kube.merge(kinds.SECRET, cluster.namespace, "brought", {"metadata": change["metadata"]})


async def test_a_brought_certificate_is_followed(cluster: Cluster) -> None:
    """One of the same CA at once; one of another once every node has that CA, and the last one goes last."""
    authority, hosts = an_authority(), [f"team.{cluster.namespace}.svc"]
    await bring(cluster, a_certificate(hosts, authority))
    await cluster.ready(BROUGHT)
    async with Load(cluster) as load:
        same = a_certificate(hosts, authority)
        await bring(cluster, same)
        await until_served_by(cluster, same.cert_pem)
        await until_told(cluster, authority.cert_pem)
        await load.more()

        cluster.agents.silent.add("node-b")
        other = a_certificate(hosts)
        await bring(cluster, other)
        waiting = "waiting for nodes to have the next CA: node-b"
        await cluster.until_condition(Type.RECONCILING, "True", "Progressing", says=waiting, within=LONG)
        assert set(publish.blocks(await told(cluster))) == {each.strip() for each in (authority.cert_pem, other.ca_pem)}
        await load.more()
        assert (await served(cluster)).cert_pem == same.cert_pem
        cluster.agents.agree("node-b")
        await until_served_by(cluster, other.cert_pem)
        await until_told(cluster, other.ca_pem)
        await load.more()
    assert load.failures == []
    await never_unready(cluster)


async def test_a_broken_one_is_not_followed(cluster: Cluster) -> None:
    """What was served goes on being served, and the status says what is wrong; the next good one is taken."""
    authority, hosts = an_authority(), [f"team.{cluster.namespace}.svc"]
    good = a_certificate(hosts, authority)
    await bring(cluster, good)
    await cluster.ready(BROUGHT)
    other = a_certificate(hosts, authority)
    long_ago = datetime.now(UTC) - timedelta(days=2)
    broken = {
        "tls.key does not belong": Certificate(other.cert_pem, good.key_pem, authority.cert_pem),
        "tls.crt is not a PEM certificate": Certificate("garbage", good.key_pem, authority.cert_pem),
        "expired at": a_certificate(hosts, authority, now=long_ago, life=timedelta(days=1)),
        "names elsewhere.example.com": a_certificate(["elsewhere.example.com"], authority),
        "was not issued by the CA": Certificate(other.cert_pem, other.key_pem, an_authority().cert_pem),
    }
    async with Load(cluster) as load:
        for message, certificate in broken.items():
            await bring(cluster, certificate)

            async def said(message: str = message) -> bool:
                found = await cluster.condition(Type.STALLED)
                return found is not None and found.reason == "CertificateInvalid" and message in found.message

            await cluster.until(said, what=f"the status says: {message}")
            await cluster.until_condition(Type.AVAILABLE, "True")
            assert (await served(cluster)).cert_pem == good.cert_pem
        await load.more()
        await bring(cluster, other)
        await until_served_by(cluster, other.cert_pem)
        await cluster.until_ready()
    assert load.failures == []


def _read(certificate: Certificate) -> x509.Certificate:
    return x509.load_pem_x509_certificate(certificate.cert_pem.encode())
