"""The process dockerd: recognised, asked and told to reload without waiting for anything; never restarted.

It is found by its own pid file: its socket may be systemd's, and asking there would start what somebody stopped.
"""

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath

from private_registry.agent.files.atomic import on_host
from private_registry.agent.runtimes.runtime import RuntimeMissingError
from private_registry.trust import docker

PID_FILE = PurePosixPath("/run/docker.pid")
SOCKET = PurePosixPath("/run/docker.sock")

_ANSWER_WITHIN = 10.0
_RELOADED_WITHIN = 5.0


class Dockerd:
    """The process, and what of it can be asked without waiting for anything: its start, its flags, its hosts."""

    def __init__(self, host_root: Path) -> None:
        self._host_root = host_root

    @property
    def socket(self) -> Path:
        return on_host(self._host_root, SOCKET)

    def identify(self) -> tuple[int, str]:
        """Its process id and the kernel's time of its start. Raises RuntimeMissingError."""
        try:
            pid = int(on_host(self._host_root, PID_FILE).read_text())
            status = Path(f"/proc/{pid}/stat").read_text()
        except (OSError, ValueError):
            raise RuntimeMissingError(None) from None
        name, _, rest = status.partition(" (")[2].rpartition(") ")
        if name != "dockerd":  # a file that was left behind, and another process has its id by now
            raise RuntimeMissingError(None)
        return pid, rest.split()[19]

    def flags(self) -> tuple[str, ...]:
        """The command line that it was started with. Raises RuntimeMissingError."""
        pid, _ = self.identify()
        try:
            return tuple(Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0"))
        except OSError:
            raise RuntimeMissingError(None) from None

    def reload(self) -> None:
        """Have it read daemon.json again, as `systemctl reload docker` does; running containers do not notice.

        Raises OSError and RuntimeMissingError.
        """
        pid, _ = self.identify()
        os.kill(pid, signal.SIGHUP)

    def insecure(self) -> frozenset[str]:
        """The hosts that it takes without TLS at this moment. Raises OSError."""
        connection = _Connection(self.socket)
        try:
            connection.request("GET", "/info", headers={"Host": "docker"})
            answer = connection.getresponse()
            return docker.insecure_in_info(json.loads(answer.read()))
        except (http.client.HTTPException, ValueError, OSError) as error:
            raise OSError(f"dockerd does not answer on {SOCKET}: {error}") from None
        finally:
            connection.close()

    def takes(self, hosts: Collection[str]) -> bool:
        """Whether it takes one of these without TLS at this moment; False while it does not run. Raises OSError."""
        try:
            self.identify()
        except RuntimeMissingError:
            return False
        return bool(self.insecure() & set(hosts))

    def forget(self, hosts: Collection[str]) -> None:
        """Reload it, and return once it takes none of these hosts without TLS, or does not run. Raises OSError."""
        self._reload_until(lambda live: not live & set(hosts), f"has not forgotten {', '.join(hosts)}")

    def learn(self, hosts: Collection[str]) -> None:
        """Reload it if need be, until it takes these hosts without TLS. Raises OSError."""
        if not set(hosts) <= self.insecure():
            self._reload_until(lambda live: set(hosts) <= live, f"has not taken up {', '.join(hosts)}")

    def _reload_until(self, done: Callable[[frozenset[str]], bool], otherwise: str) -> None:
        try:
            self.reload()
        except (RuntimeMissingError, ProcessLookupError):
            return
        deadline = time.monotonic() + _RELOADED_WITHIN
        while not done(self.insecure()):
            if time.monotonic() > deadline:
                raise OSError(f"dockerd {otherwise} in {_RELOADED_WITHIN:g} s after a reload: see its log on this node")
            time.sleep(0.05)


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=_ANSWER_WITHIN)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
