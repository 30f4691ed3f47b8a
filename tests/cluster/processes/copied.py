"""A Python program that is started often and imported once: each start is a copy of a process that has imported it.

    python -m tests.cluster.processes.copied MODULE

is that process. It reads a line of JSON for each start, `[arguments, environment, log]`, and answers with the process
id of a copy of itself that runs `MODULE.run(arguments)`. In /proc a copy has the command line and the environment of
its original.
"""

import contextlib
import ctypes
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster.commands import DIE_WITH_PARENT

_PR_SET_PDEATHSIG = 1


class Original:
    """The process that has imported a module with a function `run`, and that copies are made of."""

    def __init__(self, module: str, *, log: Path, env: Mapping[str, str]) -> None:
        """It is started with the first copy; `log` is for what it has to say itself."""
        self._argv = [*DIE_WITH_PARENT, sys.executable, "-m", "tests.cluster.processes.copied", module]
        self._log = log
        self._env = {**os.environ, **env}
        self._running: subprocess.Popen[str] | None = None

    def copy(self, arguments: Sequence[str], env: Mapping[str, str], log: Path) -> "Copy":
        """A copy that has begun to run. Raises OSError when the original has ended."""
        if self._running is None:
            with self._log.open("ab") as said:
                self._running = subprocess.Popen(
                    self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, env=self._env, text=True
                )
        assert self._running.stdin
        assert self._running.stdout
        self._running.stdin.write(json.dumps([arguments, dict(env), str(log)]) + "\n")
        self._running.stdin.flush()
        if not (answer := self._running.stdout.readline()):
            raise OSError(f"the original of {self._argv[-1]} has ended; see {self._log}")
        return Copy(int(answer))

    def close(self) -> None:
        """End it, and with it whatever copy still runs."""
        if self._running is not None:
            self._running.kill()
            self._running.communicate()
            self._running = None


class Copy:
    """Such a copy, with what a Process asks of what it has begun."""

    def __init__(self, pid: int) -> None:
        """It may have ended already: its original keeps its id until the next copy is made."""
        self.pid = pid
        self._fd = os.pidfd_open(pid)
        self._end = select.poll()
        self._end.register(self._fd, select.POLLIN)

    def __del__(self) -> None:
        os.close(self._fd)

    def poll(self) -> int | None:
        """Zero once it has ended, however it did."""
        return 0 if self._end.poll(0) else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait so many seconds for its end. Raises subprocess.TimeoutExpired."""
        if not self._end.poll(None if timeout is None else timeout * 1000):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return 0

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, number)


def main() -> None:
    """Make copies until there is nobody any more who could ask for one."""
    module = importlib.import_module(sys.argv[1])
    assert threading.active_count() == 1, "a copy has no thread but the one that made it"
    for line in sys.stdin:
        _forget_ended()
        arguments, env, log = json.loads(line)
        if (pid := os.fork()) == 0:
            _become(env, log)
            module.run(arguments)
            sys.exit()
        print(pid, flush=True)


def _forget_ended() -> None:
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


def _become(env: Mapping[str, str], log: str) -> None:
    """Have streams and variables of one's own, and live no longer than the original."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    nothing, said = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for number, of in ((0, nothing), (1, said), (2, said)):
        os.dup2(of, number)
    os.environ.clear()
    os.environ.update(env)


if __name__ == "__main__":
    main()
