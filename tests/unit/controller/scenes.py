"""The status of a registry in a given situation: plan, verdicts on nodes and summary, put together as the loop does."""

from collections.abc import Mapping, Sequence
from typing import Any

from private_registry.api.conditions import Condition, Reason, Type, find
from private_registry.api.registry import RegistryStatus
from private_registry.controller.health import summary
from private_registry.controller.health.nodes import judge
from private_registry.controller.health.problem import Concern, Problem
from private_registry.controller.health.summary import Findings
from private_registry.controller.registries.observe import Observed
from private_registry.controller.registries.plan import plan
from private_registry.distribution import Answer
from tests.unit.controller.builders import NOW, a_node, a_registry, a_row, a_world, facts
from tests.unit.controller.small_cluster import Key, made

Object = dict[str, Any]

DOWN = Answer(yes=False, message="connection refused")


def status_of(
    spec: Object | None = None,
    *,
    objects: Mapping[Key, Object] | None = None,
    changed: Mapping[Key, Object] | None = None,
    pods: tuple[Object, ...] = (),
    storage_classes: tuple[Object, ...] = (),
    claim_events: tuple[Object, ...] = (),
    serves: bool = True,
    nodes: tuple[Object, ...] = (a_node(),),
    rows: Mapping[str, Object] | None = None,
    agents: tuple[Object, ...] | None = None,
    problems: tuple[Problem, ...] = (),
    before: RegistryStatus | None = None,
    generation: int = 1,
    outdated: Sequence[tuple[Reason, str]] = (),
    **known: Any,
) -> RegistryStatus:
    """The status of a registry that serves and that every node trusts, but for what is said.

    `objects` is everything that there is, `changed` some of it; `rows` is what nodes say, by their names; `problems`
    come from the API server or the registry itself; `known` are facts of the plan.
    """
    registry = a_registry(spec, status=before, generation=generation)
    seen = Observed(
        objects={**(objects if objects is not None else made(spec).objects), **(changed or {})},
        pods=pods,
        storage_classes=storage_classes,
        claim_events=claim_events,
    )
    planned = plan(registry, seen, facts(serves=serves, **known))
    entry_hash = summary.published_hash(registry, seen)
    said = {node["metadata"]["name"]: {} for node in nodes} if rows is None else rows
    world = a_world(
        *nodes, rows={node: {**a_row(entry_hash=entry_hash), **row} for node, row in said.items()}, agents=agents
    )
    judged = judge(registry.key, entry_hash, registry.spec.node_trust.node_selector, world, NOW)
    answer = Answer(yes=True) if serves else DOWN
    found = Findings(seen, planned, (*problems, *planned.problems), answer, judged, outdated)
    return summary.summarise(registry, found, NOW)


def condition(status: RegistryStatus, kind: Type) -> Condition:
    """The condition, which has to be there."""
    found = find(status.conditions, kind)
    assert found is not None, f"there is no {kind}"
    return found


def said(status: RegistryStatus) -> dict[str, str]:
    """Status and reason of each condition, by its type."""
    return {each.type: f"{each.status} {each.reason}" for each in status.conditions}


NOT_ALLOWED = Problem(Reason.HOST_NOT_ALLOWED, "docker.io is not allowed", Concern.NODES)
