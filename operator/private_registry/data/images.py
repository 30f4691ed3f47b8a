"""Which images of a registry a cluster uses: by pods that are there, and by what workloads would start next.

Of a workload that keeps revisions, the newest two count: the one that runs, and the one that a rollback goes to.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Object = dict[str, Any]

REVISIONS: Final = 2
"""Of each workload, the newest first: the current one and the one before."""

_REVISION_ANNOTATIONS = ("deployment.kubernetes.io/revision", "rollout.argoproj.io/revision")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
_STATUSES = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


@dataclass(frozen=True, order=True)
class Reference:
    """An image of the registry: a repository with a tag, or with a digest."""

    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}" if self.digest else f"{self.repository}:{self.tag}"


@dataclass(frozen=True)
class Names:
    """What a registry may be called in the name of an image."""

    hosts: frozenset[str]
    """With their ports, and without one where the name is good without."""
    ports: frozenset[int] = frozenset()
    """Of nodes: whatever the host before them is, it is this registry."""

    def has(self, host: str) -> bool:
        _, _, port = host.rpartition(":")
        return host.lower() in self.hosts or (port.isdecimal() and int(port) in self.ports)


def references(image: str, names: Names) -> tuple[Reference, ...]:
    """What an image's name refers to: a tag, a digest, or both. Empty where it is not of this registry."""
    host, slash, path = image.removeprefix("docker-pullable://").partition("/")
    if not slash or not names.has(host):
        return ()
    rest, _, digest = path.partition("@")
    repository, colon, tag = rest.partition(":")
    found = []
    if colon or not digest:
        found.append(Reference(repository, tag=tag or "latest"))
    if _DIGEST.fullmatch(digest):
        found.append(Reference(repository, digest=digest))
    return tuple(found)


def of_pod(pod: Object, names: Names) -> Iterator[Reference]:
    """What a pod uses: what its containers ask for, and what its node says that they run.

    A node may tell what runs by another name of the same content, or by the digest of its configuration.
    """
    asked = dict(_asked(pod["spec"]))
    yield from (found for image in asked.values() for found in references(image, names))
    for status in _all_of(pod.get("status") or {}, _STATUSES):
        ran, shown = status.get("imageID") or "", status.get("image") or ""
        known = [found for name in (asked.get(status["name"], ""), shown, ran) for found in references(name, names)]
        yield from known
        if known and (digest := _DIGEST.search(ran)):
            yield Reference(known[0].repository, digest=digest[0])


def of_template(template: Object, names: Names) -> Iterator[Reference]:
    """What a pod that is made from this template would use."""
    for image in dict(_asked(template.get("spec") or {})).values():
        yield from references(image, names)


def templates(workload: Object) -> Iterator[Object]:
    """The pod template of a workload or of one of its revisions."""
    spec = workload.get("spec") or {}
    # A ControllerRevision holds a part of its workload; what it holds may be of any kind, a CronJob's is one deeper.
    data = workload.get("data")
    kept = (data.get("spec") or {}).get("template") if isinstance(data, Mapping) else None
    for found in (spec.get("template"), ((spec.get("jobTemplate") or {}).get("spec") or {}).get("template"), kept):
        if isinstance(found, Mapping):
            yield dict(found)


@dataclass
class Revisions:
    """The newest revisions of each workload, whatever order they are seen in, without keeping the others."""

    newest: dict[str, list[tuple[int, str, frozenset[Reference]]]] = field(default_factory=dict)

    def add(self, revision: Object, names: Names) -> None:
        """Look at a ReplicaSet or a ControllerRevision."""
        metadata = revision["metadata"]
        owner = next((each["uid"] for each in metadata.get("ownerReferences") or [] if each.get("controller")), "")
        found = frozenset(each for template in templates(revision) for each in of_template(template, names))
        seen = self.newest.setdefault(owner or metadata["uid"], [])
        seen.append((_number(revision), metadata.get("creationTimestamp") or "", found))
        seen.sort(key=lambda each: each[:2], reverse=True)
        del seen[REVISIONS:]

    def used(self) -> Iterator[Reference]:
        for revisions in self.newest.values():
            for _, _, found in revisions:
                yield from found


def _number(revision: Object) -> int:
    annotations = revision["metadata"].get("annotations") or {}
    numbers = [revision.get("revision"), *(annotations.get(key) for key in _REVISION_ANNOTATIONS)]
    return next((int(text) for each in numbers if (text := str(each)).isdecimal()), 0)


def _asked(spec: Object) -> Iterator[tuple[str, str]]:
    """Images by the names of their containers; of volumes that are images, by one that no container has."""
    for container in _all_of(spec, _CONTAINERS):
        yield container["name"], container.get("image") or ""
    for volume in spec.get("volumes") or []:
        yield f"volume {volume['name']}", (volume.get("image") or {}).get("reference") or ""


def _all_of(part: Object, keys: Iterable[str]) -> Iterator[Object]:
    return (each for key in keys for each in part.get(key) or [])
