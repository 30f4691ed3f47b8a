"""The fleet loop: what belongs to no single registry. It is the only writer of the CA, of NodeTrust objects (not of
their status) and of the marker without which agents undo nothing; and it takes startup taints from nodes.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from private_registry.api import names
from private_registry.controller import metrics
from private_registry.controller.engine import Next
from private_registry.controller.fleet import taints
from private_registry.controller.fleet.authorities import Authorities
from private_registry.controller.fleet.succession import Succession
from private_registry.controller.fleet.turns import turns
from private_registry.controller.registries.certificate import Chance
from private_registry.controller.settings import Settings
from private_registry.controller.world import World, is_linux, list_entries
from private_registry.kube import kinds
from private_registry.kube.client import Kube

Object = dict[str, Any]

logger = logging.getLogger(__name__)

KEY: Final = "fleet"
BUSY: Final = 5.0
"""Seconds until a rotation of the CA is looked at again: no watch tells when time or somebody's pods let it go on."""


class Fleet:
    """Reconciles the one key KEY."""

    def __init__(
        self, kube: Kube, world: World, settings: Settings, chance: Chance, changed: Callable[[], None] = lambda: None
    ) -> None:
        """`changed` is called when registries have another CA to go by."""
        self._kube = kube
        self._world = world
        self._settings = settings
        self._changed = changed
        self._succession = Succession(kube, settings, chance)

    @property
    def authorities(self) -> Authorities | None:
        """The cluster's CA, once it has been made or read, with the one before or after it during a rotation."""
        return self._succession.authorities

    async def prepare(self) -> None:
        """Read the CA, or make it: nothing else can begin without it."""
        await self._succession.look()

    async def reconcile(self, _: str) -> Next:
        world = self._world
        watched: list[dict[str, Any]] = [
            world.nodes,
            world.node_trusts,
            world.registries,
            world.deployments,
            world.published,
        ]
        known = [set(each) for each in watched]
        nodes = {obj["metadata"]["name"]: obj for obj in (await self._kube.list(kinds.NODE)).items}
        node_trusts = {obj["metadata"]["name"]: obj for obj in (await self._kube.list(kinds.NODE_TRUST)).items}
        # Before the registries: one that came and was published in between is not missed then.
        entries = await list_entries(self._kube, self._settings.agents_namespace)
        listing = (await self._kube.list(kinds.PRIVATE_REGISTRY)).items
        registries = {names.key(obj["metadata"]["namespace"], obj["metadata"]["name"]): obj for obj in listing}
        # A watch that had to begin anew tells nothing of what went meanwhile.
        found = (nodes, node_trusts, registries, registries, entries)
        for objects, before, live in zip(watched, known, found, strict=True):
            for key in before - live.keys():
                objects.pop(key, None)
        selectors = selected_labels(registries.values())
        given = turns(node_trusts, nodes)
        for name in sorted(nodes, key=lambda name: bool(given.get(name))):  # one turn ends before the next begins
            if is_linux(nodes[name]):
                await self._node_trust(nodes[name], node_trusts.get(name), selectors, given.get(name, ""))
        fresh = replace(self._world, registries=registries, nodes=nodes, node_trusts=node_trusts)
        if await self._complete(entries, registries) and self._settings.startup_taint:
            await self._let_start(fresh, entries, self._settings.startup_taint)
        known_before = self.authorities
        after = await self._succession.step(fresh, entries)
        if after != known_before:
            self._changed()
        return Next(after=BUSY if after.upcoming or after.previous else math.inf)

    async def _let_start(self, world: World, entries: Mapping[str, Object], key: str) -> None:
        """Take the startup taint of this key from nodes that have nothing more to wait for."""
        starting = {name: node for name, node in world.nodes.items() if taints.is_starting(node, key)}
        held = taints.held_up(replace(world, nodes=starting), entries, datetime.now(UTC))
        for name in sorted(starting.keys() - held):
            node = starting[name]
            metrics.WRITES.labels("merge", "Node").inc()
            # A list is replaced whole: only if nobody has written to the node since, or another taint would be lost.
            about = {"resourceVersion": node["metadata"]["resourceVersion"]}
            spec = {"taints": taints.without(node, key) or None}
            await self._kube.merge(kinds.NODE, None, name, {"metadata": about, "spec": spec})
            logger.info("a node may start: its startup taint is gone", extra={"node": name})

    async def _node_trust(self, node: Object, live: Object | None, selectors: frozenset[str], turn: str) -> None:
        desired = node_trust(node, selectors, turn)
        if live is None:
            await self._create(desired)
        elif {"nodeLabels": {}, **(live.get("spec") or {})} != desired["spec"]:
            if turn and turn != (live.get("spec") or {}).get("restartTurn"):
                logger.info("a node may restart its containerd now", extra={"node": node["metadata"]["name"]})
            metrics.WRITES.labels("merge", "NodeTrust").inc()
            # A merge would keep the labels that have left the node.
            await self._kube.replace({**live, "spec": desired["spec"]})

    async def _complete(self, entries: Mapping[str, Object], registries: Mapping[str, Object]) -> bool:
        """Entries of registries that are gone go; the marker comes when every entry that nodes know is back.

        False while one is not.
        """
        namespace = self._settings.agents_namespace
        for key, entry in entries.items():
            if key not in registries:
                logger.warning("an entry without registry goes", extra={"entry": entry["metadata"]["name"]})
                metrics.WRITES.labels("delete", "ConfigMap").inc()
                await self._kube.delete(entry)
        missing = [key for key, obj in registries.items() if _was_published(obj) and key not in entries]
        if missing:
            logger.info("entries to be published again before agents may undo anything", extra={"registries": missing})
            return False
        if await self._kube.get(kinds.CONFIG_MAP, namespace, names.COMPLETE) is None:
            await self._create(
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": names.COMPLETE, "namespace": namespace, "labels": dict(names.OPERATOR_LABELS)},
                }
            )
        return True

    async def _create(self, obj: Object) -> Object:
        metrics.WRITES.labels("create", obj["kind"]).inc()
        return await self._kube.create(obj)


def selected_labels(registries: Iterable[Object]) -> frozenset[str]:
    """Keys of the node labels that matter to agents: those that some registry selects by, and their own."""
    return frozenset(
        key for obj in registries for key in ((obj.get("spec") or {}).get("nodeTrust") or {}).get("nodeSelector") or {}
    ) | {names.RUNTIME_CONFIG}


def node_trust(node: Object, selectors: frozenset[str], turn: str = "") -> Object:
    """The NodeTrust of a node: it goes with the node, and tells its agent the labels that matter and its turn."""
    metadata = node["metadata"]
    labels = metadata.get("labels") or {}
    owner = {"apiVersion": "v1", "kind": "Node", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": names.API_VERSION,
        "kind": kinds.NODE_TRUST.kind,
        "metadata": {"name": metadata["name"], "labels": dict(names.OPERATOR_LABELS), "ownerReferences": [owner]},
        "spec": {
            "nodeLabels": {key: labels[key] for key in sorted(selectors) if key in labels},
            **({"restartTurn": turn} if turn else {}),
        },
    }


def _was_published(registry: Object) -> bool:
    """Whether nodes have an entry of this registry that is to stay."""
    spec, status = registry.get("spec") or {}, registry.get("status") or {}
    return bool(
        status.get("entryHash")
        and (spec.get("nodeTrust") or {}).get("enabled", True)
        and not registry["metadata"].get("deletionTimestamp")
    )
