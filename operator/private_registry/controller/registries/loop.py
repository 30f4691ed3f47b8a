"""The registry loop: observe, plan, write, ask the registry, summarise; and deletion, as a branch of the same."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from private_registry.api import names
from private_registry.api.conditions import Reason
from private_registry.api.registry import PrivateRegistry, RegistryStatus, SpecInvalidError, parse
from private_registry.controller import events, metrics
from private_registry.controller.data import collection
from private_registry.controller.data.usage import Usage, published
from private_registry.controller.data.volumes import Volumes
from private_registry.controller.engine import Next
from private_registry.controller.facts import Facts
from private_registry.controller.fleet.authorities import Authorities
from private_registry.controller.health import confirmation, probe, rollout, summary, versions
from private_registry.controller.health.nodes import judge, lagging, listing
from private_registry.controller.health.problem import Concern, Problem
from private_registry.controller.health.summary import Findings
from private_registry.controller.registries import tenancy
from private_registry.controller.registries.certificate import Chance
from private_registry.controller.registries.drift import is_left_behind
from private_registry.controller.registries.observe import Observed, observe
from private_registry.controller.registries.plan import Plan, plan_deletion
from private_registry.controller.registries.writing import Writer
from private_registry.controller.settings import Settings
from private_registry.controller.world import World, is_true
from private_registry.data import space
from private_registry.distribution import RegistryError
from private_registry.kube import kinds
from private_registry.kube.client import Kube
from private_registry.kube.kinds import PRIVATE_REGISTRY
from private_registry.kube.writes import Delete
from private_registry.trust import publish

Object = dict[str, Any]

logger = logging.getLogger(__name__)

SOON = 0.5
"""Seconds until a registry whose pod is ready and that does not answer is asked again: kube-proxy needs a moment."""
BUSY = 5.0
"""Seconds until a rollout is looked at again for what no watch tells: that time passes."""
AGAIN = 10.0
"""Seconds until a registry with a problem is looked at again: no watch tells of most cures (a Secret that is there now,
a foreign object that is not, a quota that was raised)."""
GATHER = 5.0
"""Seconds that a change of status nobody waits for may wait for the next one."""
LOST_NODE = 60.0
"""Seconds that a node that is gone or not ready may hold up a deletion."""


class RegistryLoop:
    """Reconciles one PrivateRegistry at a time, by key."""

    def __init__(
        self,
        kube: Kube,
        world: World,
        settings: Settings,
        chance: Chance,
        authorities: Callable[[], Authorities | None],
        source_changed: Callable[[str], None],
        usage: Usage,
    ) -> None:
        """`source_changed` is called with the key of a registry whose pull secret was written: nothing watches it."""
        self._kube = kube
        self._world = world
        self._settings = settings
        self._chance = chance
        self._authorities = authorities
        self._writer = Writer(kube, world, settings, source_changed)
        self._volumes = Volumes()
        self._usage = usage
        self._properties: dict[str, tuple[frozenset[str], tuple[Problem, ...]]] = {}
        """By uid of a registry: the pods that were asked what they can do, and what is wrong with them."""
        self._unsaid: dict[str, datetime] = {}
        """By uid of a registry: since when a change of status waits for the next one."""

    async def reconcile(self, key: str) -> Next:
        namespace, _, name = key.partition("/")
        body = await self._kube.get(PRIVATE_REGISTRY, namespace, name)
        if body is None:
            self._forget(key)
            return Next(done=True)
        try:
            registry = parse(body)
        except SpecInvalidError as error:
            registry = parse({**body, "spec": {}})
            if registry.deleting:
                return await self._delete(registry, body)
            await self._say(registry, body, summary.refused(registry, Reason.SPEC_INVALID, str(error), _now()))
            return Next()
        if registry.deleting:
            return await self._delete(registry, body)
        most = self._settings.registries_per_namespace
        if tenancy.is_one_too_many(registry, self._world, most):
            text = (
                f"the namespace {registry.namespace} has {most} older registries, and may have no more: delete one, "
                "or have the administrator raise --registries-per-namespace; it is looked at again within a minute"
            )
            await self._say(registry, body, summary.refused(registry, Reason.TOO_MANY_REGISTRIES, text, _now()))
            return Next()
        if names.FINALIZER not in registry.finalizers:
            body = await self._set_finalizers(body, [*registry.finalizers, names.FINALIZER])
        return await self._converge(registry, body)

    async def _converge(self, registry: PrivateRegistry, body: Object) -> Next:
        seen = await observe(self._kube, registry, self._settings.agents_namespace)
        known = summary.published_hash(registry, seen)
        followed = "" if lagging(registry.key, known, self._world) else known
        entry = seen.get(kinds.CONFIG_MAP, names.entry(registry.namespace, registry.name))
        confirmed = confirmation.of(registry.key, entry, self._world, _now())
        room = await self._volumes.ask(registry, seen.pods)
        storage = space.told(room, registry.status.storage, registry.spec.storage.reserve)
        facts = replace(
            self._facts(registry), followed=followed, confirmation=confirmed, read_only=space.causes(storage)
        )
        seen, planned, refused = await self._writer.write_all(registry, seen, facts)
        if (job := planned.run.untold) is not None:
            in_use = await self._usage.of(registry, seen.get(kinds.SERVICE, registry.name), published(entry))
            seen = await self._writer.write(registry, seen, collection.told(registry, seen, job, in_use))
            seen, planned, refused = await self._writer.write_all(registry, seen, facts)
        served = await probe.serves(registry, seen, planned)
        facts = replace(facts, serves=served.as_planned, accepted=await self._accepted(registry, seen, planned))
        if facts.serves or facts.accepted:
            seen, planned, more = await self._writer.write_all(registry, seen, facts)
            refused = (*refused, *(problem for problem in more if problem not in refused))
        properties = await self._asked(registry, seen, planned) if served.as_planned else ()
        of_copies = [
            Problem(Reason(each.reason), each.message, Concern.COPIES)
            for each in registry.status.copies.problems
            if each.reason in set(Reason)
        ]
        problems = (*refused, *planned.problems, *properties, *of_copies)
        entry_hash = summary.published_hash(registry, seen)
        selector = registry.spec.node_trust.node_selector
        nodes = judge(
            registry.key, entry_hash, selector, self._world, _now(), as_good=_as_good(registry, seen, planned)
        )
        outdated = versions.outdated(rollout.images(seen.pods), self._world.runtimes(nodes.names))
        found = Findings(seen, planned, problems, served.answer, nodes, outdated, storage)
        unsaid = await self._say(registry, body, summary.summarise(registry, found, _now()))
        waits = [self._volumes.next_look(registry, room)]
        if problems:
            waits.append(AGAIN)
        if unsaid:
            waits.append(GATHER)
        waits += [each for each in (nodes.next_look, confirmed.next_look) if each is not None]
        if planned.run.next_look is not None:
            waits.append(max(SOON, planned.run.next_look))
        if planned.serving and planned.serving.renewal:
            waits.append(max(SOON, (planned.serving.renewal - _now()).total_seconds()))
        if planned.users and planned.users.expires:
            waits.append(max(SOON, (planned.users.expires - _now()).total_seconds()))
        if planned.rollout.state != "complete" or planned.queued_behind or (planned.users and planned.users.awaited):
            waits.append(BUSY)
        elif not served.as_planned:
            waits.append(SOON if not problems else BUSY)
        return Next(after=min(waits, default=math.inf))

    async def _accepted(self, registry: PrivateRegistry, seen: Observed, planned: Plan) -> frozenset[str]:
        """User names of the credentials that others are to be told of, once every pod knows them."""
        if not planned.users or not planned.users.awaited or planned.rollout.state != "complete":
            return frozenset()
        return await probe.accepted(registry, seen, planned)

    def _facts(self, registry: PrivateRegistry) -> Facts:
        authorities = self._authorities()
        return Facts(
            settings=self._settings,
            now=_now(),
            chance=self._chance,
            authority=authorities.current if authorities else None,
            ca_bundle=authorities.bundle if authorities else "",
            succession=bool(authorities and authorities.upcoming),
            taken_hosts=tenancy.taken_hosts(registry, self._world),
            claim_user=tenancy.claim_user(registry, self._world),
            upgrade_blocker=tenancy.upgrade_blocker(registry, self._world),
        )

    async def _asked(self, registry: PrivateRegistry, seen: Observed, planned: Plan) -> tuple[Problem, ...]:
        """What the pods that serve now can do, asked once for each set of them."""
        pods = frozenset(pod["metadata"]["uid"] for pod in rollout.registry_pods(seen.pods) if rollout.is_ready(pod))
        before = self._properties.get(registry.uid)
        if before and before[0] == pods:
            return before[1]
        if planned.rollout.state != "complete" or planned.read_only:
            return before[1] if before else ()
        try:
            problems = await probe.properties(registry, seen, planned)
        except RegistryError as error:
            logger.info("cannot ask the registry what it can do", extra={"key": registry.key, "error": str(error)})
            return before[1] if before else ()
        self._properties[registry.uid] = (pods, problems)
        return problems

    async def _say(self, registry: PrivateRegistry, body: Object, status: RegistryStatus) -> bool:
        """Write the status if it says something new. True when a change was put off to be joined by the next one."""
        if status == registry.status:
            self._unsaid.pop(registry.uid, None)
            return False
        since = self._unsaid.setdefault(registry.uid, _now())
        if not summary.is_urgent(status, registry.status) and (_now() - since).total_seconds() < GATHER:
            return True
        del self._unsaid[registry.uid]
        metrics.WRITES.labels("status", "PrivateRegistry").inc()
        said = {"status": status.model_dump(mode="json", by_alias=True, exclude={"copies", "retention"})}
        version = {"metadata": {"resourceVersion": body["metadata"]["resourceVersion"]}}
        await self._kube.merge(
            PRIVATE_REGISTRY, registry.namespace, registry.name, {**said, **version}, subresource="status"
        )
        events.post_transitions(body, registry.status, status)
        return False

    def _forget(self, key: str) -> None:
        self._world.registries.pop(key, None)
        self._volumes.forget(key)

    async def _set_finalizers(self, body: Object, finalizers: Sequence[str]) -> Object:
        metadata = body["metadata"]
        metrics.WRITES.labels("finalizers", "PrivateRegistry").inc()
        change = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": list(finalizers)}}
        return await self._kube.merge(PRIVATE_REGISTRY, metadata["namespace"], metadata["name"], change)

    async def _delete(self, registry: PrivateRegistry, body: Object) -> Next:
        """Entry first; when no node lists the registry any more, its children; then the finalizer."""
        if names.FINALIZER not in registry.finalizers:
            return Next(done=True)
        seen = await observe(self._kube, registry, self._settings.agents_namespace)
        entry_name = names.entry(registry.namespace, registry.name)
        if (entry := seen.get(kinds.CONFIG_MAP, entry_name)) is not None and is_left_behind(entry, registry.name):
            await self._writer.write(registry, seen, Delete(entry))
            seen = seen.without(entry)
        # Both lists are fresh: what a watch has missed must not cost a node its undoing.
        node_trusts = await self._kube.list(kinds.NODE_TRUST)
        nodes = {node["metadata"]["name"]: node for node in (await self._kube.list(kinds.NODE)).items}
        trusting = listing(registry.key, node_trusts.items)
        ready = [node for node in trusting if node in nodes and is_true(nodes[node], "Ready")]
        lost = [node for node in trusting if node not in ready]
        waited = (_now() - datetime.fromisoformat(body["metadata"]["deletionTimestamp"])).total_seconds()
        if ready or (lost and waited < LOST_NODE):
            waiting_for = f"nodes undo their trust: {', '.join([*ready, *lost][:10])}"
            if lost:
                waiting_for += f" ({', '.join(lost[:10])} not ready: at most {LOST_NODE:.0f} s)"
            unsaid = await self._say(registry, body, summary.deleting(registry, waiting_for, _now()))
            return Next(after=min(GATHER if unsaid else BUSY, max(LOST_NODE - waited, SOON) if lost else BUSY))
        if lost:
            text = f"not undone on {', '.join(lost[:10])}, which are gone or not ready: their agents do it on return"
            events.post(body, reason="NodesLeftBehind", message=text, warning=True)
        if elsewhere := registry.status.copies.namespaces:
            obstacles = [each.message for each in registry.status.copies.problems]
            waiting_for = "; ".join([f"its copies go from the namespaces {', '.join(elsewhere[:10])}", *obstacles])
            unsaid = await self._say(registry, body, summary.deleting(registry, waiting_for, _now()))
            return Next(after=GATHER if unsaid else BUSY)
        for write in plan_deletion(registry, seen):
            seen = await self._writer.write(registry, seen, write)
        remaining = [each for each in registry.finalizers if each != names.FINALIZER]
        await self._set_finalizers(body, remaining)
        self._forget(registry.key)
        for memory in (self._properties, self._unsaid):
            memory.pop(registry.uid, None)
        return Next(done=True)


def _as_good(registry: PrivateRegistry, seen: Observed, planned: Plan) -> str:
    """Hash of an earlier entry by which nodes believe what is served."""
    published = seen.get(kinds.CONFIG_MAP, names.entry(registry.namespace, registry.name))
    return publish.as_good(published, planned.serving.fingerprint) if planned.serving else ""


def _now() -> datetime:
    return datetime.now(UTC)
