"""Machines of their own to test on: an operating system in which a person works, with or without a daemon."""

import contextlib
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from tests.cluster.built import rootfs
from tests.cluster.commands import CommandError, output
from tests.cluster.host import cache_directory, unmount
from tests.cluster.processes import Process

# $0: what is this machine's own. $1: its operating system, which many machines share.
_START = """
system=$1; shift
mount --bind "$system" "$system"
for each in etc run tmp var/lib; do mount --bind "$0/$each" "$system/$each"; done
for each in proc sys dev; do mount --rbind "/$each" "$system/$each"; done
exec chroot "$system" "$@"
"""
_IMAGE = 'mkdir -p /tmp/image/bin && cp /bin/busybox /tmp/image/bin/ && tar -C /tmp/image -c . | docker import - "$0"'
_numbers = itertools.count()
_PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


class Machine:
    """The machine; it has the loopback interface of the tests. `debian`: the release that it runs."""

    def __init__(self, debian: str) -> None:
        """Give it its files."""
        self._system = rootfs.path("machine", rootfs.MACHINE[debian], cache_directory(), debian)
        self.host_root = Path(tempfile.mkdtemp(prefix="machine-"))  # short: a socket's path may have 107 bytes
        self.etc = self.host_root / "etc"
        shutil.copytree(self._system / "etc", self.etc, symlinks=True)
        for name in ("run", "tmp", "var/lib"):
            (self.host_root / name).mkdir(parents=True)
        self.hosts = self.etc / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")

    def run(self, *command: str) -> str:
        """What a person on this machine runs, and what it says. Raises CommandError."""
        return output(*self._on_it(*command), env=_PATH)

    def _on_it(self, *command: str) -> list[str | Path]:
        return ["unshare", "--mount", "--", "sh", "-ec", _START, self.host_root, self._system, *command]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        unmount(self.host_root)
        shutil.rmtree(self.host_root)


class DockerHost(Machine):
    """A machine with a real dockerd.

    It has a bridge of its own for containers: without one dockerd would remove docker0, which is this machine's.
    """

    def __init__(self, directory: Path, *, debian: str, flags: tuple[str, ...] = ()) -> None:
        """Describe it; nothing is started."""
        super().__init__(debian)
        self.daemon_json = self.etc / "docker/daemon.json"
        number = next(_numbers)
        self._bridge = f"pr-docker{number}"
        self.gateway = f"198.18.{number}.1"
        """Where this machine is found from the other."""
        dockerd = ("dockerd", f"--bridge={self._bridge}", "--iptables=false", "--storage-driver=vfs", *flags)
        self.process = Process(
            self._on_it(*dockerd),
            log=directory / "dockerd.log",
            # Before it has a pid file it may be on the way to its root: a command would run on this very machine.
            ready=lambda: (self.host_root / "run/docker.pid").exists() and self.run("docker", "version"),
            env=_PATH,
        )

    def run(self, *command: str) -> str:
        pid = self.process.pid
        return output(
            "nsenter", f"--mount=/proc/{pid}/ns/mnt", f"--root=/proc/{pid}/root", "--wd=/", *command, env=_PATH
        )

    def make_image(self, name: str) -> None:
        """An image with a few commands in it."""
        self.run("sh", "-ec", _IMAGE, name)

    def run_container(self, image: str) -> str:
        """Start a container that runs until it is ended, and return its id."""
        return self.run("docker", "run", "--detach", "--network=none", image, "/bin/busybox", "sleep", "3600").strip()

    def runs(self, container: str) -> bool:
        return self.run("docker", "inspect", "--format={{.State.Running}}", container).strip() == "true"

    def insecure(self) -> set[str]:
        """The hosts that Docker takes without TLS at this moment."""
        configs = json.loads(self.run("docker", "info", "--format={{json .RegistryConfig.IndexConfigs}}"))
        return {host for host, config in configs.items() if not config["Secure"]}

    def reload(self) -> None:
        os.kill(self.process.pid, signal.SIGHUP)

    def __enter__(self) -> Self:
        self._remove_bridge()  # of a run that was cut off
        output("ip", "link", "add", self._bridge, "type", "bridge")
        output("ip", "addr", "add", f"{self.gateway}/24", "dev", self._bridge)
        self.process.start()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for container in self.run("docker", "ps", "--quiet", "--no-trunc").split():
            self.run("docker", "rm", "--force", container)
        self.process.stop()
        self._remove_bridge()
        super().__exit__(kind, error, trace)

    def _remove_bridge(self) -> None:
        with contextlib.suppress(CommandError):
            output("ip", "link", "delete", self._bridge)


class PodmanHost(Machine):
    """A machine with podman's service, where CRI-O's would be: on its socket.

    It is of the same family: it reads registries.conf and the drop-ins by the same library, keeps what it has read,
    and reads them again at SIGHUP. Pulls are asked for in words of its own.
    """

    def __init__(self, directory: Path, *, debian: str) -> None:
        """Describe it; nothing is started."""
        super().__init__(debian)
        self.drop_ins = self.etc / "containers/registries.conf.d"
        self._socket = self.host_root / "run/crio/crio.sock"
        self._socket.parent.mkdir()
        options = ("--log-level=debug", "--root=/tmp/root", "--runroot=/tmp/run", "--storage-driver=vfs")
        service = ("system", "service", "--time=0", "unix:///run/crio/crio.sock")
        self.process = Process(
            self._on_it("podman", *options, *service),
            log=directory / "podman.log",
            ready=lambda: self._ask("GET", "/_ping"),
            env=_PATH,
        )

    def pull(self, image: str) -> str:
        """Have it pull an image; returns what went wrong, nothing if nothing did."""
        query = urlencode({"reference": image, "quiet": "true", "policy": "always"})
        answers = self._ask("POST", f"/v4.0.0/libpod/images/pull?{query}").splitlines()
        last: dict[str, Any] = json.loads(answers[-1])
        return str(last.get("error") or last.get("message") or "")

    def reads(self) -> int:
        """How often it was told to read its files."""
        return self.process.log.read_text().count("waiting for SIGHUP") - 1

    def _ask(self, method: str, path: str) -> str:
        connection = http.client.HTTPConnection("podman", timeout=60)
        with socket.socket(socket.AF_UNIX) as connection.sock:
            connection.sock.settimeout(connection.timeout)
            connection.sock.connect(str(self._socket))
            connection.request(method, path)
            return connection.getresponse().read().decode()

    def __enter__(self) -> Self:
        self.process.start()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.stop()
        super().__exit__(kind, error, trace)
