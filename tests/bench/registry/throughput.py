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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import aiohttp

from private_registry.distribution import Registry
from tests.bench.measure import Figure
from tests.cluster.processes import RegistryServer
from tests.integration.pushing import client

PROCESSES = 4
"""Bare processes, one after the other: two of the same program differ by some per cent."""
ROUNDS: Final = {1: 100, 10: 75, 100: 12}
"""With each of them, by size in megabytes: what takes milliseconds is done more often."""
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


class Turn(NamedTuple):
    """Seconds of a push and of a pull, on either way."""

    service: tuple[float, float]
    bare: tuple[float, float]


async def figures(asked: Configuration, rounds: Mapping[int, int] = MappingProxyType(ROUNDS)) -> list[Figure]:
    """Throughput through the Service in per cent of the bare process's, by size, of pushes and of pulls."""
    service = Registry(asked.address, asked.port, "https", asked.ca)
    taken: dict[int, list[Turn]] = {size: [] for size in rounds}
    for _ in range(PROCESSES):
        with _bare(asked) as server:
            bare = Registry(server.ip, server.port, "https", asked.ca)
            for size, times in rounds.items():
                taken[size] += await _compare(service, bare, size, times)
    return [figure for size, turns in taken.items() for figure in _figures(size, turns)]


def _bare(asked: Configuration) -> RegistryServer:
    directory = Path(asked.directory)
    directory.mkdir(parents=True, exist_ok=True)
    tls = (directory / "tls.crt", directory / "tls.key")
    for file, pem in zip(tls, (asked.cert, asked.key), strict=True):
        file.touch(mode=0o600)
        file.write_text(pem)
    return RegistryServer(directory, tls=tls)


async def _compare(service: Registry, bare: Registry, size: int, rounds: int) -> list[Turn]:
    """The two in turn, so that whatever else the machine does meets both."""
    turns: list[Turn] = []
    async with client(service, patience=300) as through, client(bare, patience=300) as past:
        for number in range(rounds + 1):
            first, second = (past, through) if number % 2 else (through, past)
            seconds = {first: await _seconds(first, size), second: await _seconds(second, size)}
            if number:  # the first of each is to warm up
                turns.append(Turn(seconds[through], seconds[past]))
    return turns


async def _seconds(session: aiohttp.ClientSession, size: int) -> tuple[float, float]:
    content = secrets.token_bytes(size * 10**6)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return await _push(session, content, digest), await _pull(session, digest, len(content))


def _figures(size: int, turns: Sequence[Turn]) -> Iterator[Figure]:
    for index, what in enumerate(("push", "pull")):
        service, bare = [turn.service[index] for turn in turns], [turn.bare[index] for turn in turns]
        # Of the two in one turn, which meet the same machine.
        ratio = statistics.median(theirs / ours for ours, theirs in zip(service, bare, strict=True))
        rates = [f"{size / statistics.median(seconds):.0f}" for seconds in (service, bare)]
        detail = f"median of {len(turns)} turns; {' and '.join(rates)} MB/s"
        name = f"{what} of {size} MB through the Service, of a bare process's throughput"
        yield Figure(name, 100 * ratio, BAR, "%", detail, at_least=True)


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
