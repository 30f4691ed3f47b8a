"""What a registry serves with and what its clients trust, from the Secrets that there are. Pure.

Chance and time are arguments: a key is made once, kept in its Secret and read back for ever.
"""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from private_registry import pki
from private_registry.api.conditions import Reason
from private_registry.api.hosts import InvalidHostError, Rules, parse_host
from private_registry.api.registry import PrivateRegistry
from private_registry.controller.health.problem import Problem

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

    @property
    def anchors(self) -> str:
        """What the operator itself verifies against: the very certificate, so that no older one passes for it."""
        return pki.leaf(self.certificate.cert_pem)


def managed(
    live: Object | None,
    authority: pki.Authority,
    ca_bundle: str,
    hosts: tuple[str, ...],
    now: datetime,
    chance: Chance,
) -> Serving:
    """The certificate of the operator's CA: the one in the Secret while it will do, a new one otherwise."""
    certificate = _read(live) if live else None
    if certificate is None or not _will_do(certificate, authority, hosts, now):
        certificate = pki.issue(authority, chance.key(), serial=chance.serial(), now=now, hosts=hosts)
    return Serving(certificate, pki.fingerprint(certificate.cert_pem), ca_bundle)


def _will_do(certificate: pki.Certificate, authority: pki.Authority, hosts: tuple[str, ...], now: datetime) -> bool:
    try:
        # The Secret may have been edited: what it holds has to be able to serve, not only to look like ours.
        pki.parse_pair(certificate.cert_pem, certificate.key_pem, authority.cert_pem, hosts=hosts, now=now)
        return pki.covers(certificate.cert_pem, hosts) and not pki.needs_renewal(certificate.cert_pem, now)
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
    certificate = _read(secret)
    if certificate is None:
        return Problem(
            Reason.CERTIFICATE_INVALID,
            f"the Secret {name} has no tls.crt or no tls.key: it has to be of type kubernetes.io/tls",
        )
    return _checked(certificate, f"the Secret {name}", hosts, addresses, now)


def kept(live: Object | None, hosts: tuple[str, ...], addresses: tuple[str, ...], now: datetime) -> Serving | None:
    """The certificate that the registry serves with already; None when there is none that will do."""
    certificate = _read(live) if live else None
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


def _read(secret: Object) -> pki.Certificate | None:
    data = secret.get("data") or {}
    try:
        parts = [
            base64.b64decode(data.get(key, ""), validate=True).decode() for key in ("tls.crt", "tls.key", "ca.crt")
        ]
    except (binascii.Error, UnicodeDecodeError):
        return None
    cert_pem, key_pem, ca_pem = parts
    return pki.Certificate(cert_pem, key_pem, ca_pem) if cert_pem and key_pem else None
