"""`private-registry collect`: give back what nobody can pull any more. It runs while nobody writes to the volume.

First everything is read and marked; what cannot be read ends the run before anything was deleted. Then links go before
what they lead to, so that killed at any moment it leaves a volume on which every image that stays is whole, and the
next run goes on. What is younger than `grace` stays whatever it is: a push may be on its way, with its layers there and
its manifest still to come.
"""

import json
import logging
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from private_registry.data import marking
from private_registry.data.collection import Outcome
from private_registry.data.in_use import InUse, ListInvalidError, parse_in_use
from private_registry.jobs.volume import Volume

logger = logging.getLogger(__name__)


@dataclass
class _Repository:
    untagged: list[str] = field(default_factory=list)
    stays: set[str] = field(default_factory=set)
    needs: frozenset[str] = frozenset()


def collect(
    directory: Path, *, grace: float, delete_untagged: Path | None, dry_run: bool, now: float | None = None
) -> Outcome:
    """Mark and sweep; what was done, or of a dry run what would be. `grace` in seconds. An error is in the outcome.

    `delete_untagged` is a file with the images in use: of those that no tag leads to, only these stay.
    """
    try:
        in_use = _in_use(delete_untagged) if delete_untagged else None
        run = _Run(Volume(directory), (time.time() if now is None else now) - grace, in_use)
        run.mark()
        if not dry_run:
            run.sweep()
    except (OSError, marking.ManifestError, ListInvalidError) as error:
        return Outcome(error=str(error)[:3000])
    return run.outcome


def write_outcome(outcome: Outcome, path: Path) -> None:
    """Where the kubelet looks for what a container has to say at its end."""
    path.write_text(json.dumps(outcome.model_dump(mode="json", exclude_defaults=True)))


def _in_use(path: Path) -> InUse:
    """Raises ListInvalidError, OSError."""
    found = parse_in_use(path.read_text())
    found.demand_recent(datetime.now(UTC))
    return found


class _Run:
    def __init__(self, volume: Volume, since: float, in_use: InUse | None) -> None:
        self._volume = volume
        self._since = since
        self._in_use = in_use
        """None: what no tag leads to stays as well."""
        self._repositories: dict[str, _Repository] = {}
        self._garbage: dict[str, int] = {}
        self._empty: list[str] = []
        self._read: dict[str, marking.Manifest | None] = {}
        self.outcome = Outcome()

    def mark(self) -> None:
        """Read everything. Raises ManifestError, OSError."""
        there = dict(self._volume.blobs())
        needed = set[str]()
        for name in self._volume.repositories():
            found = self._repositories[name] = self._mark(name)
            needed |= found.needs
        self._garbage = {
            digest: about.st_blocks * 512
            for digest, about in there.items()
            if digest not in needed and about.st_mtime < self._since
        }
        self._empty = [name for name in self._repositories if self._is_empty(name)]
        self.outcome = Outcome(
            blobs=len(self._garbage),
            bytes=sum(self._garbage.values()),
            manifests=sum(len(each.untagged) for each in self._repositories.values()),
            repositories=len(self._empty),
        )

    def _mark(self, name: str) -> _Repository:
        revisions = self._volume.revisions(name)
        manifests = {digest: manifest for digest in revisions if (manifest := self._manifest(name, digest))}
        tags = self._volume.tags(name)
        roots = {*tags.values()} | {digest for digest, came in revisions.items() if came >= self._since}
        if self._in_use is None or "" in tags.values():  # a tag that nobody can read may lead to any of them
            roots = set(revisions)
        else:
            # Docker names what runs by the digest of its configuration.
            used = self._in_use.digests(name)
            roots |= {digest for digest, manifest in manifests.items() if used & {digest, *manifest.blobs}}
        stays = marking.kept(manifests, roots)
        needs = marking.needed(manifests, stays)
        return _Repository([each for each in revisions if each not in stays and each in manifests], set(stays), needs)

    def _manifest(self, repository: str, digest: str) -> marking.Manifest | None:
        """None where its content was lost: nothing can be pulled by it."""
        if digest not in self._read:
            content = self._volume.read(digest)
            try:
                self._read[digest] = None if content is None else marking.read(content)
            except marking.ManifestError as error:
                text = f"the manifest {digest} in the repository {repository} cannot be read ({error}): delete it"
                raise marking.ManifestError(text) from None
        return self._read[digest]

    def _is_empty(self, name: str) -> bool:
        """Whether nothing is left of it: no manifest, no upload, and no layer that a manifest may yet come for."""
        left = self._volume.revisions(name).keys() - set(self._repositories[name].untagged)
        young = any(came >= self._since for came in self._volume.layers(name).values())
        return not left and not young and not self._volume.uploads(name)

    def sweep(self) -> None:
        """Delete what was marked. Raises OSError."""
        for name, found in self._repositories.items():
            for digest in found.untagged:
                self._volume.remove_revision(name, digest)
            for digest in self._volume.layers(name):
                if digest in self._garbage:
                    self._volume.remove_layer(name, digest)
        for digest in self._garbage:
            self._volume.remove_blob(digest)
        for name in self._empty:
            self._volume.remove_repository(name)
        logger.info("collected", extra=self.outcome.model_dump(mode="json", exclude_defaults=True))
