"""A registry's pod without a cluster: the real program, started as the Deployment says, in the pod's file system.

Command, environment, mounts, user and configuration come from the builders; only the ports are the test's own.
"""

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from private_registry.api.registry import PrivateRegistry
from private_registry.distribution import Registry
from private_registry.pki import Certificate
from private_registry.registry.certificates import certificate_secret
from private_registry.registry.configuration import HTPASSWD, configuration
from private_registry.registry.credentials import Htpasswd, htpasswd_secret
from private_registry.registry.deployment import deployment
from tests.cluster import versions
from tests.cluster.processes.process import Process, free_port, program
from tests.integration.container import command_line, content, environment, listening_at, project


class RegistryPod:
    """The pod of `registry` on loopback, in `directory`. Two pods of one directory share its volume."""

    def __init__(
        self,
        registry: PrivateRegistry,
        directory: Path,
        *,
        certificate: Certificate | None = None,
        hashes: Mapping[str, str] | None = None,
        pull_hashes: Mapping[str, str] | None = None,
    ) -> None:
        """Lay out the pod's file system; nothing is started. `hashes`: of its users' passwords, by user name;
        `pull_hashes`: of those who are let in where one only pulls.
        """
        secrets = [configuration(registry, "of a test")]
        if certificate:
            secrets.append(certificate_secret(registry, certificate))
        if registry.authenticates:
            secrets.append(htpasswd_secret(registry, Htpasswd(hashes or {}, pull_hashes), {}))
        contents = {obj["metadata"]["name"]: content(obj) for obj in secrets}
        built = deployment(
            registry,
            image="registry",
            certificate_hash="of a test" if certificate else "",
            strategy="RollingUpdate",
        )
        pod = built["spec"]["template"]["spec"]
        container, *beside = pod["containers"]
        paths = {mount["name"]: directory / mount["mountPath"].lstrip("/") for mount in container["volumeMounts"]}
        security = pod["securityContext"]
        project(pod, directory, contents)

        self.volume = paths["data"]
        self.volume.mkdir(parents=True, exist_ok=True)
        os.chown(self.volume, 0, security["fsGroup"])
        self.volume.chmod(0o2775)
        self.port, self.metrics_port = free_port(), free_port()
        scheme = container["readinessProbe"]["httpGet"]["scheme"].lower()
        self.http = Registry("127.0.0.1", self.port, scheme, ca_bundle=certificate.ca_pem if certificate else "")
        self.pulls = replace(self.http, port=free_port())
        """The process that serves those who only pull, where there is one."""
        self.htpasswd = paths["credentials"] / HTPASSWD if "credentials" in paths else None
        binary = program(f"registry-{versions.REGISTRY}", "registry")

        def process(container: dict[str, Any], log: str, port: int, metrics_port: int) -> Process:
            return Process(
                command_line(pod, container, binary, directory),
                log=directory / log,
                ready=lambda: _listens(port),
                env={**listening_at(container, "127.0.0.1", port, metrics_port), **environment(container)},
            )

        self.process = process(container, "log", self.port, self.metrics_port)
        self._pod, self._container, self._binary, self._directory = pod, container, binary, directory
        self._beside = [process(each, "pulls.log", self.pulls.port, free_port()) for each in beside]

    def command(self, name: str) -> list[str | Path]:
        """How another command of the registry's program is run in this pod, with its configuration."""
        _, _, file = self._container["command"]
        other = {**self._container, "command": ["registry", name, file]}
        return command_line(self._pod, other, self._binary, self._directory)

    @property
    def user_id(self) -> int:
        """The user that the program runs as."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("Uid:"))
        return int(line.split()[1])

    @property
    def pids(self) -> list[int]:
        """Of all its processes."""
        return [each.pid for each in (self.process, *self._beside)]

    def logged(self) -> list[dict[str, Any]]:
        """The lines of the log."""
        return [json.loads(line) for line in self.process.log.read_text().splitlines()]

    def files(self) -> list[str]:
        """Paths of the files on the volume."""
        return [str(path.relative_to(self.volume)) for path in self.volume.rglob("*") if path.is_file()]

    def __enter__(self) -> Self:
        for each in (self.process, *self._beside):
            each.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self.process, *self._beside):
            each.stop()


def _listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
