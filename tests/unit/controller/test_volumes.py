"""Asking the container beside a registry how full its volume is."""

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY

from private_registry.api import names
from private_registry.controller.data import volumes
from private_registry.controller.data.volumes import EVERY, STARTS, Volumes
from private_registry.data.space import Space
from tests.cluster.processes.process import free_port
from tests.unit.controller.builders import a_pod, a_registry

Object = dict[str, Any]

GIB = 2**30
ANSWER = b'{"total": 107374182400, "used": 10, "free": 96636764160, "inodesTotal": 0, "inodesFree": 0}'
SPACE = Space(100 * GIB, 10, 90 * GIB)


class Reporter:
    """What listens on the pod's port; counts who asks."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: bytes | None = b"HTTP/1.0 200 OK\r\n\r\n" + ANSWER
        """None: it says nothing."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        await reader.readuntil(b"\r\n\r\n")
        if self.answer is not None:
            writer.write(self.answer)
        else:
            await reader.read()
        writer.close()


@pytest_asyncio.fixture
async def reporter(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reporter]:
    found, port = Reporter(), free_port()
    monkeypatch.setattr(names, "SPACE_PORT", port)
    monkeypatch.setattr(volumes, "DEADLINE", 0.2)
    server = await asyncio.start_server(found.serve, "127.0.0.1", port)
    yield found
    server.close()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def a_telling_pod(*, ready: bool = True) -> Object:
    pod = a_pod(ready=ready)
    pod["spec"]["containers"].append({"name": "space", "image": "operator"})
    pod["status"]["podIP"] = "127.0.0.1"
    return pod


async def test_it_is_asked_and_remembered(reporter: Reporter) -> None:
    """Once in so many seconds, however often somebody looks; the exact figures are in the metrics."""
    clock = Clock()
    known, registry = Volumes(clock), a_registry()
    assert await known.ask(registry, [a_telling_pod()]) == SPACE
    assert await known.ask(registry, [a_telling_pod()]) == SPACE
    assert reporter.asked == 1
    labels = {"namespace": "registries", "name": "team"}
    assert REGISTRY.get_sample_value("private_registry_storage_free_bytes", labels) == 90 * GIB
    assert REGISTRY.get_sample_value("private_registry_storage_total_bytes", labels) == 100 * GIB
    clock.now += EVERY
    assert await known.ask(registry, [a_telling_pod()]) == SPACE
    assert reporter.asked == 2
    known.forget(registry.key)
    known.forget(registry.key)
    assert REGISTRY.get_sample_value("private_registry_storage_free_bytes", labels) is None


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"",
        b"HTTP/1.0 200 OK\r\n\r\n{",
        b"HTTP/1.0 503 Service Unavailable\r\n\r\n" + ANSWER,
        b"HTTP/1.0 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n" + ANSWER,
        b"HTTP/1.0 200 OK\r\n\r\n" + ANSWER + b" " * 10_000,
        b"\x00" * 100,
    ],
)
async def test_nobody_says(reporter: Reporter, answer: bytes | None) -> None:
    """Whatever comes in its place, or nothing: it is not known, soon, and asked again before long."""
    reporter.answer = answer
    known, registry = Volumes(Clock()), a_registry()
    assert await known.ask(registry, [a_telling_pod()]) is None
    asked = reporter.asked
    assert await known.ask(registry, [a_telling_pod()]) is None
    assert reporter.asked == asked
    assert known.next_look(registry, None) == EVERY


@pytest.mark.parametrize("pods", [[], [a_pod()], [a_telling_pod(ready=False)]])
async def test_nobody_to_ask(reporter: Reporter, pods: list[Object]) -> None:
    """Without a pod that can tell, nothing is asked; and when there is one, it is asked at once."""
    known, registry = Volumes(Clock()), a_registry()
    assert await known.ask(registry, pods) is None
    assert reporter.asked == 0
    assert known.next_look(registry, None) == math.inf
    assert await known.ask(registry, [a_telling_pod()]) == SPACE


async def test_where_nobody_listens(reporter: Reporter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod whose container has just started is asked again soon: its first answer is no reason for one more write."""
    clock, port = Clock(), names.SPACE_PORT
    known, registry = Volumes(clock), a_registry()
    monkeypatch.setattr(names, "SPACE_PORT", free_port())
    assert await known.ask(registry, [a_telling_pod()]) is None
    monkeypatch.setattr(names, "SPACE_PORT", port)
    clock.now += STARTS
    assert await known.ask(registry, [a_telling_pod()]) == SPACE
    assert reporter.asked == 1


@pytest.mark.parametrize(("free", "wait"), [(90 * GIB, math.inf), (10 * GIB, EVERY)])
def test_one_that_is_nearly_full_is_looked_at_more_often(free: int, wait: float) -> None:
    """Also one that is to get room again."""
    assert Volumes().next_look(a_registry(), Space(100 * GIB, 0, free)) == wait
