"""Which manifests stay, and what they need; what cannot be read is an error."""

import json
from typing import Any

import pytest

from private_registry.data.marking import Manifest, ManifestError, kept, needed, read


def digest(name: str) -> str:
    return f"sha256:{name}"


def described(*names: str) -> list[dict[str, Any]]:
    return [{"digest": digest(name), "size": 1} for name in names]


def of(**fields: Any) -> Manifest:
    return read(json.dumps({"schemaVersion": 2, **fields}).encode())


def an_image(name: str, **fields: Any) -> Manifest:
    return of(config=described("config")[0], layers=described(name), **fields)


IMAGES = {
    digest("a"): an_image("layer a"),
    digest("b"): an_image("layer b"),
    digest("index"): of(manifests=described("a", "elsewhere")),
    digest("outer"): of(manifests=described("index")),
    digest("signature"): an_image("layer s", subject=described("outer")[0]),
    digest("of the signature"): an_image("layer t", subject=described("signature")[0]),
    digest("of a part"): an_image("layer p", subject=described("a")[0]),
    digest("of nothing"): an_image("layer n", subject=described("gone")[0]),
}


def test_parts_and_what_is_attached_stay() -> None:
    """Down through indexes of indexes, up along subjects, and both in turn."""
    attached = {"signature", "of the signature", "of a part"}
    assert kept(IMAGES, [digest("outer")]) == {digest(each) for each in {"outer", "index", "a", *attached}}
    assert kept(IMAGES, [digest("b")]) == {digest("b")}
    assert kept(IMAGES, [digest("unknown")]) == frozenset()
    assert kept(IMAGES, IMAGES) == IMAGES.keys()


def test_a_subject_does_not_stay_for_what_is_attached_to_it() -> None:
    """A signature that has a tag of its own keeps no image that nobody asks for."""
    assert digest("outer") not in kept(IMAGES, [digest("signature")])


def test_a_circle_ends() -> None:
    """Whoever pushes can say what he likes, short of breaking a hash; and it may not hang a run."""
    circle = {digest("x"): of(manifests=described("y")), digest("y"): of(manifests=described("x"))}
    assert kept(circle, [digest("x")]) == circle.keys()


def test_what_is_needed() -> None:
    """Its own content, the configuration, the layers, and the content of each part, wherever that is."""
    assert needed(IMAGES, [digest("a")]) == {digest("a"), digest("config"), digest("layer a")}
    assert needed(IMAGES, [digest("index")]) == {digest("index"), digest("a"), digest("elsewhere")}


def test_dockers_first_schema() -> None:
    """An old volume may have some; their layers are called otherwise."""
    found = read(json.dumps({"schemaVersion": 1, "fsLayers": [{"blobSum": digest("old")}]}).encode())
    assert found.blobs == {digest("old")}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"torn',
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"schemaVersion": 2, "layers": {}}',
        b'{"schemaVersion": 2, "layers": [{}]}',
        b'{"schemaVersion": 2, "layers": [null]}',
        b'{"schemaVersion": 2, "manifests": [{"digest": 5}]}',
        b'{"schemaVersion": 2, "config": []}',
        b'{"schemaVersion": 2, "subject": {"digest": "none"}}',
        b"[" * 100_000,
    ],
)
def test_what_cannot_be_read_is_an_error(content: bytes) -> None:
    """Nothing is assumed of a manifest: what it needs would be deleted."""
    with pytest.raises(ManifestError):
        read(content)
