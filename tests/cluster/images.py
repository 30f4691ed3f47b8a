"""Images in the Docker daemon. One is built only when something that goes into it has changed since it was."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster import versions
from tests.cluster.commands import CommandError, output, run

PROJECT = Path(__file__).parents[2]
FINGERPRINT = "dev.privateregistry.fingerprint"  # a label
BIG = 4 << 20  # files above this many bytes are artefacts: their size and time of change stand for their content
# How pip finds its registry on this machine. `docker build` hands it on to the Dockerfile's arguments of that name.
PIP_VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST")


@dataclass(frozen=True)
class Image:
    """What an image is built from. `files` are the build context: name in it, and file or directory."""

    name: str
    dockerfile: str
    files: Mapping[str, Path] = field(default_factory=dict)
    base: str | None = None  # handed on as BASE_IMAGE
    arguments: Mapping[str, str] = field(default_factory=dict)


def ensure(image: Image, cache: Path, log: Path) -> bool:
    """Build the image if it is missing or out of date, and tell whether it was. Raises CommandError."""
    arguments = dict(image.arguments) | ({"BASE_IMAGE": image.base} if image.base else {})
    stamp = fingerprint(image, identity(image.base) if image.base else "")
    if label(image.name) == stamp:
        return False
    (cache / "tmp").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache / "tmp") as directory:
        context = Path(directory)
        (context / "Dockerfile").write_text(image.dockerfile)
        for name, source in image.files.items():
            _place(source, context / name)
        run(
            "docker", "build", "--tag", image.name, "--label", f"{FINGERPRINT}={stamp}",
            *(f"--build-arg={key}={value}" for key, value in arguments.items()),
            context, log=log, env=builder(),
        )  # fmt: skip
    return True


def identity(name: str) -> str:
    """Return the id of an image, empty when there is no such image."""
    try:  # also by a name that has both a tag and a digest
        return output("docker", "image", "inspect", "--format", "{{.Id}}", name)
    except CommandError:
        return ""


def label(name: str, key: str = FINGERPRINT) -> str | None:
    """Return a label of an image, or None when there is no such image or label."""
    try:
        return output("docker", "image", "inspect", "--format", f'{{{{index .Config.Labels "{key}"}}}}', name) or None
    except CommandError:
        return None


def builder() -> dict[str, str]:
    """Return the environment of `docker build`: a client without the buildx plugin can only use the classic builder."""
    try:
        output("docker", "buildx", "version")
    except CommandError:
        return {"DOCKER_BUILDKIT": "0"}
    return {}


def fingerprint(image: Image, base_id: str) -> str:
    """Return a digest of everything that goes into an image."""
    digest = hashlib.sha256(f"{image.dockerfile}\0{base_id}\0{sorted(image.arguments.items())}".encode())
    for name, source in sorted(image.files.items()):
        for file in _files(source):
            state = file.stat()
            digest.update(f"\0{name}/{file.relative_to(source)}\0{state.st_mode:o}\0{state.st_size}\0".encode())
            digest.update(f"{state.st_mtime_ns}".encode() if state.st_size > BIG else file.read_bytes())
    return digest.hexdigest()


def program(name: str, binary: Path, base: str | None = None) -> Image:
    """Return an image that is one program, on nothing or on `base`."""
    start = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}" if base else "FROM scratch\nENV PATH=/usr/local/bin"
    dockerfile = f'{start}\nCOPY {binary.name} /usr/local/bin/\nENTRYPOINT ["/usr/local/bin/{binary.name}"]\n'
    return Image(name, dockerfile, {binary.name: binary}, base)


def operator(base: str) -> Image:
    """Return the image of the project itself: the same files as `docker build .` in a clean clone."""
    names = ("requirements.lock", "operator/private_registry")
    return Image(
        versions.OPERATOR_IMAGE,
        (PROJECT / "Dockerfile").read_text(),
        {name: PROJECT / name for name in names},
        base,
        {name: value for name in PIP_VARIABLES if (value := pip_setting(name))},
    )


def pip_setting(variable: str) -> str | None:
    """Return a setting of this machine's pip, from its variable or from pip's configuration files."""
    if variable in os.environ:
        return os.environ[variable]
    try:
        return output("pip", "config", "get", "global." + variable.removeprefix("PIP_").lower().replace("_", "-"))
    except CommandError:
        return None


def _files(source: Path) -> Iterator[Path]:
    if source.is_file():
        yield source
    for each in sorted(source.rglob("*")):
        if each.is_file() and "__pycache__" not in each.parts:
            yield each


def _place(source: Path, target: Path) -> None:
    """Put a file or directory into a build context, without copying what is big if that can be helped."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        return
    try:
        os.link(source.resolve(), target)
    except OSError:  # on another file system
        shutil.copy2(source, target)
