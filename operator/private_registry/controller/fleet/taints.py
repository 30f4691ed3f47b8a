"""Startup taints: a node that was registered with one gets pods once it pulls from every registry that is for it. Pure.

The administrator has nodes registered with the taint, and the operator takes it away; it never adds one. A registry
that does not serve holds up nobody: no pod could pull from it anyway, and its own pod may be waiting for that node.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from private_registry.api.conditions import Type
from private_registry.controller.health.nodes import judge
from private_registry.controller.world import World, is_linux, is_true
from private_registry.trust.entry import EntryInvalidError, data_of, hash_of, parse

Object = dict[str, Any]


def is_starting(node: Object, key: str) -> bool:
    """Whether the node has a taint of this key, whatever its effect; the empty key is nobody's."""
    return any(taint["key"] == key for taint in _taints(node))


def without(node: Object, key: str) -> list[Object]:
    """The node's other taints."""
    return [taint for taint in _taints(node) if taint["key"] != key]


def held_up(world: World, entries: Mapping[str, Object], now: datetime) -> frozenset[str]:
    """The nodes of the world that are not proven yet for one of these entries, which are keyed by their registry."""
    held: set[str] = set()
    for key, config_map in entries.items():
        if not is_true(world.registries.get(key, {}), Type.AVAILABLE):
            continue
        try:
            entry = parse(config_map)
        except EntryInvalidError:
            # Of another version, or edited: the registry loop is about to write it anew.
            return frozenset(world.nodes)
        selected = {name for name, node in world.nodes.items() if is_linux(node) and entry.selects(_labels(node))}
        verdicts = judge(key, hash_of(data_of(config_map)), entry.node_selector, world, now).verdicts
        held |= selected - {verdict.node for verdict in verdicts if verdict.state == "trusted"}
    return frozenset(held)


def _taints(node: Object) -> list[Object]:
    return (node.get("spec") or {}).get("taints") or []


def _labels(node: Object) -> Mapping[str, str]:
    return node["metadata"].get("labels") or {}
