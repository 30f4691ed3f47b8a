"""A copy of some objects of the API server, kept by a list and then a watch. For agents; the operator has kopf's.

The copy changes only by a complete, successful list or by a watch that follows on it: an API server that is away,
forbids, or answers nonsense leaves it as it was.
"""

import asyncio
import logging
import random
from collections.abc import Callable

import aiohttp

from private_registry.kube.client import ApiError, GoneError, Kube, Object
from private_registry.kube.kinds import Kind

logger = logging.getLogger(__name__)

_FIRST_RETRY = 0.5
_LAST_RETRY = 30.0


class Reflector:
    """Objects of one kind by name, in one namespace or of a kind that has none."""

    def __init__(
        self,
        kube: Kube,
        kind: Kind,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        changed: Callable[[], None],
    ) -> None:
        self.objects: dict[str, Object] = {}
        self.synced = False
        """Whether there has been a complete list; before it, an object that is not here may well exist."""
        self._kube = kube
        self._kind = kind
        self._namespace = namespace
        self._labels = labels
        self._fields = fields
        self._changed = changed
        self._version: str | None = None
        """To go on watching from; None: list first."""

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        failures = 0
        while True:
            try:
                if self._version is None:
                    await self._list()
                await self._watch()
                failures = 0
            except GoneError:
                self._version = None
            except (ApiError, aiohttp.ClientError, TimeoutError, ValueError) as error:
                delay = min(_LAST_RETRY, _FIRST_RETRY * 2**failures) * random.uniform(0.75, 1.25)  # noqa: S311
                failures = min(failures + 1, 10)
                logger.warning("%s: %s; again in %.1f s", self._kind.plural, error or type(error).__name__, delay)
                await asyncio.sleep(delay)
                self._version = None

    async def _list(self) -> None:
        listing = await self._kube.list(self._kind, self._namespace, labels=self._labels, fields=self._fields)
        self.objects = {obj["metadata"]["name"]: _slim(obj) for obj in listing.items}
        self._version = listing.resource_version
        self.synced = True
        self._changed()

    async def _watch(self) -> None:
        assert self._version is not None
        async for event in self._kube.watch(
            self._kind, self._namespace, resource_version=self._version, labels=self._labels, fields=self._fields
        ):
            metadata = event.object["metadata"]
            self._version = metadata["resourceVersion"]
            if event.type == "BOOKMARK":
                continue
            if event.type == "DELETED":
                self.objects.pop(metadata["name"], None)
            else:
                self.objects[metadata["name"]] = _slim(event.object)
            self._changed()


def _slim(obj: Object) -> Object:
    obj["metadata"].pop("managedFields", None)
    return obj
