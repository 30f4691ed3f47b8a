"""How fast one pushes and pulls through a registry's Service, beside a bare process with the same TLS.

    python -m tests.bench.registry.throughput < CONFIGURATION

It runs where the Service is reached, which is on a node: it starts the bare process there, with its data on the same
file system, and prints the figures as JSON. The registry asks nobody, as the bare one does: the ways are compared.
"""

import asyncio
import hashlib
import io
import json
import secrets
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import aiohttp

from private_registry.distribution import Registry
from tests.bench.measure import Figure
from tests.cluster.processes import RegistryServer
from tests.integration.pushing import client

ROUNDS: Final = {1: 300, 10: 150, 100: 40}
"""By size in megabytes: what takes milliseconds is done more often."""
BAR = 95.0
"""Per cent of the bare process's throughput."""


@dataclass(frozen=True)
class Configuration:
    """What there is to compare: a Service, the certificate of its registry, and a directory beside its data."""

    address: str
    port: int
    cert: str
    """PEM, as the following two; it covers 127.0.0.1 as well."""
    key: str
    ca: str
    directory: str


async def figures(asked: Configuration, rounds: Mapping[int, int] = MappingProxyType(ROUNDS)) -> list[Figure]:
    """Throughput through the Service in per cent of the bare process's, by size, of pushes and of pulls."""
    with _bare(asked) as server:
        service = Registry(asked.address, asked.port, "https", asked.ca)
        bare = Registry(server.ip, server.port, "https", asked.ca)
        return [figure for size, times in rounds.items() for figure in await _compare(service, bare, size, times)]


def _bare(asked: Configuration) -> RegistryServer:
    directory = Path(asked.directory)
    directory.mkdir(parents=True, exist_ok=True)
    tls = (directory / "tls.crt", directory / "tls.key")
    for file, pem in zip(tls, (asked.cert, asked.key), strict=True):
        file.touch(mode=0o600)
        file.write_text(pem)
    return RegistryServer(directory, tls=tls)


async def _compare(service: Registry, bare: Registry, size: int, rounds: int) -> list[Figure]:
    """The two in turn, so that whatever else the machine does meets both."""
    pushes: dict[Registry, list[float]] = {service: [], bare: []}
    pulls: dict[Registry, list[float]] = {service: [], bare: []}
    async with client(service, patience=300) as through, client(bare, patience=300) as past:
        for number in range(rounds + 1):
            order = [(service, through), (bare, past)]
            for registry, session in reversed(order) if number % 2 else order:
                content = secrets.token_bytes(size * 10**6)
                digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
                pushed, pulled = await _push(session, content, digest), await _pull(session, digest, len(content))
                if number:  # the first of each is to warm up
                    pushes[registry].append(pushed)
                    pulls[registry].append(pulled)
    return [_figure(what, size, taken[service], taken[bare]) for what, taken in (("push", pushes), ("pull", pulls))]


def _figure(what: str, size: int, service: Sequence[float], bare: Sequence[float]) -> Figure:
    # Of the two in one turn, which meet the same machine.
    ratio = statistics.median(theirs / ours for ours, theirs in zip(service, bare, strict=True))
    rates = [f"{size / statistics.median(seconds):.0f}" for seconds in (service, bare)]
    detail = f"median of {len(service)} turns; {' and '.join(rates)} MB/s"
    name = f"{what} of {size} MB through the Service, of a bare process's throughput"
    return Figure(name, 100 * ratio, BAR, "%", detail, at_least=True)


async def _push(session: aiohttp.ClientSession, content: bytes, digest: str) -> float:
    """Seconds until it is acknowledged."""
    began = time.monotonic()
    async with session.post("/v2/bench/blobs/uploads/") as begun:
        location = begun.headers["Location"]
    async with session.put(location, params={"digest": digest}, data=io.BytesIO(content)):
        return time.monotonic() - began


async def _pull(session: aiohttp.ClientSession, digest: str, size: int) -> float:
    """Seconds until the last byte is there."""
    began, received = time.monotonic(), 0
    async with session.get(f"/v2/bench/blobs/{digest}") as answer:
        async for chunk in answer.content.iter_any():
            received += len(chunk)
    assert received == size
    return time.monotonic() - began


if __name__ == "__main__":
    print(json.dumps([asdict(each) for each in asyncio.run(figures(Configuration(**json.load(sys.stdin))))]))
