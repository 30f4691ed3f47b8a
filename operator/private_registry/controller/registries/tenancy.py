"""What registries owe each other: hosts, claims, turns and room in their namespace, of which each has its own. Pure.

What nodes are told already stays with whoever has it. Else the older object wins, so that nobody loses to a newcomer.
Creation is told in seconds: of two made in the same one, that which has a Deployment already was first; while neither
has, their names decide.
"""

from collections.abc import Mapping
from typing import Any

from private_registry.api import names
from private_registry.api.registry import PrivateRegistry
from private_registry.controller.facts import Blocker
from private_registry.controller.health import diagnosis
from private_registry.controller.health.rollout import has_arrived
from private_registry.controller.world import World, is_true

Object = dict[str, Any]


def taken_hosts(registry: PrivateRegistry, world: World) -> Mapping[str, str]:
    """The names of other registries that this one may not have, each with the key of the registry that has it.

    Without port: a node that resolves names has one address for each, and the last to come would get it. Who has a
    name in his published entry keeps it, or an older registry could ask for the names of all younger ones.
    """
    wanted = [host.partition(":")[0] for host in registry.spec.node_trust.additional_hosts]
    if not wanted:
        return {}
    own = world.published.get(registry.key, frozenset())
    older = _older(registry, world)
    held: dict[str, str] = {}
    asked: dict[str, str] = {}
    for key in [*older, *sorted(world.registries.keys() - {registry.key, *older})]:
        has = world.published.get(key, frozenset())
        asks = _hosts(_spec(world, key))
        for name in wanted:
            if name in has and name not in own:
                held.setdefault(name, key)
            elif (name in has) == (name in own) and name in asks and key in older:
                asked.setdefault(name, key)
    return {**asked, **held}


def is_one_too_many(registry: PrivateRegistry, world: World, most: int) -> bool:
    """Whether a namespace has so many registries that are older; one that nodes were told of has its place for good."""
    if registry.was_published or registry.key in world.published:
        return False
    beside = f"{registry.namespace}/"
    return sum(key.startswith(beside) for key in _older(registry, world)) >= most


def claim_user(registry: PrivateRegistry, world: World) -> str:
    """Key of an older registry of the namespace with this one's claim; empty when there is none."""
    for key in _older(registry, world):
        metadata = world.registries[key]["metadata"]
        claim = (_spec(world, key).get("storage") or {}).get("claimName") or names.claim(metadata["name"])
        if metadata["namespace"] == registry.namespace and claim == registry.claim_name:
            return key
    return ""


def upgrade_blocker(registry: PrivateRegistry, world: World) -> Blocker | None:
    """Another registry that an upgrade of the operator is rolling, or has failed to roll.

    What only looks like the Deployment of one holds up nobody. One whose pod has become unavailable since is its own
    affair: it would hold up every renewal of a certificate.
    """
    for key, deployment in sorted(world.deployments.items()):
        annotations = deployment["metadata"].get("annotations") or {}
        if key == registry.key or not is_of_registry(deployment, key, world):
            continue
        if annotations.get(names.ROLLED_OUT_FOR) == "upgrade" and not has_arrived(deployment):
            problem = diagnosis.of_deployment(deployment) or diagnosis.of_progress(deployment)
            stalled = is_true(world.registries.get(key, {}), "Stalled")
            return Blocker(key, failing=problem is not None or stalled)
    return None


def is_of_registry(deployment: Object, key: str, world: World) -> bool:
    """Whether this is the Deployment that was made for the registry of this key, and not one with its labels alone."""
    metadata, owner = deployment["metadata"], world.registries.get(key)
    labels = metadata.get("labels") or {}
    return owner is not None and (metadata["name"], labels.get(names.REGISTRY_UID)) == (
        owner["metadata"]["name"],
        owner["metadata"]["uid"],
    )


def _hosts(spec: Object) -> frozenset[str]:
    """Names in additional hosts, without port."""
    hosts = (spec.get("nodeTrust") or {}).get("additionalHosts") or []
    return frozenset(host.partition(":")[0] for host in hosts)


def _older(registry: PrivateRegistry, world: World) -> list[str]:
    """Keys of the registries that come before this one, the oldest first."""

    def age(key: str, created: str) -> tuple[str, bool, str]:
        return created, key not in world.deployments, key

    ages = {key: age(key, body["metadata"].get("creationTimestamp", "")) for key, body in world.registries.items()}
    own = age(registry.key, registry.created)
    return sorted((key for key in ages if key != registry.key and ages[key] < own), key=ages.__getitem__)


def _spec(world: World, key: str) -> Object:
    return world.registries[key].get("spec") or {}
