"""The copies loop: what other namespaces have of a registry, a pull secret and a CA, is as its owner asks.

Secrets may not be listed, so the status of the registry says where there may be a copy, from before it is made until it
is gone: the registry loop lets no registry go while it names a namespace.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from private_registry.api import names
from private_registry.api.conditions import Reason
from private_registry.api.registry import MAX_PROBLEMS, Copies, CopyProblem, PrivateRegistry, SpecInvalidError, parse
from private_registry.controller import metrics
from private_registry.controller.copies import shares
from private_registry.controller.copies.shares import Share
from private_registry.controller.engine import Next
from private_registry.controller.health.diagnosis import parse_time
from private_registry.controller.health.problem import Concern, Problem
from private_registry.controller.registries.drift import drifted, fingerprint
from private_registry.controller.world import World
from private_registry.kube import kinds
from private_registry.kube.client import ApiError, Kube, NotFoundError
from private_registry.kube.kinds import PRIVATE_REGISTRY
from private_registry.kube.writes import Apply, Create, Delete

Object = dict[str, Any]

AT_ONCE = 16
"""Namespaces of one registry that are seen to at the same time."""
LOOK = 50.0
"""Seconds after which every copy is looked at again although nothing has changed: Secrets are not watched."""
LOOK_PER_COPY = 0.1
"""Seconds more for each copy and each ServiceAccount beyond what LOOK has room for."""
AGAIN = 10.0
"""Seconds until a registry with a problem is looked at again."""
YOUNG = 60.0
"""Seconds in which a new namespace may still get its ServiceAccounts."""
SOON = 1.0
"""Seconds until such a namespace is looked at again."""


@dataclass(frozen=True)
class _Seen:
    """What came of the look at one namespace."""

    problem: Problem | None = None
    lacks_accounts: bool = False
    """Whether a ServiceAccount that is to have the pull secret is not there."""


class CopiesLoop:
    """Sees to the copies of one registry at a time, by its key."""

    def __init__(self, kube: Kube, world: World) -> None:
        self._kube = kube
        self._world = world
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._looked: dict[str, tuple[object, float]] = {}
        """By key: what was as it should be in every namespace, and until when that is believed."""
        self._rewritten: dict[str, tuple[str, str]] = {}
        """By uid of a copy: what we applied in vain, and the fingerprint of what became of it."""

    async def reconcile(self, key: str) -> Next:
        namespace, _, name = key.partition("/")
        body = await self._kube.get(PRIVATE_REGISTRY, namespace, name)
        registry = _read(body) if body else None
        if body is None or registry is None or not _has_any(registry):
            self._looked.pop(key, None)
            return Next(done=True)
        both = await self._shares(registry)
        now, asked = asyncio.get_running_loop().time(), (registry.uid, registry.generation, both)
        if (last := self._looked.get(key)) and last[0] == asked and now < last[1]:
            return Next(after=last[1] - now)
        noted = shares.noted(registry.status.copies, both)
        if noted != registry.status.copies:
            # Refused if the registry has changed meanwhile: where it is being deleted, nothing is made any more.
            await self._note(registry, noted, resourceVersion=body["metadata"]["resourceVersion"])
        places = [(share, place) for share in both if not share.waits for place in share.everywhere]
        found = await asyncio.gather(*(self._see_to(registry, *each) for each in places), return_exceptions=True)
        if errors := [each for each in found if isinstance(each, BaseException)]:
            raise errors[0]
        seen = {place: each for place, each in zip(places, found, strict=True) if isinstance(each, _Seen)}
        concluded = _conclude(registry, both, seen)
        if concluded != noted:
            await self._note(registry, concluded)
        if concluded.problems:
            return Next(after=AGAIN)
        if any(each.lacks_accounts and self._is_young(place) for (_, place), each in seen.items()):
            return Next(after=SOON)
        pause = max(LOOK, LOOK_PER_COPY * sum(1 + len(share.accounts) for share, _ in places))
        self._looked[key] = (asked, now + pause)
        return Next(after=pause)

    async def _shares(self, registry: PrivateRegistry) -> tuple[Share, Share]:
        secret, config_map = names.pull_secret(registry.name), names.ca_config_map(registry.name)
        pull, ca = await asyncio.gather(
            self._kube.get(kinds.SECRET, registry.namespace, secret),
            self._kube.get(kinds.CONFIG_MAP, registry.namespace, config_map),
        )
        namespaces = self._world.namespaces
        return shares.pull_secret(registry, pull, namespaces), shares.ca(registry, ca, namespaces)

    async def _note(self, registry: PrivateRegistry, copies: Copies, **precondition: str) -> None:
        metrics.WRITES.labels("status", "PrivateRegistry").inc()
        said = {"copies": copies.model_dump(mode="json", by_alias=True)}
        body = {"metadata": {"uid": registry.uid, **precondition}, "status": said}
        await self._kube.merge(PRIVATE_REGISTRY, registry.namespace, registry.name, body, subresource="status")

    async def _see_to(self, registry: PrivateRegistry, share: Share, place: str) -> _Seen:
        """Raises ApiError where it is nothing that this namespace's owner could cure."""
        async with self._slots:
            try:
                live = await self._kube.get(share.kind, place, share.name)
                match shares.decide(registry, share, place, live):
                    case Problem() as problem:
                        return _Seen(problem)
                    case Delete(copy):
                        # Before it goes: a pod that is made in between would look for it.
                        await self._attach(share, place, share.all_accounts, wanted=False)
                        metrics.WRITES.labels("delete", copy["kind"]).inc()
                        await self._kube.delete(copy)
                        return _Seen()
                    case Create(copy):
                        metrics.WRITES.labels("create", copy["kind"]).inc()
                        await self._kube.create(copy)
                    case Apply(copy, before):
                        await self._apply(copy, before)
                if place not in share.namespaces:
                    await self._attach(share, place, share.all_accounts, wanted=False)
                    return _Seen()
                former = [each for each in share.attached if each not in share.accounts]
                await self._attach(share, place, former, wanted=False)
                return _Seen(lacks_accounts=not await self._attach(share, place, share.accounts, wanted=True))
            except NotFoundError:  # the namespace, in between
                return _Seen()
            except ApiError as error:
                if error.status not in (400, 403, 422):
                    raise
                if "is being terminated" in error.message:
                    return _Seen()
                text = (
                    f"the API server refuses the {share.kind.kind} {share.name} in namespace {place}: {error.message}"
                )
                return _Seen(Problem(Reason.REFUSED_BY_SERVER, text, Concern.COPIES))

    async def _apply(self, copy: Object, live: Object) -> None:
        applied = copy["metadata"]["annotations"][names.APPLIED]
        if self._rewritten.get(live["metadata"]["uid"]) == (applied, fingerprint(live)):
            return
        metrics.WRITES.labels("apply", copy["kind"]).inc()
        after = await self._kube.apply(copy, live)
        if drifted(copy, after):
            self._rewritten[after["metadata"]["uid"]] = (applied, fingerprint(after))

    async def _attach(self, share: Share, place: str, accounts: Iterable[str], *, wanted: bool) -> bool:
        """Whether all of these ServiceAccounts exist; those that do have the pull secret then, or no longer."""
        complete = True
        for name in accounts:
            account = await self._kube.get(kinds.SERVICE_ACCOUNT, place, name)
            complete = complete and account is not None
            if account and (change := shares.attachment(account, share.name, wanted=wanted)):
                metrics.WRITES.labels("patch", "ServiceAccount").inc()
                await self._kube.merge(kinds.SERVICE_ACCOUNT, place, name, change)
        return complete

    def _is_young(self, namespace: str) -> bool:
        created = parse_time(self._world.namespaces.get(namespace, {}).get("metadata", {}).get("creationTimestamp"))
        return created is not None and (datetime.now(UTC) - created).total_seconds() < YOUNG


def _read(body: Object) -> PrivateRegistry | None:
    """The registry; None where nothing is to be done for it: it is not protected yet, no longer, or cannot be read."""
    try:
        registry = parse(body)
    except SpecInvalidError:
        registry = parse({**body, "spec": {}})
        if not registry.deleting:
            return None
    return registry if names.FINALIZER in registry.finalizers else None


def _has_any(registry: PrivateRegistry) -> bool:
    """Whether other namespaces have or are to have anything of it."""
    return bool(registry.status.copies.namespaces) or (registry.shares and not registry.deleting)


def _conclude(registry: PrivateRegistry, both: tuple[Share, Share], seen: Mapping[tuple[Share, str], _Seen]) -> Copies:
    """What the status is to say after the look: a namespace from which something could not be taken stays in it."""
    before = registry.status.copies
    problems = [share.problem for share in both if share.problem]
    problems += [each.problem for each in seen.values() if each.problem]
    left = {share.kind: {place for of, place in seen if of is share and seen[of, place].problem} for share in both}
    pull, ca = both
    return Copies(
        observed_generation=before.observed_generation if pull.waits or ca.waits else registry.generation,
        pull_secret_namespaces=pull.held if pull.waits else tuple(sorted({*pull.namespaces, *left[pull.kind]})),
        service_accounts=pull.all_accounts if pull.waits or left[pull.kind] else pull.accounts,
        ca_namespaces=ca.held if ca.waits else tuple(sorted({*ca.namespaces, *left[ca.kind]})),
        problems=tuple(
            CopyProblem(reason=each.reason, message=each.message[:4096]) for each in problems[:MAX_PROBLEMS]
        ),
    )
