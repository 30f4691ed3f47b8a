"""Finds the node's container runtime: its socket, its process, its version, and where it looks registries up.

The process is the one that listens on the socket, as the kernel knows it: a node may run several containerds.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from private_registry.agent.cri.client import Cri, RuntimeUnavailableError
from private_registry.agent.files.atomic import on_host
from private_registry.trust import containerd
from private_registry.trust.reasons import Reason, Verdict

SOCKET = PurePosixPath("/run/containerd/containerd.sock")

# Runtimes whose configuration belongs to somebody else, or that this version cannot configure.
_OTHERS: Mapping[PurePosixPath, str] = {
    PurePosixPath("/run/k3s/containerd/containerd.sock"): "the containerd of k3s or RKE2",
    PurePosixPath("/run/k0s/containerd.sock"): "the containerd of k0s",
    PurePosixPath("/var/snap/microk8s/common/run/containerd.sock"): "the containerd of MicroK8s",
    PurePosixPath("/run/crio/crio.sock"): "CRI-O",
    PurePosixPath("/run/cri-dockerd.sock"): "Docker Engine",
}
_CONNECT_WITHIN = 2.0


@dataclass(frozen=True)
class Containerd:
    """A containerd as it runs now."""

    socket: Path
    identity: tuple[int, int]
    """Of this run of it: another inode of the socket or another process, and it was restarted."""
    version: str
    lookup: containerd.Lookup


class RuntimeMissingError(Exception):
    """There is no runtime that could be asked; the verdict says why, for every registry of the node."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict


def identify(host_root: Path) -> tuple[int, int]:
    """Inode of the socket and id of the process that listens on it (0: of another process namespace).

    Raises RuntimeMissingError.
    """
    path = _at(host_root, SOCKET)
    try:
        inode = path.stat().st_ino
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_CONNECT_WITHIN)
            client.connect(str(path))
            pid, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except FileNotFoundError:
        raise RuntimeMissingError(_no_containerd(host_root)) from None
    except OSError as error:
        message = f"nobody answers on {SOCKET} ({error.strerror or error}): see the service containerd on this node"
        raise RuntimeMissingError(Verdict(Reason.RUNTIME_UNAVAILABLE, message)) from None
    return inode, pid


async def detect(host_root: Path, node: str) -> Containerd:
    """The node's containerd. Raises RuntimeMissingError."""
    identity = await asyncio.to_thread(identify, host_root)
    path = _at(host_root, SOCKET)
    try:
        async with Cri(path) as cri:
            _, version = await cri.version()
            info = await cri.info()
    except RuntimeUnavailableError as error:
        message = f"{SOCKET} does not serve the CRI ({error}): its CRI plugin must be enabled and loaded"
        raise RuntimeMissingError(Verdict(Reason.RUNTIME_UNAVAILABLE, message)) from None
    lookup = look_up(host_root, node, version.removeprefix("v"), info, identity[1])
    return Containerd(path, identity, version.removeprefix("v"), lookup)


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
    if config == containerd.DEFAULT_CONFIG and not _at(host_root, config).exists():
        return []
    pending, read = [config], dict[PurePosixPath, containerd.ConfigFile]()
    while pending:
        path = pending.pop(0)
        if path in read:
            continue
        read[path] = containerd.parse_config(path, _at(host_root, path).read_text(errors="replace"))
        for pattern in read[path].imports:
            clean = os.path.normpath(pattern)
            found = sorted(host_root.glob(clean[1:])) if "*" in clean else [host_root / clean[1:]]
            pending += [PurePosixPath("/", each.relative_to(host_root)) for each in found]
    return list(read.values())


def _no_containerd(host_root: Path) -> Verdict:
    for path, name in _OTHERS.items():
        if _at(host_root, path).exists():
            message = f"this node runs {name} ({path}), which this version does not configure"
            return Verdict(Reason.NO_RUNTIME, message)
    return Verdict(Reason.NO_RUNTIME, f"there is no {SOCKET} on this node: it runs no containerd")


def _at(host_root: Path, path: PurePosixPath) -> Path:
    return on_host(host_root, path)
