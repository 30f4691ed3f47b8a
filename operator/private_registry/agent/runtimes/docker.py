"""Docker Engine: reaches a registry under its own name, and trusts it by certs.d or by daemon.json."""

import asyncio
import secrets
from collections.abc import Collection
from pathlib import PurePosixPath
from typing import Any

import aiohttp

from private_registry.agent.files.daemon_file import DaemonFile
from private_registry.agent.files.roots import Root
from private_registry.agent.runtimes.dockerd import PID_FILE, SOCKET, Dockerd
from private_registry.agent.runtimes.proving import worst
from private_registry.agent.runtimes.runtime import RuntimeMissingError
from private_registry.trust import docker, proof
from private_registry.trust.node_files import HostDirectory, NodeFiles
from private_registry.trust.reasons import Reason, Verdict

ROOT = PurePosixPath("/etc/docker/certs.d")

_ANSWER_WITHIN = 10.0
_PULL_WITHIN = 45.0


class Docker:
    """A Docker Engine as it runs now."""

    name = "docker"
    sure = True
    literal = None

    def __init__(
        self, dockerd: Dockerd, *, identity: tuple[int, str], version: str, root: Root, daemon_file: DaemonFile
    ) -> None:
        self.identity = identity
        self.version = version
        self.config_path = str(ROOT)
        self.root = root
        self._dockerd = dockerd
        self._daemon_file = daemon_file
        connector = aiohttp.UnixConnector(path=str(dockerd.socket))
        timeout = aiohttp.ClientTimeout(total=_PULL_WITHIN)
        self._session = aiohttp.ClientSession("http://docker", connector=connector, timeout=timeout)

    def names(self, files: NodeFiles) -> Collection[str]:
        return files.names

    def directories(self, files: NodeFiles) -> tuple[HostDirectory, ...]:
        return docker.directories(files)

    def apply(self, files: NodeFiles) -> int:
        plain = docker.plain_hosts(files)
        if plain:
            try:
                docker.refuse_conflict(self._dockerd.flags(), plain)
            except RuntimeMissingError:  # it has ended, and whoever looks for it is about to notice
                return 0
        return self._daemon_file.apply(files.registry, plain)

    async def prove(self, files: NodeFiles) -> Verdict:
        if plain := docker.plain_hosts(files):
            try:
                await asyncio.to_thread(self._dockerd.learn, plain)
            except OSError as error:
                return Verdict(Reason.RUNTIME_UNAVAILABLE, f"Docker Engine: {error}")
        return worst(await asyncio.gather(*map(self._prove, docker.directories(files))))

    async def _prove(self, directory: HostDirectory) -> Verdict:
        tag = secrets.token_hex(8)
        query = {"fromImage": f"{directory.host}/{proof.REPOSITORY}", "tag": tag}
        try:
            async with self._session.post("/images/create", params=query) as answer:
                status, said = answer.status, await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            return Verdict(Reason.RUNTIME_UNAVAILABLE, f"Docker Engine does not answer on {SOCKET}: {error}")
        return docker.classify(status, docker.message(said).replace(f":{tag}", ""), directory)

    async def close(self) -> None:
        await self._session.close()


class DockerKind:
    """How a node's Docker Engine is found."""

    name = Docker.name
    signs = (PID_FILE,)

    def __init__(self, dockerd: Dockerd, root: Root, daemon_file: DaemonFile) -> None:
        self._dockerd = dockerd
        self._root = root
        self._daemon_file = daemon_file

    def identify(self) -> tuple[int, str]:
        return self._dockerd.identify()

    async def detect(self) -> Docker:
        identity = self.identify()
        about = await self._version()
        return Docker(
            self._dockerd,
            identity=identity,
            version=about.get("Version", ""),
            root=self._root,
            daemon_file=self._daemon_file,
        )

    async def _version(self) -> dict[str, Any]:
        connector = aiohttp.UnixConnector(path=str(self._dockerd.socket))
        timeout = aiohttp.ClientTimeout(total=_ANSWER_WITHIN)
        try:
            async with (
                aiohttp.ClientSession("http://docker", connector=connector, timeout=timeout) as session,
                session.get("/version") as answer,
            ):
                about: dict[str, Any] = await answer.json()
                return about
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            message = f"Docker Engine does not answer on {SOCKET} ({error}): see the service docker on this node"
            raise RuntimeMissingError(Verdict(Reason.RUNTIME_UNAVAILABLE, message)) from None
