"""What wakes the loops of an agent."""

import asyncio

import pytest

from private_registry.agent.pulse import Pulse


@pytest.mark.parametrize("turns", range(6))
async def test_a_loop_ends_though_it_is_woken_in_the_same_moment(turns: int) -> None:
    """An agent that is told to stop stops, whatever else happens just then."""
    pulse = Pulse(0)

    async def loop() -> None:
        while True:
            await pulse.wait(60)

    task = asyncio.create_task(loop())
    await asyncio.sleep(0)
    pulse.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=1)
    assert done
    assert task.cancelled()
