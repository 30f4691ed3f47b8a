"""The agent as a program: what it is told, its start, and the clean-up that needs no API server."""

import asyncio
import contextlib
import fcntl
import logging
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Final

from aiohttp import web

from private_registry.agent.files import atomic
from private_registry.agent.files.config_file import ConfigFileError
from private_registry.agent.files.daemon_file import DaemonFileError
from private_registry.agent.health import Health
from private_registry.agent.loop import NodeLoop
from private_registry.agent.node import Node
from private_registry.agent.places import Places
from private_registry.agent.report import Reporter
from private_registry.agent.runtimes.containerd import Containerd, ContainerdKind
from private_registry.agent.runtimes.runtime import RuntimeMissingError
from private_registry.agent.runtimes.systemd import Systemd
from private_registry.api import hosts
from private_registry.kube.client import Kube
from private_registry.kube.login import Credentials

logger = logging.getLogger(__name__)

_ASK_AGAIN: Final = 0.2
"""Seconds between two looks whether another agent has gone."""


@dataclass(frozen=True)
class AgentSettings:
    """What the administrator tells an agent."""

    node_name: str
    agents_namespace: str
    rules: hosts.Rules
    host_root: Path = Path("/host")
    """The node's file system as it is mounted here: its /etc and its /run."""
    proof_interval: float = 600.0
    """Seconds between two proofs of a registry that is trusted."""
    health_port: int = 8080
    may_restart: bool = False
    """Whether this agent may enter the node and restart containerd, where the node is opted in."""


async def run(settings: AgentSettings, credentials: Credentials) -> None:
    """Serve one node until SIGTERM. Nothing is undone at the end: pulls go on without an agent."""
    serving = asyncio.current_task()
    assert serving is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        async with Kube(credentials) as kube:
            await _serve(settings, kube)


async def _serve(settings: AgentSettings, kube: Kube) -> None:
    health = Health()
    node = Node(settings.host_root, wrote=health.wrote)
    loop = NodeLoop(
        kube,
        node_name=settings.node_name,
        agents_namespace=settings.agents_namespace,
        rules=settings.rules,
        node=node,
        reporter=Reporter(kube, settings.node_name, _now),
        health=health,
        proof_interval=settings.proof_interval,
        commands=Systemd() if settings.may_restart else None,
    )
    runner = web.AppRunner(health.application(), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=settings.health_port).start()
        async with _alone(settings.host_root):
            await loop.run()
    finally:
        await runner.cleanup()


async def cleanup(settings: AgentSettings, *, wait: bool = False) -> None:
    """Remove everything of ours from the node, whatever the API server says. Then, if asked to, wait for SIGTERM.

    Raises OSError, DaemonFileError and ConfigFileError.
    """
    async with _alone(settings.host_root):
        await _clean(settings)
    if wait:
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        await stopped.wait()


async def _clean(settings: AgentSettings) -> None:
    places = Places(settings.host_root)
    try:
        runtime = await ContainerdKind(
            settings.host_root, settings.node_name, lambda path: places.root(Containerd.name, path), places.literal
        ).detect()
    except RuntimeMissingError as missing:
        logger.warning("containerd (%s): only its usual directory is searched", missing)
    else:
        await runtime.close()
    removed, failures = 0, list[Exception]()
    try:
        places.survey()
    except OSError as error:  # what was found goes all the same
        failures.append(error)
        logger.error("not everything could be looked through: %s", error)  # noqa: TRY400
    for registry in sorted(places.registries):
        try:
            removed += places.remove(registry)
            logger.info("removed what was of %s", registry)
        except (OSError, DaemonFileError, ConfigFileError) as error:
            failures.append(error)
            logger.error("something of %s is left: %s", registry, error)  # noqa: TRY400  (what went wrong is in it)
    if failures:
        raise failures[0]
    logger.info("%d files and lines removed: this node is as it was", removed)


@contextlib.asynccontextmanager
async def _alone(host_root: Path) -> AsyncIterator[None]:
    """Be the only agent at work on this node; wait for one that is, and goes.

    Two are there for a moment when a node is opted in or out, which is another DaemonSet's then. The lock is on the
    node's /etc itself: it leaves no file, and goes with the process that has it.
    """
    with atomic.opened(atomic.on_host(host_root, PurePosixPath("/etc"))) as etc:
        said = False
        while not _locked(etc):
            if not said:
                logger.warning("another agent is at work on this node: waiting until it has gone")
                said = True
            await asyncio.sleep(_ASK_AGAIN)
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
