"""What each answer of a runtime is worth. The texts are the runtimes' own, from containerd 1.6 to 2.4, and podman's."""

import pytest

from private_registry.trust import proof
from private_registry.trust.reasons import Reason

SERVER = "https://10.96.12.34:5000"
FAMILY = "initializing source docker://team.registries.svc:5000/privateregistry/probe:0a1b"
"""How CRI-O and podman begin."""
READING = f"{FAMILY}: reading manifest 0a1b in team.registries.svc:5000/privateregistry/probe"
HEAD = f'failed to do request: Head "{SERVER}/v2/privateregistry/probe/manifests/0a1b?ns=team.registries.svc%3A5000"'


@pytest.mark.parametrize(
    ("code", "details", "reason"),
    [
        (
            "NOT_FOUND",
            'failed to resolve image "team.registries.svc:5000/privateregistry/probe": not found',
            Reason.TRUSTED,
        ),
        (
            "UNKNOWN",
            "unexpected status from HEAD request to https://10.96.12.34:5000/v2/…: 401 Unauthorized",
            Reason.TRUSTED,
        ),
        ("UNKNOWN", "authorization failed: no basic auth credentials", Reason.TRUSTED),
        (
            "UNKNOWN",
            "pull access denied, repository does not exist: insufficient_scope: authorization failed",
            Reason.TRUSTED,
        ),
        ("UNKNOWN", f"{READING}: manifest unknown", Reason.TRUSTED),
        ("UNKNOWN", f"{READING}: unauthorized: authentication required", Reason.TRUSTED),
        ("UNKNOWN", f"{READING}: authentication required", Reason.TRUSTED),
        (
            "UNKNOWN",
            f'{FAMILY}: Get "{SERVER}/v2/": proxyconnect tcp: Proxy Authentication Required',
            Reason.PROOF_FAILED,
        ),
        ("UNKNOWN", f"{FAMILY}: registry *.registries.svc is blocked in /etc/containers/x.conf", Reason.NOT_HONOURED),
        ("UNKNOWN", "dial tcp: lookup team.registries.svc on 10.0.0.2:53: no such host", Reason.NOT_HONOURED),
        ("UNKNOWN", "dial tcp: lookup team.registries.svc: i/o timeout", Reason.NOT_HONOURED),
        ("UNKNOWN", "dial tcp: lookup team.registries.svc: server misbehaving", Reason.NOT_HONOURED),
        (
            "UNKNOWN",
            'Head "https://team.registries.svc:5000/v2/x/manifests/y": dial tcp 198.51.100.7:5000: connection refused',
            Reason.NOT_HONOURED,
        ),
        ("UNKNOWN", f"{HEAD}: dial tcp 10.96.12.34:5000: connect: connection refused", Reason.UNREACHABLE),
        ("UNKNOWN", f"{HEAD}: dial tcp 10.96.12.34:5000: i/o timeout", Reason.UNREACHABLE),
        ("UNKNOWN", f"{HEAD}: dial tcp 10.96.12.34:5000: connect: no route to host", Reason.UNREACHABLE),
        ("UNKNOWN", f"{HEAD}: net/http: TLS handshake timeout", Reason.UNREACHABLE),
        ("UNKNOWN", f"{HEAD}: EOF", Reason.UNREACHABLE),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", Reason.UNREACHABLE),
        (
            "UNKNOWN",
            f"{HEAD}: tls: failed to verify certificate: x509: certificate signed by unknown authority",
            Reason.CERTIFICATE_INVALID,
        ),
        (
            "UNKNOWN",
            f"{HEAD}: x509: cannot validate certificate because it doesn't contain any IP SANs",
            Reason.CERTIFICATE_INVALID,
        ),
        ("UNKNOWN", f"{HEAD}: x509: certificate has expired or is not yet valid", Reason.CERTIFICATE_INVALID),
        ("UNKNOWN", f"{HEAD}: http: server gave HTTP response to HTTPS client", Reason.SCHEME_MISMATCH),
        ("UNAVAILABLE", "connection error: desc = transport: error while dialing", Reason.RUNTIME_UNAVAILABLE),
        ("UNIMPLEMENTED", "unknown service runtime.v1.ImageService", Reason.RUNTIME_UNAVAILABLE),
        ("UNKNOWN", "open /etc/containerd/certs.d/team.registries.svc:5000/ca.crt: no such file", Reason.PROOF_FAILED),
        (
            "UNKNOWN",
            f"unexpected status from HEAD request to {SERVER}/v2/x/manifests/y: 503 Service Unavailable",
            Reason.PROOF_FAILED,
        ),
        ("OK", "", Reason.PROOF_FAILED),
    ],
)
def test_each_answer_has_its_reason(code: str, details: str, reason: Reason) -> None:
    """A person reads what is wrong; only the registry's own words count as trust."""
    verdict = proof.classify(code, details, server=SERVER)
    assert verdict.reason is reason
    assert bool(verdict.message) != verdict.trusted


def test_plain_http_to_a_server_with_tls_is_a_mismatch() -> None:
    """The other way round, the server answers 400."""
    details = "unexpected status from HEAD request to http://10.96.12.34:5000/v2/x/manifests/y: 400 Bad Request"
    verdict = proof.classify("UNKNOWN", details, server="http://10.96.12.34:5000")
    assert verdict.reason is Reason.SCHEME_MISMATCH
    assert "spec.tls.mode" in verdict.message


def test_a_message_does_not_change_while_nothing_does() -> None:
    """What differs from one try to the next is left out: the status is written when something changed."""
    texts = [f"{HEAD}: read tcp 10.0.0.1:{port}->10.96.12.34:5000: i/o timeout" for port in (40001, 40002)]
    first, second = (proof.classify("UNKNOWN", text, server=SERVER) for text in texts)
    assert first == second


def test_a_long_answer_is_cut_to_its_end() -> None:
    """The end of a Go error is what went wrong; the whole of it may be a page."""
    verdict = proof.classify("UNKNOWN", "wrapped: " * 500 + "the cause", server=SERVER)
    assert "the cause" in verdict.message
    assert len(verdict.message) < 600


def test_the_hint_says_why_a_file_is_not_read() -> None:
    """Where the configuration is known to be at fault, the message names the line to change."""
    verdict = proof.classify(
        "UNKNOWN", "lookup x: no such host", server=SERVER, hint="set config_path to one directory"
    )
    assert verdict.message.endswith("set config_path to one directory")


MIRROR = "https://team.registries.svc:5002"
BLOCKED = "registry *.registries.svc is blocked in /etc/containers/registries.conf"
REFUSED = "dial tcp 10.96.12.34:5002: connect: connection refused"


@pytest.mark.parametrize(
    ("mirror", "host", "reason"),
    [
        ("reading manifest 0a1b: manifest unknown", "authentication required", Reason.TRUSTED),
        ("reading manifest 0a1b: unauthorized: authentication required", "manifest unknown", Reason.TRUSTED),
        (f'pinging: Get "{MIRROR}/v2/": {REFUSED}', "manifest unknown", Reason.UNREACHABLE),
        (BLOCKED, "manifest unknown", Reason.NOT_HONOURED),
        ("manifest unknown", f'Get "{SERVER}/v2/": x509: unknown authority', Reason.CERTIFICATE_INVALID),
    ],
)
def test_mirror_and_host_have_to_be_right(mirror: str, host: str, reason: Reason) -> None:
    """A node on which pulls reach the registry only by the port that asks for a credential is not what was meant."""
    details = (
        f"{FAMILY}: (Mirrors also failed: [team.registries.svc:5002/x:0a1b: {mirror}]): {SERVER[8:]}/x:0a1b: {host}"
    )
    assert proof.classify("UNKNOWN", details, server=SERVER, mirror=MIRROR).reason is reason


def test_a_mirror_that_was_not_tried_is_missed() -> None:
    """The runtime has not read its files again, so pulls go where a credential is asked for."""
    verdict = proof.classify("UNKNOWN", f"{READING}: authentication required", server=SERVER, mirror=MIRROR)
    assert verdict.reason is Reason.NOT_HONOURED
    assert MIRROR in verdict.message
