"""The node as its keepers see it: the runtimes that run now, and the places where files of ours may be."""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from private_registry.agent.files.daemon_file import DaemonFileError
from private_registry.agent.files.made import NotVisibleError
from private_registry.agent.files.roots import ConflictError, HeldError
from private_registry.agent.places import Places
from private_registry.agent.runtimes.proving import worst
from private_registry.agent.runtimes.runtime import Runtime
from private_registry.trust import vendors
from private_registry.trust.docker import FlagConflictError
from private_registry.trust.node_files import NodeFiles
from private_registry.trust.reasons import Reason, Verdict

NOT_WRITTEN: Final = (ConflictError, HeldError, NotVisibleError, DaemonFileError, FlagConflictError, OSError)
"""What may keep a file of ours from being what it should be."""

T = TypeVar("T")


class Node:
    """Files and runtimes of one node. Whatever touches the disk does so in one thread, one thing after another."""

    def __init__(self, host_root: Path, *, wrote: Callable[[int], None]) -> None:
        """`wrote` is told how many files were written or removed."""
        self.host_root = host_root
        self.places = Places(host_root)
        self.run = 0
        """Counts what was seen of runtimes coming, restarting and going: a proof speaks of one such state."""
        self._wrote = wrote
        self._runtimes: dict[str, Runtime] = {}
        self._lost: dict[str, Verdict] = {}
        self._left: set[str] = set()
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk")

    @property
    def registries(self) -> frozenset[str]:
        """Those that have something on this node, by our marks."""
        return self.places.registries

    @property
    def runtimes(self) -> tuple[Runtime, ...]:
        """Those that run, in the order of their names."""
        return tuple(self._runtimes[name] for name in sorted(self._runtimes))

    def runtime(self, name: str) -> Runtime | None:
        return self._runtimes.get(name)

    def lost(self, name: str) -> Verdict | None:
        """Why a runtime that is there cannot be asked."""
        return self._lost.get(name)

    @property
    def trouble(self) -> Verdict | None:
        """Why nothing at all can be trusted on this node at present."""
        if self._runtimes or self._lost:
            return None
        for path, (name, setting) in vendors.SOCKETS.items():
            if (self.host_root / path).exists():
                message = f"this node runs {name} (/{path}), which this version does not configure: {setting}"
                return Verdict(Reason.NO_RUNTIME, message)
        return Verdict(Reason.NO_RUNTIME, "this node runs neither containerd nor Docker Engine nor CRI-O")

    async def survey(self) -> None:
        """Read whose files there are, and clear away what a crash left. Raises OSError and ConfigFileError."""
        await self.on_disk(self.places.survey)

    async def adopt(self, runtime: Runtime) -> None:
        """Go on with this run of a runtime. What is in directories that it reads no more means nothing, and goes."""
        await self._replace(runtime.name, runtime)  # first: whoever applies something from now on writes nothing there
        if runtime.sure:
            with contextlib.suppress(OSError):  # it will be tried again, when a registry goes at the latest
                self._wrote(await self.on_disk(self.places.empty_others, runtime.name, runtime.root, runtime.literal))
        self._lost.pop(runtime.name, None)
        self._left.discard(runtime.name)

    async def lose(self, name: str, verdict: Verdict | None) -> None:
        """Do without a runtime: it cannot be asked, or (None) this node runs it no more. Its files stay."""
        if name in self._runtimes:
            self._left.add(name)
        await self._replace(name, None)
        if verdict:
            self._lost[name] = verdict
        else:
            self._lost.pop(name, None)

    async def _replace(self, name: str, runtime: Runtime | None) -> None:
        before = self._runtimes.pop(name, None)
        if runtime:
            self._runtimes[name] = runtime
        self.run += 1
        if before:
            await before.close()

    async def close(self) -> None:
        for runtime in self.runtimes:
            await runtime.close()
        self._disk.shutdown()

    async def apply(self, files: NodeFiles) -> int:
        """Make the files of a registry what they should be; returns the number of writes, 0 when all was right.

        Raises one of NOT_WRITTEN after everything else was done; what was right before is right still.
        """
        writes, failure = await self.on_disk(self._apply, files, self.runtimes)
        self._wrote(writes)
        if failure:
            raise failure
        return writes

    def _apply(self, files: NodeFiles, runtimes: tuple[Runtime, ...]) -> tuple[int, Exception | None]:
        registry, hosts_file = files.registry, self.places.hosts_file
        writes, failure = 0, None
        alias = files.alias(self._names(files, runtimes))
        if alias:  # before anything points to the name
            try:
                writes = hosts_file.apply(alias, registry, files.entry_hash)
            except NOT_WRITTEN as error:
                return 0, error
        roots = dict[Path, Callable[[], int]]()
        for runtime in runtimes:
            if runtime.root:  # where two read the same one, the first has hosts.toml, which is more
                keep = partial(runtime.root.keep, runtime.directories(files), registry)
                roots.setdefault(runtime.root.here, keep)
        works: list[Callable[[], int]] = [*roots.values(), *(partial(runtime.apply, files) for runtime in runtimes)]
        if not alias and registry in hosts_file.registries:
            works.append(partial(hosts_file.remove, registry))
        for work in works:
            try:
                writes += work()
            except NOT_WRITTEN as error:
                failure = failure or error
        return writes, failure

    def _names(self, files: NodeFiles, runtimes: tuple[Runtime, ...]) -> frozenset[str]:
        """The names that this node has to resolve. What a runtime needs that is away for now stays."""
        names = frozenset(name for runtime in runtimes for name in runtime.names(files))
        return names | self.places.hosts_file.names(files.registry) if self._lost or self._left else names

    async def remove(self, registry: str) -> None:
        """Remove everything of a registry, wherever it is. Raises OSError, DaemonFileError and ConfigFileError."""
        self._wrote(await self.on_disk(self.places.remove, registry))

    async def prove(self, files: NodeFiles) -> Verdict:
        """Ask every runtime for an image that cannot exist, by every name of a registry."""
        runtimes = self.runtimes
        verdicts = await asyncio.gather(*(runtime.prove(files) for runtime in runtimes))
        return worst([*self._lost.values(), *verdicts])

    async def on_disk(self, work: Callable[..., T], *arguments: object) -> T:
        """Run something in the one thread that touches the disk."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)
