"""inotify, as an agent uses it: on a real file system."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from private_registry.agent.watch import Watcher

QUEUE = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


class Seen:
    """Collects changes, and waits for one."""

    def __init__(self) -> None:
        self.changes: list[tuple[Path, str]] = []
        self._news = asyncio.Event()

    def __call__(self, directory: Path, name: str) -> None:
        self.changes.append((directory, name))
        self._news.set()

    async def until(self, directory: Path, name: str) -> None:
        async with asyncio.timeout(5):
            while (directory, name) not in self.changes:
                await self._news.wait()
                self._news.clear()
        self.changes.clear()


@pytest.fixture
async def seen() -> Seen:
    return Seen()


@pytest.fixture
async def watcher(seen: Seen) -> AsyncIterator[Watcher]:
    watcher = Watcher(seen)
    yield watcher
    watcher.close()


async def test_each_kind_of_change_is_told(seen: Seen, watcher: Watcher, tmp_path: Path) -> None:
    """Created, edited, given another mode, renamed, deleted: the directory and the name."""
    watcher.watch([tmp_path])
    file = tmp_path / "hosts.toml"
    file.write_text("x")
    await seen.until(tmp_path, "hosts.toml")
    file.chmod(0o600)
    await seen.until(tmp_path, "hosts.toml")
    file.rename(tmp_path / "other")
    await seen.until(tmp_path, "other")
    (tmp_path / "other").unlink()
    await seen.until(tmp_path, "other")


async def test_one_that_is_new_counts_as_changed(seen: Seen, watcher: Watcher, tmp_path: Path) -> None:
    """What happened in it before it was watched is not missed."""
    watcher.watch([tmp_path])
    assert (tmp_path, "") in seen.changes
    seen.changes.clear()
    watcher.watch([tmp_path])
    assert not seen.changes


async def test_a_directory_that_is_replaced_is_watched_again(seen: Seen, watcher: Watcher, tmp_path: Path) -> None:
    """Vendors swap whole directories: what comes after is seen, what is in the old one is not."""
    certs_d, old = tmp_path / "certs.d", tmp_path / "old"
    certs_d.mkdir()
    watcher.watch([tmp_path, certs_d])
    certs_d.rename(old)
    certs_d.mkdir()
    await seen.until(tmp_path, "certs.d")
    watcher.watch([tmp_path, certs_d])
    (old / "ignored").touch()
    (certs_d / "new").touch()
    await seen.until(certs_d, "new")
    assert (certs_d, "ignored") not in seen.changes


async def test_a_directory_that_is_deleted_is_told_and_forgotten(seen: Seen, watcher: Watcher, tmp_path: Path) -> None:
    """And when it is back, it is watched like any other."""
    directory = tmp_path / "host"
    directory.mkdir()
    watcher.watch([directory])
    shutil.rmtree(directory)
    await seen.until(directory, "")
    directory.mkdir()
    watcher.watch([directory])
    (directory / "x").touch()
    await seen.until(directory, "x")


async def test_what_is_not_there_is_no_error(seen: Seen, watcher: Watcher, tmp_path: Path) -> None:
    """A link is not followed, either."""
    (tmp_path / "file").touch()
    watcher.watch([tmp_path / "absent", tmp_path / "file", tmp_path])
    (tmp_path / "x").touch()
    await seen.until(tmp_path, "x")


async def test_what_is_no_longer_asked_for_is_not_told(seen: Seen, watcher: Watcher, tmp_path: Path) -> None:
    """The list given last is the one that holds."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    watcher.watch([tmp_path / "a", tmp_path / "b"])
    watcher.watch([tmp_path / "b"])
    (tmp_path / "a" / "x").touch()
    (tmp_path / "b" / "y").touch()
    await seen.until(tmp_path / "b", "y")
    assert all(directory == tmp_path / "b" for directory, _ in seen.changes)


async def test_a_flood_of_changes_is_not_lost(seen: Seen, watcher: Watcher, tmp_path: Path) -> None:
    """When the kernel's queue overflows, everything is looked at."""
    quiet, loud = tmp_path / "quiet", tmp_path / "loud"
    quiet.mkdir()
    loud.mkdir()
    watcher.watch([quiet, loud])
    for number in range(QUEUE + 100):
        os.close(os.open(loud / str(number % 7), os.O_CREAT | os.O_WRONLY))
    await seen.until(quiet, "")
