"""What registries owe each other: hosts, claims and turns that only one can have. Pure.

The older object wins, by creation and then by name, so that nobody loses what he has to a newcomer.
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
    """The additional hosts of older registries, with the key of the registry that has each."""
    taken: dict[str, str] = {}
    for key, body in sorted(world.registries.items(), key=lambda item: _age(item[1])):
        if key != registry.key and _age(body) < (registry.created, registry.key):
            for host in ((body.get("spec") or {}).get("nodeTrust") or {}).get("additionalHosts") or []:
                taken.setdefault(host, key)
    return taken


def claim_user(registry: PrivateRegistry, world: World) -> str:
    """Key of an older registry of the namespace with this one's claim; empty when there is none."""
    for key, body in sorted(world.registries.items(), key=lambda item: _age(item[1])):
        if body["metadata"]["namespace"] != registry.namespace or key == registry.key:
            continue
        storage = (body.get("spec") or {}).get("storage") or {}
        claim = storage.get("claimName") or names.claim(body["metadata"]["name"])
        if claim == registry.claim_name and _age(body) < (registry.created, registry.key):
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


def _age(body: Object) -> tuple[str, str]:
    metadata = body["metadata"]
    return metadata.get("creationTimestamp", ""), names.key(metadata["namespace"], metadata["name"])
