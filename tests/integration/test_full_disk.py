"""A registry whose disk is full: what it has said yes to is there, what it has said no to is not, and pulls go on.

The operator's guard makes this rare (operator/test_space.py), and cannot rule it out: a push may be faster.
"""

import hashlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tests.integration.pushing import MANIFEST, client, push_blob
from tests.integration.registry_pod import RegistryPod
from tests.integration.small_disk import elastic_volume, grow, small_volume
from tests.registries import a_registry

MIB = 2**20
OPEN = {"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}}


@dataclass
class Pushes:
    """What came of pushing images of one layer, one after the other."""

    acknowledged: dict[str, bytes] = field(default_factory=dict)
    """The layer of each repository whose last request was answered with yes."""
    refused: dict[str, int] = field(default_factory=dict)
    """The status with which a push ended."""


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[RegistryPod]:
    """A registry that serves from a disk of 64 MiB."""
    with serving(tmp_path / "pod", small_volume) as registry:
        yield registry


@contextmanager
def serving(root: Path, disk: Callable[[Path, int], AbstractContextManager[None]]) -> Iterator[RegistryPod]:
    volume = root / "var/lib/registry"
    volume.mkdir(parents=True)
    with disk(volume, 64):
        os.chown(volume, 0, 65532)
        volume.chmod(0o2775)
        with RegistryPod(a_registry(OPEN), root) as registry:
            yield registry


async def push_until(pod: RegistryPod, failures: int, size: int, *, first: int = 0) -> Pushes:
    """Push images of so many bytes until so many were refused."""
    pushes = Pushes()
    async with client(pod.http) as session:
        for number in range(first, first + 500):
            repository, layer = f"app-{number}", os.urandom(size)
            try:
                await _push(session, repository, layer)
                pushes.acknowledged[repository] = layer
            except aiohttp.ClientResponseError as refusal:
                pushes.refused[repository] = refusal.status
            if len(pushes.refused) == failures:
                return pushes
    raise AssertionError(f"the disk does not fill up: {len(pushes.acknowledged)} images")


async def _push(session: aiohttp.ClientSession, repository: str, layer: bytes) -> None:
    config = json.dumps({"repository": repository}).encode()
    blobs = [
        {"mediaType": media_type, "digest": await push_blob(session, repository, blob), "size": len(blob)}
        for media_type, blob in (
            ("application/vnd.oci.image.config.v1+json", config),
            ("application/vnd.oci.image.layer.v1.tar", layer),
        )
    ]
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": blobs[0], "layers": blobs[1:]}
    body, headers = json.dumps(manifest), {"Content-Type": MANIFEST}
    async with session.put(f"/v2/{repository}/manifests/v1", data=body, headers=headers):
        return


async def pulled(pod: RegistryPod, repository: str) -> bytes | None:
    """The layer of an image as whoever pulls it gets it; None: there is none. Raises AssertionError where half is."""
    async with client(pod.http) as session:
        accept = {"Accept": MANIFEST}
        path = f"/v2/{repository}/manifests/v1"
        async with session.get(path, headers=accept, raise_for_status=False) as answer:
            if answer.status == 404:
                return None
            assert answer.status == 200, (repository, answer.status)
            manifest = await answer.json(content_type=MANIFEST)
        blobs = []
        for each in (manifest["config"], *manifest["layers"]):
            async with session.get(f"/v2/{repository}/blobs/{each['digest']}") as answer:
                blobs.append(await answer.read())
            assert f"sha256:{hashlib.sha256(blobs[-1]).hexdigest()}" == each["digest"]
    return blobs[-1]


async def hold(pod: RegistryPod, pushes: Pushes) -> None:
    """Everything that was acknowledged is there to the byte, and nothing of the rest looks as if it were."""
    for repository, layer in pushes.acknowledged.items():
        assert await pulled(pod, repository) == layer
    for repository in pushes.refused:
        assert await pulled(pod, repository) is None
    for repository in await pod.http.catalog():
        tags = await pod.http.tags(repository) if repository in pushes.acknowledged else []
        assert tags == (["v1"] if repository in pushes.acknowledged else [])


def collected(pod: RegistryPod) -> str:
    """What a collection in a registry that has stopped says."""
    done = subprocess.run(pod.command("garbage-collect"), check=True, capture_output=True, text=True)
    return done.stdout + done.stderr


@asynccontextmanager
async def filled(pod: RegistryPod) -> AsyncIterator[None]:
    """Not a byte is left within the block."""
    filler = pod.volume / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (MIB, 4096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue
    yield
    filler.unlink()


async def test_nothing_that_was_acknowledged_is_lost(pod: RegistryPod) -> None:
    """A push that finds no room is refused as the server's error, at whichever step; also after a new start all is as
    it was said to be.
    """
    large = await push_until(pod, 2, 5 * MIB)
    small = await push_until(pod, 5, 40_000, first=500)
    assert len(large.acknowledged) > 5
    assert {*large.refused.values(), *small.refused.values()} <= {413, *range(500, 600)}
    await hold(pod, large)
    await hold(pod, small)
    pod.process.restart()
    await hold(pod, large)
    await hold(pod, small)


async def test_not_a_byte_is_left(pod: RegistryPod) -> None:
    """Pulls go on; an image of which all is there but the manifest does not come to be, and a tag stays as it was."""
    first = await push_until_room(pod)
    async with client(pod.http) as session:
        layer = await push_blob(session, "late", b"a layer")
    async with filled(pod):
        await hold(pod, first)
        async with client(pod.http) as session:
            manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": {}, "layers": []}
            described = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": layer, "size": 7}
            body, headers = json.dumps({**manifest, "config": described}), {"Content-Type": MANIFEST}
            for path in ("/v2/late/manifests/v1", "/v2/app-0/manifests/v1"):
                async with session.put(path, data=body, headers=headers, raise_for_status=False) as answer:
                    assert answer.status >= 400
        await hold(pod, first)
        assert await pulled(pod, "late") is None
        assert (await pod.http.serves()).yes
    await hold(pod, first)


async def push_until_room(pod: RegistryPod) -> Pushes:
    """Two images on a disk with room."""
    pushes = Pushes()
    async with client(pod.http) as session:
        for number in range(2):
            pushes.acknowledged[f"app-{number}"] = layer = os.urandom(MIB)
            await _push(session, f"app-{number}", layer)
    return pushes


async def test_it_recovers_when_the_disk_grows(tmp_path: Path) -> None:
    """Without a new start; what was refused can be pushed again."""
    with serving(tmp_path / "pod", elastic_volume) as pod:
        before = await push_until(pod, 1, 5 * MIB)
        (refused,) = before.refused
        grow(pod.volume, 96)
        async with client(pod.http) as session:
            await _push(session, refused, again := os.urandom(5 * MIB))
        assert await pulled(pod, refused) == again
        await hold(pod, Pushes(before.acknowledged))


async def test_it_recovers_by_deletion_and_collection(pod: RegistryPod) -> None:
    """On a full disk an image can be deleted; a collection gives its room back, and that of pushes that ended."""
    before = await push_until(pod, 1, 5 * MIB)
    gone, (refused,) = next(iter(before.acknowledged)), before.refused
    digest = await pod.http.manifest_digest(gone, "v1")
    assert digest
    await pod.http.delete_manifest(gone, digest)
    pod.process.stop()
    assert "blob eligible for deletion" in collected(pod)
    pod.process.start()
    async with client(pod.http) as session:
        await _push(session, refused, again := os.urandom(4 * MIB))
    assert await pulled(pod, refused) == again
    del before.acknowledged[gone]
    assert await pulled(pod, gone) is None
    for repository, layer in before.acknowledged.items():
        assert await pulled(pod, repository) == layer
