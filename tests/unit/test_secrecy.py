"""The search for secrets finds them: a search that cannot fail would prove nothing."""

import base64
import json

import pytest

from tests.secrecy import canary, forms, sung


@pytest.mark.parametrize("before", ["", "u", "us", "user", "user:"])
@pytest.mark.parametrize("wraps", [0, 1, 2])
def test_a_secret_is_found_however_it_is_wrapped(before: str, wraps: int) -> None:
    """Alone, behind a user name, in a Docker configuration within a Secret."""
    secret = canary("found")
    text = json.dumps({"auth": f"{before}{secret}", "more": 1}).encode()
    for _ in range(wraps):
        text = base64.b64encode(text)
    assert sung([secret], {"here": text, "there": b"nothing"}) == [f"here: {secret}"] * len(
        [form for form in forms(secret) if form in text]
    )
    assert [form for form in forms(secret) if form in text]


def test_another_secret_is_not_found() -> None:
    """Nobody is accused for having a secret of his own."""
    text = base64.b64encode(base64.b64encode(f"user:{canary('other')}".encode()))
    assert sung([canary("mine")], {"here": text}) == []
