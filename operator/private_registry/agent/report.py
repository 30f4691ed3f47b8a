"""What the agent says of its node, in the status of the node's NodeTrust; written when it changes and never else.

A registry is in the status before its first byte is on the node and until after its last is gone. So the agent asks
here before it writes, and is told when the API server has it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from private_registry.agent.pulse import Pulse
from private_registry.kube.client import ApiError, Kube, Object
from private_registry.kube.kinds import NODE_TRUST
from private_registry.trust.reasons import Reason, Verdict

logger = logging.getLogger(__name__)

MAX_MESSAGE = 1024
"""Characters of a message, as the CRD takes it."""

_GATHER = 0.03
_LAST_RETRY = 30.0


@dataclass(frozen=True)
class Found:
    """A container runtime, with what decides how it looks registries up."""

    name: str
    version: str
    config_path: str

    def as_object(self) -> Object:
        return {"name": self.name, "version": self.version, "configPath": self.config_path}


@dataclass(frozen=True)
class RuntimeConfig:
    """What becomes of a containerd whose configuration the agent is to set (controller/fleet/turns.py has the rest)."""

    state: str
    edit: str
    """Id of the edit, which a turn is given for."""
    message: str

    def as_object(self) -> Object:
        return {"state": self.state, "edit": self.edit, "message": self.message[:MAX_MESSAGE]}


@dataclass(frozen=True)
class Row:
    """What is to be said of one registry."""

    registry: str
    entry_hash: str
    verdict: Verdict


def build(
    rows: Iterable[Row], runtimes: Sequence[Found], previous: Object, now: str, *, config: RuntimeConfig | None = None
) -> Object:
    """The whole status, as a merge patch of the previous one.

    A row keeps its transition time as long as neither its reason nor its trust changes.
    """
    before = {row["registry"]: row for row in previous.get("registries") or ()}
    registries = [_as_object(row, before.get(row.registry), now) for row in sorted(rows, key=lambda row: row.registry)]
    wanted = [row for row in registries if row["reason"] != Reason.UNDOING]
    trusted = sum(row["trusted"] for row in wanted)
    problem = min((row for row in registries if row["message"]), key=lambda row: row["trusted"], default=None)
    status = {
        "runtime": ", ".join(f"{runtime.name} {runtime.version}" for runtime in runtimes),
        "runtimes": [runtime.as_object() for runtime in runtimes],
        "total": len(wanted),
        "trusted": trusted,
        "summary": f"{trusted}/{len(wanted)}",
        "message": f"{problem['registry']}: {problem['message']}" if problem else "",
        "registries": registries,
    }
    if config:
        status["runtimeConfig"] = config.as_object()
    elif "runtimeConfig" in previous:
        status["runtimeConfig"] = None
    return status


def _as_object(row: Row, before: Object | None, now: str) -> Object:
    verdict = row.verdict
    same = before is not None and (before["trusted"], before["reason"]) == (verdict.trusted, verdict.reason)
    return {
        "registry": row.registry,
        "entryHash": row.entry_hash,
        "trusted": verdict.trusted,
        "reason": str(verdict.reason),
        "message": verdict.message[:MAX_MESSAGE],
        "lastTransitionTime": (before or {}).get("lastTransitionTime", now) if same else now,
    }


class Reporter:
    """The one writer of this node's status."""

    def __init__(self, kube: Kube, node: str, now: Callable[[], str]) -> None:
        """`now`: the time in RFC 3339, whole seconds, UTC."""
        self.labels: Mapping[str, str] = {}
        """Of the node, as far as registries ask for them, and by which it is opted in."""
        self.turn = ""
        """Id of the edit for which the operator lets containerd be restarted now."""
        self.runtime_config: RuntimeConfig | None = None
        self.present = asyncio.Event()
        """Once the NodeTrust has been seen. Before that nothing may be written on the node."""
        self._kube = kube
        self._node = node
        self._now = now
        self._rows: dict[str, Row] = {}
        self.runtimes: Sequence[Found] = ()
        """That an agent reported last for this node, be it before a restart."""
        self._seen: Object | None = None
        """As the API server has it; None while there is no NodeTrust."""
        self._version = 0
        self._news = asyncio.Event()
        self._pulse = Pulse(_GATHER)

    @property
    def registries(self) -> frozenset[str]:
        return frozenset(self._rows)

    def see(self, node_trust: Object | None) -> None:
        """Take notice of the NodeTrust as it is now; of what we wrote ourselves we know already."""
        if node_trust is None:
            self._seen = None
            return
        version = int(node_trust["metadata"]["resourceVersion"])
        if self._seen is not None and version <= self._version:
            return
        self._version = version
        self._seen = node_trust.get("status") or {}
        spec = node_trust.get("spec") or {}
        self.labels, self.turn = spec.get("nodeLabels") or {}, spec.get("restartTurn", "")
        if not self.present.is_set():
            self._remember(self._seen)
            self.present.set()
        self._tell()
        self._pulse.set()

    def _remember(self, status: Object) -> None:
        """Go on from what was said before a restart."""
        for row in status.get("registries") or ():
            self._rows.setdefault(row["registry"], Row(row["registry"], row["entryHash"], _verdict(row)))
        self.runtimes = [
            Found(each["name"], each.get("version", ""), each.get("configPath", ""))
            for each in status.get("runtimes") or ()
        ]
        if config := status.get("runtimeConfig"):
            self.runtime_config = RuntimeConfig(config["state"], config.get("edit", ""), config.get("message", ""))

    def set(self, row: Row) -> bool:
        """Say this of a registry from now on; returns whether it is something else than before."""
        if self._rows.get(row.registry) == row:
            return False
        self._rows[row.registry] = row
        self._pulse.set()
        return True

    def drop(self, registry: str) -> None:
        """Say nothing of a registry any more: nothing of it is on the node."""
        if self._rows.pop(registry, None):
            self._pulse.set()

    def set_runtimes(self, runtimes: Sequence[Found]) -> None:
        self.runtimes = runtimes
        self._pulse.set()

    def set_runtime_config(self, config: RuntimeConfig | None) -> bool:
        """Say this of the node's opt-in from now on; returns whether it is something else than before."""
        if self.runtime_config == config:
            return False
        self.runtime_config = config
        self._pulse.set()
        return True

    async def told_runtime_config(self) -> None:
        """Return when the API server has what is said of the opt-in."""
        said = self.runtime_config.as_object() if self.runtime_config else None
        while (self._seen or {}).get("runtimeConfig") != said:
            await self._news.wait()

    async def listed(self, row: Row) -> None:
        """Return when the API server has a row of the registry: `row` if there is none so far."""
        if row.registry not in self._rows:
            self.set(row)
        while row.registry not in {each["registry"] for each in (self._seen or {}).get("registries") or ()}:
            await self._news.wait()

    async def run(self) -> None:
        """Write what is to be said, whenever it is not what the API server has, until cancelled."""
        failures = 0
        while True:
            await self._pulse.wait()
            if self._seen is None:
                continue
            status = build(self._rows.values(), self.runtimes, self._seen, self._now(), config=self.runtime_config)
            if status == self._seen:
                continue
            try:
                self.see(await self._write(status))
                failures = 0
            except ApiError as error:
                delay = min(_LAST_RETRY, 2.0**failures)
                failures = min(failures + 1, 10)
                logger.warning("status of NodeTrust %s: %s; again in %.0f s", self._node, error, delay)
                self._pulse.set(delay)

    async def _write(self, status: Object) -> Object:
        return await self._kube.merge(NODE_TRUST, None, self._node, {"status": status}, subresource="status")

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _verdict(row: Object) -> Verdict:
    """What another agent, or we ourselves before a restart, said; a reason of another version is looked into anew."""
    known = row["reason"] in set(Reason)
    return Verdict(Reason(row["reason"]) if known else Reason.APPLYING, row.get("message", ""))
