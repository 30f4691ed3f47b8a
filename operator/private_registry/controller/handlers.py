"""kopf's part: it logs in and watches; a handler remembers what it saw and wakes whom it concerns, nothing else.

Every watch is filtered by the API server, so that a cluster's other Deployments and Pods never reach this process.
"""

from collections.abc import Callable, Mapping
from typing import Any

import kopf

from private_registry.api import names
from private_registry.api.conditions import Type
from private_registry.controller import events
from private_registry.controller.copies import shares
from private_registry.controller.engine import Engine
from private_registry.controller.fleet import loop as fleet
from private_registry.controller.fleet.taints import is_starting
from private_registry.controller.health.rollout import has_arrived
from private_registry.controller.registries.tenancy import is_of_registry
from private_registry.controller.settings import Settings
from private_registry.controller.world import OURS, World, is_true, key_of_entry, names_in, registry_key
from private_registry.kube import kinds
from private_registry.kube.kinds import Kind
from private_registry.kube.login import Credentials

Object = dict[str, Any]

GONE = "DELETED"
"""The type of the event of an object that is no more; every other type tells what the object is now."""

_CHILDREN = (kinds.SERVICE, kinds.CONFIG_MAP, kinds.CLAIM)
_FILTERED = (*_CHILDREN, kinds.DEPLOYMENT, kinds.POD)


class Watches:
    """The handlers of one operator."""

    def __init__(
        self,
        world: World,
        registries: Engine,
        fleet_engine: Engine,
        copies: Engine,
        retention: Engine,
        settings: Settings,
    ) -> None:
        self._world = world
        self._registries = registries
        self._fleet = fleet_engine
        self._copies = copies
        self._retention = retention
        self._startup_taint = settings.startup_taint
        self._agents_namespace = settings.agents_namespace
        self._claimed: dict[str, frozenset[str]] = {}
        """What only one registry can have and a registry asks for, by its key."""
        self._claimants: dict[str, set[str]] = {}
        """The other way round."""

    def registry(self, body: Object, change: str | None) -> None:
        key = _key(body)
        before = self._world.registries.get(key)
        if change == GONE:
            self._world.registries.pop(key, None)
        else:
            self._world.registries[key] = body
        self._registries.wake(key)
        if shares.concerns(body):
            self._copies.wake(key)
        if any("retention" in (body.get(part) or {}) for part in ("spec", "status")):
            self._retention.wake(key)
        if change == GONE or before is None or _selects(before) != _selects(body):
            self._fleet.wake(fleet.KEY)
        elif is_true(before, Type.AVAILABLE) != is_true(body, Type.AVAILABLE):
            self._wake_for_starting()
        self._note_claims(key, frozenset() if change == GONE else _claims(body))

    def _note_claims(self, key: str, claims: frozenset[str]) -> None:
        """Remember what a registry asks for; others that ask for it may have it now, or no longer."""
        before = self._claimed.get(key, frozenset())
        for claim in before - claims:
            self._claimants[claim].discard(key)
            self._wake_for(claim)
        for claim in claims - before:
            self._wake_for(claim)
            self._claimants.setdefault(claim, set()).add(key)
        self._claimed[key] = claims

    def _wake_for(self, claim: str) -> None:
        self._registries.wake_all(self._claimants.get(claim, ()))

    def child(self, body: Object, change: str | None) -> None:
        if body["metadata"]["namespace"] == self._agents_namespace:
            self._in_agents_namespace(body, change)
        elif key := registry_key(body):
            self._registries.wake(key)

    def _in_agents_namespace(self, body: Object, change: str | None) -> None:
        """An entry or the marker; what anyone else may write into other namespaces is neither."""
        if body["metadata"]["name"] == names.COMPLETE:
            self._world.complete = change != GONE
            self._fleet.wake(fleet.KEY)
        elif key := key_of_entry(body):
            before = self._world.published.pop(key, frozenset())
            if change != GONE:
                self._world.published[key] = names_in(body)
            for name in before - self._world.published.get(key, frozenset()):
                self._wake_for(name)
            self._registries.wake(key)
            if body["kind"] == kinds.CONFIG_MAP.kind and shares.concerns(self._world.registries.get(key, {})):
                self._copies.wake(key)
            if not self._world.complete:
                self._fleet.wake(fleet.KEY)
            self._wake_for_starting()

    def deployment(self, body: Object, change: str | None) -> None:
        key = registry_key(body)
        if key is None:
            return
        before = self._world.deployments.pop(key, None)
        if change != GONE:
            self._world.deployments[key] = body
        self._registries.wake(key)
        if _turn(before) != _turn(None if change == GONE else body) and is_of_registry(body, key, self._world):
            self._registries.wake_all(self._world.keys())

    def pod(self, body: Object, change: str | None) -> None:
        metadata = body["metadata"]
        is_agent = (metadata.get("labels") or {}).get(names.COMPONENT) in names.AGENTS
        if not is_agent or metadata["namespace"] != self._agents_namespace:
            if key := registry_key(body):
                self._registries.wake(key)
            return
        before = self._world.agent_ready()
        if change == GONE:
            self._world.agent_pods.pop(_key(body), None)
        else:
            self._world.agent_pods[_key(body)] = body
        if self._world.agent_ready() != before:
            self._registries.wake_all(self._world.keys())
            self._wake_for_starting()

    def namespace(self, body: Object, change: str | None) -> None:
        name = body["metadata"]["name"]
        before = self._world.namespaces.get(name)
        if change == GONE:
            self._world.namespaces.pop(name, None)
        else:
            self._world.namespaces[name] = body
        if change == GONE or before is None or _is_for(before) != _is_for(body):
            self._copies.wake_all(key for key, each in self._world.registries.items() if shares.concerns(each))

    def node(self, body: Object, change: str | None) -> None:
        name = body["metadata"]["name"]
        before = self._world.nodes.get(name)
        if change == GONE:
            self._world.nodes.pop(name, None)
        else:
            self._world.nodes[name] = body
        if change == GONE or before is None or _counts(before) != _counts(body):
            self._fleet.wake(fleet.KEY)
            self._registries.wake_all(self._world.keys())
        elif self._is_starting(body) and not self._is_starting(before):
            self._fleet.wake(fleet.KEY)

    def node_trust(self, body: Object, change: str | None) -> None:
        name = body["metadata"]["name"]
        before = _rows(self._world.node_trusts.get(name))
        opt_in = _opt_in(self._world.node_trusts.get(name))
        if change == GONE:
            self._world.node_trusts.pop(name, None)
            self._fleet.wake(fleet.KEY)
        else:
            self._world.node_trusts[name] = body
            if _opt_in(body) != opt_in:
                self._fleet.wake(fleet.KEY)
        after = {} if change == GONE else _rows(body)
        if before != after and self._is_starting(self._world.nodes.get(name)):
            self._fleet.wake(fleet.KEY)
        self._registries.wake_all(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))

    def _is_starting(self, node: Object | None) -> bool:
        return node is not None and is_starting(node, self._startup_taint)

    def _wake_for_starting(self) -> None:
        """Have the fleet loop look again at nodes that have a startup taint."""
        if self._startup_taint and any(map(self._is_starting, self._world.nodes.values())):
            self._fleet.wake(fleet.KEY)


def _key(body: Object) -> str:
    return names.key(body["metadata"]["namespace"], body["metadata"]["name"])


def _selects(registry: Object) -> object:
    """What of a registry concerns the fleet."""
    trust = (registry.get("spec") or {}).get("nodeTrust") or {}
    return trust.get("nodeSelector"), bool(registry["metadata"].get("deletionTimestamp"))


def _opt_in(node_trust: Object | None) -> object:
    """What a node says of its opt-in, by which turns are given."""
    return ((node_trust or {}).get("status") or {}).get("runtimeConfig")


def _claims(registry: Object) -> frozenset[str]:
    """What of a registry only one can have: names of hosts, without port, and a claim of its namespace."""
    spec = registry.get("spec") or {}
    claim = (spec.get("storage") or {}).get("claimName")
    hosts = (spec.get("nodeTrust") or {}).get("additionalHosts") or []
    claims = [f"claim {registry['metadata']['namespace']}/{claim}"] if claim else []
    return frozenset([*(host.partition(":")[0] for host in hosts), *claims])


def _is_for(namespace: Object) -> object:
    """What of a namespace decides what it gets."""
    return namespace["metadata"].get("labels"), bool(namespace["metadata"].get("deletionTimestamp"))


def _counts(node: Object) -> object:
    """What of a node decides whether it is desired."""
    return node["metadata"].get("labels"), is_true(node, "Ready")


def _turn(deployment: Object | None) -> object:
    """What of a registry's Deployment others wait for while the operator's upgrade is rolled through them."""
    annotations = (deployment or {}).get("metadata", {}).get("annotations") or {}
    if deployment is None or annotations.get(names.ROLLED_OUT_FOR) != "upgrade":
        return None
    conditions = (deployment.get("status") or {}).get("conditions") or []
    return has_arrived(deployment), [(each["type"], each["status"], each.get("reason")) for each in conditions]


def _rows(node_trust: Object | None) -> Mapping[str, object]:
    rows = ((node_trust or {}).get("status") or {}).get("registries") or []
    return {row["registry"]: row for row in rows}


def register(watches: Watches, credentials: Credentials) -> kopf.OperatorRegistry:
    """Kopf's registry of handlers."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(
            server=credentials.server,
            ca_path=credentials.ca_path,
            token=credentials.token(),
            certificate_path=credentials.certificate_path,
            private_key_path=credentials.key_path,
            insecure=not credentials.verify,
        )

    def watch(kind: Kind, handle: Callable[[Object, str | None], None]) -> None:
        async def on_event(event: kopf.RawEvent, **_: Any) -> None:
            events.heard()
            handle(dict(event["object"]), event["type"])

        kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=f"watch-{kind.plural}")(on_event)

    watch(kinds.PRIVATE_REGISTRY, watches.registry)
    watch(kinds.NAMESPACE, watches.namespace)
    watch(kinds.NODE, watches.node)
    watch(kinds.NODE_TRUST, watches.node_trust)
    watch(kinds.DEPLOYMENT, watches.deployment)
    watch(kinds.POD, watches.pod)
    for kind in _CHILDREN:
        watch(kind, watches.child)
    return registry


def settings() -> kopf.OperatorSettings:
    """Kopf's settings: no discovery of namespaces and CRDs, filtered watches, our name on events."""
    chosen = kopf.OperatorSettings()
    chosen.scanning.disabled = True
    chosen.posting.reporting_component = names.MANAGER
    chosen.posting.reporting_instance = names.MANAGER
    # An event is a courtesy, and a namespace that is being deleted takes none.
    chosen.posting.default_backoffs = (2.0,)
    chosen.networking.connect_timeout = 10
    for kind in _FILTERED:
        chosen.watching.label_selectors[kind.group, kind.version, kind.plural] = OURS
    return chosen
