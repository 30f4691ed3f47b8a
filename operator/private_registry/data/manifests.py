"""What manifests and configurations say that retention goes by.

Whoever pushes writes them: what does not fit is left out, and nothing that is in them raises.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

CREATED: Final = "org.opencontainers.image.created"
MAX_PARTS: Final = 1000
"""Manifests that an index is looked through for."""
MAX_CONFIGURATION: Final = 1024 * 1024
"""Bytes of a configuration that is read for the time in it."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_CONFIGURATIONS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")


@dataclass(frozen=True)
class Manifest:
    parts: tuple[str, ...] = ()
    """Digests of the manifests that it has in it, where it is an index."""
    configuration: str = ""
    """Digest of its configuration, where it is an image."""
    says_when: bool = False
    """Whether the configuration may say when it was made."""
    subject: str = ""
    """Digest of the manifest that it belongs to."""
    created: datetime | None = None
    """By its annotations, with a time zone."""


def read_manifest(content: bytes) -> Manifest:
    """As far as it can be read."""
    found = _object(_loaded(content))
    parts = found.get("manifests")
    digests = [_digest(part) for part in (parts if isinstance(parts, list) else [])[:MAX_PARTS]]
    configuration = _object(found.get("config"))
    size = configuration.get("size")
    return Manifest(
        parts=tuple(digest for digest in digests if digest),
        configuration=_digest(configuration),
        says_when=configuration.get("mediaType") in _CONFIGURATIONS
        and isinstance(size, int)
        and size <= MAX_CONFIGURATION,
        subject=_digest(found.get("subject")),
        created=_time(_object(found.get("annotations")).get(CREATED)),
    )


def created_of(configuration: bytes) -> datetime | None:
    """When an image was made, by its configuration, with a time zone; None where it does not say."""
    return _time(_object(_loaded(configuration)).get("created"))


def _loaded(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _digest(descriptor: Any) -> str:
    digest = _object(descriptor).get("digest")
    return digest if isinstance(digest, str) and _DIGEST.fullmatch(digest) else ""


def _time(text: Any) -> datetime | None:
    """Of RFC 3339; without a time zone it is UTC."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
