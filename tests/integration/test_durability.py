"""What was acknowledged is there: after a registry was killed among pushes, and after a machine lost its power.

Of a push that was not acknowledged, distribution 3.1 may list the tag and answer 404 to who pulls it: it makes the
tag's directory first, and lists directories. What a tag does give is whole, and to push again mends it.
"""

import asyncio
import itertools
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from private_registry.registry.configuration import DATA_DIRECTORY
from tests.integration.images import Image, pull
from tests.integration.power import PowerVolume
from tests.integration.pushing import client
from tests.integration.registry_pod import RegistryPod
from tests.registries import a_registry

PUSHES, KILLS, CUTS = (1000, 50, 20) if os.environ.get("SOAK") else (100, 5, 4)
PUSHERS = 5
NEWEST = "newest"
"""A tag that each pusher moves from image to image."""
A_PUSH = 12
"""Requests that one takes, about."""


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[PowerVolume]:
    """The volume of the pod."""
    with PowerVolume(tmp_path / "device", tmp_path / "pod" / DATA_DIRECTORY.lstrip("/")) as volume:
        yield volume


@pytest.fixture
def pod(volume: PowerVolume, tmp_path: Path) -> Iterator[RegistryPod]:
    registry = a_registry({"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}})
    with RegistryPod(registry, tmp_path / "pod") as pod:
        yield pod


async def test_a_registry_that_is_killed_keeps_what_it_acknowledged(pod: RegistryPod) -> None:
    """Killed in the middle of pushes: each that was acknowledged pulls back, by its tag and by its digest."""
    await push_through(pod, pod.process.kill, times=KILLS)


async def test_a_power_cut_takes_nothing_that_was_acknowledged(pod: RegistryPod, volume: PowerVolume) -> None:
    """All that the machine had in memory is gone; each push that was acknowledged is on the disk."""
    in_memory = volume.place / "in-memory"

    def cut() -> None:
        in_memory.write_text("not synced")
        volume.cut()
        pod.process.kill()
        volume.restore()
        assert not (in_memory.exists() and in_memory.stat().st_size), "the cut took nothing: this test shows nothing"
        in_memory.unlink(missing_ok=True)

    await push_through(pod, cut, times=CUTS)


async def push_through(pod: RegistryPod, crash: Callable[[], None], *, times: int) -> None:
    """Push, crash, start again and look, so many times."""
    pushers = Pushers(pod, random.Random(1))
    for _ in range(times):
        await pushers.push_until(crash, acknowledged=PUSHES // times)
        pod.process.start()
        await pushers.check()
    assert len(pushers.acknowledged) >= PUSHES
    assert len(pushers.interrupted) >= times
    print(f"{times} crashes: {pushers}")
    await pushers.push_again()
    await pushers.check(everything=True)


@dataclass
class Pushers:
    """People who push to one registry at the same time, each to a repository of his own, until it is no more."""

    pod: RegistryPod
    chance: random.Random
    acknowledged: list[Image] = field(default_factory=list)
    interrupted: list[Image] = field(default_factory=list)
    """What was on its way when the registry went."""
    _newest: dict[str, set[str]] = field(default_factory=dict)
    """By repository, the digests that its tag NEWEST may have."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _checked: int = 0
    _only_listed: set[tuple[str, str]] = field(default_factory=set)

    def __str__(self) -> str:
        there, interrupted = len(self.acknowledged), len(self.interrupted)
        return f"{there} acknowledged, all there; {interrupted} interrupted, {len(self._only_listed)} only listed"

    async def push_until(self, crash: Callable[[], None], *, acknowledged: int) -> None:
        """Push; once so many more are acknowledged, crash at one of the requests that follow."""
        enough = len(self.acknowledged) + acknowledged
        left = self.chance.randrange(1, PUSHERS * A_PUSH)
        crashed = False

        async def crash_in_time(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            nonlocal left, crashed
            if len(self.acknowledged) >= enough:
                left -= 1
            if left == 0 and not crashed:
                crash()
                crashed = True
            return await handler(request)

        async def push(repository: str) -> None:
            while True:
                image = Image.made(repository, f"v{next(self._numbers)}", self.chance)
                try:
                    await image.push(session)
                    self._newest.setdefault(repository, set()).add(image.digest)
                    await image.name(session, NEWEST)
                except aiohttp.ClientError:
                    assert crashed
                    self.interrupted.append(image)
                    return
                self._newest[repository] = {image.digest}
                self.acknowledged.append(image)

        async with client(self.pod.http, crash_in_time) as session:
            await asyncio.gather(*(push(f"team/app-{number}") for number in range(PUSHERS)))

    async def push_again(self) -> None:
        """Push what was interrupted once more, as people do."""
        async with client(self.pod.http) as session:
            for image in self.interrupted:
                await image.push(session)
                self.acknowledged.append(image)

    async def check(self, *, everything: bool = False) -> None:
        """Everything that was acknowledged since the last time is there and whole, and so is what lists, if it pulls.

        Raises AssertionError with what is missing.
        """
        new = self.acknowledged[0 if everything else self._checked :]
        async with client(self.pod.http) as session:
            for image in new:
                for reference in (image.tag, image.digest):
                    assert await pull(session, image.repository, reference) == image.digest, image
            for repository, digests in self._newest.items():
                assert await pull(session, repository, NEWEST) in digests, repository
            listed = {
                (repository, tag)
                for repository in await self.pod.http.catalog()
                for tag in await self.pod.http.tags(repository)
            }
            there = {(image.repository, image.tag) for image in self.acknowledged}
            assert there <= listed
            interrupted = {(image.repository, image.tag): image.digest for image in self.interrupted}
            named = {(repository, NEWEST) for repository in self._newest}
            for name in listed - there - named:
                found = await pull(session, *name)
                assert found in {None, interrupted[name]}, name
                if found is None:
                    self._only_listed.add(name)
        self._checked = len(self.acknowledged)
