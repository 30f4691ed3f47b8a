"""CRI-O: reaches a registry under its own name, reads drop-ins when told to, and is asked over the CRI."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from private_registry.agent.cri.client import Cri, RuntimeUnavailableError
from private_registry.agent.files.atomic import on_host
from private_registry.agent.files.drop_ins import DropIns
from private_registry.agent.files.roots import Root
from private_registry.agent.runtimes.proving import prove_by_cri
from private_registry.agent.runtimes.runtime import RuntimeMissingError, listener
from private_registry.trust.formats import registries_conf
from private_registry.trust.node_files import HostDirectory, NodeFiles
from private_registry.trust.reasons import Reason, Verdict

ROOT = PurePosixPath("/etc/containers/certs.d")
SOCKET = PurePosixPath("/run/crio/crio.sock")

_HINT = (
    "at a reload CRI-O stops at the first thing that is wrong in any of its files: see its log (journalctl -u crio), "
    "correct that, and systemctl reload crio"
)
_QUESTION = b"GET / HTTP/1.1\r\nHost: crio\r\nConnection: close\r\n\r\n"
_ANSWER_WITHIN = 2.0


def reload(host_root: Path) -> None:
    """Have the node's CRI-O, if it runs, read its drop-ins again; certificates it reads for each pull."""
    with contextlib.suppress(RuntimeMissingError, ProcessLookupError):
        _, pid = listener(host_root, SOCKET, "crio")
        if pid > 1 and _serves(host_root):  # 0: it is in another process namespace
            os.kill(pid, signal.SIGHUP)


def _serves(host_root: Path) -> bool:
    """Whether it has come as far as to answer, whatever that is.

    It listens before it has a handler for SIGHUP, which would end it until then, and serves when it has one.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_ANSWER_WITHIN)
        try:
            client.connect(str(on_host(host_root, SOCKET)))
            client.sendall(_QUESTION)
            return bool(client.recv(1))
        except OSError:
            return False


class Crio:
    """A CRI-O as it runs now."""

    name = "cri-o"
    sure = True
    literal = None

    def __init__(self, cri: Cri, *, identity: tuple[int, int], version: str, root: Root, drop_ins: DropIns) -> None:
        self.identity = identity
        self.version = version
        self.config_path = str(ROOT)
        self.root = root
        self._cri = cri
        self._drop_ins = drop_ins
        self._is_told = False
        self._is_unread = False

    def names(self, files: NodeFiles) -> Collection[str]:
        return files.names

    def directories(self, files: NodeFiles) -> tuple[HostDirectory, ...]:
        return (*files.certificates, *files.mirrors)

    def apply(self, files: NodeFiles) -> int:
        # One that was starting was not told, and may have read its files before they were right. So it is asked, and
        # told once if it does not go by what is right already; that goes for all files that are there.
        writes = self._drop_ins.apply(files.registry, registries_conf.render(files))
        if self._is_unread and not self._is_told and not writes:
            self._drop_ins.changed()
            self._is_told = True
        self._is_told |= writes > 0
        return writes

    async def prove(self, files: NodeFiles) -> Verdict:
        setting = f"{self._drop_ins.path} and /etc/hosts"
        verdict = await prove_by_cri(self._cri, files.certificates, setting=setting, hint=_HINT)
        self._is_unread |= verdict.reason is Reason.NOT_HONOURED
        return verdict

    async def close(self) -> None:
        await self._cri.close()


class CrioKind:
    """How a node's CRI-O is found."""

    name = Crio.name
    signs = (SOCKET,)

    def __init__(self, host_root: Path, root: Root, drop_ins: DropIns) -> None:
        self._host_root = host_root
        self._root = root
        self._drop_ins = drop_ins

    def identify(self) -> tuple[int, int]:
        return listener(self._host_root, SOCKET, "crio")

    async def detect(self) -> Crio:
        identity = await asyncio.to_thread(self.identify)
        cri = Cri(on_host(self._host_root, SOCKET))
        try:
            _, version = await cri.version()
        except RuntimeUnavailableError as error:
            await cri.close()
            message = f"CRI-O does not answer on {SOCKET} ({error}): see the service crio on this node"
            raise RuntimeMissingError(Verdict(Reason.RUNTIME_UNAVAILABLE, message)) from None
        return Crio(cri, identity=identity, version=version, root=self._root, drop_ins=self._drop_ins)
