"""What is read out of manifests, whatever their authors put into them."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from private_registry.data.manifests import MAX_CONFIGURATION, MAX_PARTS, Manifest, created_of, read_manifest

DIGEST, OTHER = f"sha256:{1:064x}", f"sha256:{2:064x}"
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CONFIGURATION = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": DIGEST, "size": 100}


def read(manifest: Any) -> Manifest:
    return read_manifest(json.dumps(manifest).encode())


def test_an_image_has_a_configuration_that_says_when() -> None:
    """Docker's as well as the OCI's; one of another kind, such as a chart's, or a very large one is not asked."""
    assert read({"config": CONFIGURATION}) == Manifest(configuration=DIGEST, says_when=True)
    for change in ({"mediaType": "application/vnd.cncf.helm.config.v1+json"}, {"size": MAX_CONFIGURATION + 1}):
        assert read({"config": {**CONFIGURATION, **change}}) == Manifest(configuration=DIGEST)


def test_an_index_has_parts() -> None:
    """By their digests, and no more of them than anyone has a use for."""
    assert read({"manifests": [{"digest": DIGEST}, {"digest": OTHER}]}).parts == (DIGEST, OTHER)
    assert len(read({"manifests": [{"digest": DIGEST}] * (MAX_PARTS + 1)}).parts) == MAX_PARTS


def test_annotations_and_a_subject_are_read() -> None:
    """An artifact may say when it was made, and what it belongs to."""
    annotations = {"org.opencontainers.image.created": "2026-01-02T03:04:05Z"}
    found = read({"annotations": annotations, "subject": {"digest": OTHER}})
    assert (found.created, found.subject) == (WHEN, OTHER)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2026-01-02T03:04:05Z", WHEN),
        ("2026-01-02T03:04:05.123456789Z", WHEN.replace(microsecond=123456)),
        ("2026-01-02T05:04:05+02:00", WHEN),
        ("2026-01-02T03:04:05", WHEN),
        ("yesterday", None),
        ("", None),
        ("0001-01-01T00:00:00+14:00", None),
        (5, None),
        (None, None),
        ({}, None),
    ],
)
def test_a_time_is_read_or_not_known(text: Any, when: datetime | None) -> None:
    """As Go writes it, with nanoseconds; what is none is no error."""
    assert created_of(json.dumps({"created": text}).encode()) == when


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b"[" * 100_000,
        b'{"config": [], "manifests": {}, "subject": 5, "annotations": "x"}',
        b'{"config": {"digest": 5, "size": "x", "mediaType": []}}',
        b'{"manifests": [5, {"digest": []}, {"digest": "../x"}]}',
    ],
)
def test_whatever_it_is_nothing_is_raised(content: bytes) -> None:
    """A tag that nobody understands has no time, and stays."""
    assert read_manifest(content) == Manifest()
    assert created_of(content) is None
