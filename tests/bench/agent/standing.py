"""One node with 50 registries: how soon a change is proven, and what it costs when nothing changes."""

import asyncio
import os
from collections import Counter
from itertools import cycle, islice
from pathlib import Path

from tests.bench.agent.place import Place, place
from tests.bench.measure import Figure, worst_seconds
from tests.cluster.processes.control_plane import Moment
from tests.integration.agent_node import Agent

REGISTRIES = 50
CHANGES = 200


async def figures(idle: float) -> list[Figure]:
    """Time of a change; then memory, processor and requests at rest."""
    async with place(REGISTRIES) as here:
        with here.world.agent() as agent:
            await here.until_trusted(within=120)
            changes = [await here.change(each) for each in islice(cycle(here.registries), CHANGES)]
            return [
                worst_seconds(f"entry change to proven on a node with {REGISTRIES} registries", changes, 2),
                *await _at_rest(here, agent, idle),
            ]


async def _at_rest(here: Place, agent: Agent, idle: float) -> list[Figure]:
    began, used = here.control_plane.now(), _processor_seconds(agent.process.pid)
    # The figure itself: for so many seconds nobody asks for anything.
    await asyncio.sleep(idle)
    used = _processor_seconds(agent.process.pid) - used
    requests = _requests(here, began)
    proportional = _proportional_kib(agent.process.pid) / 1024
    return [
        Figure(
            f"agent at rest with {REGISTRIES} registries: memory", agent.resident_kib() / 1024, 64, "MiB",
            f"resident; with shared pages counted in part {proportional:.0f} MiB",
        ),
        Figure(
            f"agent at rest with {REGISTRIES} registries: processor", used / idle * 1000, 3, "mCPU",
            f"{used:.2f} s in {idle:.0f} s",
        ),
        Figure(
            f"agent at rest with {REGISTRIES} registries: requests other than its watches", sum(requests.values()), 0,
            "", ", ".join(f"{number} {what}" for what, number in requests.items()),
        ),
    ]  # fmt: skip


def _requests(here: Place, since: Moment) -> Counter[str]:
    """What was asked of the API server in the agent's name."""
    return Counter(
        f"{each['verb']} {each['objectRef']['resource']}"
        for each in here.control_plane.audit(since)
        if each["user"]["username"] == here.world.account and each["verb"] != "watch"
    )


def _processor_seconds(pid: int) -> float:
    """What a process has used, in all of its threads, for itself and in the kernel."""
    _, _, fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")
    user, system = fields.split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _proportional_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
