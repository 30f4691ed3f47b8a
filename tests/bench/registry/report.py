"""What a report of retention takes of time and memory in a registry with ten thousand tags."""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from private_registry.api.retention import Rule
from tests.bench.measure import Figure
from tests.integration.layout import in_memory, write_images
from tests.integration.registry_pod import RegistryPod
from tests.integration.sweeping import Sweeping
from tests.registries import a_registry

TAGS, IMAGES = 10_000, 500
MEMORY = 150
"""MiB that a sweep of so many tags may take."""

# What a command takes is known once it has ended, to whoever waited for it.
_MEASURED = """
import json, resource, subprocess, sys
ended = subprocess.run(sys.argv[2:]).returncode
open(sys.argv[1], "w").write(json.dumps(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024))
sys.exit(ended)
"""


@dataclass(frozen=True)
class Report:
    """What a sweep said, and what it took."""

    lines: list[str]
    seconds: float
    memory: float
    """MiB, at most."""


def report(directory: Path) -> Report:
    """A registry that anyone may read, with twenty tags for each image, of which one is used."""
    registry = a_registry({"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}})
    with in_memory(directory / "disk") as disk, RegistryPod(registry, disk / "pod") as pod:
        now = datetime.now(UTC)
        ages = {number: now - timedelta(hours=1 + number) for number in range(IMAGES)}
        images = {f"build-{number:05}": (number % IMAGES, ages[number % IMAGES]) for number in range(TAGS)}
        write_images(pod.volume, "team/app", images, owner=65532)
        sweeping = Sweeping(pod.http, directory / "sweep")
        sweeping.order("Report", [Rule(repositories="team/*", keep_last=100)], ["team/app:build-00407"])
        figures, began = directory / "figures", time.monotonic()
        argv = [sys.executable, "-c", _MEASURED, str(figures), *sweeping.command()]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=True)
        return Report(done.stdout.splitlines(), time.monotonic() - began, json.loads(figures.read_text()))


async def figures() -> list[Figure]:
    """Of one report."""
    with tempfile.TemporaryDirectory() as directory:
        done = await asyncio.to_thread(report, Path(directory))
    return [
        Figure(f"report of what stays of {TAGS:,} tags", done.seconds, 60, "s", done.lines[1]),
        Figure("of it, memory", done.memory, MEMORY, "MiB", "resident, at most"),
    ]
