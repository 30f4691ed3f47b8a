"""The volume of a registry as distribution's file system driver lays it out (registry/storage/paths.go, 2.x and 3.x).

Names of files come from whoever pushes: what does not look like distribution's own is passed over, and no link is
followed.
"""

import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_ROOT: Final = "docker/registry/v2"
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_PARTS: Final = ("_layers", "_manifests", "_uploads")
_LONGEST_LINK: Final = 256


class Volume:
    """What is on it, and the ways to take something away. Raises OSError where the file system does."""

    def __init__(self, directory: Path) -> None:
        self._blobs = directory / _ROOT / "blobs"
        self._repositories = directory / _ROOT / "repositories"

    def blobs(self) -> Iterator[tuple[str, os.stat_result]]:
        """Each blob's digest, and what the file system knows of its content."""
        for algorithm in _directories(self._blobs):
            for prefix in _directories(algorithm):
                for blob in _directories(prefix):
                    digest = f"{algorithm.name}:{blob.name}"
                    try:
                        found = (blob / "data").lstat()
                    except FileNotFoundError:
                        continue
                    if _DIGEST.fullmatch(digest) and stat.S_ISREG(found.st_mode):
                        yield digest, found

    def read(self, digest: str) -> bytes | None:
        """A blob's content; None where it is not there."""
        try:
            return (self._blob(digest) / "data").read_bytes()
        except FileNotFoundError:
            return None

    def remove_blob(self, digest: str) -> None:
        shutil.rmtree(self._blob(digest))

    def repositories(self) -> Iterator[str]:
        """Names of repositories, those in others as well."""
        waiting = [self._repositories]
        while waiting:
            directory = waiting.pop()
            inside = _directories(directory)
            if any(each.name in _PARTS for each in inside):
                yield str(directory.relative_to(self._repositories))
            waiting += [each for each in inside if each.name not in _PARTS]

    def revisions(self, repository: str) -> dict[str, float]:
        """Digests of the manifests that a repository has, and when each came (seconds since 1970)."""
        found = {}
        for link in self._links(self._manifests(repository) / "revisions"):
            if digest := _linked(link):
                found[digest] = link.lstat().st_mtime
        return found

    def tags(self, repository: str) -> dict[str, str]:
        """Digests by tag; empty for a tag that nobody can read."""
        tags = _directories(self._manifests(repository) / "tags")
        return {tag.name: _linked(tag / "current" / "link") for tag in tags}

    def layers(self, repository: str) -> dict[str, float]:
        """Digests of the blobs that a repository may hand out, and when each came (seconds since 1970)."""
        found = {}
        for link in self._links(self._repositories / repository / "_layers"):
            if digest := _linked(link):
                found[digest] = link.lstat().st_mtime
        return found

    def remove_revision(self, repository: str, digest: str) -> None:
        """Forget a manifest that no tag leads to, and that some did."""
        for tag in _directories(self._manifests(repository) / "tags"):
            _remove(_in(tag / "index", digest))
        _remove(_in(self._manifests(repository) / "revisions", digest))

    def remove_layer(self, repository: str, digest: str) -> None:
        _remove(_in(self._repositories / repository / "_layers", digest))

    def uploads(self, repository: str) -> bool:
        """Whether somebody is in the middle of an upload."""
        return bool(_directories(self._repositories / repository / "_uploads"))

    def remove_repository(self, repository: str) -> None:
        """Take an empty repository out of the catalog, but none that is in it."""
        directory = self._repositories / repository
        for part in _PARTS:
            _remove(directory / part)
        while directory != self._repositories and not any(directory.iterdir()):
            directory.rmdir()
            directory = directory.parent

    def _manifests(self, repository: str) -> Path:
        return self._repositories / repository / "_manifests"

    def _blob(self, digest: str) -> Path:
        algorithm, _, encoded = digest.partition(":")
        return self._blobs / algorithm / encoded[:2] / encoded

    def _links(self, directory: Path) -> Iterator[Path]:
        for algorithm in _directories(directory):
            for each in _directories(algorithm):
                yield each / "link"


def _in(directory: Path, digest: str) -> Path:
    return directory.joinpath(*digest.split(":"))


def _linked(link: Path) -> str:
    """The digest that a link file holds; empty where it holds none, or is not there."""
    try:
        with os.fdopen(os.open(link, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            text = file.read(_LONGEST_LINK).decode("ascii", "replace")
    except FileNotFoundError:
        return ""
    return text if _DIGEST.fullmatch(text) else ""


def _directories(directory: Path) -> list[Path]:
    """Those in a directory, by name; none where it is not there."""
    try:
        with os.scandir(directory) as found:
            return sorted(Path(each.path) for each in found if each.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def _remove(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory)
