"""The node's own programs, run in the node's namespaces: what asks containerd about a configuration, and restarts it.

Only an agent in a privileged pod can do this (manifests/managing-agents); the others have no capability at all.
"""

import asyncio
import re
from pathlib import Path, PurePosixPath
from typing import Protocol

_ENTER = ("nsenter", "--target=1", "--mount", "--uts", "--ipc", "--net", "--")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ANSWER_WITHIN = 10.0


class NodeCommandError(Exception):
    """A program of the node did not do what it was to do; the message is the last thing that it said."""


class NodeCommands(Protocol):
    """What a managed node is asked to do. All of it raises NodeCommandError."""

    async def os_release(self) -> str:
        """Its os-release(5)."""

    async def dump(self, pid: int, config: PurePosixPath) -> str:
        """The configuration that the containerd of this process makes of a file and its imports."""

    async def unit(self, pid: int) -> str:
        """The service whose main process this is."""

    async def restart(self, unit: str) -> None:
        """Restart a service; returns when it says that it runs."""


class Systemd:
    """The node as its systemd runs it."""

    async def os_release(self) -> str:
        return await _run("cat", "/etc/os-release")

    async def dump(self, pid: int, config: PurePosixPath) -> str:
        return await _run(await asyncio.to_thread(_program, pid), f"--config={config}", "config", "dump")

    async def unit(self, pid: int) -> str:
        unit = await asyncio.to_thread(_unit, pid)
        if unit is None or (await _run("systemctl", "show", "--property=MainPID", "--value", unit)).strip() != str(pid):
            raise NodeCommandError(f"process {pid} is not the main process of a service of systemd")
        return unit

    async def restart(self, unit: str) -> None:
        await _run("systemctl", "restart", unit, within=None)


def _program(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/exe").readlink()).removesuffix(" (deleted)")  # by an upgrade
    except OSError as error:
        raise NodeCommandError(f"the program of process {pid} is not known: {error.strerror}") from None


def _unit(pid: int) -> str | None:
    try:
        return unit_of(Path(f"/proc/{pid}/cgroup").read_text())
    except OSError as error:
        raise NodeCommandError(f"the service of process {pid} is not known: {error.strerror}") from None


def unit_of(cgroups: str) -> str | None:
    """The service that a process is in, from its cgroup(7) file: the innermost one."""
    return next(iter(re.findall(r"/([^/\n]+\.service)(?=[/\n]|\Z)(?!.*\.service)", cgroups)), None)


async def _run(*command: str, within: float | None = _ANSWER_WITHIN) -> str:
    """Run it and return what it prints. `within`: seconds; None: until the caller is cancelled."""
    process = await asyncio.create_subprocess_exec(
        *_ENTER,
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": _PATH},
    )
    try:
        async with asyncio.timeout(within):
            out, err = await process.communicate()
    except TimeoutError:
        raise NodeCommandError(f"{command[0]} took longer than {within:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        said = err.decode(errors="replace").strip().splitlines() or ["it says nothing"]
        raise NodeCommandError(f"{' '.join(command[:2])}: {said[-1]}")
    return out.decode(errors="replace")
