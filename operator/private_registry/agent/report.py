"""What the agent says of its node, in the status of the node's NodeTrust; written when it changes and never else.

A registry is in the status before its first byte is on the node and until after its last is gone. So the agent asks
here before it writes, and is told when the API server has it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from private_registry.agent.pulse import Pulse
from private_registry.api.nodetrust import MAX_MESSAGE, NodeTrustStatus, RegistryTrust, Runtime
from private_registry.kube.client import ApiError, Kube, Object
from private_registry.kube.kinds import NODE_TRUST
from private_registry.trust.reasons import Reason, Verdict

logger = logging.getLogger(__name__)

_GATHER = 0.03
_LAST_RETRY = 30.0


@dataclass(frozen=True)
class Row:
    """What is to be said of one registry."""

    registry: str
    entry_hash: str
    verdict: Verdict


def build(rows: Iterable[Row], runtime: Runtime | None, previous: NodeTrustStatus, now: str) -> NodeTrustStatus:
    """The whole status. A row keeps its transition time as long as neither its reason nor its trust changes."""
    before = {row.registry: row for row in previous.registries}
    registries = []
    for row in sorted(rows, key=lambda row: row.registry):
        old = before.get(row.registry)
        same = old is not None and (old.trusted, old.reason) == (row.verdict.trusted, row.verdict.reason)
        registries.append(
            RegistryTrust(
                registry=row.registry,
                entry_hash=row.entry_hash,
                trusted=row.verdict.trusted,
                reason=row.verdict.reason,
                message=row.verdict.message[:MAX_MESSAGE],
                last_transition_time=old.last_transition_time if old and same else now,
            )
        )
    wanted = [row for row in registries if row.reason != Reason.UNDOING]
    trusted = sum(row.trusted for row in wanted)
    problem = next((row for row in registries if row.message), None)
    return NodeTrustStatus(
        runtime=f"{runtime.name} {runtime.version}" if runtime else "",
        runtimes=(runtime,) if runtime else (),
        total=len(wanted),
        trusted=trusted,
        summary=f"{trusted}/{len(wanted)}",
        message=f"{problem.registry}: {problem.message}" if problem else "",
        registries=tuple(registries),
    )


class Reporter:
    """The one writer of this node's status."""

    def __init__(self, kube: Kube, node: str, now: Callable[[], str]) -> None:
        """`now`: the time in RFC 3339, whole seconds, UTC."""
        self.labels: Mapping[str, str] = {}
        """Of the node, as far as registries ask for them."""
        self.present = asyncio.Event()
        """Once the NodeTrust has been seen. Before that nothing may be written on the node."""
        self._kube = kube
        self._node = node
        self._now = now
        self._rows: dict[str, Row] = {}
        self._runtime: Runtime | None = None
        self._seen: NodeTrustStatus | None = None
        """As the API server has it; None while there is no NodeTrust."""
        self._version = 0
        self._news = asyncio.Event()
        self._pulse = Pulse(_GATHER)

    @property
    def registries(self) -> frozenset[str]:
        return frozenset(self._rows)

    @property
    def config_path(self) -> str:
        """That an agent reported last for this node, be it before a restart."""
        runtimes = (self._runtime,) if self._runtime else self._seen.runtimes if self._seen else ()
        return next((runtime.config_path for runtime in runtimes), "")

    def see(self, node_trust: Object | None) -> None:
        """Take notice of the NodeTrust as it is now; of what we wrote ourselves we know already."""
        if node_trust is None:
            self._seen = None
            return
        version = int(node_trust["metadata"]["resourceVersion"])
        if self._seen is not None and version <= self._version:
            return
        self._version = version
        self._seen = _parse(node_trust)
        self.labels = (node_trust.get("spec") or {}).get("nodeLabels") or {}
        if not self.present.is_set():
            for row in self._seen.registries:
                self._rows.setdefault(row.registry, _row(row))
            if self._seen.runtimes and self._runtime is None:
                self._runtime = self._seen.runtimes[0]
            self.present.set()
        self._tell()
        self._pulse.set()

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

    def set_runtime(self, runtime: Runtime | None) -> None:
        self._runtime = runtime
        self._pulse.set()

    async def listed(self, row: Row) -> None:
        """Return when the API server has a row of the registry: `row` if there is none so far."""
        if row.registry not in self._rows:
            self.set(row)
        while self._seen is None or row.registry not in {each.registry for each in self._seen.registries}:
            await self._news.wait()

    async def run(self) -> None:
        """Write what is to be said, whenever it is not what the API server has, until cancelled."""
        failures = 0
        while True:
            await self._pulse.wait()
            if self._seen is None:
                continue
            status = build(self._rows.values(), self._runtime, self._seen, self._now())
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

    async def _write(self, status: NodeTrustStatus) -> Object:
        body = {"status": status.model_dump(mode="json", by_alias=True)}
        return await self._kube.merge(NODE_TRUST, None, self._node, body, subresource="status")

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _parse(node_trust: Object) -> NodeTrustStatus:
    try:
        return NodeTrustStatus.model_validate(node_trust.get("status") or {})
    except ValidationError:  # of another version of the CRD; it will be written anew
        return NodeTrustStatus()


def _row(row: RegistryTrust) -> Row:
    reason = Reason(row.reason) if row.reason in set(Reason) else Reason.APPLYING
    return Row(row.registry, row.entry_hash, Verdict(reason, row.message))
