"""Certificates for the tests, made with the operator's own hands."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from private_registry import pki


def a_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def an_authority(now: datetime | None = None) -> pki.Authority:
    return pki.create_authority(a_key(), serial=x509.random_serial_number(), now=now or datetime.now(UTC))


def a_certificate(
    hosts: Sequence[str],
    authority: pki.Authority | None = None,
    *,
    now: datetime | None = None,
    life: timedelta | None = None,
) -> pki.Certificate:
    """A certificate for `hosts`, by default of a CA of its own that begins its life now."""
    now = now or datetime.now(UTC)
    return pki.issue(
        authority or an_authority(now), a_key(), serial=x509.random_serial_number(), now=now, hosts=hosts, life=life
    )
