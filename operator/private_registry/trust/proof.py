"""What the runtime's answer proves, when it is asked for an image that cannot exist.

*Not found* and *unauthorized* are the registry's own words: they came through the name, the network and the
certificate. The texts are those of containerd 1.6 to 2.4, Docker Engine 20.10 and later, and the library that CRI-O and
podman share.
"""

import re
from functools import partial

from private_registry.trust.reasons import TRUSTED, Reason, Verdict

REPOSITORY = "privateregistry/probe"

_NOT_FOUND = re.compile(r"manifest unknown|name unknown|repository does not exist", re.IGNORECASE)
_LOOKUP = re.compile(r"no such host|\blookup \S+|server misbehaving", re.IGNORECASE)
_BLOCKED = re.compile(r"registry \S+ is blocked")  # by a table of somebody else's: ours is for the very host, and wins
_UNAUTHORIZED = re.compile(
    r"401 Unauthorized|authorization failed|no basic auth credentials|: authentication required",
    re.IGNORECASE,
)
_CERTIFICATE = re.compile(r"x509:|tls: |certificate", re.IGNORECASE)
_PLAIN = re.compile(r"server gave HTTP response to HTTPS client", re.IGNORECASE)
_ENCRYPTED = re.compile(r"http://\S+ .*400 Bad Request|HTTP request to an HTTPS server", re.IGNORECASE | re.DOTALL)
_UNREACHABLE = re.compile(
    r"connection refused|i/o timeout|no route to host|network is unreachable|deadline exceeded|connection reset"
    r"|handshake timeout|\bEOF\b",
    re.IGNORECASE,
)
_MIRRORS = re.compile(r"\(Mirrors also failed: (?P<mirrors>.*)\): (?P<host>.*)", re.DOTALL)
_URL = re.compile(r"(https?://[^/\s\"]+)/v2/")
_SOURCE_PORT = re.compile(r":\d+->")
_QUOTED = 400  # characters of a runtime's answer in a message


def classify(
    code: str, details: str, *, server: str, mirror: str = "", setting: str = "the hosts.toml", hint: str = ""
) -> Verdict:
    """The verdict on one name, from the gRPC status code's name and details of PullImage.

    `server` is the URL that the name is to lead to, `mirror` one to be tried before it, `setting` what tells the
    runtime so, and `hint` what may keep it from following that.
    """
    judge = partial(_classify, setting=setting, hint=hint)
    tries = _MIRRORS.search(details)
    if not mirror or tries is None:
        verdict = judge(code, details, server=server)
        if not mirror or not verdict.trusted:
            return verdict
        return Verdict(Reason.NOT_HONOURED, f"the runtime does not pull from {mirror} first: {_quote(details)}; {hint}")
    verdicts = judge("UNKNOWN", tries["mirrors"], server=mirror), judge(code, tries["host"], server=server)
    return next((verdict for verdict in verdicts if not verdict.trusted), TRUSTED)


def asks(details: str) -> bool:
    """Whether the registry has asked for a credential."""
    return bool(_UNAUTHORIZED.search(details))


def _classify(code: str, details: str, *, server: str, setting: str, hint: str) -> Verdict:
    if code == "NOT_FOUND" or _NOT_FOUND.search(details) or asks(details):
        return TRUSTED
    said = _quote(details)
    if code in ("UNAVAILABLE", "UNIMPLEMENTED"):
        fix = "see the runtime's log on the node; its CRI plugin must be loaded"
        return Verdict(Reason.RUNTIME_UNAVAILABLE, f"the runtime does not serve the CRI: {said}; {fix}")
    asked = _URL.search(details)
    if _LOOKUP.search(details) or _BLOCKED.search(details) or (asked and asked.group(1) != server):
        cause = hint or "it may have been started with another config_path than its configuration has now: restart it"
        return Verdict(Reason.NOT_HONOURED, f"the runtime does not use {setting} for this name: {said}; {cause}")
    if _PLAIN.search(details):
        return Verdict(Reason.SCHEME_MISMATCH, f"{server} is served without TLS: {said}; compare spec.tls.mode")
    if _ENCRYPTED.search(details):
        return Verdict(Reason.SCHEME_MISMATCH, f"{server} is served with TLS: {said}; compare spec.tls.mode")
    if _CERTIFICATE.search(details):
        fix = "the certificate must come from the CA in the entry and name the address or host it is served at"
        return Verdict(Reason.CERTIFICATE_INVALID, f"the certificate of {server} is refused: {said}; {fix}")
    if code == "DEADLINE_EXCEEDED" or _UNREACHABLE.search(details):
        fix = "check the registry's pod, and kube-proxy and network policies on this node"
        return Verdict(Reason.UNREACHABLE, f"{server} cannot be reached from this node: {said}; {fix}")
    return Verdict(Reason.PROOF_FAILED, f"the runtime answered {code}: {said}")


def _quote(details: str) -> str:
    """The end of an answer, which is where Go says what went wrong, without what differs from one try to the next."""
    text = _SOURCE_PORT.sub("->", " ".join(details.split()))
    return f'"{text}"' if len(text) <= _QUOTED else f'"… {text[-_QUOTED:]}"'
