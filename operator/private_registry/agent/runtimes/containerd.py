"""containerd: told of a registry by a directory for each of its hosts, and asked over the CRI."""

import asyncio
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePosixPath

from private_registry.agent.cri.client import Cri, RuntimeUnavailableError
from private_registry.agent.files.atomic import on_host
from private_registry.agent.files.literal import LiteralPath
from private_registry.agent.files.roots import Root
from private_registry.agent.runtimes.proving import prove_by_cri
from private_registry.agent.runtimes.runtime import RuntimeMissingError, listener
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
        identity: tuple[int, int],
        version: str,
        lookup: containerd.Lookup,
        root: Root | None,
        literal: LiteralPath | None,
    ) -> None:
        """`root` and `literal` are the writers of the directories that `lookup` speaks of."""
        self.identity = identity
        self.version = version
        self.config_path = lookup.config_path
        self.root = root
        self.sure = bool(root) or (lookup.verdict is not None and lookup.verdict.reason is Reason.CONFIG_PATH_UNSET)
        self.literal = literal
        self._is_misread = False
        self._lookup = lookup
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
        verdict = self._lookup.verdict or await prove_by_cri(self._cri, files.directories, hint=self._lookup.hint)
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

    def identify(self) -> tuple[int, int]:
        return listener(self._host_root, SOCKET, "containerd")

    async def detect(self) -> Containerd:
        identity = await asyncio.to_thread(self.identify)
        cri = Cri(on_host(self._host_root, SOCKET))
        try:
            _, version = await cri.version()
            info = await cri.info()
        except RuntimeUnavailableError as error:
            await cri.close()
            message = f"{SOCKET} does not serve the CRI ({error}): its CRI plugin must be enabled and loaded"
            raise RuntimeMissingError(Verdict(Reason.RUNTIME_UNAVAILABLE, message)) from None
        version = version.removeprefix("v")
        lookup = look_up(self._host_root, self._node, version, info, identity[1])
        root = self._root(lookup.root) if lookup.root else None
        literal = self._literal(lookup.literal, lookup.root) if lookup.literal and lookup.root else None
        return Containerd(cri, identity=identity, version=version, lookup=lookup, root=root, literal=literal)


def look_up(host_root: Path, node: str, version: str, info: Mapping[str, str], pid: int) -> containerd.Lookup:
    """Where the containerd of this process looks registries up."""
    in_status = containerd.config_path_in_status(info)
    try:
        config = _config_file(pid)
        files = _config_files(host_root, config) if in_status is None else []
    except (containerd.ConfigUnreadableError, OSError) as error:
        what = _of_node(host_root, error) if isinstance(error, OSError) else str(error)
        message = f"the configuration of containerd {version} cannot be read, so its config_path is not known: {what}"
        return containerd.Lookup("", None, Verdict(Reason.CONFIG_PATH_UNREADABLE, message))
    return containerd.analyse(version, in_status, files, config=config, node=node)


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
