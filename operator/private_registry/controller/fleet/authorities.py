"""The cluster's CA and its succession, as the CA's Secret has them. Pure.

A rotation has three steps, and the Secret is all that is remembered of it: the next CA is made and everybody is told to
trust it (`begun`); once they do, it signs (`promoted`); once nobody serves a certificate of the one before, that is
forgotten (`ended`). Killed anywhere, the next start finds the step in the Secret.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Self

from private_registry import pki
from private_registry.api import names
from private_registry.controller.registries.certificate import Chance

Object = dict[str, Any]

_CURRENT: Final = ("tls.crt", "tls.key")
_NEXT: Final = ("next.crt", "next.key")
_PREVIOUS: Final = "previous.crt"


@dataclass(frozen=True)
class Authorities:
    """Who signs, and whom everybody is to trust."""

    current: pki.Authority
    upcoming: pki.Authority | None = None
    """Trusted already, and signs nothing yet."""
    previous: str = ""
    """The certificate of the one before, which signs nothing any more; empty: nobody serves one of its."""
    asked: str = ""
    """What the administrator has written into the annotation that asks for a rotation."""
    done: str = ""
    """What of it has been acted upon."""

    @property
    def bundle(self) -> str:
        """What everybody is to trust, as PEM."""
        upcoming = [self.upcoming.cert_pem] if self.upcoming else []
        return pki.bundle(*([self.previous] if self.previous else []), self.current.cert_pem, *upcoming)

    def is_due(self, now: datetime) -> bool:
        """Whether a rotation is to begin: none is under way, and the CA is old or somebody asks."""
        if self.upcoming or self.previous:
            return False
        return (bool(self.asked) and self.asked != self.done) or now >= pki.succession_time(self.current)

    def begun(self, now: datetime, chance: Chance) -> Self:
        """With a next CA."""
        upcoming = pki.create_authority(chance.key(), serial=chance.serial(), now=now)
        return replace(self, upcoming=upcoming, done=self.asked)

    def promoted(self) -> Self:
        """With the next CA as the one that signs; the key of the one before is gone."""
        if self.upcoming is None:
            raise ValueError("there is no next CA")
        return replace(self, current=self.upcoming, upcoming=None, previous=self.current.cert_pem)

    def ended(self) -> Self:
        """Without the one before."""
        return replace(self, previous="")


def read(secret: Object) -> Authorities:
    """The authorities in their Secret. Raises CertificateError when one cannot be read."""
    data, annotations = secret.get("data") or {}, secret["metadata"].get("annotations") or {}
    upcoming = _authority(data, _NEXT) if data.get(_NEXT[0]) else None
    return Authorities(
        current=_authority(data, _CURRENT),
        upcoming=upcoming,
        previous=pki.bundle(_decoded(data, _PREVIOUS)) if data.get(_PREVIOUS) else "",
        asked=annotations.get(names.ROTATE_CA, ""),
        done=annotations.get(names.ROTATED_FOR, ""),
    )


def changes(before: Authorities, after: Authorities) -> Object:
    """A merge patch that turns the Secret of the one into that of the other, all at once."""
    had, has = contents(before), contents(after)
    data = {key: has.get(key) for key in had.keys() | has.keys() if had.get(key) != has.get(key)}
    patch: Object = {"data": data}
    if after.done != before.done:
        patch["metadata"] = {"annotations": {names.ROTATED_FOR: after.done or None}}
    return patch


def contents(authorities: Authorities) -> dict[str, str]:
    """The data of the Secret."""
    parts = dict(zip(_CURRENT, _pair(authorities.current), strict=True))
    if authorities.upcoming:
        parts |= dict(zip(_NEXT, _pair(authorities.upcoming), strict=True))
    if authorities.previous:
        parts[_PREVIOUS] = authorities.previous
    return {key: base64.b64encode(pem.encode()).decode() for key, pem in parts.items()}


def _pair(authority: pki.Authority) -> tuple[str, str]:
    return authority.cert_pem, authority.key_pem


def _authority(data: Mapping[str, str], keys: tuple[str, str]) -> pki.Authority:
    cert, key = keys
    return pki.Authority(pki.bundle(_decoded(data, cert)), _decoded(data, key))


def _decoded(data: Mapping[str, str], key: str) -> str:
    try:
        return base64.b64decode(data.get(key) or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise pki.CertificateError(f"{key} of the CA's Secret is no text") from None
