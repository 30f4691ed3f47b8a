"""What a registry serves with and what its clients trust, from the Secrets that there are. Pure.

Chance and time are arguments: a key is made once, kept in its Secret and read back for ever.
"""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from private_registry import pki
from private_registry.api.conditions import Reason
from private_registry.api.hosts import InvalidHostError, Rules, parse_host
from private_registry.api.registry import PrivateRegistry
from private_registry.controller.health.problem import Problem
from private_registry.trust import publish

Object = dict[str, Any]


@dataclass(frozen=True)
class Chance:
    """Where randomness comes from."""

    key: Callable[[], ec.EllipticCurvePrivateKey]
    serial: Callable[[], int]
    token: Callable[[], str]
    salt: Callable[[], bytes]
    """Of a bcrypt hash, which says with how many rounds it is made."""


@dataclass(frozen=True)
class Serving:
    """A certificate that the registry can serve with, and how its clients verify it."""

    certificate: pki.Certificate = field(repr=False)
    fingerprint: str
    ca_bundle: str
    """What nodes and people are told to trust; empty: the roots that they have."""
    server_name: str = ""
    """The name to verify when the certificate names no address of the Service; empty: it names them all."""
    covers: Callable[[str], bool] = lambda _: True
    held_back: bool = False
    """Whether another one is ready, and waits for those who are to believe it."""
    renewal: datetime | None = None
    """When the operator makes another one; None: that is its owner's affair."""

    @property
    def anchors(self) -> str:
        """What the operator itself verifies against: the very certificate, so that no older one passes for it."""
        return pki.leaf(self.certificate.cert_pem)


@dataclass(frozen=True)
class Handover:
    """The way from one certificate to the next, on which every client believes whatever it may meet.

    Nodes have the CA of the next certificate before it is there to be served, and the CAs of those before until no pod
    serves them any more.
    """

    before: Serving | None
    """What the registry serves with, as far as it can; None: nothing that anybody would believe."""
    told: str | None
    """The CAs that nodes are told of; None: they are told nothing."""
    confirmed: bool
    """Whether the nodes have what they are told, and people have had time to."""
    rolled_out: Callable[[str], bool] = lambda _: True
    """Whether every pod serves the certificate of this fingerprint."""

    def admits(self, ca_bundle: str) -> bool:
        """Whether a certificate of these CAs may be served now."""
        if self.before is None or self.told is None:
            return True
        new = set(publish.blocks(ca_bundle)) - set(publish.blocks(self.before.ca_bundle))
        return not new or (self.confirmed and new <= set(publish.blocks(self.told)))

    def overlapping(self, serving: Serving) -> Serving:
        """What is to be served, with the CAs of whatever still is."""
        if self.rolled_out(serving.fingerprint):
            return serving
        before = self.before.ca_bundle if self.before else ""
        return replace(serving, ca_bundle=publish.joined(before, self.told or "", serving.ca_bundle))

    def next(self, ca_bundle: str, known: str, make: Callable[[], Serving]) -> Serving:
        """What is to be served now: what `make` gives, of these CAs, once that may be; until then what is served.

        `known`: the CAs that everybody is to be told of in any case.
        """
        if self.before is None or self.admits(ca_bundle):
            return self.overlapping(make())
        before = self.overlapping(self.before)
        return replace(before, ca_bundle=publish.joined(before.ca_bundle, known), held_back=True)


def managed(
    live: Object | None,
    authority: pki.Authority,
    ca_bundle: str,
    hosts: tuple[str, ...],
    now: datetime,
    chance: Chance,
) -> Serving:
    """The certificate of the operator's CA: the one in the Secret while it will do, a new one otherwise."""
    certificate = read_certificate(live) if live else None
    if certificate is None or not _will_do(certificate, authority, hosts, now):
        certificate = pki.issue(authority, chance.key(), serial=chance.serial(), now=now, hosts=hosts)
    renewal = pki.renewal_time(certificate.cert_pem)
    return Serving(certificate, pki.fingerprint(certificate.cert_pem), ca_bundle, renewal=renewal)


def _will_do(certificate: pki.Certificate, authority: pki.Authority, hosts: tuple[str, ...], now: datetime) -> bool:
    try:
        # The Secret may have been edited: what it holds has to be able to serve, not only to look like ours.
        pki.parse_pair(certificate.cert_pem, certificate.key_pem, authority.cert_pem, hosts=hosts, now=now)
        return pki.covers(certificate.cert_pem, hosts) and now < pki.renewal_time(certificate.cert_pem)
    except pki.CertificateError:
        return False


def brought(
    registry: PrivateRegistry, secret: Object | None, hosts: tuple[str, ...], addresses: tuple[str, ...], now: datetime
) -> Serving | Problem:
    """The certificate of the Secret that the user names; or what is wrong with it."""
    name = registry.spec.tls.secret_name
    if secret is None:
        return Problem(
            Reason.SECRET_NOT_FOUND,
            f"spec.tls.secretName: there is no Secret {name} in namespace {registry.namespace}; create it with "
            "tls.crt, tls.key and, for a private CA, ca.crt",
        )
    certificate = read_certificate(secret)
    if certificate is None:
        return Problem(
            Reason.CERTIFICATE_INVALID,
            f"the Secret {name} has no tls.crt or no tls.key: it has to be of type kubernetes.io/tls",
        )
    return _checked(certificate, f"the Secret {name}", hosts, addresses, now)


def kept(live: Object | None, hosts: tuple[str, ...], addresses: tuple[str, ...], now: datetime) -> Serving | None:
    """The certificate that the registry serves with already; None when there is none that will do."""
    certificate = read_certificate(live) if live else None
    if certificate is None:
        return None
    checked = _checked(certificate, "", hosts, addresses, now)
    return checked if isinstance(checked, Serving) else None


def _checked(
    certificate: pki.Certificate, what: str, hosts: tuple[str, ...], addresses: tuple[str, ...], now: datetime
) -> Serving | Problem:
    try:
        server = pki.parse_pair(
            certificate.cert_pem, certificate.key_pem, certificate.ca_pem, hosts=[*hosts, *addresses], now=now
        )
    except pki.CertificateError as error:
        return Problem(Reason.CERTIFICATE_INVALID, f"{what}: {error}; put a certificate that fits into it")
    by_address = all(server.covers(address) for address in addresses)
    name = "" if by_address else next((host for host in hosts if server.covers(host)), "")
    return Serving(certificate, server.fingerprint, server.ca_pem, name, server.covers)


def host_names(registry: PrivateRegistry, rules: Rules) -> tuple[str, ...]:
    """DNS names by which clients may call the registry: its own, and the further ones that it may have."""
    own = [host.name for host in rules.own_names(registry.namespace, registry.name)]
    # Pods also resolve the name without `svc`, though no node trusts it.
    in_pods = [f"{registry.name}.{registry.namespace}", registry.name]
    further = []
    for text in registry.spec.node_trust.additional_hosts:
        try:
            host = parse_host(text)
        except InvalidHostError:
            continue
        if rules.is_allowed(host):
            further.append(host.name)
    return tuple(dict.fromkeys([*own, *in_pods, *further]))


def read_certificate(secret: Object) -> pki.Certificate | None:
    """The certificate in a Secret, unread; None where there is none that is text."""
    data = secret.get("data") or {}
    try:
        parts = [
            base64.b64decode(data.get(key, ""), validate=True).decode() for key in ("tls.crt", "tls.key", "ca.crt")
        ]
    except (binascii.Error, UnicodeDecodeError):
        return None
    cert_pem, key_pem, ca_pem = parts
    return pki.Certificate(cert_pem, key_pem, ca_pem) if cert_pem and key_pem else None
