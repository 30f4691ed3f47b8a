"""Whose turn it is to have its containerd restarted: one node at a time in the whole cluster. Pure.

An agent asks in the status of its NodeTrust (`runtimeConfig`: state Waiting, and the id of its edit); a turn is that id
in the spec. It ends when the agent reports an outcome. After a failure nobody else gets one until the administrator has
opted that node out.
"""

from collections.abc import Mapping
from typing import Any

from private_registry.controller.world import is_true

Object = dict[str, Any]

_CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


def turns(node_trusts: Mapping[str, Object], nodes: Mapping[str, Object]) -> dict[str, str]:
    """The turn that each NodeTrust is to have: an id, or "" for most."""
    asked = {
        name: (node_trust.get("status") or {}).get("runtimeConfig") or {} for name, node_trust in node_trusts.items()
    }
    held = {name: turn for name, each in node_trusts.items() if (turn := (each.get("spec") or {}).get("restartTurn"))}
    busy = {name: turn for name, turn in held.items() if not _is_over(asked[name], turn, nodes.get(name))}
    given = {name: busy.get(name, "") for name in node_trusts}
    if not busy and not any(each.get("state") == "Failed" for each in asked.values()):
        waiting = [
            name for name, each in asked.items() if each.get("state") == "Waiting" and _is_ready(nodes.get(name))
        ]
        # A failure is to hit a node of the control plane last of all.
        for name in sorted(waiting, key=lambda name: (_CONTROL_PLANE in _labels(nodes[name]), name))[:1]:
            given[name] = asked[name]["edit"]
    return given


def _is_over(asked: Object, turn: str, node: Object | None) -> bool:
    """Whether a node is done with its turn. One that has gone silent within it keeps it: nobody else is to follow."""
    if asked.get("edit") == turn and asked.get("state") in ("Waiting", "Restarting"):
        return False
    return _is_ready(node) or asked.get("state") != "Managed"


def _is_ready(node: Object | None) -> bool:
    return node is not None and is_true(node, "Ready")


def _labels(node: Object) -> Object:
    labels: Object = node["metadata"].get("labels") or {}
    return labels
