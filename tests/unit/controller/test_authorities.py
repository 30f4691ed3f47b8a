"""The CA and its succession: what the Secret says, and what becomes of it step by step."""

from datetime import timedelta
from typing import Any

import pytest

from private_registry import pki
from private_registry.api import names
from private_registry.controller.fleet import authorities
from private_registry.controller.fleet.authorities import Authorities
from private_registry.controller.fleet.succession import ca_secret
from tests.unit.controller.builders import AUTHORITY, CHANCE, NOW

Object = dict[str, Any]

ONE = Authorities(AUTHORITY)


def written(known: Authorities, **annotations: str) -> Object:
    secret = ca_secret(known, "private-registry-system")
    secret["metadata"]["annotations"] = {names.ROTATED_FOR: known.done, **annotations}
    return secret


def merged(secret: Object, patch: Object) -> Object:
    """What the API server makes of a merge patch."""
    data = {key: value for key, value in {**secret["data"], **patch["data"]}.items() if value is not None}
    said = {**secret["metadata"].get("annotations", {}), **patch.get("metadata", {}).get("annotations", {})}
    return {**secret, "data": data, "metadata": {**secret["metadata"], "annotations": said}}


def test_the_secret_is_all_that_is_remembered() -> None:
    """Each step, written and read back, is where the next start goes on from."""
    begun = ONE.begun(NOW, CHANCE)
    known, secret = ONE, ca_secret(ONE, "private-registry-system")
    for after in (begun, begun.promoted(), begun.promoted().ended()):
        secret = merged(secret, authorities.changes(known, after))
        assert authorities.read(secret) == after
        known = after
    assert known.current != AUTHORITY
    assert secret["data"].keys() == {"tls.crt", "tls.key"}


def test_both_are_trusted_from_the_first_step_to_the_last() -> None:
    """The next one before it signs, the last one for as long as anybody serves what it has signed."""
    begun = ONE.begun(NOW, CHANCE)
    assert begun.upcoming
    assert begun.current == AUTHORITY
    promoted = begun.promoted()
    assert promoted.current == begun.upcoming
    for each in (begun, promoted):
        assert each.bundle == AUTHORITY.cert_pem + begun.upcoming.cert_pem
    assert promoted.ended().bundle == begun.upcoming.cert_pem


def test_the_key_of_a_ca_that_signs_no_more_is_gone() -> None:
    """What nobody needs, nobody can steal."""
    secret = ca_secret(ONE.begun(NOW, CHANCE).promoted(), "private-registry-system")
    assert secret["data"].keys() == {"tls.crt", "tls.key", "previous.crt"}


@pytest.mark.parametrize(
    ("asked", "done", "due"), [("", "", False), ("today", "", True), ("today", "today", False), ("", "today", False)]
)
def test_whoever_asks_gets_one_rotation(asked: str, done: str, due: bool) -> None:
    """Another value is another rotation; taking the annotation away is none."""
    known = authorities.read(written(Authorities(AUTHORITY, done=done), **{names.ROTATE_CA: asked}))
    assert known.is_due(NOW) is due
    if due:
        begun = known.begun(NOW, CHANCE)
        assert begun.done == asked
        assert not begun.promoted().ended().is_due(NOW)


def test_an_old_ca_is_replaced_in_time() -> None:
    """What is left of its life then is more than a certificate lives."""
    made = NOW - timedelta(days=1)
    assert not ONE.is_due(made + pki.AUTHORITY_LIFE * 0.79)
    assert ONE.is_due(made + pki.AUTHORITY_LIFE * 0.81)
    assert pki.AUTHORITY_LIFE * 0.19 > pki.LEAF_LIFE


def test_one_rotation_at_a_time() -> None:
    """Whoever asks for another meanwhile gets it after this one."""
    begun = Authorities(AUTHORITY, asked="first").begun(NOW, CHANCE)
    again = authorities.read(written(begun, **{names.ROTATE_CA: "second"}))
    promoted = again.promoted()
    assert not again.is_due(NOW)
    assert not promoted.is_due(NOW)
    assert promoted.ended().is_due(NOW)


def test_a_ca_that_somebody_spoiled_is_named() -> None:
    """And not replaced: what it was may be in a backup."""
    secret = ca_secret(ONE, "private-registry-system")
    secret["data"]["tls.crt"] = "%%%"
    with pytest.raises(pki.CertificateError, match=r"^tls\.crt of the CA's Secret is no text$"):
        authorities.read(secret)


def test_no_key_is_ever_shown() -> None:
    """In no repr, and so in no log."""
    assert "PRIVATE" not in repr(ONE.begun(NOW, CHANCE))
