"""Which manifests of a repository stay, and which blobs they need. Pure.

What counts is what a client could still ask for: by a tag, by an index that has it in it, or as what was attached to
one of these. What cannot be read here must not be deleted, so it is an error and not an assumption.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


class ManifestError(Exception):
    """A manifest that nobody can read: what it needs is not known, so nothing may be deleted. The message says why."""


@dataclass(frozen=True)
class Manifest:
    """What a manifest needs, by digest."""

    blobs: frozenset[str] = frozenset()
    """Configuration and layers."""
    manifests: frozenset[str] = frozenset()
    """Those that an index has in it."""
    subject: str = ""
    """What it is attached to (OCI image specification 1.1); empty: nothing."""


def read(content: bytes) -> Manifest:
    """A manifest of any of the formats that distribution has stored. Raises ManifestError."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"it is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ManifestError("it is no JSON object")
    blobs = [_digest(layer, "digest") for layer in _list(found, "layers")]
    blobs += [_digest(layer, "blobSum") for layer in _list(found, "fsLayers")]  # Docker's first schema
    if found.get("config") is not None:
        blobs.append(_digest(found["config"], "digest"))
    manifests = [_digest(each, "digest") for each in _list(found, "manifests")]
    subject = _digest(found["subject"], "digest") if found.get("subject") is not None else ""
    if not blobs and not manifests and "schemaVersion" not in found:
        raise ManifestError("it is neither an image nor an index")
    return Manifest(frozenset(blobs), frozenset(manifests), subject)


def kept(manifests: Mapping[str, Manifest], roots: Iterable[str]) -> frozenset[str]:
    """The digests of one repository's manifests that stay: the roots, their parts, and what is attached to them."""
    attached: dict[str, list[str]] = {}
    for digest, manifest in manifests.items():
        if manifest.subject:
            attached.setdefault(manifest.subject, []).append(digest)
    stays = set[str]()
    waiting = [digest for digest in roots if digest in manifests]
    while waiting:
        digest = waiting.pop()
        if digest not in stays:
            stays.add(digest)
            parts = [each for each in manifests[digest].manifests if each in manifests]
            waiting += [*parts, *attached.get(digest, ())]
    return frozenset(stays)


def needed(manifests: Mapping[str, Manifest], stays: Iterable[str]) -> frozenset[str]:
    """The digests of all blobs that these manifests are made of, their own content included."""
    found = set[str]()
    for digest in stays:
        found |= {digest, *manifests[digest].blobs, *manifests[digest].manifests}
    return frozenset(found)


def _list(found: dict[str, Any], key: str) -> list[Any]:
    value = found.get(key)
    if value is not None and not isinstance(value, list):
        raise ManifestError(f"{key} is no list")
    return value or []


def _digest(descriptor: Any, key: str) -> str:
    digest = descriptor.get(key) if isinstance(descriptor, dict) else None
    if not isinstance(digest, str) or ":" not in digest:
        raise ManifestError(f"a descriptor without {key}")
    return digest
