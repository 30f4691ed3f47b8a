"""A canary in a secret, and where it must not sing: looked for as it is and in the ways in which it may be wrapped."""

import base64
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping

from private_registry.pki import Certificate
from tests.kubectl import Kubectl

_TURNS = 3
"""Of base64, which encodes three bytes at a time: a text looks one way for each place at which it may begin."""


def canary(what: str) -> str:
    """A secret that stands nowhere by chance and tells which one it is."""
    return f"canary-{what}-{secrets.token_hex(12)}"


def forms(secret: str) -> Iterator[bytes]:
    """As it is, and in base64 wherever it begins within a longer text, once or twice encoded."""
    yield secret.encode()
    once = set(_in_base64(secret.encode()))
    yield from once
    for each in once:
        yield from _in_base64(each)


def _in_base64(text: bytes) -> Iterator[bytes]:
    """Without what depends on the bytes before and behind it."""
    for turn in range(_TURNS):
        whole = base64.b64encode(b"\0" * turn + text)
        first = -(-turn * 4 // 3)
        last = (turn + len(text)) * 8 // 6
        yield whole[first:last]


def sung(known: Iterable[str], places: Mapping[str, bytes]) -> list[str]:
    """Each place that has a secret, with the secret; empty: it was kept."""
    wanted = [(secret, form) for secret in known for form in forms(secret)]
    return [f"{place}: {secret}" for place, text in places.items() for secret, form in wanted if form in text]


def of_key(certificate: Certificate) -> str:
    """A line of a private key, by which the key is known."""
    return certificate.key_pem.splitlines()[1]


def objects(kubectl: Kubectl) -> dict[str, bytes]:
    """Every object of the cluster but the Secrets, with all that is known of its past, by what it is."""
    kinds = kubectl("api-resources", "--verbs=list", "--output=name").split()
    wanted = ",".join(kind for kind in kinds if kind not in ("secrets", "componentstatuses"))
    found = kubectl.items(wanted, "--all-namespaces", "--show-managed-fields")
    return {
        f"{each['kind']} {each['metadata'].get('namespace', '')}/{each['metadata']['name']}": json.dumps(each).encode()
        for each in found
    }
