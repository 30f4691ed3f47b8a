"""Certificates that the operator makes, and what it says of those that people bring."""

import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from private_registry import pki
from tests.certificates import a_certificate, a_key, an_authority

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOSTS = ("team.registries.svc", "team.registries.svc.cluster.local", "10.96.12.34", "fd00::34", "localhost")

IssuerKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | dsa.DSAPrivateKey


def parse(certificate: pki.Certificate, *, hosts: Sequence[str] = HOSTS, now: datetime = NOW) -> pki.ServerCertificate:
    return pki.parse_pair(certificate.cert_pem, certificate.key_pem, certificate.ca_pem, hosts=hosts, now=now)


def problem(certificate: pki.Certificate, *, hosts: Sequence[str] = HOSTS, now: datetime = NOW) -> str:
    with pytest.raises(pki.CertificateError) as raised:
        parse(certificate, hosts=hosts, now=now)
    return str(raised.value)


def pem(key: IssuerKey, *, password: bytes | None = None) -> str:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


class TestTheOperatorsOwn:
    """The CA of a cluster and what it signs."""

    def test_the_same_arguments_give_the_same_certificate(self) -> None:
        """Nothing about a certificate is decided by chance or by the clock."""
        ca_key, key = a_key(), a_key()
        one, two = (
            pki.issue(
                pki.create_authority(ca_key, serial=1, now=NOW), key, serial=2, now=NOW, hosts=["team.registries.svc"]
            )
            for _ in range(2)
        )
        assert one == two

    def test_it_serves_every_host_and_is_verified_strictly(self, tmp_path: Path) -> None:
        """OpenSSL in its strictest mode finds the chain in order, for each name and address."""
        authority = an_authority(datetime.now(UTC))
        certificate = a_certificate(HOSTS, authority)
        (tmp_path / "leaf").write_text(certificate.cert_pem)
        (tmp_path / "ca").write_text(certificate.ca_pem)
        for host in HOSTS:
            option = "-verify_ip" if ":" in host or host[0].isdigit() else "-verify_hostname"
            subprocess.run(
                ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", option, host, "-CAfile", "ca", "leaf"],
                cwd=tmp_path,
                check=True,
                capture_output=True,
                timeout=30,
            )

    def test_it_covers_what_it_was_made_for(self) -> None:
        """Every host is needed; one that is missing means a new certificate."""
        certificate = a_certificate(HOSTS, now=NOW)
        assert pki.covers(certificate.cert_pem, HOSTS)
        assert not pki.covers(certificate.cert_pem, [*HOSTS, "10.96.12.35"])
        assert not pki.covers(certificate.cert_pem, ["other.registries.svc"])

    def test_an_address_is_the_same_however_it_is_spelled(self) -> None:
        """Addresses are compared as addresses."""
        assert pki.covers(a_certificate(["fd00:0:0::0034"], now=NOW).cert_pem, ["fd00::34"])

    @pytest.mark.parametrize(("days", "due"), [(0, False), (242, False), (244, True), (400, True)])
    def test_it_is_renewed_after_two_thirds_of_its_life(self, days: int, due: bool) -> None:
        """A year's certificate is renewed with four months to spare."""
        certificate = a_certificate(HOSTS, now=NOW)
        assert (NOW + timedelta(days=days) >= pki.renewal_time(certificate.cert_pem)) is due

    def test_a_life_begins_when_the_certificate_is_made(self) -> None:
        """And not with the hour before, for which slow clocks believe it: a short one would be renewed for ever."""
        certificate = a_certificate(HOSTS, now=NOW, life=timedelta(minutes=2))
        assert pki.renewal_time(certificate.cert_pem) == NOW + timedelta(seconds=80)

    def test_a_ca_has_a_successor_long_before_its_end(self) -> None:
        """What is left of its life then is enough for any certificate that it has signed."""
        due = pki.succession_time(an_authority(NOW))
        assert due == NOW + pki.AUTHORITY_LIFE * 4 / 5
        assert NOW + pki.AUTHORITY_LIFE - due >= pki.LEAF_LIFE

    def test_no_certificate_outlives_its_ca(self) -> None:
        """Near the end of a CA's life its certificates are shorter, never longer."""
        authority = an_authority(NOW)
        late = NOW + pki.AUTHORITY_LIFE - timedelta(days=30)
        leaf = x509.load_pem_x509_certificate(a_certificate(HOSTS, authority, now=late).cert_pem.encode())
        assert leaf.not_valid_after_utc == NOW + pki.AUTHORITY_LIFE

    def test_a_node_whose_clock_is_slow_believes_it(self) -> None:
        """A certificate is valid from a little before it was made."""
        certificate = a_certificate(HOSTS, now=NOW)
        assert parse(certificate, now=NOW - timedelta(minutes=50))

    def test_a_bundle_holds_each_ca_once(self) -> None:
        """During a renewal old and new CA are trusted together; the same one twice is one."""
        old, new = an_authority(NOW).cert_pem, an_authority(NOW).cert_pem
        assert pki.bundle(old, new, old) == old + new
        assert pki.bundle(old) == old

    def test_a_ca_that_cannot_be_read(self) -> None:
        """A CA Secret that somebody spoiled is named, not used."""
        good, other = an_authority(NOW), an_authority(NOW)
        for spoiled, message in (
            (pki.Authority("x", good.key_pem), "the CA's certificate is not a PEM certificate"),
            (pki.Authority(good.cert_pem, "x"), "the CA's key is not a PEM private key"),
            (
                pki.Authority(good.cert_pem, other.key_pem),
                "the CA's key does not belong to the CA's certificate",
            ),
        ):
            with pytest.raises(pki.CertificateError, match=f"^{message}$"):
                a_certificate(HOSTS, spoiled, now=NOW)

    def test_no_key_is_ever_shown(self) -> None:
        """A key is in no repr and so in no log and no traceback."""
        authority = an_authority(NOW)
        shown = repr(authority) + repr(a_certificate(HOSTS, authority, now=NOW))
        assert "PRIVATE KEY" not in shown


class TestBrought:
    """What is read from a Secret that a user made."""

    def test_what_a_good_one_says(self) -> None:
        """Names, addresses and the end of its life are read off the certificate."""
        certificate = a_certificate(["*.Registries.svc", "10.96.12.34"], now=NOW)
        read = parse(certificate)
        assert read.dns_names == ("*.registries.svc",)
        assert read.addresses == ("10.96.12.34",)
        assert read.not_after == NOW + pki.LEAF_LIFE
        assert read.ca_pem == certificate.ca_pem
        assert read.fingerprint == pki.fingerprint(certificate.cert_pem)

    @pytest.mark.parametrize(
        ("host", "covered"),
        [
            ("team.registries.svc", True),
            ("registries.svc", False),
            ("a.team.registries.svc", False),
            ("team.registries.svc.cluster.local", False),
            ("other.example.com", False),
            ("exact.example.com", True),
            ("10.96.12.34", True),
            ("10.96.12.35", False),
        ],
    )
    def test_what_it_covers(self, host: str, covered: bool) -> None:
        """A wildcard stands for one label; everything else stands for itself."""
        read = parse(a_certificate(["*.registries.svc", "exact.example.com", "10.96.12.34"], now=NOW))
        assert read.covers(host) is covered

    def test_without_a_ca_the_node_s_roots_decide(self) -> None:
        """A Secret without ca.crt holds a certificate of a CA that everyone knows."""
        certificate = a_certificate(HOSTS, now=NOW)
        read = pki.parse_pair(certificate.cert_pem, certificate.key_pem, "", hosts=HOSTS, now=NOW)
        assert read.ca_pem == ""

    def test_only_certificates_of_the_ca_are_passed_on(self) -> None:
        """A key that was left in ca.crt by mistake reaches no ConfigMap and no node."""
        certificate = a_certificate(HOSTS, now=NOW)
        careless = f"# our CA\n{certificate.key_pem}{certificate.ca_pem}"
        read = pki.parse_pair(certificate.cert_pem, certificate.key_pem, careless, hosts=HOSTS, now=NOW)
        assert read.ca_pem == certificate.ca_pem

    @pytest.mark.parametrize(
        "make",
        [lambda: rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate, a_key],
        ids=["RSA", "Ed25519", "ECDSA"],
    )
    def test_the_usual_kinds_of_key(self, make: Callable[[], IssuerKey]) -> None:
        """RSA, ECDSA and Ed25519 serve."""
        assert parse(self_signed(make())).covers("team.registries.svc")

    @pytest.mark.parametrize("make", [lambda: rsa.generate_private_key(65537, 2048), a_key], ids=["PKCS#1", "SEC1"])
    def test_keys_in_the_form_that_cert_manager_writes(self, make: Callable[[], IssuerKey]) -> None:
        """With `encoding: PKCS1`, which is what it does unless it is told otherwise."""
        key = make()
        served = self_signed(key)
        text = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
        assert text.split(maxsplit=1)[0] == "-----BEGIN"
        assert "BEGIN PRIVATE KEY" not in text
        assert parse(pki.Certificate(served.cert_pem, text, served.ca_pem))

    def test_the_file_that_openssl_writes(self) -> None:
        """Parameters before an EC key and text before a certificate are no obstacle."""
        certificate = a_certificate(HOSTS, now=NOW)
        parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        assert parse(
            pki.Certificate(
                f"Certificate:\n    Data:\n{certificate.cert_pem}", parameters + certificate.key_pem, certificate.ca_pem
            )
        )

    def test_it_is_its_own_ca(self) -> None:
        """A self-signed certificate with itself as ca.crt is trusted as it is."""
        assert parse(self_signed(a_key()))

    def test_through_an_intermediate(self) -> None:
        """The chain in tls.crt leads to the root in ca.crt; without the link it does not."""
        root_key, middle_key, key = a_key(), a_key(), a_key()
        root = signed(root_key, "root", root_key, "root", ca=True)
        middle = signed(middle_key, "middle", root_key, "root", ca=True)
        leaf = signed(key, "leaf", middle_key, "middle")
        assert parse(pki.Certificate(leaf + middle, pem(key), root))
        assert parse(pki.Certificate(leaf, pem(key), middle))
        assert problem(pki.Certificate(leaf, pem(key), root)) == (
            "the certificate in tls.crt was not issued by the CA in ca.crt"
        )

    def test_one_that_may_not_sign_is_no_ca(self) -> None:
        """Whoever holds a server certificate cannot issue more with it."""
        server_key, key = a_key(), a_key()
        server = signed(server_key, "server", server_key, "server", ca=False)
        forged = signed(key, "leaf", server_key, "server")
        assert problem(pki.Certificate(forged, pem(key), server)) == (
            "the certificate in tls.crt was not issued by the CA in ca.crt"
        )


class TestBroughtAndWrong:
    """Each mistake has a sentence of its own, and none shows a key."""

    def test_not_pem(self) -> None:
        """Which of the three is not what it should be is said."""
        good = a_certificate(HOSTS, now=NOW)
        assert problem(pki.Certificate("", good.key_pem, good.ca_pem)) == "tls.crt is not a PEM certificate"
        assert problem(pki.Certificate(good.key_pem, good.key_pem, "")) == "tls.crt is not a PEM certificate"
        assert problem(pki.Certificate(good.cert_pem, "", good.ca_pem)) == "tls.key is not a PEM private key"
        assert problem(pki.Certificate(good.cert_pem, good.cert_pem, "")) == "tls.key is not a PEM private key"
        assert problem(pki.Certificate(good.cert_pem, good.key_pem, "\x00")) == "ca.crt is not a PEM certificate"
        half = good.cert_pem[: len(good.cert_pem) // 2]
        assert problem(pki.Certificate(half, good.key_pem, good.ca_pem)) == "tls.crt is not a PEM certificate"

    def test_a_key_of_another_certificate(self) -> None:
        """Certificate and key have to be a pair."""
        good, other = a_certificate(HOSTS, now=NOW), a_certificate(HOSTS, now=NOW)
        assert problem(pki.Certificate(good.cert_pem, other.key_pem, good.ca_pem)) == (
            "tls.key does not belong to the certificate in tls.crt"
        )

    def test_a_key_that_needs_a_passphrase(self) -> None:
        """Nobody is there to type it."""
        key = a_key()
        good = self_signed(key)
        assert problem(pki.Certificate(good.cert_pem, pem(key, password=b"secret"), good.ca_pem)) == (
            "tls.key is encrypted: nobody could give the registry its passphrase"
        )

    def test_a_key_of_a_kind_that_nobody_uses(self) -> None:
        """The registry cannot serve with a DSA key."""
        good = a_certificate(HOSTS, now=NOW)
        assert problem(pki.Certificate(good.cert_pem, pem(dsa.generate_private_key(2048)), good.ca_pem)) == (
            "tls.key is of a kind that a registry cannot use: RSA, ECDSA and Ed25519 it can"
        )

    def test_out_of_date(self) -> None:
        """A certificate whose time is over or yet to come is named with that time."""
        certificate = a_certificate(HOSTS, now=NOW)
        assert problem(certificate, now=NOW + timedelta(days=366)) == (
            "the certificate in tls.crt expired at 2027-03-01T12:00:00Z"
        )
        assert problem(certificate, now=NOW - timedelta(days=1)) == (
            "the certificate in tls.crt is not valid before 2026-03-01T11:00:00Z"
        )

    def test_a_ca_out_of_date(self) -> None:
        """A certificate that is valid is of no use when its CA is not."""
        ca_key, key = a_key(), a_key()
        ca = signed(ca_key, "ca", ca_key, "ca", ca=True, end=NOW - timedelta(days=1))
        leaf = signed(key, "leaf", ca_key, "ca")
        assert problem(pki.Certificate(leaf, pem(key), ca)) == (
            "the CA of the certificate in tls.crt expired at 2026-02-28T12:00:00Z"
        )

    def test_another_ca(self) -> None:
        """The CA in the Secret has to be the certificate's own."""
        good, other = a_certificate(HOSTS, now=NOW), a_certificate(HOSTS, now=NOW)
        assert problem(pki.Certificate(good.cert_pem, good.key_pem, other.ca_pem)) == (
            "the certificate in tls.crt was not issued by the CA in ca.crt"
        )

    def test_a_forged_issuer_name(self) -> None:
        """The signature decides, not what the certificate says of its issuer."""
        ca_key, key, forger = a_key(), a_key(), a_key()
        ca = signed(ca_key, "ca", ca_key, "ca", ca=True)
        leaf = signed(key, "leaf", forger, "ca")
        assert "was not issued by the CA" in problem(pki.Certificate(leaf, pem(key), ca))

    def test_no_name_of_the_registry(self) -> None:
        """What it names and what would do are both said."""
        certificate = a_certificate(["registry.example.com", "192.0.2.1"], now=NOW)
        assert problem(certificate, hosts=["team.registries.svc", "10.96.12.34"]) == (
            "the certificate in tls.crt names registry.example.com, 192.0.2.1: "
            "it has to name one of team.registries.svc, 10.96.12.34"
        )

    def test_no_name_at_all(self) -> None:
        """A common name counts for nothing, as with every client of today."""
        key = a_key()
        bare = signed(key, "team.registries.svc", key, "team.registries.svc", ca=True, hosts=())
        assert problem(pki.Certificate(bare, pem(key), bare), hosts=["team.registries.svc"]) == (
            "the certificate in tls.crt names nothing (it has no subjectAltName): "
            "it has to name one of team.registries.svc"
        )

    def test_names_that_are_no_names(self) -> None:
        """A name with a line break or a blank in it is left out of what we say and of what is covered."""
        key = a_key()
        odd = ("team.registries.svc", "a\nb.example.com", "x y", "", "*", "a.*.svc")
        certificate = signed(key, "x", key, "x", ca=True, hosts=odd)
        assert parse(pki.Certificate(certificate, pem(key), certificate)).dns_names == ("team.registries.svc",)

    def test_more_certificates_than_anyone_needs(self) -> None:
        """A Secret cannot keep the operator busy for long."""
        good = a_certificate(HOSTS, now=NOW)
        assert problem(pki.Certificate(good.cert_pem * 11, good.key_pem, good.ca_pem)) == (
            "tls.crt holds 11 certificates: at most 10"
        )
        assert problem(pki.Certificate(good.cert_pem, good.key_pem, good.ca_pem * 101)) == (
            "ca.crt holds 101 certificates: at most 100"
        )


def signed(
    key: IssuerKey,
    subject: str,
    issuer_key: IssuerKey,
    issuer: str,
    *,
    ca: bool = False,
    hosts: Sequence[str] = ("team.registries.svc",),
    end: datetime = NOW + timedelta(days=30),
) -> str:
    """A certificate as someone else's tools would make it."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=30))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), False)
    algorithm = None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(issuer_key, algorithm).public_bytes(Encoding.PEM).decode()


def self_signed(key: IssuerKey) -> pki.Certificate:
    certificate = signed(key, "self", key, "self")
    return pki.Certificate(certificate, pem(key), certificate)
