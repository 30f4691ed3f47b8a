"""Plans for a registry in a small cluster, as tests ask for them."""

from typing import Any

from private_registry.controller.facts import Facts
from private_registry.controller.registries.plan import Plan, plan
from private_registry.kube.writes import Create
from tests.unit.controller.builders import (
    a_registry,
    facts,
)
from tests.unit.controller.small_cluster import SmallCluster, key_of

Object = dict[str, Any]


def converged(cluster: SmallCluster, spec: Object, known: Facts | None = None) -> list[tuple[str, str, str]]:
    """The writes after the spec of `made` was changed to this one."""
    cluster.converge(a_registry(spec, generation=2), known)
    return cluster.writes


def created(result: Plan) -> set[tuple[str, str]]:
    return {key_of(write.obj) for write in result.writes if isinstance(write, Create)}


def planned(cluster: SmallCluster, spec: Object | None = None, *, generation: int = 1, **known: Any) -> Plan:
    """The next writes for the registry in this cluster."""
    registry = a_registry(spec, generation=generation, status=cluster.status)
    return plan(registry, cluster.observe(registry), facts(**known))
