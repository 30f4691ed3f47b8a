"""Tenants that share one operator: what each of them gets while another asks for everything."""

import asyncio
from collections import Counter

from private_registry.controller.engine import Engine, Next
from private_registry.controller.slots import AT_ONCE, OF_ONE, Slots
from tests.unit.controller import clock

MINE, FLOOD = "mine/team", 500


def test_a_flood_in_one_namespace_delays_another_by_one_turn() -> None:
    """Whoever comes after hundreds of another's is served next, not last, each time."""

    async def story() -> None:
        ended = asyncio.Event()

        async def work(key: str) -> Next:
            await asyncio.sleep(1)
            if key == MINE:
                ended.set()
            return Next(done=True)

        engine = Engine("test", work)
        engine.wake_all(f"another/{number}" for number in range(FLOOD))
        for _ in range(3):
            await asyncio.sleep(5)
            began = clock.now()
            engine.wake(MINE)
            await ended.wait()
            assert clock.now() - began < 2.5
            ended.clear()
        await engine.stop()

    clock.run(story())


def test_what_hangs_in_one_namespace_keeps_nobody_else_waiting() -> None:
    """Registries that never answer hold the turns of their own namespace alone."""

    async def story() -> None:
        running: list[str] = []

        async def work(key: str) -> Next:
            running.append(key)
            if key != MINE:
                await asyncio.Event().wait()
            return Next(done=True)

        engine = Engine("test", work)
        engine.wake_all(f"another/{number}" for number in range(FLOOD))
        await asyncio.sleep(1)
        assert len(running) == OF_ONE
        engine.wake(MINE)
        await asyncio.sleep(1)
        assert MINE in running
        await engine.stop()

    clock.run(story())


def test_namespaces_that_all_want_everything_share_it_evenly() -> None:
    """Who came first has no more of it than the others; and no turn is left unused."""

    async def story() -> None:
        ran = Counter[str]()

        async def work(key: str) -> Next:
            ran[key.partition("/")[0]] += 1
            await asyncio.sleep(1)
            return Next(done=True)

        engine = Engine("test", work)
        engine.wake_all(f"{namespace}/{number}" for namespace in "abc" for number in range(FLOOD))
        await asyncio.sleep(30.5)
        assert ran.total() == 31 * AT_ONCE
        assert max(ran.values()) - min(ran.values()) <= OF_ONE
        await engine.stop()

    clock.run(story())


def test_a_turn_that_nobody_waits_for_any_more_is_the_next_ones() -> None:
    """Keys are given up while they wait, and in the very moment in which it is their turn."""

    async def story() -> None:
        slots, release = Slots(), asyncio.Event()

        async def hold() -> None:
            async with slots.one(MINE):
                await release.wait()

        holders = [asyncio.create_task(hold()) for _ in range(OF_ONE)]
        waiting = [asyncio.create_task(hold()) for _ in range(3)]
        await asyncio.sleep(1)
        waiting[0].cancel()
        release.set()
        await asyncio.gather(*holders)
        waiting[1].cancel()  # has its turn, and has not been told yet
        await asyncio.wait_for(waiting[2], 1)
        async with slots.one(MINE):
            pass

    clock.run(story())
