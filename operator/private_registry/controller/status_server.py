"""What kubelet and Prometheus ask the operator: /healthz, /readyz, /metrics.

Its own server and not kopf's, because an operator that waits for the Lease is alive before kopf starts. It answers
from the loop that reconciles, so an answer shows that this loop turns; a watch that dies ends the process.
"""

from types import TracebackType
from typing import Self

from aiohttp import web
from prometheus_client import generate_latest


class StatusServer:
    """An async context manager; `ready` is what /readyz says."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._runner: web.AppRunner | None = None
        self.ready = False

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, None, self._port).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        return (
            web.Response(text="leading\n") if self.ready else web.Response(status=503, text="waiting for the lease\n")
        )

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )
