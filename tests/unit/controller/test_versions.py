"""Warnings of versions with known holes: of which, and that nothing else comes of them."""

import pytest

from private_registry.api.conditions import Reason
from private_registry.controller.health.versions import FIXED, flaw, outdated
from private_registry.controller.settings import DEFAULT_IMAGE
from tests.cluster import versions
from tests.unit.controller.scenes import said, status_of

OLD = {"name": "containerd", "version": "v1.6.20~ds1"}
NEW = {"name": "containerd", "version": versions.CONTAINERD}


@pytest.mark.parametrize(
    ("program", "version", "fixed"),
    [
        ("registry", "2.8.1", "2.8.2"),
        ("registry", "2.8.3", ""),
        ("registry", "2.7.1", "2.8.2"),
        ("registry", "3.0.0-rc.2", "3.1.1"),
        ("registry", "3.1.0", "3.1.1"),
        ("registry", "3.1.1", ""),
        ("registry", "3.2.0", ""),
        ("registry", "3", ""),
        ("containerd", "1.6.38", "1.7.33"),
        ("containerd", "v1.7.32", "1.7.33"),
        ("containerd", "1.7.33", ""),
        ("containerd", "2.2.4-k3s1", "2.2.5"),
        ("containerd", "2.2.10", ""),
        ("containerd", "2.4.0", ""),
        ("containerd", "unknown", ""),
        ("docker", "20.10.24", ""),
    ],
)
def test_a_version_is_judged_by_its_line(program: str, version: str, fixed: str) -> None:
    """What was fixed in another line says nothing, what cannot be read is not accused, and a fix is always named."""
    text = flaw(program, version)
    assert text.startswith(f"is older than {fixed}, which fixes CVE-") if fixed else text == ""


@pytest.mark.parametrize(
    ("image", "warned"),
    [
        ("registry:3.1.0", True),
        ("docker.io/library/registry:3.0.0", True),
        (f"registry.example.com:5000/distribution/distribution:2.8.1@sha256:{'0' * 64}", True),
        (DEFAULT_IMAGE, False),
        ("registry:2", False),
        ("registry", False),
        (f"registry@sha256:{'0' * 64}", False),
        ("example.com/our-own:1.0.0", False),
    ],
)
def test_an_image_is_judged_by_a_whole_version_as_its_tag(image: str, warned: bool) -> None:
    """A tag that moves, a digest alone or a name of one's own tells no version: nothing is guessed."""
    assert [reason for reason, _ in outdated([image, image], {})] == [Reason.REGISTRY_OUTDATED] * warned


def test_nodes_are_named_together() -> None:
    """With what they run and what cures it; of a hundred, the first ten."""
    assert outdated([], {"b": [OLD], "a": [OLD, NEW], "c": [NEW], "d": ()}) == [
        (
            Reason.RUNTIME_OUTDATED,
            "a, b: containerd v1.6.20~ds1 is older than 1.7.33, which fixes CVE-2026-53488: update it",
        )
    ]
    ((_, text),) = outdated([], {f"n{number:03}": [OLD] for number in range(100)})
    assert "n009 and 90 more: " in text


def test_a_warning_changes_nothing_else() -> None:
    """A registry that works is Ready, and is said to be, whatever else is to be done."""
    warned = status_of(outdated=outdated(["registry:3.1.0"], {"worker": [OLD]}))
    assert said(warned) == {**said(status_of()), "Outdated": "True RegistryOutdated"}
    (condition,) = [each for each in warned.conditions if each.type == "Outdated"]
    assert "the image registry:3.1.0 is older" in condition.message
    assert "worker: containerd" in condition.message
    assert warned.message == ""


def test_what_we_run_is_not_outdated() -> None:
    """Neither the default image nor the runtimes of which the tests tell that they work, but for Debian's old one."""
    assert not flaw("registry", DEFAULT_IMAGE.rpartition(":")[2])
    assert not [each for each in (versions.CONTAINERD, *versions.OTHER_CONTAINERDS) if flaw("containerd", each)]
    assert flaw("containerd", versions.DEBIAN_CONTAINERD)
    assert all(fixed[:2] == line for lines in FIXED.values() for line, (fixed, _) in lines.items())
