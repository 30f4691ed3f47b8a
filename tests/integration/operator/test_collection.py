"""A collection of garbage in a registry that is used: nobody who pulls notices, and no push that was taken is lost."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import pytest

from private_registry.api import names
from private_registry.api.collection import GarbageCollectionStatus
from private_registry.api.conditions import Type, find
from private_registry.distribution import Registry
from private_registry.kube import kinds
from tests.integration.operator.load import Load
from tests.integration.operator.parts.cluster import Cluster
from tests.integration.pushing import client, push_blob, push_manifest
from tests.integration.sweeping import push_image

# `make soak` takes the long way: a run writes about a dozen times, and each may be the last one of its operator.
COLLECTIONS, WRITES = (20, range(1, 13)) if os.environ.get("SOAK") else (1, range(1, 13, 2))
SPEC = {"garbageCollection": {"deleteUntagged": True}, "tls": {"mode": "Disabled"}, "auth": {"mode": "None"}}
REFUSED = (405, 404, 400)
"""Answers to a push while the registry takes none, and to one that was begun before and has lost what it began."""
LONG = 120.0
"""Seconds that a run has, on a machine with other things to do."""


@pytest.fixture
def waits() -> Mapping[str, float]:
    """What was pushed a moment ago is garbage at once, and the operator sees soon what no watch tells."""
    soon = {"controller.data.retention.LOOK": 0.2, "controller.data.retention.RENEW": 1.0}
    return {**soon, "registry.jobs.GRACE": 0.0, "controller.registries.loop.BUSY": 0.5, "controller.engine.RESYNC": 2.0}


async def ask(cluster: Cluster, value: str, annotation: str = names.COLLECT) -> None:
    change = {"metadata": {"annotations": {annotation: value}}}
    await cluster.kube.merge(kinds.PRIVATE_REGISTRY, cluster.namespace, "team", change)


async def until_over(cluster: Cluster, value: str, *, dry_run: bool = False) -> GarbageCollectionStatus:
    """The status after the run that was asked for by that value, once pushes are taken again."""

    async def over() -> GarbageCollectionStatus:
        status = (await cluster.registry()).status
        run = status.garbage_collection
        assert (run.asked_dry_run if dry_run else run.asked) == value
        assert find(status.conditions, Type.READ_ONLY) is None
        ready, reconciling = (find(status.conditions, each) for each in (Type.READY, Type.RECONCILING))
        assert ready
        assert ready.status == "True", ready
        assert reconciling is None, reconciling
        return run

    return await cluster.until(over, within=LONG, what=f"the collection {value} is over")


async def garbage(http: Registry, tag: str = "v1") -> None:
    """Push a layer that no image has, beside one that stays, and an image that is deleted."""
    async with client(http) as session:
        blob = await push_blob(session, "app", os.urandom(100_000))
        await push_manifest(session, "app", f"{tag}.{blob[-6:]}")
        await session.delete(f"/v2/old/manifests/{await push_manifest(session, 'old', tag)}")


@asynccontextmanager
async def pushing(http: Registry) -> AsyncIterator[dict[str, str]]:
    """Push one image after the other, each under a tag of its own; what was taken, by its tag."""
    taken: dict[str, str] = {}

    async def for_ever() -> None:
        number = 0
        while True:
            number += 1
            try:
                async with client(http) as session:
                    taken[f"n{number}"] = await push_manifest(session, "pushed", f"n{number}")
            except aiohttp.ClientResponseError as error:
                if error.status not in REFUSED:
                    raise
            except aiohttp.ClientConnectionError:
                continue

    task = asyncio.create_task(for_ever())
    try:
        yield taken
        assert not task.done() or task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_in_use_it_is_collected(cluster: Cluster) -> None:
    """Pulls go on, every push that was taken is there, status and events tell what was given back."""
    await cluster.ready(SPEC)
    http = await cluster.http()
    async with Load(cluster, pushes=False) as load, pushing(http) as taken:
        for number in range(COLLECTIONS):
            await garbage(http)
            await ask(cluster, f"run {number}")
            run = await until_over(cluster, f"run {number}")
            assert (run.result, run.dry_run, run.message) == ("Succeeded", False, "")
            assert run.blobs >= 2
            assert run.bytes >= 100_000
            await load.more()
        before = len(taken)
        await cluster.until(lambda: _more(taken, before), what="pushes are taken again")
    assert load.failures == []
    for tag, digest in taken.items():
        assert await http.manifest_digest("pushed", tag) == digest
    print(f"{COLLECTIONS} collections, {load}, {len(taken)} pushes were taken")
    assert "gave back" in await cluster.until_event("Collected")
    assert {"ReadOnly", "Writable"} <= (await cluster.events()).keys()
    assert not [reason for reason in await cluster.events() if reason.startswith("Not")]
    assert "old" not in await http.catalog()


async def _more(taken: dict[str, str], before: int) -> bool:
    return len(taken) > before


async def test_a_dry_run_changes_nothing(cluster: Cluster) -> None:
    """It tells what a run would give back, while pushes are taken all the time."""
    await cluster.ready(SPEC)
    http = await cluster.http()
    await garbage(http)
    async with cluster.writes() as written:
        await ask(cluster, "what if", names.COLLECT_DRY_RUN)
        told = await until_over(cluster, "what if", dry_run=True)
    assert (told.result, told.dry_run) == ("Succeeded", True)
    assert not [each for each in written if "deployments" in each]
    assert "would give back" in await cluster.until_event("CollectionDryRun")
    await ask(cluster, "now")
    done = await until_over(cluster, "now")
    assert (done.blobs, done.bytes, done.manifests) == (told.blobs, told.bytes, told.manifests)


async def test_what_a_pod_uses_by_its_digest_stays(cluster: Cluster) -> None:
    """Whatever its tag leads to by now: where the pod goes next, it is there to be pulled."""
    await cluster.ready(SPEC)
    http, host = await cluster.http(), (await cluster.registry()).host
    async with client(http) as session:
        used, unused = [await push_manifest(session, "app", tag) for tag in ("v1", "v2")]
        for tag in ("v1", "v2"):
            await session.delete(f"/v2/app/manifests/{tag}")
    template = {"spec": {"containers": [{"name": "app", "image": f"{host}/app@{used}"}]}}
    labels = {"app": "pinned"}
    spec = {
        "replicas": 0,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, **template},
    }
    await cluster.add(kinds.DEPLOYMENT, "pinned", spec=spec)
    for value, annotation in (("what if", names.COLLECT_DRY_RUN), ("now", names.COLLECT)):
        await ask(cluster, value, annotation)
        run = await until_over(cluster, value, dry_run=annotation == names.COLLECT_DRY_RUN)
        assert (run.result, run.manifests) == ("Succeeded", 1)
    assert await http.manifest_digest("app", used) == used
    assert not await http.manifest_digest("app", unused)
    assert await cluster.kube.get(kinds.CONFIG_MAP, cluster.namespace, names.in_use("team")) is None


async def test_a_sweep_is_waited_for(cluster: Cluster) -> None:
    """What retention deletes at this time is not refused in the middle of it: both do all that they were asked for."""
    rules = [{"repositories": "*", "keepLast": 1}]
    await cluster.ready({**SPEC, "retention": {"mode": "Enforce", "rules": rules}})
    http = await cluster.http()
    async with client(http) as session:
        for days in (2, 1):
            await push_image(session, "app", f"v{days}", days=days)
    cluster.kubelet.hold_jobs(True)
    await ask(cluster, "sweep", names.SWEEP)

    async def begun() -> bool:
        return await cluster.kube.get(kinds.JOB, cluster.namespace, names.sweep("team")) is not None

    await cluster.until(begun, within=LONG, what="the sweep has begun")
    await ask(cluster, "now")
    cluster.kubelet.hold_jobs(False)
    assert (await until_over(cluster, "now")).manifests == 1
    sweep, collection = [await cluster.get(kinds.JOB, name("team")) for name in (names.sweep, names.collection_job)]
    assert sweep["status"]["completionTime"] <= collection["metadata"]["creationTimestamp"]
    assert (await cluster.registry()).status.retention.deleted == 1
    assert await http.tags("app") == ["v1"]


async def test_it_waits_for_everyone_who_writes(cluster: Cluster) -> None:
    """While a pod that takes writes is there, the Job is; and it does not run."""
    await cluster.ready(SPEC)
    cluster.kubelet.hold(True)
    await ask(cluster, "now")
    until = "garbage is collected: pushes are taken again when it is done, or at "
    await cluster.until_condition(Type.READ_ONLY, "True", "Collecting", says=until)
    job = await cluster.get(kinds.JOB, names.collection_job("team"))
    assert job["spec"]["suspend"] is True
    assert await (await cluster.http()).catalog() == []
    cluster.kubelet.hold(False)
    await until_over(cluster, "now")
    assert (await cluster.get(kinds.JOB, names.collection_job("team")))["spec"]["suspend"] is False


@pytest.mark.parametrize("writes", WRITES)
async def test_killed_in_the_middle_it_goes_on(cluster: Cluster, writes: int) -> None:
    """The operator, after any of its writes: the next start finds how far it was, and it ends writable."""
    await cluster.ready(SPEC)
    http, waits = await cluster.http(), cluster.operator.waits
    await garbage(http)
    cluster.operator.stop()
    await ask(cluster, "killed")
    cluster.operator.start(waits=waits, writes=writes)

    async def dead_or_done() -> bool:
        status = (await cluster.registry()).status
        done = status.garbage_collection.asked == "killed" and find(status.conditions, Type.READ_ONLY) is None
        return not cluster.operator.is_running() or done

    await cluster.until(dead_or_done, within=LONG, what="the operator was killed, or there was nothing left to write")
    cluster.operator.stop()
    cluster.operator.start(waits=waits)
    assert (await until_over(cluster, "killed")).result == "Succeeded"
    async with client(http) as session:
        await push_manifest(session, "app", "after")


async def test_a_job_that_dies_leaves_it_writable(cluster: Cluster) -> None:
    """Whoever ends its pod, or deletes it: the run failed and says so, pushes are taken again, the next one works."""
    await cluster.ready(SPEC)
    http = await cluster.http()
    await garbage(http)
    cluster.kubelet.hold_jobs(True)
    await ask(cluster, "ended")

    async def runs() -> bool:
        pods = await cluster.kube.list(kinds.POD, cluster.namespace, labels=f"{names.COMPONENT}=collection")
        return [pod["status"].get("phase") for pod in pods.items] == ["Running"]

    await cluster.until(runs, within=LONG, what="the Job's pod runs")
    (pod,) = (await cluster.kube.list(kinds.POD, cluster.namespace, labels=f"{names.COMPONENT}=collection")).items
    await cluster.delete(kinds.POD, pod["metadata"]["name"])
    run = await until_over(cluster, "ended")
    assert run.result == "Failed"
    assert run.message
    assert "failed" in await cluster.until_event("CollectionFailed")
    cluster.kubelet.hold_jobs(False)
    await ask(cluster, "again")
    assert (await until_over(cluster, "again")).result == "Succeeded"


async def test_the_registrys_pod_may_die_meanwhile(cluster: Cluster) -> None:
    """It comes back read-only, and writable when the run is over."""
    await cluster.ready(SPEC)
    http = await cluster.http()
    await garbage(http)
    cluster.kubelet.hold_jobs(True)
    await ask(cluster, "now")
    await cluster.until_condition(Type.READ_ONLY, "True", "Collecting")
    (pod, *_) = await cluster.pods()
    await cluster.delete(kinds.POD, pod["metadata"]["name"])
    cluster.kubelet.hold_jobs(False)
    assert (await until_over(cluster, "now")).result == "Succeeded"
    async with client(http) as session:
        await push_manifest(session, "app", "after")


async def test_a_schedule(cluster: Cluster) -> None:
    """It tells when the next run is, which is in the future, and no run is begun for having been asked for."""
    await cluster.ready({**SPEC, "garbageCollection": {"schedule": "0 3 1 1 *", "timeZone": "Europe/Berlin"}})

    async def known() -> bool:
        return (await cluster.registry()).status.garbage_collection.next_run.endswith("-01-01T02:00:00Z")

    await cluster.until(known, what="the next run is told")
    assert await cluster.kube.get(kinds.JOB, cluster.namespace, names.collection_job("team")) is None
    await cluster.change({"garbageCollection": {"schedule": "0 3 31 2 *"}})
    said = await cluster.until_condition(Type.STALLED, "True", "SpecInvalid")
    assert said.startswith("spec.garbageCollection: the schedule '0 3 31 2 *' ")


async def test_a_volume_for_one_pod(cluster: Cluster) -> None:
    """Nobody could pull meanwhile: it is refused until that is said to be meant, and then nobody pulls meanwhile."""
    spec = {**SPEC, "storage": {"accessMode": "ReadWriteOncePod"}}
    await cluster.ready(spec)
    await garbage(await cluster.http())
    await ask(cluster, "now")
    said = await cluster.until_condition(Type.STALLED, "True", "CollectionRefused")
    assert "set spec.garbageCollection.allowOutage" in said
    await cluster.change({"garbageCollection": {"allowOutage": True, "deleteUntagged": True}})
    run = await until_over(cluster, "now")
    assert (run.result, run.blobs >= 2) == ("Succeeded", True)
    assert (await (await cluster.http()).serves()).yes


async def test_somebodys_job_of_that_name(cluster: Cluster) -> None:
    """It stays as it is, and is named."""
    await cluster.ready(SPEC)
    pod = {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}
    await cluster.add(kinds.JOB, names.collection_job("team"), spec={"suspend": True, "template": {"spec": pod}})
    await ask(cluster, "now")
    said = await cluster.until_condition(Type.STALLED, "True", "NameTaken")
    assert said.startswith("there is a Job team-collection in namespace ")
    await cluster.delete(kinds.JOB, names.collection_job("team"))
    assert (await until_over(cluster, "now")).result == "Succeeded"
