"""A registry's pod without a cluster: the real program, started as the Deployment says, in the pod's file system.

Command, environment, mounts, user and configuration come from the builders; only the ports are the test's own.
"""

import json
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from private_registry.api.registry import PrivateRegistry
from private_registry.distribution import Registry
from private_registry.pki import Certificate
from private_registry.registry.certificates import certificate_secret
from private_registry.registry.configuration import configuration, http_secret
from private_registry.registry.deployment import deployment
from tests.cluster import versions
from tests.cluster.processes.process import Process, free_port, program
from tests.integration.container import command_line, content, environment, project


class RegistryPod:
    """The pod of `registry` on loopback, in `directory`. Two pods of one directory share its volume."""

    def __init__(self, registry: PrivateRegistry, directory: Path, *, certificate: Certificate | None = None) -> None:
        """Lay out the pod's file system; nothing is started."""
        config_map = configuration(registry)
        secrets = [http_secret(registry, "of a test")]
        if certificate:
            secrets.append(certificate_secret(registry, certificate))
        contents = {obj["metadata"]["name"]: content(obj) for obj in (config_map, *secrets)}
        built = deployment(
            registry,
            image="registry",
            configuration_name=config_map["metadata"]["name"],
            certificate_hash="of a test" if certificate else "",
            strategy="RollingUpdate",
        )
        pod = built["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        paths = {mount["name"]: directory / mount["mountPath"].lstrip("/") for mount in container["volumeMounts"]}
        security = pod["securityContext"]
        project(pod, directory, contents)

        self.volume = paths["data"]
        if not self.volume.exists():
            self.volume.mkdir(parents=True)
            os.chown(self.volume, 0, security["fsGroup"])
            self.volume.chmod(0o2775)
        self.port, self.metrics_port = free_port(), free_port()
        scheme = container["readinessProbe"]["httpGet"]["scheme"].lower()
        self.http = Registry("127.0.0.1", self.port, scheme, ca_bundle=certificate.ca_pem if certificate else "")
        self.process = Process(
            command_line(pod, program(f"registry-{versions.REGISTRY}", "registry"), directory),
            log=directory / "log",
            ready=self._listens,
            env={
                "REGISTRY_HTTP_ADDR": f"127.0.0.1:{self.port}",
                "REGISTRY_HTTP_DEBUG_ADDR": f"127.0.0.1:{self.metrics_port}",
                **environment(pod, contents),
            },
        )

    @property
    def user_id(self) -> int:
        """The user that the program runs as."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("Uid:"))
        return int(line.split()[1])

    def logged(self) -> list[dict[str, Any]]:
        """The lines of the log."""
        return [json.loads(line) for line in self.process.log.read_text().splitlines()]

    def files(self) -> list[str]:
        """Paths of the files on the volume."""
        return [str(path.relative_to(self.volume)) for path in self.volume.rglob("*") if path.is_file()]

    def __enter__(self) -> Self:
        self.process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.stop()

    def _listens(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=5):
            return True
