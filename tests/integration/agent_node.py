"""A node to test agents on: a real containerd that has an /etc and a /run of its own, and an agent beside it."""

import asyncio
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import private_registry.agent.main  # noqa: F401  (for copies: main() would do it)
from private_registry.__main__ import main
from private_registry.agent.cri.client import Answer, Cri
from tests.cluster import versions
from tests.cluster.host import unmount
from tests.cluster.processes import Containerd, Process
from tests.cluster.processes.containerd import configuration
from tests.cluster.processes.copied import Original
from tests.cluster.processes.process import begun, free_port, program
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
# From 2.1 on images are unpacked by a service that has to be told of the snapshotter once more.
_UNPACK = """
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux"
  snapshotter = "native"
"""
_WITH_NODES_FILES = 'mount --rbind "$0/etc" /etc && mount --bind "$0/run" /run && exec "$@"'
_WITH_AN_ACCOUNT = 'mount --bind "$0/run" /run && exec setpriv --bounding-set=-all --inh-caps=-all -- "$@"'

# Of linux/sched.h, linux/mount.h, linux/prctl.h and linux/capability.h; Python has no names for them.
_CLONE_NEWNS, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
_PR_CAPBSET_DROP = 24
_CAPABILITIES_OF_64_BITS = 0x20080522


class Host(Protocol):
    """Whatever an agent can serve: a machine, by its root directory as everybody else sees it."""

    host_root: Path


def original_agent(directory: Path) -> Original:
    """A process that has imported the agent, and that agents can be copies of."""
    env = {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}", "PYTHONWARNINGS": "error"}
    return Original("tests.integration.agent_node", log=directory / "original.log", env=env)


class NodeContainerd(Containerd):
    """A containerd that finds the node's files where a node has them: /etc/containerd, /etc/hosts, /run/containerd.

    It runs in a mount namespace of its own; for everybody else its root is `host_root`. `files` are further files, by
    their path on the node.
    """

    def __init__(
        self,
        directory: Path,
        *,
        version: str = versions.CONTAINERD,
        config_path: str = "/etc/containerd/certs.d",
        config: str = "",
    ) -> None:
        """Write the configuration; nothing is started."""
        super().__init__(directory, version=version)
        self.host_root = Path(tempfile.mkdtemp(prefix="node-"))  # short: a socket's path may have 107 bytes
        self.etc = self.host_root / "etc"
        self.certs_d = self.etc / "containerd" / "certs.d"
        self.hosts = self.etc / "hosts"
        self.config_file = self.etc / "containerd" / "config.toml"
        self.socket = self.host_root / "run" / "containerd" / "containerd.sock"
        self.certs_d.mkdir(parents=True)
        self.socket.parent.mkdir(parents=True)
        for name in ("hosts", "passwd", "group"):
            shutil.copy(Path("/etc") / name, self.etc / name)
        # No DNS: that of the machine may take its time over a name that nobody has.
        (self.etc / "nsswitch.conf").write_text("hosts: files\n")
        self.configure(config_path, config)
        binary = program(f"containerd-{version}", "containerd")
        self.process = Process(
            ["unshare", "--mount", "--", "sh", "-c", _WITH_NODES_FILES, self.host_root, binary],
            log=self.log,
            ready=self._serves_cri,
            env={"PATH": f"{binary.parent}:/usr/sbin:/usr/bin:/sbin:/bin"},
        )

    def configure(self, config_path: str, config: str = "", *, head: str = "", old: bool | None = None) -> None:
        """Write the configuration file anew, for the next start. `old`: in the format of containerd 1."""
        sockets = Path("/run/containerd")
        text = configuration(
            old=self.version.startswith("v1.") if old is None else old,
            root=self.root,
            state=sockets / "state",
            sockets=sockets,
            config_path=config_path,
            head=head,
            more=config + ("" if old or self.version.startswith(("v1.", "v2.0.")) else _UNPACK),
            snapshotter="overlayfs" if old else "native",
        )
        self.config_file.write_text(text)

    async def pull(self, image: str) -> Answer:
        """Have the runtime pull, as the kubelet would."""
        async with Cri(self.socket) as cri:
            return await cri.pull(image)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        unmount(self.host_root)
        shutil.rmtree(self.host_root)


class Agent:
    """A real `private-registry agent` as a process of its own, with a pod's account and without any capability."""

    def __init__(
        self,
        node: Host,
        directory: Path,
        *,
        name: str,
        namespace: str,
        ca_file: Path,
        token: str,
        port: int,
        arguments: Sequence[str] = (),
        original: Original | None = None,
    ) -> None:
        """Describe it; nothing is started. `port`: of the API server on loopback. `original`: what it is a copy of."""
        directory.mkdir()
        account = directory / "run" / "secrets" / "kubernetes.io" / "serviceaccount"
        account.mkdir(parents=True)
        (account / "token").write_text(token)
        shutil.copy(ca_file, account / "ca.crt")
        self.port = free_port()
        self.log = directory / "agent.log"
        command = [
            "agent",
            f"--agents-namespace={namespace}",
            f"--node-name={name}",
            f"--host-root={node.host_root}",
            f"--health-port={self.port}",
            "--log-format=text",
            *arguments,
        ]
        alone = ("unshare", "--mount", "--", "sh", "-c", _WITH_AN_ACCOUNT)
        program = () if original else (sys.executable, "-m", "private_registry")
        self.process = Process(
            [*(() if original else alone), directory, *program, *command],
            log=self.log,
            ready=lambda: self.get("/healthz"),
            begin=original.copy if original else begun,
            env={
                "PYTHONPATH": str(ROOT / "operator"),
                "PYTHONWARNINGS": "error",
                "KUBERNETES_SERVICE_HOST": "127.0.0.1",
                "KUBERNETES_SERVICE_PORT": str(port),
            },
        )

    def get(self, path: str) -> str:
        """What the agent serves to the kubelet and to Prometheus. Raises OSError."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    async def until_it_says(self, text: str) -> None:
        """Wait until this stands in its log."""
        what = f"the agent says {text!r}"
        await asyncio.to_thread(eventually, lambda: text in self.log.read_text(), within=20, what=what)

    def resident_kib(self) -> int:
        """Memory that it has at this moment."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    def __enter__(self) -> Self:
        self.process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.stop()


def run(arguments: Sequence[str]) -> None:
    """Be the agent, in a copy: the first of the arguments is a directory, whose `run` is to be its /run.

    What `unshare` and `setpriv` do for an agent that is none, it does itself: so far it has been root on this machine.
    """
    libc, last = ctypes.CDLL(None, use_errno=True), Path("/proc/sys/kernel/cap_last_cap")

    def call(name: str, *values: object) -> None:
        if getattr(libc, name)(*values) != 0:
            raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")

    directory, *rest = arguments
    call("unshare", _CLONE_NEWNS)
    call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)
    call("mount", f"{directory}/run".encode(), b"/run", None, _MS_BIND, None)
    for capability in range(int(last.read_text()) + 1):
        call("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)
    call("capset", (ctypes.c_uint32 * 2)(_CAPABILITIES_OF_64_BITS, 0), (ctypes.c_uint32 * 6)())
    main(rest)


def cleanup(node: Host) -> str:
    """Run `private-registry agent --cleanup` on the node, and return what it says. Raises CalledProcessError."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "private_registry",
            "agent",
            "--cleanup",
            "--node-name=gone",
            "--log-format=text",
            f"--host-root={node.host_root}",
        ],
        env={"PYTHONPATH": str(ROOT / "operator"), "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stderr
