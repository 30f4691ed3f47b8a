"""The writes of a registry's plan, one after the other, and what becomes of one that is refused or undone."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from private_registry.api import names
from private_registry.api.conditions import Reason
from private_registry.api.registry import PrivateRegistry
from private_registry.controller import events, metrics
from private_registry.controller.facts import Facts
from private_registry.controller.health.confirmation import Confirmation
from private_registry.controller.health.problem import Concern, Problem
from private_registry.controller.registries import tenancy
from private_registry.controller.registries.drift import drifted, fingerprint
from private_registry.controller.registries.observe import Observed
from private_registry.controller.registries.plan import Plan, plan
from private_registry.controller.settings import Settings
from private_registry.controller.world import OURS, World, deployments_by_registry, key_of_entry, names_in
from private_registry.kube import kinds
from private_registry.kube.client import ApiError, ConflictError, Kube
from private_registry.kube.writes import Apply, Create, Delete, Merge, Write

Object = dict[str, Any]

logger = logging.getLogger(__name__)

ROUNDS = 8
"""Rounds of writes in one reconcile: the longest chain is Service, certificate, Deployment, entry."""


class Writer:
    """Writes for all registries, of which the rollouts of an upgrade go one at a time."""

    def __init__(self, kube: Kube, world: World, settings: Settings, source_changed: Callable[[str], None]) -> None:
        """`source_changed` is called with the key of a registry whose pull secret was written: nothing watches it."""
        self._kube = kube
        self._world = world
        self._settings = settings
        self._source_changed = source_changed
        self._upgrade = asyncio.Lock()
        self._rewritten: dict[str, tuple[str, str]] = {}
        """By uid of a child: what we applied in vain, and the fingerprint of what became of it."""

    async def write_all(
        self, registry: PrivateRegistry, seen: Observed, facts: Facts
    ) -> tuple[Observed, Plan, tuple[Problem, ...]]:
        """Plan and write until nothing is left to write, or the API server refuses something."""
        planned, refused = plan(registry, seen, facts), list[Problem]()
        for _ in range(ROUNDS):
            if not (writes := [write for write in planned.writes if not self._in_vain(write)]):
                break
            for write in writes:
                try:
                    seen = await self.write(registry, seen, write)
                    _tell_of_certificate(registry, write, facts.confirmation)
                except ConflictError:
                    raise
                except ApiError as error:
                    if not _is_refusal(registry, write, error):
                        raise
                    refused.append(_refusal(registry, write, error))
            planned = plan(registry, seen, facts)
            if refused:
                break
        return seen, planned, tuple(refused)

    async def write(self, registry: PrivateRegistry, seen: Observed, write: Write) -> Observed:
        after = await self._written(registry, seen, write)
        if _object(write)["metadata"]["name"] == names.pull_secret(registry.name):
            self._source_changed(registry.key)
        if _object(write)["metadata"]["namespace"] == self._settings.agents_namespace:
            self._note_published(registry, after)
        return after

    def _note_published(self, registry: PrivateRegistry, seen: Observed) -> None:
        """Others may ask for the same names before a watch tells that nodes have them."""
        self._world.published.pop(registry.key, None)
        entry = seen.get(kinds.CONFIG_MAP, names.entry(registry.namespace, registry.name))
        if entry and key_of_entry(entry):
            self._world.published[registry.key] = names_in(entry)

    async def _written(self, registry: PrivateRegistry, seen: Observed, write: Write) -> Observed:
        match write:
            case Create(obj):
                return seen.with_written(await self._create(registry, obj))
            case Apply(obj, live):
                metrics.WRITES.labels("apply", obj["kind"]).inc()
                rolls = obj["kind"] == kinds.DEPLOYMENT.kind
                after = await (self._roll(registry, obj, live) if rolls else self._kube.apply(obj, live))
                if drifted(obj, after):
                    applied = obj["metadata"]["annotations"][names.APPLIED]
                    self._rewritten[after["metadata"]["uid"]] = (applied, fingerprint(after))
                return seen.with_written(after)
            case Merge(change, live):
                metrics.WRITES.labels("merge", live["kind"]).inc()
                metadata = live["metadata"]
                version = {"resourceVersion": metadata["resourceVersion"]}
                change = {**change, "metadata": {**change.get("metadata", {}), **version}}
                kind = kinds.of(live)
                return seen.with_written(await self._kube.merge(kind, metadata["namespace"], metadata["name"], change))
            case Delete(live):
                metrics.WRITES.labels("delete", live["kind"]).inc()
                await self._kube.delete(live)
                return seen.without(live)

    async def _create(self, registry: PrivateRegistry, obj: Object) -> Object:
        metrics.WRITES.labels("create", obj["kind"]).inc()
        try:
            created = await self._kube.create(obj)
        except ApiError as error:
            lost = obj["kind"] == kinds.SERVICE.kind and obj["spec"].pop("clusterIPs", None)
            if error.status != 422 or not lost:
                raise
            # Somebody took the address while the Service was away. Nodes are told the new one.
            obj["spec"].pop("clusterIP")
            created = await self._kube.create(obj)
            new = created["spec"]["clusterIP"]
            logger.warning("the Service's address was taken", extra={"key": registry.key, "old": lost, "new": new})
            text = (
                f"the Service was deleted and its address {lost[0]} is taken: it is now {new}, and every node is told"
            )
            events.post(events.about(registry), reason="AddressChanged", message=text, warning=True)
        name = names.credentials_secret(registry.name)
        if (created["kind"], created["metadata"]["name"]) == (kinds.SECRET.kind, name):
            text = f"whoever pushes needs the credential in the Secret {name} from now on"
            events.post(events.about(registry), reason="CredentialsCreated", message=text)
        return created

    async def _roll(self, registry: PrivateRegistry, obj: Object, live: Object) -> Object:
        """Change the Deployment; when that rolls pods for an upgrade, only if nobody else's turn came first."""
        async with self._upgrade:
            if obj["metadata"]["annotations"][names.ROLLED_OUT_FOR] == "upgrade":
                # A watch may be behind, and tell of the time before somebody else's turn began.
                listing = await self._kube.list(kinds.DEPLOYMENT, labels=OURS)
                self._world.deployments = deployments_by_registry(listing.items)
                if blocker := tenancy.upgrade_blocker(registry, self._world):
                    raise ConflictError(409, "UpgradeQueued", f"the rollout of {blocker.key} came first")
            after = await self._kube.apply(obj, live)
            self._world.deployments[registry.key] = after
            return after

    def _in_vain(self, write: Write) -> bool:
        """Whether this was applied before, was changed by somebody on its way in, and is still what they made of it."""
        if not isinstance(write, Apply):
            return False
        before = self._rewritten.get(write.live["metadata"]["uid"])
        return before == (write.obj["metadata"]["annotations"][names.APPLIED], fingerprint(write.live))


def _tell_of_certificate(registry: PrivateRegistry, write: Write, confirmation: Confirmation) -> None:
    """An event when a registry gets another certificate, with the nodes that were not waited for."""
    name = names.certificate_secret(registry.name)
    if isinstance(write, Apply) and (write.obj["kind"], write.obj["metadata"]["name"]) == (kinds.SECRET.kind, name):
        text = f"the next pod serves with another certificate, which is in the Secret {name}"
        if passed := confirmation.passed:
            text += f"; {', '.join(passed[:10])} were not ready: their agents hear of it when they are back"
        events.post(events.about(registry), reason="CertificateReplaced", message=text, warning=bool(passed))


def _is_refusal(registry: PrivateRegistry, write: Write, error: ApiError) -> bool:
    """Whether an error is for the registry's owner to read; of others, its namespace's end say, the next look tells."""
    namespace = _object(write)["metadata"]["namespace"]
    if namespace == registry.namespace:
        return error.status in (400, 403, 422) and "is being terminated" not in error.message
    # The agents' namespace may have been deleted, and be on its way back.
    return error.status in (400, 403, 422) or (error.status == 404 and isinstance(write, Create))


def _object(write: Write) -> Object:
    return write.live if isinstance(write, Delete | Merge) else write.obj


def _refusal(registry: PrivateRegistry, write: Write, error: ApiError) -> Problem:
    obj = _object(write)
    what = f"{obj['kind']} {obj['metadata']['name']}"
    if obj["kind"] == kinds.CLAIM.kind:
        reason = Reason.RESIZE_REFUSED if isinstance(write, Apply) else Reason.REFUSED_BY_SERVER
        return Problem(reason, f"the API server refuses the {what}: {error.message}", Concern.STORAGE)
    concern = Concern.REGISTRY if obj["metadata"]["namespace"] == registry.namespace else Concern.NODES
    return Problem(Reason.REFUSED_BY_SERVER, f"the API server refuses the {what}: {error.message}", concern)
