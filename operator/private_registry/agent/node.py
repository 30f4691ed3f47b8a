"""The node as its keepers see it: the runtime that runs now, and the places where files of ours may be."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TypeVar

from private_registry.agent.cri.client import Cri
from private_registry.agent.files.hosts_file import HostsFile
from private_registry.agent.files.roots import Root
from private_registry.agent.runtimes import Containerd
from private_registry.trust import proof
from private_registry.trust.containerd import DEFAULT_ROOT
from private_registry.trust.node_files import HostDirectory, NodeFiles
from private_registry.trust.reasons import Reason, Verdict

_PULLS_AT_ONCE = 64

T = TypeVar("T")


class Node:
    """Files and runtime of one node. Whatever touches the disk does so in one thread, one thing after another."""

    def __init__(self, host_root: Path, *, wrote: Callable[[int], None]) -> None:
        """`wrote` is told how many files were written or removed."""
        self.host_root = host_root
        self.run = 0
        """Counts the runs of the runtime that were seen: a proof speaks of one of them."""
        self.lost: Verdict | None = None
        """Why there is no runtime at present."""
        self.root: Root | None = None
        """The one that the runtime reads first."""
        self._wrote = wrote
        self._roots: dict[PurePosixPath, Root] = {}
        self._hosts_file = HostsFile(host_root)
        self._owned: dict[str, frozenset[str]] = {}
        self._aliased: frozenset[str] = frozenset()
        self._runtime: Containerd | None = None
        self._cri: Cri | None = None
        self._pulls = asyncio.Semaphore(_PULLS_AT_ONCE)
        self._disk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk")
        self.know(DEFAULT_ROOT)

    @property
    def registries(self) -> frozenset[str]:
        """Those that have something on this node, by our markers."""
        return frozenset(self._owned) | self._aliased

    @property
    def runtime(self) -> Containerd | None:
        """The one that was seen last."""
        return self._runtime

    @property
    def trouble(self) -> Verdict | None:
        """Why nothing can be trusted on this node at present."""
        return self.lost or (self._runtime.lookup.verdict if self._runtime else None)

    def know(self, path: PurePosixPath) -> Root:
        """Look for files of ours in this root too, whether or not the runtime does."""
        return self._roots.setdefault(path, Root(self.host_root, path))

    async def survey(self) -> None:
        """Read whose files there are, and clear away what a crash left."""
        await self._on_disk(self._survey)

    def _survey(self) -> None:
        owned: dict[str, frozenset[str]] = {}
        for root in self._roots.values():
            for registry, hosts in root.owners().items():
                owned[registry] = owned.get(registry, frozenset()) | hosts
        self._owned = owned
        self._aliased = self._hosts_file.owners()

    async def adopt(self, runtime: Containerd) -> None:
        """Go on with this run of the runtime. What is in roots that it does not read means nothing, and goes."""
        lookup = runtime.lookup
        self.root = self.know(lookup.root) if lookup.root else None
        if self.root or (lookup.verdict and lookup.verdict.reason is Reason.CONFIG_PATH_UNSET):
            self._wrote(await self._on_disk(self._empty_others, self.root))
        before, self._cri = self._cri, Cri(runtime.socket)
        self._runtime = runtime
        self.lost = None
        self.run += 1
        if before:
            await before.close()

    async def close(self) -> None:
        if self._cri:
            await self._cri.close()
        self._disk.shutdown()

    def _empty_others(self, current: Root | None) -> int:
        others = [root for root in self._roots.values() if root is not current]
        removed = 0
        for root in others:
            with contextlib.suppress(OSError):  # it will be tried again, when a registry goes at the latest
                removed += sum(root.remove(registry) for registry in root.owners())
        return removed

    async def apply(self, files: NodeFiles) -> int:
        """Make the files of a registry what they should be; returns the number of writes, 0 when all was right.

        Raises ConflictError, HeldError, RootNotVisibleError and OSError; what was right before is right still.
        """
        if self.root is None:
            return 0
        writes = await self._on_disk(self._apply, files, self.root)
        self._wrote(writes)
        return writes

    def _apply(self, files: NodeFiles, root: Root) -> int:
        registry = files.registry
        writes = 0
        if files.alias:  # before anything points to the name
            self._aliased |= {registry}
            writes += self._hosts_file.apply(files.alias, registry, files.entry_hash)
        for directory in files.directories:
            self._owned[registry] = self._owned.get(registry, frozenset()) | {directory.host}
            writes += root.apply(directory, registry)
        hosts = frozenset(directory.host for directory in files.directories)
        if self._owned[registry] > hosts:
            writes += root.remove(registry, keep=hosts)
            self._owned[registry] = hosts
        if registry in self._aliased and not files.alias:
            writes += self._hosts_file.remove(registry)
            self._aliased -= {registry}
        return writes

    async def remove(self, registry: str) -> None:
        """Remove everything of a registry, wherever it is. Raises OSError."""
        self._wrote(await self._on_disk(self._remove, registry))

    def _remove(self, registry: str) -> int:
        removed = sum(root.remove(registry) for root in self._roots.values())
        removed += self._hosts_file.remove(registry)
        self._owned.pop(registry, None)
        self._aliased -= {registry}
        return removed

    async def prove(self, files: NodeFiles) -> Verdict:
        """Ask the runtime for an image that cannot exist, by every name of a registry."""
        verdicts = await asyncio.gather(*(self._prove(directory) for directory in files.directories))
        return next((verdict for verdict in verdicts if not verdict.trusted), verdicts[0])

    async def _prove(self, directory: HostDirectory) -> Verdict:
        cri, runtime = self._cri, self._runtime
        if cri is None or runtime is None:
            return Verdict(Reason.RUNTIME_UNAVAILABLE, "the runtime is being looked for")
        tag = secrets.token_hex(8)
        async with self._pulls:
            answer = await cri.pull(f"{directory.host}/{proof.REPOSITORY}:{tag}")
        details = answer.details.replace(f":{tag}", "")
        return proof.classify(answer.code, details, server=directory.server, hint=runtime.lookup.hint)

    async def _on_disk(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, work, *arguments)
