"""Certificates: the operator's own CA and what it signs, and the certificates that people bring.

Pure: keys, serial numbers and the time are arguments, and signatures are deterministic (RFC 6979), so the same
arguments give the same bytes. No message and no repr of this module contains a private key.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=365)

_CLOCK_SKEW = timedelta(hours=1)
"""How far behind a node's clock may be and still believe a certificate that was made this moment."""

_MAX_CHAIN = 10
_MAX_BUNDLE = 100
"""Certificates looked at in tls.crt and ca.crt: what anyone may put into a Secret must not keep the operator busy."""

_MALFORMED = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What is raised while a certificate of someone else's making is taken apart."""

_DNS_NAME = re.compile(r"(?:\*\.)?[a-z0-9_](?:[a-z0-9._-]*[a-z0-9])?", re.ASCII)

ServerKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
"""The kinds of key that a registry can serve with."""


class CertificateError(ValueError):
    """A certificate or key is not what it has to be; the message says which, and what is wrong with it."""


@dataclass(frozen=True)
class Authority:
    """The CA of a cluster."""

    cert_pem: str
    key_pem: str = field(repr=False)


@dataclass(frozen=True)
class Certificate:
    """A registry's certificate with its key, and the CA that vouches for it (empty: the roots of a node do)."""

    cert_pem: str
    key_pem: str = field(repr=False)
    ca_pem: str


@dataclass(frozen=True)
class ServerCertificate:
    """What a pair of certificate and key that can serve says of itself."""

    dns_names: tuple[str, ...]
    """Lower case, `*.` for a wildcard. Names that are no host names are left out."""
    addresses: tuple[str, ...]
    ca_pem: str
    """The certificates of ca.crt and nothing else that stood there; empty: the node's own roots vouch for it."""
    not_after: datetime
    fingerprint: str

    def covers(self, host: str) -> bool:
        """Whether a client that asks for this DNS name or address takes the certificate."""
        return _covers(self.dns_names, self.addresses, host)


def create_authority(key: ec.EllipticCurvePrivateKey, *, serial: int, now: datetime) -> Authority:
    """Make a CA that may sign servers and no further CA."""
    # Two CAs overlap during a renewal: a name of its own tells them apart.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Private Registry CA {serial:x}"[:64])])
    public = key.public_key()
    certificate = (
        _builder(name, name, public, serial=serial, now=now, end=now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256(), ecdsa_deterministic=True)
    )
    return Authority(_pem(certificate), _key_pem(key))


def issue(
    authority: Authority,
    key: ec.EllipticCurvePrivateKey,
    *,
    serial: int,
    now: datetime,
    hosts: Sequence[str],
    life: timedelta | None = None,
) -> Certificate:
    """Sign a server certificate for `hosts` (DNS names and addresses, without port), for at most as long as the CA.

    `life` is LEAF_LIFE unless it is given. Raises CertificateError when the authority cannot be read.
    """
    signer = _first(authority.cert_pem, "the CA's certificate")
    signer_key = _load_key(authority.key_pem, "the CA's key")
    if not isinstance(signer_key, ec.EllipticCurvePrivateKey) or not _same_key(signer, signer_key):
        raise CertificateError("the CA's key does not belong to the CA's certificate")
    public = key.public_key()
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Private Registry")])
    end = min(now + (life or LEAF_LIFE), signer.not_valid_after_utc)
    identifier = x509.SubjectKeyIdentifier.from_public_key(signer_key.public_key())
    certificate = (
        _builder(subject, signer.subject, public, serial=serial, now=now, end=end)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in dict.fromkeys(hosts)]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(signer_key, hashes.SHA256(), ecdsa_deterministic=True)
    )
    return Certificate(_pem(certificate), _key_pem(key), authority.cert_pem)


def renewal_time(cert_pem: str) -> datetime:
    """When two thirds of the life of a certificate of ours are over, counted from the moment it was made.

    Raises CertificateError when there is none to read.
    """
    return _after(_first(cert_pem, "the certificate"), 2 / 3)


def succession_time(authority: Authority) -> datetime:
    """When four fifths of the CA's life are over: what is left are two lives of a certificate, by the usual lives.

    Raises CertificateError when the CA cannot be read.
    """
    return _after(_first(authority.cert_pem, "the CA's certificate"), 4 / 5)


def covers(cert_pem: str, hosts: Iterable[str]) -> bool:
    """Whether the certificate names every one of `hosts`. Raises CertificateError when there is none to read."""
    dns_names, addresses = _names(_first(cert_pem, "the certificate"))
    return all(_covers(dns_names, addresses, host) for host in hosts)


def bundle(*ca_pems: str) -> str:
    """One PEM text with every certificate of the given texts once, in order: during a renewal, old and new CA."""
    certificates = (each for pem in ca_pems for each in _load(pem, "the CA's certificate", _MAX_BUNDLE))
    return "".join(_pem(each) for each in dict.fromkeys(certificates))


def leaf(cert_pem: str) -> str:
    """The server's own certificate, without the chain after it. Raises CertificateError when there is none to read."""
    return _pem(_first(cert_pem, "the certificate"))


def fingerprint(cert_pem: str) -> str:
    """SHA-256 of the certificate, in hex. Raises CertificateError when there is none to read."""
    return _first(cert_pem, "the certificate").fingerprint(hashes.SHA256()).hex()


def parse_pair(cert_pem: str, key_pem: str, ca_pem: str, *, hosts: Sequence[str], now: datetime) -> ServerCertificate:
    """Read a server's certificate as a Secret of type kubernetes.io/tls holds it, and check that it can serve.

    `ca_pem` is empty where the Secret has no ca.crt; `hosts` are the registry's names and addresses, of which the
    certificate has to cover one at least. Raises CertificateError with what is wrong.
    """
    chain = _load(cert_pem, "tls.crt", _MAX_CHAIN)
    leaf = chain[0]
    if not _same_key(leaf, _load_key(key_pem, "tls.key")):
        raise CertificateError("tls.key does not belong to the certificate in tls.crt")
    if problem := _out_of_date(leaf, now):
        raise CertificateError(f"the certificate in tls.crt {problem}")
    dns_names, addresses = _names(leaf)
    if not any(_covers(dns_names, addresses, host) for host in hosts):
        named = ", ".join([*dns_names, *addresses][:_MAX_CHAIN]) or "nothing (it has no subjectAltName)"
        raise CertificateError(f"the certificate in tls.crt names {named}: it has to name one of {', '.join(hosts)}")
    anchors = _load(ca_pem, "ca.crt", _MAX_BUNDLE) if ca_pem else []
    if anchors:
        _check_path(chain, anchors, now)
    return ServerCertificate(
        dns_names=dns_names,
        addresses=addresses,
        ca_pem=bundle(ca_pem) if ca_pem else "",
        not_after=leaf.not_valid_after_utc,
        fingerprint=fingerprint(cert_pem),
    )


def _after(certificate: x509.Certificate, part: float) -> datetime:
    """When this part of its life is over. It begins when it was made, and not when it is valid from."""
    made = certificate.not_valid_before_utc + _CLOCK_SKEW
    return made + (certificate.not_valid_after_utc - made) * part


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    *,
    serial: int,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(end)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    address = _address(host)
    return x509.DNSName(host) if address is None else x509.IPAddress(address)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _load(pem: str, what: str, limit: int) -> list[x509.Certificate]:
    try:
        certificates = x509.load_pem_x509_certificates(pem.encode())
    except _MALFORMED:
        raise CertificateError(f"{what} is not a PEM certificate") from None
    if len(certificates) > limit:
        raise CertificateError(f"{what} holds {len(certificates)} certificates: at most {limit}")
    return certificates


def _first(pem: str, what: str) -> x509.Certificate:
    return _load(pem, what, _MAX_CHAIN)[0]


def _load_key(pem: str, what: str) -> ServerKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        raise CertificateError(f"{what} is encrypted: nobody could give the registry its passphrase") from None
    except _MALFORMED:
        raise CertificateError(f"{what} is not a PEM private key") from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise CertificateError(f"{what} is of a kind that a registry cannot use: RSA, ECDSA and Ed25519 it can")
    return key


def _same_key(certificate: x509.Certificate, key: ServerKey) -> bool:
    try:
        public = certificate.public_key()
    except _MALFORMED:
        return False
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return public.public_bytes(*spki) == key.public_key().public_bytes(*spki)


def _out_of_date(certificate: x509.Certificate, now: datetime) -> str | None:
    if now > certificate.not_valid_after_utc:
        return f"expired at {certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    if now < certificate.not_valid_before_utc:
        return f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}"
    return None


def _names(certificate: x509.Certificate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(DNS names, addresses) of a certificate; a common name counts for nothing, as with every client of today."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *_MALFORMED):
        return (), ()
    dns_names = (name.lower() for name in names.get_values_for_type(x509.DNSName))
    addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
    return tuple(name for name in dns_names if _DNS_NAME.fullmatch(name)), tuple(addresses)


def _covers(dns_names: Sequence[str], addresses: Sequence[str], host: str) -> bool:
    if address := _address(host):
        return str(address) in addresses
    # A wildcard stands for exactly one label, and for the first one only (RFC 6125).
    return host in dns_names or f"*.{host.partition('.')[2]}" in dns_names


def _check_path(chain: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate], now: datetime) -> None:
    """Follow signatures from the first of `chain` to one of `anchors`, as a Go client does.

    A client that trusts a certificate trusts it as an end of the path, whether or not it is a root.
    """
    reached = [chain[0]]
    expired: str | None = None
    for certificate in reached:
        if certificate in anchors:
            return
        for issuer in (*anchors, *chain[1:]):
            if issuer in reached or not _signed(certificate, issuer):
                continue
            if problem := _out_of_date(issuer, now):
                expired = problem
            else:
                reached.append(issuer)
    if expired:
        raise CertificateError(f"the CA of the certificate in tls.crt {expired}")
    raise CertificateError("the certificate in tls.crt was not issued by the CA in ca.crt")


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
        return issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, *_MALFORMED):
        return False
