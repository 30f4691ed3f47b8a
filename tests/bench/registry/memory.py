"""What a registry's pod takes of memory while a hundred push at once."""

import asyncio
import re
import secrets
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.bench.measure import Figure
from tests.certificates import a_certificate
from tests.integration.images import Image
from tests.integration.pushing import client
from tests.integration.registry_pod import RegistryPod
from tests.integration.test_distribution_credentials import hashed
from tests.registries import a_registry

PUSHES = 100
LAYER = 10 * 10**6
"""Bytes of each; no two are the same."""


async def figures() -> list[Figure]:
    """The most that the pod's processes ever had, together; and how many of the pushes failed."""
    with tempfile.TemporaryDirectory() as directory:
        certificate, hashes = a_certificate(["127.0.0.1"]), {"me": hashed("mine")}
        with RegistryPod(a_registry(), Path(directory, "pod"), certificate=certificate, hashes=hashes) as pod:
            common = secrets.token_bytes(LAYER)
            async with client(replace(pod.http, login=("me", "mine")), patience=900) as session:
                images = (
                    Image("team/app", f"v{number}", (b"%d" % number, b"%d" % number + common))
                    for number in range(PUSHES)
                )
                outcomes = await asyncio.gather(*(each.push(session) for each in images), return_exceptions=True)
            peak = sum(_peak(pid) for pid in pod.pids)
    failed = [each for each in outcomes if isinstance(each, BaseException)]
    return [
        Figure(f"memory of a registry's pod with {PUSHES} concurrent pushes", peak, 256, "MiB", "resident, at most"),
        Figure(f"of these pushes of {LAYER / 10**6:.0f} MB, failed", len(failed), 0, "", str(failed[:1] or "")),
    ]


def _peak(pid: int) -> float:
    """MiB that a process had at most."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    assert found
    return int(found[1]) / 1024
