"""kube-proxy: a Service's address leads to a ready pod, and refuses when there is none.

The Services' range and the pods' are on loopback, so it needs no rules of the kernel's, only sockets. Pods call
themselves 10.97.x.y, because the API server takes no loopback address in an EndpointSlice; conftest has the route.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final

from private_registry.kube import kinds
from private_registry.kube.kinds import Kind
from tests.integration.operator.parts.mirror import Mirror
from tests.waiting import aeventually

ENDPOINT_SLICE: Final = Kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")

PODS: Final = "10.97.0.0/16"

Address = tuple[str, int]

_IPV6_FREEBIND = 78
"""Of linux/in6.h; Python has no name for it."""


class Proxy:
    """The Services of one namespace, as the EndpointSlices say: who is ready serves, else who is leaving still may."""

    def __init__(self, mirror: Mirror, namespace: str) -> None:
        self.ipv6 = False
        """Whether the Services' IPv6 range is on loopback as well, which takes a route."""
        self._mirror = mirror
        self._services = mirror.follow(kinds.SERVICE, namespace)
        self._slices = mirror.follow(ENDPOINT_SLICE, namespace)
        self._targets: dict[Address, Address] = {}
        self._servers: dict[Address, asyncio.Server] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._open: list[Address] = []
        """Targets of connections."""
        self._opening: list[Address] = []
        """Targets that connections are on their way to: a process that ends drops what it has not accepted yet."""

    async def run(self) -> None:
        try:
            while True:
                tick = self._mirror.tick
                await self._listen(dict(self._routes()))
                await tick.wait()
        finally:
            for server in self._servers.values():
                await _close(server)
            for connection in list(self._connections):
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    def knows_to_leave(self, pod_ip: str) -> bool:
        """Whether a pod gets no more connections, unless there is no other one, and those on their way have arrived."""
        endpoints = [each for found in self._slices.objects.values() for each in found.get("endpoints") or []]
        if any(pod_ip in each["addresses"] and each["conditions"].get("ready") for each in endpoints):
            return False
        self._targets = {address: target for address, target in self._routes() if address in self._targets}
        return all(address != pod_ip for address, _ in self._opening)

    async def is_left(self, pod_ip: str, *, within: float) -> None:
        """Wait until nobody is connected to a pod, for so many seconds: on a busy machine a request takes long."""

        async def nobody_is_there() -> bool:
            return all(address != pod_ip for address, _ in self._open)

        with contextlib.suppress(AssertionError):
            await aeventually(nobody_is_there, within=within, every=0.02, what=f"nobody is connected to {pod_ip}")

    async def _listen(self, routes: dict[Address, Address]) -> None:
        self._targets = routes
        for address in self._servers.keys() - routes.keys():
            await _close(self._servers.pop(address))
        for address in routes.keys() - self._servers.keys():
            self._servers[address] = await asyncio.start_server(self._accept(address), sock=_bound(address))

    def _routes(self) -> Iterator[tuple[Address, Address]]:
        for name, service in self._services.objects.items():
            slices = [
                each
                for each in self._slices.objects.values()
                if each["metadata"]["labels"].get("kubernetes.io/service-name") == name
            ]
            for port in service["spec"].get("ports") or []:
                if target := _target(slices, port.get("name", "")):
                    for cluster_ip in service["spec"].get("clusterIPs") or []:
                        if self.ipv6 or ":" not in cluster_ip:
                            yield (cluster_ip, port["port"]), target

    def _accept(self, address: Address) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = asyncio.create_task(self._forward(reader, writer, address))
            self._connections.add(connection)

            def over(_: asyncio.Task[None]) -> None:
                self._connections.discard(connection)
                writer.close()  # also of one that was cancelled before it began

            connection.add_done_callback(over)

        return accept

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: Address) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            # Chosen and counted at once: a pod must not be let go in between.
            if (target := self._targets.get(address)) is None:
                return
            with self._on_its_way(target) as arrived:
                pod_reader, pod_writer = await asyncio.open_connection(*target)
                self._open.append(target)
                try:
                    with contextlib.closing(pod_writer):
                        await asyncio.gather(_copy(reader, pod_writer), _copy(pod_reader, writer, arrived))
                finally:
                    self._open.remove(target)

    @contextlib.contextmanager
    def _on_its_way(self, target: Address) -> Iterator[Callable[[], None]]:
        """Count a connection until it is said to have arrived, or is over."""
        self._opening.append(target)
        pending = [target]

        def arrived() -> None:
            if pending:
                self._opening.remove(pending.pop())
                self._mirror.changed()

        try:
            yield arrived
        finally:
            arrived()


async def _close(server: asyncio.Server) -> None:
    """Stop to accept before: asyncio (3.11) loses a connection that is on its way to us when its server closes."""
    for each in server.sockets:
        asyncio.get_running_loop().remove_reader(each.fileno())
    for _ in range(5):
        await asyncio.sleep(0)
    server.close()


def _bound(address: Address) -> socket.socket:
    ipv6 = ":" in address[0]
    bound = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ipv6:
        # A route alone makes an address one's own to receive for, but not to bind to.
        bound.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
    bound.bind(address)
    return bound


def _target(slices: list[dict[str, Any]], port_name: str) -> Address | None:
    for condition in ("ready", "serving"):
        for each in slices:
            number = next((port["port"] for port in each.get("ports") or [] if port["name"] == port_name), None)
            for endpoint in each.get("endpoints") or []:
                if number and endpoint["conditions"].get(condition):
                    return str(endpoint["addresses"][0]), number
    return None


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answered: Callable[[], None] = lambda: None
) -> None:
    while data := await reader.read(2**16):
        answered()
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
