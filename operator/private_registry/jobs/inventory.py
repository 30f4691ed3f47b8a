"""What a registry holds, as far as retention goes by it: each tag, when it was made, and what is inside.

Read over the registry's own HTTP API, page by page, with few requests at a time: pulls go on meanwhile.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from private_registry.data.manifests import created_of, read_manifest
from private_registry.data.retention import Tag, Used
from private_registry.distribution import Registry, RegistryError

AT_ONCE, AT_ONCE_WITH_LOGIN = 8, 2
"""Requests that the registry has to answer at the same time. To verify a password takes fifty milliseconds of a whole
processor, by design: it has to have some left for who pulls.
"""
_DEEPEST = 3
"""Indexes within indexes; what is further down is not looked at."""

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class _Facts:
    """What is known of a manifest, whatever its tags are."""

    created: datetime | None = None
    parts: frozenset[str] = frozenset()
    configurations: frozenset[str] = frozenset()
    subject: str = ""


@dataclass
class Inventory:
    """Looks into one registry; it remembers what it saw of a manifest, which never changes."""

    registry: Registry
    at_once: int
    _facts: dict[tuple[str, str], _Facts] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def of(cls, registry: Registry) -> AsyncIterator["Inventory"]:
        at_once = AT_ONCE_WITH_LOGIN if registry.login else AT_ONCE
        async with registry.connected(at_once) as connected:
            yield cls(connected, at_once)

    async def repositories(self) -> list[str]:
        """Raises RegistryError."""
        return sorted(set(await self.registry.catalog()))

    async def names(self, repository: str) -> list[str]:
        """Of the tags of a repository; none where it is gone by now. Raises RegistryError."""
        try:
            return sorted(set(await self.registry.tags(repository)))
        except RegistryError as error:
            if error.status == 404:
                return []
            raise

    async def tags(self, repository: str, names: Iterable[str]) -> dict[str, Tag | None]:
        """What each of these tags stands for; None for one without a manifest. Raises RegistryError."""

        async def look(name: str) -> Tag | None:
            found = await self.registry.manifest(repository, name)
            if found is None:
                return None
            digest, content = found
            facts = await self._known(repository, digest, content)
            return Tag(name, digest, facts.created, facts.parts, facts.configurations, facts.subject)

        return await self._each(look, names)

    async def with_parts(self, repository: str, used: Used, tags: Iterable[Tag]) -> Used:
        """The same use, with the parts of what is used by its digest and has no tag. Raises RegistryError."""

        async def look(digest: str) -> frozenset[str]:
            found = await self.registry.manifest(repository, digest)
            return (await self._known(repository, digest, found[1])).parts if found else frozenset()

        untagged = used.digests.difference(*(tag.digests for tag in tags))
        found = await self._each(look, sorted(untagged))
        return replace(used, parts=used.parts.union(*found.values()))

    async def _known(self, repository: str, digest: str, content: bytes, depth: int = 0) -> _Facts:
        if (known := self._facts.get((repository, digest))) is None:
            known = self._facts[repository, digest] = await self._look_into(repository, content, depth)
        return known

    async def _look_into(self, repository: str, content: bytes, depth: int) -> _Facts:
        manifest = read_manifest(content)
        times, parts, configurations = [manifest.created], set(manifest.parts), set[str]()
        if manifest.configuration:
            configurations.add(manifest.configuration)
            if manifest.created is None and manifest.says_when:
                blob = await self.registry.blob(repository, manifest.configuration)
                times.append(created_of(blob) if blob else None)
        for digest in manifest.parts if depth < _DEEPEST else ():
            if found := await self.registry.manifest(repository, digest):
                below = await self._known(repository, digest, found[1], depth + 1)
                times.append(below.created)
                parts |= below.parts
                configurations |= below.configurations
        dated = [each for each in times if each]
        # An index is as old as the last thing that came into it.
        created = manifest.created or max(dated, default=None)
        return _Facts(created, frozenset(parts), frozenset(configurations), manifest.subject)

    async def _each(self, look: Callable[[S], Coroutine[Any, Any, T]], over: Iterable[S]) -> dict[S, T]:
        """The answers for all, with a few of them looked at at the same time; the first error ends it."""
        waiting, found = iter(list(over)), dict[S, T]()

        async def work() -> None:
            for each in waiting:
                found[each] = await look(each)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.at_once):
                    group.create_task(work())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return found
