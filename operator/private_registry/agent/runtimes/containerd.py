"""containerd: told of a registry by a directory for each of its hosts, and asked over the CRI."""

import asyncio
import os
from collections.abc import Callable, Collection, Hashable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

from private_registry.agent.cri.client import Cri, RuntimeUnavailableError
from private_registry.agent.files.atomic import on_host
from private_registry.agent.files.literal import LiteralPath
from private_registry.agent.files.roots import Root
from private_registry.agent.runtimes.managed import Management, Process
from private_registry.agent.runtimes.proving import prove_by_cri
from private_registry.agent.runtimes.runtime import RuntimeMissingError, listener, run_of
from private_registry.trust import containerd
from private_registry.trust.node_files import HostDirectory, NodeFiles
from private_registry.trust.reasons import Reason, Verdict

SOCKET = PurePosixPath("/run/containerd/containerd.sock")


class Containerd:
    """A containerd as it runs now."""

    name = "containerd"

    def __init__(
        self,
        cri: Cri,
        *,
        identity: Hashable,
        process: Process,
        root: Root | None,
        literal: LiteralPath | None,
        unset: Callable[[], Verdict | None] | None = None,
    ) -> None:
        """`root` and `literal` are the writers of the directories that it reads.

        `unset` tells why it reads none at present, where that may change while it runs.
        """
        lookup = process.lookup
        self.identity = identity
        self.process = process
        self.version = process.version
        self.config_path = lookup.config_path
        self.root = root
        self.sure = bool(root) or (lookup.verdict is not None and lookup.verdict.reason is Reason.CONFIG_PATH_UNSET)
        self.literal = literal
        self._is_misread = False
        self._unset = unset or (lambda: lookup.verdict)
        self._cri = cri

    def names(self, files: NodeFiles) -> Collection[str]:
        return (files.server_name,) if files.server_name and self.root else ()

    def directories(self, files: NodeFiles) -> tuple[HostDirectory, ...]:
        return files.directories

    def apply(self, _: NodeFiles) -> int:
        # Whether this containerd splits its list depends on much of its configuration: it is asked, and once it was
        # seen not to, and by an agent before this one too, the list is made a directory.
        is_wanted = self.literal is not None and (self._is_misread or self.literal.exists())
        return self.literal.make() if self.literal and is_wanted else 0

    async def prove(self, files: NodeFiles) -> Verdict:
        verdict = self._unset() or await prove_by_cri(self._cri, files.directories, hint=self.process.lookup.hint)
        self._is_misread |= verdict.reason is Reason.NOT_HONOURED
        return verdict

    async def close(self) -> None:
        await self._cri.close()


class ContainerdKind:
    """How a node's containerd is found: it listens on the usual socket and serves the CRI there."""

    name = Containerd.name
    signs = (SOCKET,)

    def __init__(
        self,
        host_root: Path,
        node: str,
        root: Callable[[PurePosixPath], Root],
        literal: Callable[[PurePosixPath, PurePosixPath], LiteralPath],
    ) -> None:
        """`root` and `literal` give the one writer of a directory."""
        self._host_root = host_root
        self._node = node
        self._root = root
        self._literal = literal
        self.management: Management | None = None
        """Where its configuration may be set."""

    def identify(self) -> Hashable:
        identity = listener(self._host_root, SOCKET, "containerd")
        return (*identity, self.management.identity) if self.management else identity

    async def answers(self) -> str:
        """Which run of it serves the CRI now. Raises RuntimeMissingError."""
        _, pid = await asyncio.to_thread(listener, self._host_root, SOCKET, "containerd")
        async with Cri(on_host(self._host_root, SOCKET)) as cri:
            try:
                await cri.version()
            except RuntimeUnavailableError:
                raise RuntimeMissingError(None) from None
        return run_of(pid)

    async def detect(self) -> Containerd:
        identity = await asyncio.to_thread(self.identify)
        _, pid = await asyncio.to_thread(listener, self._host_root, SOCKET, "containerd")
        cri = Cri(on_host(self._host_root, SOCKET))
        try:
            _, version = await cri.version()
            info = await cri.info()
            run = run_of(pid) if pid else ""
        except (RuntimeUnavailableError, RuntimeMissingError) as error:
            await cri.close()
            message = f"{SOCKET} does not serve the CRI ({error}): its CRI plugin must be enabled and loaded"
            raise RuntimeMissingError(Verdict(Reason.RUNTIME_UNAVAILABLE, message)) from None
        version = version.removeprefix("v")
        lookup = look_up(self._host_root, self._node, version, info, pid)
        process = Process(pid, run, version, lookup)
        root, management = lookup.root, self.management
        is_managed = management and management.wanted and (lookup.may_be_set or management.awaits_restart(run))
        if is_managed:
            root = containerd.DEFAULT_ROOT  # its files are there when it comes back: no pull finds it without them
        return Containerd(
            cri,
            identity=identity,
            process=process,
            root=self._root(root) if root else None,
            literal=self._literal(lookup.literal, root) if lookup.literal and root else None,
            unset=partial(management.verdict, lookup) if management and is_managed else None,
        )


def look_up(host_root: Path, node: str, version: str, info: Mapping[str, str], pid: int) -> containerd.Lookup:
    """Where the containerd of this process looks registries up."""
    told = containerd.told_in_status(info)
    try:
        config = _config_file(pid)
        files = _config_files(host_root, config) if told is None else []
    except (containerd.ConfigUnreadableError, OSError) as error:
        what = _of_node(host_root, error) if isinstance(error, OSError) else str(error)
        message = f"the configuration of containerd {version} cannot be read, so its config_path is not known: {what}"
        return containerd.Lookup("", None, Verdict(Reason.CONFIG_PATH_UNREADABLE, message))
    return containerd.analyse(version, told, files, config=config, node=node)


def _of_node(host_root: Path, error: OSError) -> str:
    """What went wrong, with the path as the node has it."""
    path = PurePosixPath(error.filename)
    if path.is_relative_to(host_root):
        path = PurePosixPath("/") / path.relative_to(host_root)
    return f"{path}: {error.strerror}"


def _config_file(pid: int) -> PurePosixPath:
    if not pid:
        raise containerd.ConfigUnreadableError("the agent does not see the node's processes: set hostPID in its pod")
    command_line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return containerd.config_file(command_line.split("\0"))


def _config_files(host_root: Path, config: PurePosixPath) -> list[containerd.ConfigFile]:
    """The configuration in the order in which containerd merges it: the main file, then imports breadth first."""
    if config == containerd.DEFAULT_CONFIG and not on_host(host_root, config).exists():
        return []
    pending, read = [config], dict[PurePosixPath, containerd.ConfigFile]()
    while pending:
        path = pending.pop(0)
        if path in read:
            continue
        read[path] = containerd.parse_config(path, on_host(host_root, path).read_text(errors="replace"))
        for pattern in read[path].imports:
            clean = os.path.normpath(pattern)
            found = sorted(host_root.glob(clean[1:])) if "*" in clean else [host_root / clean[1:]]
            pending += [PurePosixPath("/", each.relative_to(host_root)) for each in found]
    return list(read.values())
