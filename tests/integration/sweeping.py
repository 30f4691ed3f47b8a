"""Images of a certain age in a real registry, and a sweep of it without a cluster: the test is the operator."""

import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

import private_registry
from private_registry.api.retention import Mode, Rule
from private_registry.data.images import Reference
from private_registry.data.in_use import InUse
from private_registry.data.orders import FILE, Orders, Result, parse_result
from private_registry.distribution import Registry
from private_registry.jobs import sweep
from tests.cluster.processes.process import free_port
from tests.integration.pushing import KIND, MANIFEST, push_blob

SOURCES = Path(private_registry.__file__).parents[1]
INDEX = f"{KIND}.index.v1+json"
LAST_ONE = Rule(repositories="*", keep_last=1)


def days_ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


async def put(
    session: aiohttp.ClientSession, repository: str, reference: str, manifest: dict[str, Any]
) -> tuple[str, int]:
    """Push a manifest; its digest and size."""
    body = json.dumps(manifest).encode()
    path = f"/v2/{repository}/manifests/{reference or f'sha256:{hashlib.sha256(body).hexdigest()}'}"
    async with session.put(path, data=body, headers={"Content-Type": manifest["mediaType"]}) as answer:
        return answer.headers["Docker-Content-Digest"], len(body)


async def push_image(
    session: aiohttp.ClientSession, repository: str, tag: str, *, days: float, of: str = ""
) -> tuple[str, int]:
    """Push an image that was made so many days ago, without a tag where that is empty; `of`: what makes it another one
    than others of that age.
    """
    config = json.dumps(
        {"created": days_ago(days).isoformat(), "architecture": "amd64", "os": "linux", "of": of}
    ).encode()
    described = {
        "mediaType": f"{KIND}.config.v1+json",
        "digest": await push_blob(session, repository, config),
        "size": len(config),
    }
    return await put(
        session, repository, tag, {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": []}
    )


async def push_index(
    session: aiohttp.ClientSession, repository: str, tag: str, parts: Sequence[tuple[str, int]]
) -> tuple[str, int]:
    manifests = [{"mediaType": MANIFEST, "digest": digest, "size": size} for digest, size in parts]
    return await put(session, repository, tag, {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})


class Sweeping:
    """The files of one sweep, which the operator would mount into its pod."""

    def __init__(self, registry: Registry, directory: Path, *, pull_port: int | None = None) -> None:
        directory.mkdir()
        self.directory = directory
        self.result_file = directory / "result"
        self.said: list[str] = []
        self.settings = sweep.Settings(
            registry, pull_port, directory, self.result_file, "127.0.0.1", free_port(), fresh=20, patience=0
        )

    def order(
        self, mode: Mode, rules: Iterable[Rule] = (LAST_ONE,), used: Iterable[str] = (), *, minutes: float = 0
    ) -> None:
        """Replace the orders, as a kubelet does; so many minutes old, less than 0: from the future."""
        taken = datetime.now(UTC) - timedelta(minutes=minutes)
        orders = Orders(mode, tuple(rules), InUse(taken, frozenset(map(reference, used))))
        aside = self.directory / "aside"
        aside.write_text(orders.text())
        aside.rename(self.directory / FILE)

    def command(self, *more: str) -> list[str]:
        """As the Job starts it."""
        return [
            *("env", f"PYTHONPATH={SOURCES}", sys.executable, "-m", "private_registry"),
            *("sweep", f"--registry={self.settings.registry.url}"),
            *(f"--directory={self.directory}", f"--result={self.result_file}"),
            *("--host=127.0.0.1", f"--port={self.settings.port}", "--patience=0", *more),
        ]

    async def run(self) -> Result:
        """Sweep; the result as the kubelet finds it."""
        self.said.clear()
        returned = await sweep.run(self.settings, self.said.append)
        assert parse_result(self.result_file.read_text()) == returned
        return returned

    def line(self, tag: str) -> str:
        """What was said of a tag, without its digest."""
        (found,) = (line for line in self.said if line.startswith(f"{tag} "))
        return found.split(" ", 2)[2]


def reference(text: str) -> Reference:
    repository, at, digest = text.partition("@")
    repository, _, tag = text.rpartition(":") if not at else (repository, "", "")
    return Reference(repository, tag, digest)
