"""One server process: started, waited for, restarted, ended by its pid."""

import contextlib
import os
import random
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.cluster.commands import DIE_WITH_PARENT, tail
from tests.cluster.host import cache_directory
from tests.waiting import aeventually, eventually


class NotReadyError(Exception):
    """A server ended, or did not become ready in time. The message holds the end of its log."""


class NotBuiltError(Exception):
    """A program of the fast tier is missing. The message says how to build it."""


def program(directory: str, name: str) -> Path:
    """Return the path of a built program, for example `program("etcd-v3.6.16", "etcd")`. Raises NotBuiltError."""
    path = cache_directory() / "bin" / directory / name
    if not path.exists():
        raise NotBuiltError(f"{path} is missing; `python3 -m tests.cluster parts --help` says how to build it")
    return path


def free_port(address: str = "127.0.0.1") -> int:
    """Return a TCP port that nobody listens on.

    It is below the range that outgoing connections take theirs from, so that none of them is given it in the meantime.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket(family) as probe:
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return port


class Running(Protocol):
    """What is asked of a process that was begun; subprocess.Popen answers it."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


def begun(argv: Sequence[str], env: Mapping[str, str], log: Path) -> Running:
    """Begin a process of a program."""
    with log.open("ab") as said:
        return subprocess.Popen([*DIE_WITH_PARENT, *argv], stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=env)


class Process:
    """A server in the foreground with a log file, and a question that tells whether it is ready."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        ready: Callable[[], object],
        within: float = 60,
        grace: float = 15,
        env: Mapping[str, str] | None = None,
        begin: Callable[[Sequence[str], Mapping[str, str], Path], Running] = begun,
    ) -> None:
        """Describe the server; nothing is started. `ready` answers truthy, or raises OSError as long as it is not.

        It has `within` seconds to become ready, and `grace` seconds to end when it is told to. `begin` is what starts
        a process of these arguments, with this environment and this log.
        """
        self.log = log
        self.name = Path(argv[0]).name
        self._argv = [str(word) for word in argv]
        self._env = {**os.environ, **(env or {})}
        self._ready = ready
        self._within = within
        self._grace = grace
        self._begin = begin
        self._running: Running | None = None

    @property
    def pid(self) -> int:
        """Return the process id. Raises NotReadyError when the server does not run."""
        if self._running is None or self._running.poll() is not None:
            raise NotReadyError(f"{self.name} does not run; the end of {self.log}:\n{tail(self.log)}")
        return self._running.pid

    def start(self) -> None:
        """Start the server and wait until it is ready. Raises NotReadyError, with the server ended."""
        self.spawn()
        self.wait_ready()

    def spawn(self) -> None:
        """Start the server without waiting for it."""
        self._running = self._begin(self._argv, self._env, self.log)

    def wait_ready(self) -> None:
        """Wait until the server is ready. Raises NotReadyError, with the server ended."""

        def ready() -> object:
            self.pid  # noqa: B018  (raises as soon as the server has ended: waiting on would be in vain)
            return self._ready()

        try:
            eventually(ready, within=self._within, every=0.05, what=f"{self.name} is ready")
        except AssertionError as late:
            self.stop()
            raise NotReadyError(f"{late}; the end of {self.log}:\n{tail(self.log)}") from late

    async def drain(self, within: float) -> None:
        """Tell the server to end and wait for it, so many seconds at most; everything else goes on meanwhile."""
        if (running := self._running) is None:
            return
        running.terminate()

        async def ended() -> bool:
            return running.poll() is not None

        with contextlib.suppress(AssertionError):
            await aeventually(ended, within=within, every=0.02, what=f"{self.name} has ended")

    def stop(self) -> None:
        """End the server as its administrator would, and when its time is up by force."""
        if self._running is None:
            return
        self._running.terminate()
        try:
            self._running.wait(self._grace)
        except subprocess.TimeoutExpired:
            self.kill()
        self._running = None

    def kill(self) -> None:
        """End the server at once (SIGKILL), as a crash would."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()
            self._running = None

    def restart(self) -> None:
        """Stop the server and start it again with what it has on disk. Raises NotReadyError."""
        self.stop()
        self.start()
