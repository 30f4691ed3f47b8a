"""How a figure is taken: a clock that starts before a change and stops at the watch event that shows its effect."""

import asyncio
import math
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from private_registry.kube.client import Kube
from private_registry.kube.kinds import Kind

Object = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    name: str
    value: float
    bar: float
    unit: str
    detail: str = ""
    at_least: bool = False
    """Whether the bar is one to reach, and not one to stay below."""

    @property
    def met(self) -> bool:
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    def row(self) -> str:
        mark = "" if self.met else " **missed**"
        shown = f"{self.value:.1f}" if self.unit in {"s", "mCPU"} else f"{self.value:.0f}"
        bar = f"{'≥' if self.at_least else '≤'} {self.bar:g}"
        return f"| {self.name} | {bar} {self.unit} | {shown} {self.unit}{mark} | {self.detail} |"


def seconds(name: str, values: Sequence[float], bar: float) -> Figure:
    """The median of several times, with their range."""
    spread = f"median of {len(values)}, {min(values):.1f} to {max(values):.1f}"
    return Figure(name, statistics.median(values), bar, "s", spread)


def worst_seconds(name: str, values: Sequence[float], bar: float) -> Figure:
    """The time that 99 of 100 do not exceed, with the median and the longest."""
    p99 = sorted(values)[math.ceil(len(values) * 0.99) - 1]
    detail = f"p99 of {len(values)}; median {statistics.median(values):.2f} s, longest {max(values):.2f} s"
    return Figure(name, p99, bar, "s", detail)


async def until(
    kube: Kube, kind: Kind, namespace: str | None, wanted: Callable[[dict[str, Object]], bool], *, within: float
) -> float:
    """Wait until the objects of a kind, by name, are as wanted; the moment of the event that showed it (monotonic).

    Raises AssertionError with what was seen last.
    """
    seen: dict[str, Object] = {}

    async def watch() -> float:
        listing = await kube.list(kind, namespace)
        seen.update({obj["metadata"]["name"]: obj for obj in listing.items})
        if wanted(seen):
            return time.monotonic()
        async for event in kube.watch(kind, namespace, resource_version=listing.resource_version):
            if event.type == "BOOKMARK":
                continue
            name = event.object["metadata"]["name"]
            if event.type == "DELETED":
                seen.pop(name, None)
            else:
                seen[name] = event.object
            if wanted(seen):
                return time.monotonic()
        raise AssertionError("the watch ended")

    try:
        return await asyncio.wait_for(watch(), within)
    except TimeoutError:
        states = {name: obj.get("status") for name, obj in seen.items()}
        raise AssertionError(f"{kind.plural} not as wanted within {within:g} s; last seen: {states}") from None


async def timed(change: Callable[[], Awaitable[object]], effect: Awaitable[float]) -> float:
    """Seconds from just before a change to its effect, for which is already being watched."""
    waiting = asyncio.ensure_future(effect)
    await asyncio.sleep(0)
    began = time.monotonic()
    await change()
    return await waiting - began
