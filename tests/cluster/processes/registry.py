"""A real registry (CNCF distribution) on loopback."""

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster import versions
from tests.cluster.processes.process import Process, free_port, program


class RegistryServer:
    """distribution on a free port of `address`, with its data below `directory`.

    `tls` is (certificate, key), two PEM files. `port` asks for a certain port. `asks`: everybody for a
    password.
    """

    def __init__(
        self,
        directory: Path,
        *,
        tls: tuple[Path, Path] | None = None,
        address: str = "127.0.0.1",
        port: int | None = None,
        delete_enabled: bool = True,
        asks: bool = False,
        version: str = versions.REGISTRY,
    ) -> None:
        """Write the configuration; nothing is started."""
        self.ip = address
        self.port = port or free_port(address)
        self.address = f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.address}"
        self.data = directory / "data"
        self.config = directory / "registry.json"  # JSON is YAML
        http: dict[str, object] = {"addr": self.address, "relativeurls": True, "secret": "of a test"}
        if tls:
            http["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
        storage = {"filesystem": {"rootdirectory": str(self.data)}, "delete": {"enabled": delete_enabled}}
        directory.mkdir(parents=True, exist_ok=True)
        # Where there is no such file, distribution makes one, for somebody whom nobody knows.
        auth = {"auth": {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}} if asks else {}
        self.config.write_text(json.dumps({"version": 0.1, "storage": storage, "http": http, **auth}, indent=1))
        self.process = Process(
            [program(f"registry-{version}", "registry"), "serve", self.config],
            log=directory / "registry.log",
            ready=self._answers,
            env={"OTEL_TRACES_EXPORTER": "none"},
        )

    def _answers(self) -> bool:
        unverified = ssl._create_unverified_context()
        try:
            with urllib.request.urlopen(f"{self.url}/v2/", context=unverified, timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code == 401

    def start(self) -> None:
        """Start it and wait until `/v2/` answers. Raises NotReadyError."""
        self.process.start()

    def stop(self) -> None:
        """End it; its data stays, and `start` serves it again on the same port."""
        self.process.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
