"""What the SBOMs name, and that they are what they say they are."""

import io
import json
import re
import tarfile
from pathlib import Path

import pytest

from tests.cluster import versions
from tests.supply_chain import sbom
from tests.supply_chain.tools import ROOT, RUNTIME, environment

STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u14
Description: GNU C Library: Shared libraries
 Version: 9 of something else

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
FILES = {
    "opt/private-registry/tomlkit-0.15.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: tomlkit\nVersion: 0.15.2\n",
    "usr/lib/python3/dist-packages/pip/_vendor/x-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: x\nVersion: 1\n",
    "var/lib/dpkg/status": STATUS,
    "usr/lib/os-release": 'ID=debian\nVERSION_ID="12"\n',
}
ABOUT = {
    "Id": "sha256:" + "5f" * 32,
    "Config": {"Env": ["PATH=/usr/bin", "PYTHON_VERSION=3.13.14"], "Labels": {sbom.BASE_NAME: "python:3.13"}},
}


@pytest.fixture(scope="module")
def of_wheel() -> sbom.Bom:
    return sbom.of_environment(environment(RUNTIME))


def purls(bom: sbom.Bom) -> set[str]:
    return {each["purl"] for each in bom["components"] if "purl" in each}


def test_the_wheels_names_what_the_lock_file_pins(of_wheel: sbom.Bom) -> None:
    """Every package at its version, and nothing besides: not even what installed it."""
    pinned = set(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", (ROOT / RUNTIME).read_text(), re.MULTILINE))
    named = {(re.sub(r"[-_.]+", "-", each["name"]).lower(), each["version"]) for each in of_wheel["components"]}
    assert named
    assert named <= pinned
    assert of_wheel["metadata"]["component"]["name"] == "private-registry-operator"


def test_an_images_names_what_package_managers_left_in_it(tmp_path: Path) -> None:
    """Python's packages, Debian's, Python itself and the base image; not what was removed, and not what is vendored."""
    bom = sbom.of_image("registry.example.com:5000/operator:1", ABOUT, sbom.contents(tar(FILES)))
    assert purls(bom) == {
        "pkg:pypi/tomlkit@0.15.2",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64&distro=debian-12",
        "pkg:generic/cpython@3.13.14",
    }
    names = {each["name"] for each in bom["components"]}
    assert {"private-registry-operator", "python:3.13"} <= names
    image = bom["metadata"]["component"]
    assert (image["name"], image["version"]) == ("registry.example.com:5000/operator", "1")
    (tmp_path / "image.cdx.json").write_text(json.dumps(bom))
    assert sbom.invalid(tmp_path / "image.cdx.json") == ""


@pytest.mark.parametrize(
    ("image", "repository", "version"),
    [
        ("operator", "operator", "latest"),
        ("operator:1", "operator", "1"),
        ("registry.example.com:5000/operator", "registry.example.com:5000/operator", "latest"),
        ("registry.example.com:5000/operator:1@sha256:5f", "registry.example.com:5000/operator", "1"),
        ("operator@sha256:5f", "operator", "sha256:5f"),
    ],
)
def test_an_image_is_called_as_docker_calls_it(image: str, repository: str, version: str) -> None:
    """A port is no tag."""
    assert sbom.reference(image) == (repository, version)


def test_without_an_image_its_base_is_named(tmp_path: Path) -> None:
    """Both documents are valid, and the line about the second says that nobody looked into the image."""
    about_wheel, about_image = sbom.write(tmp_path, "no-such-image:1")
    assert "NO IMAGE" not in about_wheel
    assert "NO IMAGE no-such-image:1" in about_image
    [path] = tmp_path.glob("*.image.cdx.json")
    names = {each["name"] for each in json.loads(path.read_text())["components"]}
    assert {versions.PUBLISHED_PYTHON_IMAGE, "kopf"} <= names


def test_the_same_environment_gives_the_same_document(of_wheel: sbom.Bom) -> None:
    """Two that differ tell of a difference in what they describe."""
    assert sbom.of_environment(environment(RUNTIME)) == of_wheel
    assert "serialNumber" not in of_wheel
    assert "timestamp" not in of_wheel["metadata"]


def test_a_document_that_is_not_valid_is_refused(of_wheel: sbom.Bom, tmp_path: Path) -> None:
    """What is wrong is told with the name of the file."""
    good, bad = tmp_path / "good.cdx.json", tmp_path / "bad.cdx.json"
    good.write_text(json.dumps(of_wheel))
    bad.write_text(json.dumps(of_wheel | {"components": [{"type": "something", "name": "x"}]}))
    assert "bad.cdx.json" in sbom.invalid(good, bad)


def tar(files: dict[str, str]) -> io.BytesIO:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as writer:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            writer.addfile(entry, io.BytesIO(text.encode()))
    made.seek(0)
    return made
