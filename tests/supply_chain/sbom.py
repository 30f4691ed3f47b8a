"""What is in the wheel and in the image, as CycloneDX, and valid by its schema.

The same environment and the same image give the same bytes: there is neither a time nor a serial number in them.
"""

import json
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import quote

from tests.cluster.commands import CommandError, output
from tests.supply_chain.tools import AUDIT, ROOT, RUNTIME, environment

Bom = dict[str, Any]
Component = dict[str, Any]

SCHEMA_VERSION = "1.6"
BASE_NAME = "org.opencontainers.image.base.name"
"""The label by which an image names the one that it was built on; the Dockerfile sets it."""


@dataclass
class Contents:
    """What a package manager left in a file system for others to read."""

    python: dict[str, bytes] = field(default_factory=dict)  # directory of a distribution: its METADATA
    dpkg: list[str] = field(default_factory=list)  # dpkg's status, or the parts that a distroless image has of it
    release: str = ""  # /etc/os-release


def write(directory: Path, image: str) -> list[str]:
    """Write both documents, and return a line about each. Raises CommandError, also for one that is not valid."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    directory.mkdir(parents=True, exist_ok=True)
    of_wheel = of_environment(environment(RUNTIME))
    if (about := inspected(image)) is None:
        looked = f"of {RUNTIME} and a base image that is there by name alone: THERE IS NO IMAGE {image} TO LOOK INTO"
        in_image = of_dockerfile(image, of_wheel)
    else:
        looked = f"of {image}"
        with exported(image) as tar:
            in_image = of_image(image, about, contents(tar))
    said = []
    for name, bom, of in (("wheel", of_wheel, f"of {RUNTIME}"), ("image", in_image, looked)):
        path = directory / f"private-registry-operator-{version}.{name}.cdx.json"
        path.write_text(json.dumps(bom, indent=1, sort_keys=True) + "\n")
        said.append(f"{path}: {len(bom['components'])} components {of}")
    if wrong := invalid(*directory.glob("*.cdx.json")):
        raise CommandError(f"no valid CycloneDX: {wrong}")
    return said


def of_environment(path: Path) -> Bom:
    """What is in a Python environment, with the project itself as what it is for. Raises CommandError."""
    program = environment(AUDIT) / "bin/cyclonedx-py"
    text = output(
        # Both are validated together once they are written: what takes its time is reading the schema.
        *(program, "environment", "--output-reproducible", "--no-validate", f"--spec-version={SCHEMA_VERSION}"),
        *("--mc-type=application", f"--pyproject={ROOT / 'pyproject.toml'}", "--output-file=-", path),
        timeout=300,
    )
    return dict(json.loads(text))


def of_image(name: str, about: dict[str, Any], found: Contents) -> Bom:
    """What is in an image: Python's packages, Debian's, and Python itself where it came without a package."""
    with tempfile.TemporaryDirectory() as directory:
        bom = of_environment(_as_environment(found, Path(directory)))
    variables = dict(each.split("=", 1) for each in about["Config"]["Env"] or ())
    labels = about["Config"]["Labels"] or {}
    others = [
        *(_deb(fields, found.release) for fields in _paragraphs(found.dpkg)),
        *([_cpython(variables["PYTHON_VERSION"])] if "PYTHON_VERSION" in variables else []),
        *([_base(labels[BASE_NAME])] if BASE_NAME in labels else []),
    ]
    return _in_container(bom, name, others, {"hashes": [{"alg": "SHA-256", "content": about["Id"].split(":")[1]}]})


def of_dockerfile(name: str, python: Bom) -> Bom:
    """What is in an image that is not there: the packages of our lock file, and by its name the base image."""
    [base] = re.findall(r"^ARG BASE_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return _in_container(python, name, [_base(base)], {})


def contents(tar: IO[bytes]) -> Contents:
    """Read what package managers left in a file system."""
    found = Contents()
    with tarfile.open(fileobj=tar, mode="r|") as files:
        for each in files:
            path = PurePosixPath(each.name)
            if not each.isfile() or "_vendor" in path.parts:
                continue
            if path.name == "METADATA" and path.parent.suffix == ".dist-info":
                found.python[path.parent.name] = _read(files, each)
            elif each.name == "var/lib/dpkg/status" or str(path.parent) == "var/lib/dpkg/status.d":
                found.dpkg.append(_read(files, each).decode())
            elif each.name in ("etc/os-release", "usr/lib/os-release"):
                found.release = _read(files, each).decode()
    return found


@contextmanager
def exported(image: str) -> Iterator[IO[bytes]]:
    """The file system of an image, as tar. Raises CommandError."""
    container = output("docker", "create", image)
    try:
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:
            assert export.stdout
            yield export.stdout
    finally:
        output("docker", "rm", container)


def inspected(image: str) -> dict[str, Any] | None:
    """What Docker says of an image; None where there is no such image, or no Docker."""
    try:
        return dict(json.loads(output("docker", "image", "inspect", image))[0])
    except CommandError:
        return None


def reference(image: str) -> tuple[str, str]:
    """Return the repository of an image, and the tag or digest that says which one of it."""
    [(repository, tag, digest)] = re.findall(r"^([^@]+?)(?::([\w.-]+))?(?:@(.+))?$", image)
    return repository, tag or digest or "latest"


def invalid(*files: Path) -> str:
    """Say what is wrong with documents by the schema of CycloneDX; nothing where all are valid."""
    script = Path(__file__).with_name("valid.py")
    done = subprocess.run(
        [environment(AUDIT) / "bin/python", script, SCHEMA_VERSION, *files], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _in_container(bom: Bom, name: str, others: list[Component], more: Component) -> Bom:
    """Return the document of an image, in which the project is one component of many."""
    own = bom["metadata"]["component"]
    repository, version = reference(name)
    container = {"type": "container", "bom-ref": "image", "name": repository, "version": version, **more}
    return bom | {
        "metadata": bom["metadata"] | {"component": container},
        "components": sorted([own, *bom["components"], *others], key=lambda each: str(each["bom-ref"])),
    }


def _as_environment(found: Contents, directory: Path) -> Path:
    """Make a Python environment that has the names of those packages, and nothing of what is in them."""
    output(sys.executable, "-m", "venv", "--without-pip", directory)
    [packages] = directory.glob("lib/python*/site-packages")
    for name, metadata in found.python.items():
        (packages / name).mkdir()
        (packages / name / "METADATA").write_bytes(metadata)
    return directory


def _paragraphs(status: list[str]) -> Iterator[dict[str, str]]:
    for paragraph in "\n\n".join(status).split("\n\n"):
        fields = dict(re.findall(r"^(\w[\w-]*): *(.*)$", paragraph, re.MULTILINE))
        # The parts that a distroless image has do not say that they are installed.
        if fields.get("Status", "install ok installed") == "install ok installed" and "Package" in fields:
            yield fields


def _deb(fields: dict[str, str], release: str) -> Component:
    system = dict(re.findall(r'^(ID|VERSION_ID)="?([^"\n]*)"?$', release, re.MULTILINE))
    distribution = system.get("ID", "debian")
    name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
    where = f"arch={architecture}&distro={distribution}-{system.get('VERSION_ID', 'unknown')}"
    # Packages of one name may be there for two architectures.
    return {
        "type": "library",
        "bom-ref": f"deb:{name}:{architecture}",
        "name": name,
        "version": version,
        "purl": f"pkg:deb/{distribution}/{quote(name)}@{quote(version)}?{where}",
    }


def _cpython(version: str) -> Component:
    return {
        "type": "platform",
        "bom-ref": "cpython",
        "name": "cpython",
        "version": version,
        "purl": f"pkg:generic/cpython@{version}",
    }


def _base(name: str) -> Component:
    return {"type": "container", "bom-ref": "base-image", "name": name}


def _read(files: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = files.extractfile(member)
    assert file
    return file.read()
