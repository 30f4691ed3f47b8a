"""Which nodes have what a registry's entry says on their disks: what the next certificate has to wait for. Pure.

An agent says which entry it goes by after it has written the files and read them back. That holds for a node that
trusts the registry, and for one whose proof failed for another reason than its files.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from private_registry.api import names
from private_registry.controller.health.diagnosis import parse_time
from private_registry.controller.health.nodes import YOUNG, row_of
from private_registry.controller.world import World, is_linux, is_true
from private_registry.trust import entry as trust
from private_registry.trust.reasons import Reason

Object = dict[str, Any]

LOST_NODE = 600.0
"""Seconds that a node that is not ready is waited for: its agent gives it the newest entry when it is back."""
SETTLES = 120.0
"""Seconds between an entry with another CA and the first certificate of it, at the least: by then kubelets have given
the CA's ConfigMap as it is then to every pod that mounts it."""

_WRITTEN = frozenset(
    (
        Reason.TRUSTED,
        Reason.UNREACHABLE,
        Reason.CERTIFICATE_INVALID,
        Reason.SCHEME_MISMATCH,
        Reason.PROOF_FAILED,
        # Files that the runtime does not read, and names that an agent takes from no entry: nothing depends on them.
        Reason.NOT_HONOURED,
        Reason.CONFIG_PATH_UNSET,
        Reason.NO_RUNTIME,
        Reason.HOST_NOT_ALLOWED,
        Reason.HOST_TAKEN,
    )
)
"""What an agent says only once everything that it has to write for an entry is on the disk."""


@dataclass(frozen=True)
class Confirmation:
    """How far an entry has come."""

    entry_hash: str = ""
    """Of the entry that this is about."""
    waited: tuple[str, ...] = ()
    """Nodes that are waited for, with what is known of them."""
    passed: tuple[str, ...] = ()
    """Nodes that are not waited for any more."""
    next_look: float | None = None
    """Seconds until time alone changes something."""

    @property
    def settled(self) -> bool:
        """Whether every node that is waited for has the entry, and everybody else has had time to hear of it."""
        return bool(self.entry_hash) and not self.waited and self.next_look is None


def of(key: str, config_map: Object | None, world: World, now: datetime) -> Confirmation:
    """How far the published entry of the registry `key` has come; nowhere where there is none that can be read."""
    if config_map is None:
        return Confirmation()
    try:
        entry, entry_hash = trust.parse(config_map), trust.hash_of(trust.data_of(config_map))
    except trust.EntryInvalidError:
        return Confirmation()
    since = since_of(config_map)
    waited, passed, ends = [], [], [since + timedelta(seconds=SETTLES)] if since else []
    for node, why in _others(key, entry, entry_hash, world, now):
        if is_true(node, "Ready"):
            waited.append(f"{node['metadata']['name']} ({why})")
            continue
        end = max(filter(None, (since, _silent_since(node))), default=now) + timedelta(seconds=LOST_NODE)
        if now < end:
            waited.append(f"{node['metadata']['name']} (not ready: at most until {end:%H:%M:%S} UTC)")
            ends.append(end)
        else:
            passed.append(node["metadata"]["name"])
    left = [(end - now).total_seconds() for end in ends if end > now]
    return Confirmation(entry_hash, tuple(waited), tuple(passed), min(left, default=None))


def since_of(config_map: Object) -> datetime | None:
    """Since when an entry is what it is."""
    metadata = config_map["metadata"]
    return parse_time((metadata.get("annotations") or {}).get(names.SINCE) or metadata.get("creationTimestamp"))


def _others(key: str, entry: trust.Entry, entry_hash: str, world: World, now: datetime) -> Iterator[tuple[Object, str]]:
    """The nodes that the entry is for and that do not have it, as far as anything may be on them; and why not."""
    for name, node in sorted(world.nodes.items()):
        row = row_of(world.node_trusts.get(name), key)
        if not (is_linux(node) and entry.selects(node["metadata"].get("labels") or {})):
            continue
        if row is None:
            created = parse_time(node["metadata"].get("creationTimestamp"))
            young = created is not None and (now - created).total_seconds() < YOUNG
            # Its agent lists a registry before it writes the first byte for it. One that cannot do so needs help.
            if is_true(node, "Ready") and not young:
                yield node, "its agent has not answered yet"
        elif row["reason"] == Reason.UNDOING:  # it begins anew, and with the newest entry
            continue
        elif row["entryHash"] != entry_hash or row["reason"] == Reason.APPLYING:
            yield node, "its agent has not answered for the newest entry yet"
        elif row["reason"] not in _WRITTEN:
            yield node, row["reason"]


def _silent_since(node: Object) -> datetime | None:
    conditions = (node.get("status") or {}).get("conditions") or []
    return next((parse_time(each.get("lastTransitionTime")) for each in conditions if each["type"] == "Ready"), None)
