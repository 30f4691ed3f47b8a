"""One task per key: what wakes it, how often it runs, and when it stops."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from private_registry.controller.engine import DEBOUNCE, LAST_RETRY, RESYNC, Engine, Next, retry_pause
from private_registry.kube.client import ApiError, ConflictError
from tests.unit.controller import clock

KEY = "registries/team"


class Runs:
    """A reconcile that remembers when it ran; `then` is what it does there, `enough` is set after so many runs."""

    def __init__(self, enough: int, then: Callable[[int], Awaitable[Next]] | None = None) -> None:
        self.times: list[float] = []
        self.enough = asyncio.Event()
        self._wanted = enough
        self._then = then

    async def __call__(self, key: str) -> Next:
        self.times.append(clock.now())
        if len(self.times) >= self._wanted:
            self.enough.set()
        return await self._then(len(self.times)) if self._then else Next()

    @property
    def pauses(self) -> list[float]:
        return [after - before for before, after in zip(self.times, self.times[1:], strict=False)]


async def until_enough(runs: Runs) -> None:
    """Wake the key once and wait for the runs."""
    engine = Engine("test", runs)
    engine.wake(KEY)
    await runs.enough.wait()
    await engine.stop()


async def fails(error: Exception) -> Next:
    raise error


def test_several_wakes_are_one_run() -> None:
    """One change arrives as several events, and is reconciled once, a moment later."""

    async def story() -> None:
        runs = Runs(enough=1)
        engine = Engine("test", runs)
        for _ in range(5):
            engine.wake(KEY)
            await asyncio.sleep(DEBOUNCE / 10)
        await runs.enough.wait()
        await asyncio.sleep(RESYNC / 2)
        assert runs.times == [pytest.approx(DEBOUNCE)]
        await engine.stop()

    clock.run(story())


def test_a_quiet_key_is_looked_at_again() -> None:
    """Nothing that a watch has missed stays missed for much longer than the resync."""
    runs = Runs(enough=5)
    clock.run(until_enough(runs))
    assert all(54 <= pause <= 66 + DEBOUNCE for pause in runs.pauses)
    assert len(set(runs.pauses)) > 1, "all keys at the same moment"


def test_a_key_is_looked_at_when_it_asked_for_it() -> None:
    """A reconcile knows best when there will be something to see."""

    async def soon(_: int) -> Next:
        return Next(after=5)

    runs = Runs(enough=3, then=soon)
    clock.run(until_enough(runs))
    assert all(4.5 <= pause <= 5.5 + DEBOUNCE for pause in runs.pauses)


def test_no_key_waits_longer_than_the_resync() -> None:
    """Whatever it asked for."""

    async def late(_: int) -> Next:
        return Next(after=10_000)

    runs = Runs(enough=2, then=late)
    clock.run(until_enough(runs))
    assert runs.pauses[0] <= 66 + DEBOUNCE


def test_a_wake_ends_the_wait() -> None:
    """Whoever has news does not wait for the resync."""

    async def story() -> None:
        runs = Runs(enough=2)
        engine = Engine("test", runs)
        engine.wake(KEY)
        await asyncio.sleep(RESYNC / 2)
        engine.wake(KEY)
        await runs.enough.wait()
        assert runs.times[1] == pytest.approx(RESYNC / 2 + DEBOUNCE)
        await engine.stop()

    clock.run(story())


def test_a_key_never_runs_twice_at_once_and_a_wake_meanwhile_is_not_lost() -> None:
    """What changes while a reconcile looks elsewhere is seen by one more."""

    async def story() -> None:
        running = 0
        most = 0

        async def slow(run: int) -> Next:
            nonlocal running, most
            running += 1
            most = max(most, running)
            if run == 1:
                for _ in range(3):
                    engine.wake(KEY)
                    await asyncio.sleep(1)
            running -= 1
            return Next()

        runs = Runs(enough=2, then=slow)
        engine = Engine("test", runs)
        engine.wake(KEY)
        await runs.enough.wait()
        await asyncio.sleep(RESYNC / 2)
        assert most == 1
        assert runs.times == [pytest.approx(DEBOUNCE), pytest.approx(3 + 2 * DEBOUNCE)]
        await engine.stop()

    clock.run(story())


@pytest.mark.parametrize(
    "error",
    [ApiError(500, "InternalError", "etcd"), ConflictError(409, "Conflict", "changed"), RuntimeError("a bug")],
    ids=["the API server", "a conflict", "a bug"],
)
def test_what_fails_is_tried_again_with_growing_pauses(error: Exception) -> None:
    """Half a second, one, two, up to a minute: a cluster that is down is not hammered, and no error ends a key."""
    runs = Runs(enough=11, then=lambda _: fails(error))
    clock.run(until_enough(runs))
    for failures, pause in enumerate(runs.pauses, start=1):
        wanted = min(0.5 * 2 ** (failures - 1), 60)
        assert wanted * 0.9 <= pause - DEBOUNCE <= wanted * 1.1


def test_a_success_ends_the_series() -> None:
    """The next failure is a first one."""

    async def every_fourth_works(run: int) -> Next:
        return Next(after=5) if run % 4 == 0 else await fails(ApiError(500, "InternalError", "etcd"))

    runs = Runs(enough=6, then=every_fourth_works)
    clock.run(until_enough(runs))
    assert [pause - DEBOUNCE for pause in runs.pauses] == pytest.approx([0.5, 1, 2, 5, 0.5], rel=0.11)


def test_the_pause_is_bounded() -> None:
    """A key that failed all night is tried within a minute."""
    assert [retry_pause(failures) for failures in (1, 2, 3)] == [0.5, 1, 2]
    assert retry_pause(1000) == LAST_RETRY


def test_a_key_that_is_done_is_forgotten_until_it_is_woken() -> None:
    """A registry that is gone costs nothing; one of the same name begins anew."""

    async def done(_: int) -> Next:
        return Next(done=True)

    async def story() -> None:
        runs = Runs(enough=2, then=done)
        engine = Engine("test", runs)
        engine.wake(KEY)
        await asyncio.sleep(10 * RESYNC)
        assert len(runs.times) == 1
        assert len(asyncio.all_tasks()) == 1
        engine.wake(KEY)
        await runs.enough.wait()

    clock.run(story())


def test_a_wake_during_the_last_run_is_not_lost() -> None:
    """A registry that is made anew while the last one of its name is being forgotten is seen."""

    async def story() -> None:
        async def done_but_woken(run: int) -> Next:
            if run == 1:
                engine.wake(KEY)
            return Next(done=True)

        runs = Runs(enough=2, then=done_but_woken)
        engine = Engine("test", runs)
        engine.wake(KEY)
        await runs.enough.wait()
        assert clock.now() == pytest.approx(2 * DEBOUNCE)

    clock.run(story())


def test_many_keys_run_side_by_side_and_not_all_at_once() -> None:
    """One that hangs holds up nobody else; a hundred do not storm the API server."""

    async def story() -> None:
        release = asyncio.Event()
        running: set[str] = set()

        async def hang(key: str) -> Next:
            running.add(key)
            await release.wait()
            return Next()

        engine = Engine("test", hang)
        engine.wake_all(f"registries/{number}" for number in range(100))
        await asyncio.sleep(RESYNC)
        assert 2 <= len(running) <= 10
        release.set()
        await asyncio.sleep(1)
        assert len(running) == 100
        await engine.stop()

    clock.run(story())


def test_after_stop_nothing_runs_any_more_whoever_wakes() -> None:
    """Somebody else may lead by then, and the watches go on for a moment."""

    async def story() -> None:
        async def slow(_: int) -> Next:
            await asyncio.sleep(10)
            finished.append(True)
            return Next()

        finished: list[bool] = []
        runs = Runs(enough=1, then=slow)
        engine = Engine("test", runs)
        engine.wake(KEY)
        await runs.enough.wait()
        await engine.stop()
        engine.wake(KEY)
        engine.wake("registries/other")
        await asyncio.sleep(10 * RESYNC)
        assert finished == []
        assert len(runs.times) == 1
        assert len(asyncio.all_tasks()) == 1

    clock.run(story())
