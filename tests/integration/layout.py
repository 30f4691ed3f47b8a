"""Many images at once, written as distribution keeps them: pushing ten thousand would take minutes."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tests.integration.pushing import KIND, MANIFEST


@contextmanager
def in_memory(directory: Path) -> Iterator[Path]:
    """A file system of its own there, in which many small files are made and gone in no time."""
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(directory)], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def write_images(volume: Path, repository: str, images: dict[str, tuple[int, datetime]], *, owner: int) -> None:
    """Put images without layers on a registry's volume: by tag, what makes one another than others, and its time."""
    root = volume / "docker/registry/v2"
    own = root / "repositories" / repository
    seen = dict[tuple[int, datetime], str]()
    for tag, (number, created) in images.items():
        digest = seen.get((number, created)) or _image(root, own, number, created)
        seen[number, created] = digest
        # Beside it, distribution keeps what the tag stood for before, which nothing here asks about.
        _write(own / "_manifests/tags" / tag / "current/link", digest)
    for directory, _, files in os.walk(volume):
        for name in (".", *files):
            os.chown(Path(directory) / name, owner, owner)


def _image(root: Path, own: Path, number: int, created: datetime) -> str:
    config = json.dumps({"created": created.isoformat(), "architecture": "amd64", "os": "linux", "of": number}).encode()
    blob = _blob(root, config)
    described = {"mediaType": f"{KIND}.config.v1+json", "digest": blob, "size": len(config)}
    _write(own / "_layers/sha256" / blob.removeprefix("sha256:") / "link", blob)
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": []}
    digest = _blob(root, json.dumps(manifest).encode())
    _write(own / "_manifests/revisions/sha256" / digest.removeprefix("sha256:") / "link", digest)
    return digest


def _blob(root: Path, content: bytes) -> str:
    which = hashlib.sha256(content).hexdigest()
    path = root / "blobs/sha256" / which[:2] / which / "data"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return f"sha256:{which}"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
