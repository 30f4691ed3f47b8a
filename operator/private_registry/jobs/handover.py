"""How the list that a sweep has made gets to the operator: it waits a while for somebody to fetch it.

A pod without rights can write nothing into the cluster, and what a container leaves behind has 4 KiB at most.
"""

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from private_registry.data.orders import LIST


class Handover:
    """Serves one text to whoever has the key; empty: to anyone, as the registry itself does then."""

    def __init__(self, key: str) -> None:
        self._authorization = f"Bearer {key}" if key else ""
        self._text: str | None = None
        self._fetched = asyncio.Event()

    async def offer(self, text: str, patience: float) -> bool:
        """Wait until it was fetched, for so many seconds at most; whether it was."""
        self._text = text
        try:
            async with asyncio.timeout(patience):
                await self._fetched.wait()
        except TimeoutError:
            return False
        return True

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        shown = request.headers.get("Authorization", "")
        if self._authorization and not hmac.compare_digest(shown.encode(), self._authorization.encode()):
            raise web.HTTPUnauthorized
        if self._text is None:
            raise web.HTTPServiceUnavailable(text="not yet\n")
        response = web.Response(text=self._text)
        await response.prepare(request)
        await response.write_eof()
        self._fetched.set()
        return response

    @asynccontextmanager
    async def serving(self, host: str | None, port: int) -> AsyncIterator[None]:
        """On all addresses where `host` is None. Raises OSError."""
        app = web.Application()
        app.router.add_get(LIST, self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            yield
        finally:
            await runner.cleanup()
