"""How full a registry's volume is, and what becomes of one that fills up, that grows, and that is kept."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest

from private_registry.api.conditions import Type
from private_registry.api.quantity import parse_quantity
from private_registry.kube import kinds
from tests import readme
from tests.integration.operator.load import Load
from tests.integration.operator.parts.cluster import Cluster
from tests.integration.operator.parts.volumes import GROWING, SMALL
from tests.kubectl import Kubectl
from tests.trees import tree

MIB = 2**20
ON_SMALL = {"storage": {"size": "64Mi", "storageClassName": SMALL}}
"""16 MiB of it are to stay free, and 32 to be free again."""


@pytest.fixture
def waits() -> Mapping[str, float]:
    """No watch tells that a disk fills up."""
    return {"controller.data.volumes.EVERY": 0.5, "controller.engine.RESYNC": 1.0}


async def volume_of(cluster: Cluster) -> Path:
    return await cluster.provisioner.directory(await cluster.get(kinds.CLAIM, "team-data"))


def fill(volume: Path, mebibytes: int) -> None:
    """Have so much of it used by something that is no image."""
    (volume / "filler").write_bytes(bytes(mebibytes * MIB))


async def until_free(cluster: Cluster, least: int, most: int) -> None:
    """Wait until the status says that so many MiB are free."""

    async def said() -> bool:
        free = (await cluster.registry()).status.storage.free
        assert least * MIB <= parse_quantity(free or "0") <= most * MIB, free
        return True

    await cluster.until(said, what=f"{least} to {most} MiB are free")


async def test_how_full_the_volume_is(cluster: Cluster) -> None:
    """What df says of it is in the status; it takes no right on nodes."""
    await cluster.ready()
    storage = (await cluster.until_measured()).status.storage
    disk = os.statvfs(await volume_of(cluster))
    assert abs(parse_quantity(storage.total) - disk.f_blocks * disk.f_frsize) < disk.f_blocks * disk.f_frsize / 1000
    assert parse_quantity(storage.used) + parse_quantity(storage.free) < parse_quantity(storage.total) * 101 / 100


async def test_before_a_disk_is_full(cluster: Cluster) -> None:
    """Pushes are refused with a reason while there is still room, nobody who pulls notices; and back, with some room
    in between, so that it does not come and go.
    """
    await cluster.ready(ON_SMALL)
    volume = await volume_of(cluster)
    async with Load(cluster, pushes=False) as load:
        fill(volume, 50)
        message = await cluster.until_condition(Type.READ_ONLY, "True", "DiskFull")
        assert "free of 64Mi: pushes are refused before it is full" in message
        assert "spec.storage.size" in message
        await cluster.until_ready()
        with pytest.raises(aiohttp.ClientResponseError, match="405"):
            await load.push()
        assert await cluster.until_event("ReadOnly")

        fill(volume, 40)
        await until_free(cluster, 20, 24)
        assert (await cluster.registry()).status.storage.full
        await load.more()

        fill(volume, 20)
        await cluster.until_event("Writable")
        await cluster.until_ready()
        await load.push()
        await load.more()
    assert load.failures == []
    assert not (await cluster.registry()).status.storage.full
    assert not [reason for reason in await cluster.events() if reason.startswith("Not")]


async def test_room_by_growth(cluster: Cluster, kubectl: Kubectl) -> None:
    """A larger size is all that it takes: one sees how far the claim is, and once it is there pushes are taken."""
    await cluster.ready(ON_SMALL)
    fill(await volume_of(cluster), 55)
    await cluster.until_condition(Type.READ_ONLY, "True", "DiskFull")
    cluster.provisioner.hold_resizing(held=True)
    (command,) = readme.day_two("the disk is filling")
    await asyncio.to_thread(readme.run, kubectl, command, cluster.namespace)
    growing = "waiting for the claim team-data to grow from 64Mi to 40Gi"
    await cluster.until_condition(Type.RECONCILING, "True", "Progressing", says=growing)
    cluster.provisioner.hold_resizing(held=False)
    await cluster.until_event("Writable")
    registry = await cluster.until_ready()
    assert (registry.status.size, registry.status.storage.total) == ("40Gi", "40Gi")


async def test_room_by_deletion(cluster: Cluster) -> None:
    """A registry that is read-only deletes nothing either: without a reserve it does, for as long as one likes."""
    await cluster.ready(ON_SMALL)
    async with Load(cluster, pushes=False):
        fill(await volume_of(cluster), 55)
        await cluster.until_condition(Type.READ_ONLY, "True", "DiskFull")
        await cluster.until_ready()
        http = await cluster.http()
        digest = await http.manifest_digest("app", "v1")
        assert digest
        await cluster.change({"storage": {"reserve": "0"}})
        await cluster.until_event("Writable")
        await cluster.until_ready()
    await http.delete_manifest("app", digest)
    assert await http.manifest_digest("app", "v1") is None
    await cluster.change({"storage": {"reserve": None}})
    await cluster.until_condition(Type.READ_ONLY, "True", "DiskFull")


async def test_a_claim_that_was_kept(cluster: Cluster) -> None:
    """The next registry of that name has all of it, at its size, and no file is written anew; one that asks for
    something else than the claim is hears what to ask for, and nothing runs on it meanwhile.
    """
    await cluster.ready({"storage": {"size": "30Gi", "storageClassName": GROWING}})
    async with Load(cluster, pushes=False):
        pass
    claim, before = await cluster.get(kinds.CLAIM, "team-data"), tree(await volume_of(cluster) / "docker")
    await cluster.delete(kinds.PRIVATE_REGISTRY, "team")
    await cluster.until_gone(kinds.PRIVATE_REGISTRY, "team")

    await cluster.create({"storage": {"accessMode": "ReadWriteMany"}})
    message = await cluster.until_condition(Type.STALLED, "True", "ClaimDiffers")
    assert message.startswith("the claim team-data was kept and has the accessMode 'ReadWriteOnce': ")
    assert await cluster.pods() == []
    await cluster.delete(kinds.PRIVATE_REGISTRY, "team")
    await cluster.until_gone(kinds.PRIVATE_REGISTRY, "team")

    registry = await cluster.ready()
    assert registry.status.size == "30Gi"
    assert (await cluster.get(kinds.CLAIM, "team-data"))["metadata"]["uid"] == claim["metadata"]["uid"]
    files = {path: said for path, said in before.items() if "probe" not in path and len(said) > 4}
    after = tree(await volume_of(cluster) / "docker")
    assert files
    assert {path: after.get(path) for path in files} == files
    assert await (await cluster.http()).manifest_digest("app", "v1")


async def test_a_claim_that_is_being_deleted(cluster: Cluster) -> None:
    """One that goes with its registry may take its time: the next of that name says so, and waits for it to be gone."""
    await cluster.ready({"storage": {"reclaimPolicy": "Delete"}})
    hold = {"metadata": {"finalizers": ["example.com/backup"]}}
    claim = await cluster.kube.merge(kinds.CLAIM, cluster.namespace, "team-data", hold)
    await cluster.delete(kinds.PRIVATE_REGISTRY, "team")
    await cluster.until_gone(kinds.PRIVATE_REGISTRY, "team")
    await cluster.create()
    waiting = "waiting for the claim team-data, which is being deleted, to be gone"
    await cluster.until_condition(Type.RECONCILING, "True", "Progressing", says=waiting)
    await cluster.until_condition(Type.STORAGE_READY, "Unknown", "Provisioning")
    await cluster.kube.merge(kinds.CLAIM, cluster.namespace, "team-data", {"metadata": {"finalizers": None}})
    await cluster.until_ready()
    assert (await cluster.get(kinds.CLAIM, "team-data"))["metadata"]["uid"] != claim["metadata"]["uid"]


async def test_a_claim_that_is_deleted_under_its_registry(cluster: Cluster) -> None:
    """Its owner hears of it while every image can still be pulled."""
    await cluster.ready()
    async with Load(cluster, pushes=False) as load:
        await cluster.delete(kinds.CLAIM, "team-data")
        await cluster.touch()
        message = await cluster.until_condition(Type.STORAGE_READY, "False", "ClaimBeingDeleted")
        assert "all images with it" in message
        await cluster.until_condition(Type.AVAILABLE, "True", "Serving")
        await load.more()
    assert load.failures == []
