"""What a registry serves with: the operator's certificate, a brought one, or the one that it has already."""

import base64
import copy
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest

from private_registry import pki
from private_registry.api.conditions import Reason
from private_registry.api.hosts import Rules
from private_registry.controller.health.problem import Problem
from private_registry.controller.registries.certificate import Serving, brought, host_names, kept, managed
from private_registry.registry.certificates import certificate_secret
from tests.certificates import a_certificate, an_authority
from tests.unit.controller.builders import ADDRESS, AUTHORITY, CHANCE, NOW, SETTINGS, a_registry

Object = dict[str, Any]

HOSTS = ("team.registries.svc", "team.registries.svc.cluster.local")
ADDRESSES = (ADDRESS,)
EVERY = (*HOSTS, *ADDRESSES)
REGISTRY = a_registry({"tls": {"mode": "Secret", "secretName": "brought"}})


def a_secret(certificate: pki.Certificate, **data: str) -> Object:
    """The Secret of a certificate, with other contents where they are given."""
    secret = certificate_secret(REGISTRY, certificate)
    secret["data"] |= {key.replace("_", "."): base64.b64encode(text.encode()).decode() for key, text in data.items()}
    return secret


def made(
    live: Object | None = None,
    *,
    authority: pki.Authority = AUTHORITY,
    hosts: tuple[str, ...] = EVERY,
    now: datetime = NOW,
) -> Serving:
    return managed(live, authority, authority.cert_pem, hosts, now, CHANCE)


def verify(serving: Serving, authority: pki.Authority) -> None:
    """Raises CertificateError where a client that trusts the authority would not take it."""
    pair = serving.certificate
    pki.parse_pair(pair.cert_pem, pair.key_pem, authority.cert_pem, hosts=EVERY, now=NOW)


class TestManaged:
    def test_it_names_whatever_clients_call_the_registry(self) -> None:
        """Names and addresses, verified by the cluster's CA."""
        serving = made()
        assert pki.covers(serving.certificate.cert_pem, EVERY)
        verify(serving, AUTHORITY)
        assert (serving.ca_bundle, serving.server_name) == (AUTHORITY.cert_pem, "")

    def test_it_is_kept_while_it_will_do(self) -> None:
        """No other key, no rollout."""
        first = made()
        assert made(a_secret(first.certificate)).certificate == first.certificate

    def test_it_is_renewed_in_time(self) -> None:
        """Two thirds of its life are a year's time for whatever goes wrong."""
        first = made()
        before, after = (NOW + pki.LEAF_LIFE * 2 / 3 + timedelta(days=days) for days in (-1, 1))
        assert made(a_secret(first.certificate), now=before).certificate == first.certificate
        assert made(a_secret(first.certificate), now=after).fingerprint != first.fingerprint

    def test_another_name_needs_another_certificate(self) -> None:
        """An additional host that was allowed, or an address that a load balancer got."""
        first = made()
        more = (*EVERY, "registry.example.com")
        second = made(a_secret(first.certificate), hosts=more)
        assert second.fingerprint != first.fingerprint
        assert pki.covers(second.certificate.cert_pem, more)

    def test_another_ca_needs_another_certificate(self) -> None:
        """Nodes verify it against the CA that they are given."""
        first = made()
        other = an_authority(NOW)
        verify(made(a_secret(first.certificate), authority=other), other)

    @pytest.mark.parametrize(
        "damage",
        [{"tls_crt": "no certificate"}, {"tls_crt": ""}, {"tls_key": ""}, {"tls_key": "no key"}],
        ids=str,
    )
    def test_a_damaged_secret_is_made_anew(self, damage: dict[str, str]) -> None:
        """Somebody's edit of the Secret does not stay."""
        first = made()
        second = made(a_secret(first.certificate, **damage))
        assert second.fingerprint != first.fingerprint
        verify(second, AUTHORITY)

    @pytest.mark.parametrize("text", ["%%%", base64.b64encode(b"\xff").decode()], ids=["no base64", "no text"])
    def test_a_secret_that_is_no_text_is_made_anew(self, text: str) -> None:
        """Whatever bytes are in the Secret, a certificate comes out."""
        secret = a_secret(made().certificate)
        secret["data"]["tls.crt"] = text
        assert pki.covers(made(secret).certificate.cert_pem, EVERY)


class TestBrought:
    def outcome(self, secret: Object | None, now: datetime = NOW) -> Serving | Problem:
        return brought(REGISTRY, secret, HOSTS, ADDRESSES, now)

    def serving(self, secret: Object) -> Serving:
        found = self.outcome(secret)
        assert isinstance(found, Serving)
        return found

    def problem(self, secret: Object | None, now: datetime = NOW) -> Problem:
        found = self.outcome(secret, now)
        assert isinstance(found, Problem)
        return found

    def test_one_that_names_everything_is_used_as_any_other(self) -> None:
        """By name and by address."""
        serving = self.serving(a_secret(a_certificate(EVERY, AUTHORITY, now=NOW)))
        assert serving.server_name == ""
        assert serving.ca_bundle == AUTHORITY.cert_pem
        assert serving.covers(ADDRESS)

    def test_one_without_the_address_is_verified_by_name(self) -> None:
        """Nodes reach the registry by the first name that the certificate has."""
        serving = self.serving(a_secret(a_certificate(HOSTS[1:], AUTHORITY, now=NOW)))
        assert serving.server_name == HOSTS[1]
        assert not serving.covers(HOSTS[0])

    def test_without_a_ca_the_roots_of_the_nodes_apply(self) -> None:
        """The operator itself verifies against the very certificate that is served."""
        certificate = a_certificate(EVERY, AUTHORITY, now=NOW)
        secret = a_secret(certificate)
        del secret["data"]["ca.crt"]
        serving = self.serving(secret)
        assert serving.ca_bundle == ""
        assert serving.anchors == certificate.cert_pem

    def test_no_older_certificate_of_the_same_ca_passes_for_it(self) -> None:
        """What the operator verifies against is the certificate, not its CA: it knows when a rollout has arrived."""
        certificate = a_certificate(EVERY, AUTHORITY, now=NOW)
        assert self.serving(a_secret(certificate)).anchors == certificate.cert_pem

    def test_a_missing_secret(self) -> None:
        """Which one, where, and what has to be in it."""
        problem = self.problem(None)
        assert problem.reason is Reason.SECRET_NOT_FOUND
        assert problem.message == (
            "spec.tls.secretName: there is no Secret brought in namespace registries; create it with tls.crt, tls.key "
            "and, for a private CA, ca.crt"
        )

    @pytest.mark.parametrize("secret", [{"data": None}, {}, {"data": {"tls.crt": "eA=="}}], ids=str)
    def test_a_secret_of_something_else(self, secret: Object) -> None:
        """What it has to be instead."""
        problem = self.problem(secret)
        assert problem.reason is Reason.CERTIFICATE_INVALID
        assert problem.message == (
            "the Secret brought has no tls.crt or no tls.key: it has to be of type kubernetes.io/tls"
        )

    def test_a_key_of_another_certificate(self) -> None:
        """What does not fit together, and the cure."""
        other = a_certificate(EVERY, AUTHORITY, now=NOW)
        problem = self.problem(a_secret(a_certificate(EVERY, AUTHORITY, now=NOW), tls_key=other.key_pem))
        assert problem.reason is Reason.CERTIFICATE_INVALID
        assert problem.message == (
            "the Secret brought: tls.key does not belong to the certificate in tls.crt; put a certificate that fits "
            "into it"
        )

    def test_names_of_somebody_else(self) -> None:
        """What it names, and what it has to name one of."""
        problem = self.problem(a_secret(a_certificate(["elsewhere.example.com"], AUTHORITY, now=NOW)))
        assert problem.message == (
            "the Secret brought: the certificate in tls.crt names elsewhere.example.com: it has to name one of "
            "team.registries.svc, team.registries.svc.cluster.local, 10.96.12.34; put a certificate that fits into it"
        )

    def test_one_that_is_over(self) -> None:
        """Since when."""
        problem = self.problem(a_secret(a_certificate(EVERY, AUTHORITY, now=NOW)), NOW + timedelta(days=3000))
        assert "expired at 2027-01-03T12:00:00Z" in problem.message


class TestKept:
    def test_what_serves_goes_on_serving(self) -> None:
        """The copy of a brought certificate, while the brought Secret is broken."""
        certificate = a_certificate(HOSTS, AUTHORITY, now=NOW)
        found = kept(a_secret(certificate), HOSTS, ADDRESSES, NOW)
        fresh = brought(REGISTRY, a_secret(certificate), HOSTS, ADDRESSES, NOW)
        assert found is not None
        assert isinstance(fresh, Serving)
        assert (found.certificate, found.server_name) == (fresh.certificate, fresh.server_name)

    def test_what_is_over_does_not(self) -> None:
        """Nothing is claimed to serve that no client takes."""
        over = a_secret(a_certificate(HOSTS, AUTHORITY, now=NOW))
        assert kept(over, HOSTS, ADDRESSES, NOW + timedelta(days=3000)) is None
        assert kept(None, HOSTS, ADDRESSES, NOW) is None
        assert kept({"data": {}}, HOSTS, ADDRESSES, NOW) is None


class TestHostNames:
    def test_all_names_that_clients_have(self) -> None:
        """Nodes, pods of other namespaces and pods of its own."""
        assert host_names(a_registry(), SETTINGS.rules) == (*HOSTS, "team.registries", "team")

    def test_additional_ones_that_it_may_have(self) -> None:
        """A name that the administrator did not allow, or that is none, is in no certificate."""
        hosts = ["registry.example.com:5000", "docker.io", "no host", "registry.example.com:5000"]
        registry = a_registry({"nodeTrust": {"additionalHosts": hosts}})
        assert host_names(registry, SETTINGS.rules)[4:] == ("registry.example.com",)

    def test_the_clusters_domain(self) -> None:
        """As the cluster calls itself."""
        rules = Rules("corp.internal", service_ranges=(ip_network("10.96.0.0/16"),))
        assert "team.registries.svc.corp.internal" in host_names(a_registry(), rules)


def test_no_key_is_ever_shown() -> None:
    """What ends up in a log or a traceback holds no private key."""
    serving = made()
    assert "PRIVATE" not in repr(serving) + repr(serving.certificate) + repr(copy.copy(AUTHORITY))
