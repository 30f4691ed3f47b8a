"""What the kubelet and Prometheus ask an agent."""

import time

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from private_registry.trust.reasons import Verdict

_OLDEST_PROOF = 25 * 60.0
"""Seconds: two rounds of ten minutes and a half. Past it the operator no longer believes what this agent reported."""


class Health:
    """Ready: everything has been listed once, and no registry's last proof is older than 25 minutes."""

    def __init__(self) -> None:
        self.listed = False
        self._concluded: dict[str, float] = {}
        self._metrics = CollectorRegistry()
        self._trusted = Gauge(
            "private_registry_agent_trusted",
            "Whether this node's runtime proved that it pulls from the registry.",
            ["registry"],
            registry=self._metrics,
        )
        self._age = Gauge(
            "private_registry_agent_proof_age_seconds",
            "Time since the runtime was last asked about the registry.",
            ["registry"],
            registry=self._metrics,
        )
        self._writes = Counter(
            "private_registry_agent_node_writes",
            "Files written or removed on this node since the agent started.",
            registry=self._metrics,
        )

    def wrote(self, files: int) -> None:
        self._writes.inc(files)

    def expected(self, registry: str) -> None:
        """A proof is due from now on."""
        self._concluded[registry] = time.monotonic()
        self._trusted.labels(registry).set(False)
        self._age.labels(registry).set_function(lambda: time.monotonic() - self._concluded[registry])

    def concluded(self, registry: str, verdict: Verdict | None) -> None:
        """The node was asked about a registry. None: nothing is to be made of the answer yet."""
        self._concluded[registry] = time.monotonic()
        if verdict is not None:
            self._trusted.labels(registry).set(verdict.trusted)

    def forget(self, registry: str) -> None:
        """Nothing of the registry is wanted here any more, nor left."""
        self._trusted.remove(registry)
        self._age.remove(registry)
        del self._concluded[registry]

    @property
    def ready(self) -> bool:
        oldest = min(self._concluded.values(), default=time.monotonic())
        return self.listed and time.monotonic() - oldest <= _OLDEST_PROOF

    def application(self) -> web.Application:
        """Serves /healthz, /readyz and /metrics."""
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._serve_metrics)
        return application

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        if self.ready:
            return web.Response(text="ok\n")
        return web.Response(
            status=503, text="nothing listed yet\n" if not self.listed else "the last proof is too old\n"
        )

    async def _serve_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._metrics), headers={"Content-Type": CONTENT_TYPE_LATEST})
