"""What registries owe each other: hosts, claims and turns that only one can have. Pure.

The older object wins, so that nobody loses what he has to a newcomer. Creation is told in seconds: of two made in the
same one, that which has a Deployment already was first; while neither has, their names decide.
"""

from collections.abc import Mapping
from typing import Any

from private_registry.api import names
from private_registry.api.registry import PrivateRegistry
from private_registry.controller.health import diagnosis
from private_registry.controller.health.rollout import has_arrived
from private_registry.controller.registries.plan import Blocker
from private_registry.controller.world import World, is_true

Object = dict[str, Any]


def taken_hosts(registry: PrivateRegistry, world: World) -> Mapping[str, str]:
    """The names in additional hosts of older registries, with the key of the registry that has each.

    Without port: a node that resolves names has one address for each, and the last to come would get it.
    """
    taken: dict[str, str] = {}
    for key in _older(registry, world):
        for host in (_spec(world, key).get("nodeTrust") or {}).get("additionalHosts") or []:
            taken.setdefault(host.partition(":")[0], key)
    return taken


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

    One whose pod has become unavailable since is its own affair: it would hold up every renewal of a certificate.
    """
    for key, deployment in sorted(world.deployments.items()):
        annotations = deployment["metadata"].get("annotations") or {}
        if key != registry.key and annotations.get(names.ROLLED_OUT_FOR) == "upgrade" and not has_arrived(deployment):
            problem = diagnosis.of_deployment(deployment) or diagnosis.of_progress(deployment)
            stalled = is_true(world.registries.get(key, {}), "Stalled")
            return Blocker(key, failing=problem is not None or stalled)
    return None


def _older(registry: PrivateRegistry, world: World) -> list[str]:
    """Keys of the registries that come before this one, the oldest first."""

    def age(key: str, created: str) -> tuple[str, bool, str]:
        return created, key not in world.deployments, key

    ages = {key: age(key, body["metadata"].get("creationTimestamp", "")) for key, body in world.registries.items()}
    own = age(registry.key, registry.created)
    return sorted((key for key in ages if key != registry.key and ages[key] < own), key=ages.__getitem__)


def _spec(world: World, key: str) -> Object:
    return world.registries[key].get("spec") or {}
