"""Whose the objects with a registry's names are. Pure."""

from private_registry.api import names
from private_registry.api.conditions import Reason
from private_registry.api.registry import PrivateRegistry
from private_registry.controller.health.problem import Concern, Problem
from private_registry.controller.registries.drift import is_left_behind, is_ours
from private_registry.controller.registries.observe import CREDENTIALS, Observed
from private_registry.kube import kinds


def names_taken(registry: PrivateRegistry, seen: Observed) -> tuple[Problem, ...]:
    """Objects that have a name of ours and are not ours: they stay as they are, and nothing is built around them."""
    name = registry.name
    wanted = [
        (kinds.SERVICE, name),
        (kinds.DEPLOYMENT, name),
        (kinds.SECRET, names.configuration(name)),
    ]
    inherited = {names.claim(name), names.entry(registry.namespace, name)}
    if registry.certificate_secret:
        wanted += [(kinds.SECRET, registry.certificate_secret), (kinds.CONFIG_MAP, names.ca_config_map(name))]
    if registry.authenticates:
        wanted += [(kinds.SECRET, secret(name)) for secret in CREDENTIALS]
    if registry.has_pull_user:
        wanted.append((kinds.SECRET, names.pull_secret(name)))
    if registry.spec.storage.claim_name is None:
        wanted.append((kinds.CLAIM, registry.claim_name))
    if registry.spec.node_trust.enabled:
        wanted.append((kinds.CONFIG_MAP, names.entry(registry.namespace, name)))
    problems = []
    for kind, child in wanted:
        live = seen.get(kind, child)
        if live is None or is_ours(live, registry.uid) or (child in inherited and is_left_behind(live, name)):
            continue
        if kind is kinds.CLAIM and live["metadata"].get("deletionTimestamp"):
            continue  # it is waited for
        problems.append(
            Problem(
                Reason.NAME_TAKEN,
                f"there is a {kind.kind} {child} in namespace {live['metadata']['namespace']} that is not this "
                "registry's; rename or delete it, or give the PrivateRegistry another name",
                Concern.STORAGE if kind is kinds.CLAIM else Concern.REGISTRY,
            )
        )
    return tuple(problems)
