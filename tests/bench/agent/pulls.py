"""Pulls by a runtime whose files for that registry are rewritten all the while."""

import asyncio
import contextlib
import re
from itertools import cycle

from private_registry.agent.cri.client import Answer, Cri
from tests.bench.agent.place import Place, place
from tests.bench.measure import Figure
from tests.integration.agent_node import Agent

PULLS = 1000
REWRITES = 10
"""A second."""
_WRITES = re.compile(r"^private_registry_agent_node_writes_total (\S+)", re.MULTILINE)


async def figures() -> list[Figure]:
    """Pulls that failed, of images that the node has not pulled before."""
    async with place(1) as here:
        (registry,) = here.registries
        for number in range(PULLS):
            await registry.push(f"image-{number}")
        with here.world.agent() as agent:
            await here.until_trusted(within=60)
            files = 2 * len(registry.hosts)
            clock = asyncio.get_running_loop().time
            began, written = clock(), _written(agent)
            rewriting = asyncio.create_task(_rewrite(here))
            answers = await _pull_all(here)
            rewriting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await rewriting
            rate = (_written(agent) - written) / files / (clock() - began)
    failed = [answer.details for answer in answers if answer.code != "OK"]
    return [
        Figure(
            f"failed pulls of {PULLS} while {REWRITES} rewrites a second go on", len(failed), 0, "",
            f"{rate:.1f} rewrites a second of {files} files" + "".join(f"; {said}" for said in failed[:1]),
        )
    ]  # fmt: skip


async def _rewrite(here: Place) -> None:
    """Change the entry at an even pace, until cancelled."""
    (registry,) = here.registries
    clock = asyncio.get_running_loop().time
    due = clock()
    while True:
        here.turn(registry)
        await here.put(registry)
        due += 0.9 / REWRITES  # a little ahead, so that it is not less
        await asyncio.sleep(due - clock())


async def _pull_all(here: Place) -> list[Answer]:
    """One after the other, by every name of the registry in turn."""
    (registry,) = here.registries
    async with Cri(here.world.node.socket) as cri:
        images = (
            f"{host}/image-{number}:v1" for number, host in zip(range(PULLS), cycle(registry.hosts), strict=False)
        )
        return [await cri.pull(image) for image in images]


def _written(agent: Agent) -> float:
    """Files that the agent has written since it started."""
    found = _WRITES.search(agent.get("/metrics"))
    assert found
    return float(found[1])
