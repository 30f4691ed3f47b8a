"""Leadership by a Lease: one operator acts, others wait.

The rules are client-go's: a waiting candidate trusts no clock but its own, so it takes a Lease over only after it has
seen it unchanged for the Lease's whole duration; a leader that cannot renew in time stops acting before that.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime

from private_registry.kube import kinds
from private_registry.kube.client import ApiError, ConflictError, Kube, Object

logger = logging.getLogger(__name__)

DURATION = 15.0
"""Seconds after its last renewal for which a leader is left alone."""
RENEW_WITHIN = 10.0
"""Seconds without a successful renewal after which a leader gives up."""
RETRY = 2.0
"""Seconds between two renewals, and between two looks of a candidate."""


class LeadershipLostError(Exception):
    """The Lease could not be renewed in time, or somebody else holds it: stop acting at once."""


class Lease:
    """One candidate for one Lease."""

    def __init__(self, kube: Kube, namespace: str, name: str, identity: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._held: Object = {}

    async def acquire(self) -> None:
        """Wait until this candidate leads."""
        seen_version, seen_at = "", 0.0
        while True:
            now = asyncio.get_running_loop().time()
            try:
                live = await self._kube.get(kinds.LEASE, self._namespace, self._name)
                if live is None:
                    self._held = await self._kube.create(self._record(transitions=0))
                    break
                if live["metadata"]["resourceVersion"] != seen_version:
                    seen_version, seen_at = live["metadata"]["resourceVersion"], now
                spec = live.get("spec") or {}
                holder = spec.get("holderIdentity") or ""
                if holder in ("", self._identity) or now - seen_at > (spec.get("leaseDurationSeconds") or DURATION):
                    self._held = await self._kube.replace(
                        self._record(transitions=(spec.get("leaseTransitions") or 0) + 1, live=live)
                    )
                    break
                logger.debug("waiting for the lease", extra={"holder": holder})
            except ConflictError:
                logger.info("another candidate was faster")
            except ApiError as error:
                logger.warning("cannot look at the lease", extra={"error": str(error)})
            await asyncio.sleep(RETRY * random.uniform(0.8, 1.2))  # noqa: S311
        logger.info("leading", extra={"lease": f"{self._namespace}/{self._name}", "identity": self._identity})

    async def keep(self, on_renewed: Callable[[], None] = lambda: None) -> None:
        """Renew for ever. Raises LeadershipLostError."""
        renewed = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(RETRY)
            try:
                transitions = self._held["spec"]["leaseTransitions"]
                async with asyncio.timeout(RENEW_WITHIN / 2):
                    self._held = await self._kube.replace(self._record(transitions=transitions, live=self._held))
                renewed = asyncio.get_running_loop().time()
                on_renewed()
            except ConflictError:
                live = await self._read()
                if live and (live.get("spec") or {}).get("holderIdentity") != self._identity:
                    raise LeadershipLostError(f"{live['spec'].get('holderIdentity')} holds the lease") from None
                self._held = live or self._held
            except (ApiError, TimeoutError) as error:
                logger.warning("cannot renew the lease", extra={"error": str(error)})
            if asyncio.get_running_loop().time() - renewed > RENEW_WITHIN:
                raise LeadershipLostError(f"not renewed for {RENEW_WITHIN:.0f} s")

    async def release(self) -> None:
        """Let the next candidate in at once; harmless when that fails."""
        try:
            released = self._record(transitions=self._held["spec"]["leaseTransitions"], live=self._held)
            released["spec"]["holderIdentity"] = ""
            await self._kube.replace(released)
        except ApiError as error:
            logger.info("lease not released; it runs out by itself", extra={"error": str(error)})

    async def _read(self) -> Object | None:
        try:
            return await self._kube.get(kinds.LEASE, self._namespace, self._name)
        except ApiError:
            return None

    def _record(self, *, transitions: int, live: Object | None = None) -> Object:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        metadata: Object = {"namespace": self._namespace, "name": self._name}
        if live:
            metadata["resourceVersion"] = live["metadata"]["resourceVersion"]
        acquired = (live or {}).get("spec", {}).get("acquireTime") if live is self._held else None
        return {
            "apiVersion": kinds.LEASE.api_version,
            "kind": kinds.LEASE.kind,
            "metadata": metadata,
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": int(DURATION),
                "acquireTime": acquired or now,
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        }
