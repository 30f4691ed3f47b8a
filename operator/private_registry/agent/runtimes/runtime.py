"""What the node loop asks of every container runtime, and how a runtime on a socket is recognised."""

import socket
import stat
import struct
from collections.abc import Collection, Hashable
from pathlib import Path, PurePosixPath
from typing import Protocol

from private_registry.agent.files.atomic import on_host
from private_registry.agent.files.literal import LiteralPath
from private_registry.agent.files.roots import Root
from private_registry.trust.node_files import HostDirectory, NodeFiles
from private_registry.trust.reasons import Reason, Verdict

_CONNECT_WITHIN = 2.0


class RuntimeMissingError(Exception):
    """The runtime cannot be asked. The verdict says why; None: this node does not run it."""

    def __init__(self, verdict: Verdict | None) -> None:
        super().__init__(verdict.message if verdict else "not on this node")
        self.verdict = verdict


class Runtime(Protocol):
    """One runtime as it runs now."""

    name: str
    version: str
    config_path: str
    """Where it looks hosts up, as it is configured; for people and for the next agent."""
    sure: bool
    """Whether its root is known to be the only one."""

    @property
    def root(self) -> Root | None:
        """The directory in which it looks hosts up."""

    @property
    def literal(self) -> LiteralPath | None:
        """A path that it may take its configuration for."""

    @property
    def identity(self) -> Hashable:
        """Of this run of it: another one, and it was restarted."""

    def names(self, files: NodeFiles) -> Collection[str]:
        """The names that the node itself has to resolve for it."""

    def directories(self, files: NodeFiles) -> tuple[HostDirectory, ...]:
        """What it has to find in its root."""

    def apply(self, files: NodeFiles) -> int:
        """Have what it needs of a registry besides that, and no more; return the number of writes.

        Raises what the writers in `files` raise.
        """

    async def prove(self, files: NodeFiles) -> Verdict:
        """Ask it for an image that cannot exist, by every name of a registry."""

    async def close(self) -> None:
        """Let go of it."""


class Kind(Protocol):
    """A sort of runtime, and how it is found on a node."""

    name: str

    @property
    def signs(self) -> Collection[PurePosixPath]:
        """Whenever one of these comes, changes or goes, the runtime may have."""

    def identify(self) -> Hashable:
        """The identity of the runtime that runs now. Raises RuntimeMissingError."""

    async def detect(self) -> Runtime:
        """The runtime that runs now. Raises RuntimeMissingError."""


def listener(host_root: Path, path: PurePosixPath, service: str) -> tuple[int, int]:
    """Inode of a socket and id of the process that listens on it (0: of another process namespace).

    The process is the one that the kernel knows: a node may run several of the same program.
    Raises RuntimeMissingError, without a verdict where there is no socket.
    """
    here = on_host(host_root, path)
    try:
        inode = here.stat().st_ino
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_CONNECT_WITHIN)
            client.connect(str(here))
            pid, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except FileNotFoundError:
        raise RuntimeMissingError(None) from None
    except OSError as error:
        if not here.parent.stat().st_mode & stat.S_IXUSR:
            # A shim of Docker's own containerd makes the directory where there is none, and lets nobody in.
            raise RuntimeMissingError(None) from None
        message = f"nobody answers on {path} ({error.strerror or error}): see the service {service} on this node"
        raise RuntimeMissingError(Verdict(Reason.RUNTIME_UNAVAILABLE, message)) from None
    return inode, pid


def run_of(pid: int) -> str:
    """Which run of a program a process is: never the same again, not even after a reboot.

    Raises RuntimeMissingError.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19]
    except OSError:
        raise RuntimeMissingError(None) from None
    return f"{boot}/{pid}/{started}"
