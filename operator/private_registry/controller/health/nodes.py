"""What the nodes believe of one registry, as their agents report it. Pure.

A node counts as trusted only while it says so of the very entry that is published, and while its agent is ready.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from private_registry.api import names
from private_registry.api.conditions import Reason
from private_registry.controller.health.diagnosis import parse_time
from private_registry.controller.world import World, is_linux, is_true
from private_registry.trust.reasons import Reason as TrustReason

Object = dict[str, Any]

_AS_BEFORE = (TrustReason.APPLYING, TrustReason.FILE_SYSTEM_ERROR)
"""What an agent says of an entry as long as its node still has the files of the one before."""

YOUNG = 120.0
"""Seconds that a new node has before a registry waits for it."""


@dataclass(frozen=True)
class NodeVerdict:
    """One desired node."""

    node: str
    state: Literal["trusted", "untrusted", "unknown"]
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Nodes:
    """All desired nodes, and how many others are too young to be counted."""

    verdicts: tuple[NodeVerdict, ...] = ()
    pending: int = 0
    next_look: float | None = None
    """Seconds until the first of the young ones is old enough."""

    @property
    def trusted(self) -> int:
        return sum(verdict.state == "trusted" for verdict in self.verdicts)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(verdict.node for verdict in self.verdicts)

    @property
    def others(self) -> tuple[NodeVerdict, ...]:
        return tuple(verdict for verdict in self.verdicts if verdict.state != "trusted")


def judge(
    key: str, entry_hash: str, selector: Mapping[str, str], world: World, now: datetime, *, as_good: str = ""
) -> Nodes:
    """How the nodes that the selector matches stand to the registry `key`, whose published entry has this hash.

    `as_good` is the hash of an earlier entry: who trusts that one trusts what is served.
    """
    agents = world.agent_ready()
    verdicts, waits = [], []
    for name, node in sorted(world.nodes.items()):
        labels = node["metadata"].get("labels") or {}
        if not (is_linux(node) and is_true(node, "Ready") and all(labels.get(k) == v for k, v in selector.items())):
            continue
        row = row_of(world.node_trusts.get(name), key)
        created = parse_time(node["metadata"].get("creationTimestamp"))
        age = (now - created).total_seconds() if created else YOUNG
        if age < YOUNG and not (row and row.get("trusted")):
            waits.append(YOUNG - age)
            continue
        if as_good and row and row.get("trusted") and row.get("entryHash") == as_good:
            row = {**row, "entryHash": entry_hash}
        verdicts.append(_verdict(name, row, entry_hash, agents.get(name)))
    return Nodes(tuple(verdicts), len(waits), min(waits, default=None))


def _verdict(node: str, row: Object | None, entry_hash: str, agent_ready: bool | None) -> NodeVerdict:  # noqa: FBT001
    pods = f"kubectl -n {names.AGENTS_NAMESPACE} get pods --field-selector spec.nodeName={node}"
    if agent_ready is None:
        return NodeVerdict(node, "untrusted", Reason.NO_AGENT, f"no agent runs on it: {pods}")
    if not agent_ready:
        return NodeVerdict(node, "unknown", Reason.AGENT_NOT_READY, f"its agent is not ready: {pods}")
    if row is None or row.get("entryHash") != entry_hash:
        return NodeVerdict(
            node, "untrusted", Reason.WAITING_FOR_NODES, f"its agent has not answered for the newest entry yet: {pods}"
        )
    if row.get("trusted"):
        return NodeVerdict(node, "trusted")
    return NodeVerdict(node, "untrusted", row.get("reason", ""), row.get("message", ""))


def row_of(node_trust: Object | None, key: str) -> Object | None:
    """What a node says of the registry `key`."""
    rows = ((node_trust or {}).get("status") or {}).get("registries") or []
    return next((row for row in rows if row.get("registry") == key), None)


def lagging(key: str, entry_hash: str, world: World) -> list[str]:
    """The nodes that go by an earlier entry of the registry, as far as their agents are there to tell."""
    agents = world.agent_ready()
    rows = {node: row_of(each, key) for node, each in sorted(world.node_trusts.items()) if agents.get(node)}
    return [node for node, row in rows.items() if row and not _goes_by(row, entry_hash)]


def _goes_by(row: Object, entry_hash: str) -> bool:
    """Whether the node has the files of this entry, or is getting rid of all of them."""
    reason = row["reason"]
    return bool(reason == TrustReason.UNDOING or (row["entryHash"] == entry_hash and reason not in _AS_BEFORE))


def listing(key: str, node_trusts: Iterable[Object]) -> list[str]:
    """The nodes on which something of the registry may still be: those whose NodeTrust lists it."""
    return [each["metadata"]["name"] for each in node_trusts if row_of(each, key)]
