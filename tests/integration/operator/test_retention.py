"""Retention in a cluster: what something uses stays, wherever in the cluster it is; the rest goes by the rules."""

from collections.abc import Mapping
from typing import Any

import pytest

from private_registry.api import names
from private_registry.api.retention import RetentionStatus
from private_registry.distribution import Registry
from private_registry.kube import kinds
from tests.integration.operator.elsewhere import Elsewhere
from tests.integration.operator.parts.cluster import Cluster
from tests.integration.pushing import client
from tests.integration.sweeping import push_image

RULES: dict[str, Any] = {"rules": [{"repositories": "*", "keepLast": 1}]}
LONG = 120.0
"""Seconds that a sweep has, on a machine with other things to do."""


@pytest.fixture
def waits() -> Mapping[str, float]:
    """A sweep that is under way is looked at often, and gets a new list soon."""
    return {"controller.data.retention.LOOK": 0.2, "controller.data.retention.RENEW": 1.0}


async def ask(cluster: Cluster, value: str) -> None:
    change = {"metadata": {"annotations": {names.SWEEP: value}}}
    await cluster.kube.merge(kinds.PRIVATE_REGISTRY, cluster.namespace, "team", change)


async def until_swept(cluster: Cluster, value: str) -> RetentionStatus:
    """The status after the sweep that was asked for by that value."""

    async def swept() -> RetentionStatus:
        status = (await cluster.registry()).status.retention
        assert status.asked == value, status
        return status

    return await cluster.until(swept, within=LONG, what=f"the sweep {value} is over")


async def push_ages(http: Registry, number: int) -> dict[str, str]:
    """The digests of app:v1, app:v2 and so on, the last one the youngest."""
    async with client(http) as session:
        return {
            f"v{each}": (await push_image(session, "app", f"v{each}", days=100 - each))[0]
            for each in range(1, number + 1)
        }


def a_template(image: str) -> dict[str, Any]:
    spec = {"containers": [{"name": "main", "image": image}]}
    return {"metadata": {"labels": {"app": "one"}}, "spec": spec}


async def deploy(kube: Any, namespace: str, host: str) -> None:
    """Something of every kind that uses an image: v1 and v2 as revisions of a Deployment, of which v1 is the last but
    one, v3 to v6 as what others would start.
    """
    selector = {"selector": {"matchLabels": {"app": "one"}}}

    def about(kind: kinds.Kind, **spec: Any) -> dict[str, Any]:
        metadata = {"name": kind.plural, "namespace": namespace}
        return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": spec}

    def image(tag: str) -> dict[str, Any]:
        return {**selector, "template": a_template(f"{host}/app:{tag}")}

    await kube.create(about(kinds.DEPLOYMENT, replicas=0, **image("v1")))
    await kube.create(about(kinds.STATEFUL_SET, replicas=0, serviceName="none", **image("v3")))
    await kube.create(about(kinds.DAEMON_SET, **image("v4")))
    job = {"template": {"spec": {**a_template(f"{host}/app:v5")["spec"], "restartPolicy": "Never"}}}
    await kube.create(about(kinds.JOB, suspend=True, **job))
    job = {"template": {"spec": {**a_template(f"{host}/app:v6")["spec"], "restartPolicy": "Never"}}}
    await kube.create(about(kinds.CRON_JOB, schedule="0 0 1 1 *", jobTemplate={"spec": job}))


async def until_revisions(cluster: Cluster, namespace: str, number: int) -> None:
    async def there() -> bool:
        found = (await cluster.kube.list(kinds.REPLICA_SET, namespace)).items
        assert len(found) == number, found
        return True

    await cluster.until(there, what=f"there are {number} revisions")


async def test_what_is_used_in_the_cluster_stays(cluster: Cluster, elsewhere: Elsewhere) -> None:
    """First a report of it, then the deletion of the rest; all through TLS and with the registry's credential."""
    registry = await cluster.ready({"retention": RULES})
    http, host = await cluster.http(), registry.status.host
    digests = await push_ages(http, 10)
    namespace = await elsewhere.add()
    await deploy(cluster.kube, namespace, host)
    await until_revisions(cluster, namespace, 1)
    change = {"spec": {"template": a_template(f"{host}/app:v2")}}
    await cluster.kube.merge(kinds.DEPLOYMENT, namespace, kinds.DEPLOYMENT.plural, change)
    await until_revisions(cluster, namespace, 2)
    # It runs what v7 is now, by a tag that has moved.
    pod = {"metadata": {"name": "bare", "namespace": namespace}, "spec": a_template(f"{host}/app:moved")["spec"]}
    await cluster.kube.create({"apiVersion": "v1", "kind": "Pod", **pod})
    ran = [{"name": "main", "image": "x", "imageID": f"{host}/app@{digests['v7']}", "ready": True, "restartCount": 0}]
    status = {"status": {"containerStatuses": ran}}
    await cluster.kube.merge(kinds.POD, namespace, "bare", status, subresource="status")

    await ask(cluster, "first")
    told = await until_swept(cluster, "first")
    assert (told.result, told.mode, told.message) == ("Succeeded", "Report", "")
    assert (told.kept, told.would_delete, told.deleted) == (8, 2, 0)
    listed = (await cluster.get(kinds.CONFIG_MAP, "team-retention"))["data"]["report"].splitlines()
    said = {line.split(" ")[0]: line.split(" ", 2)[2] for line in listed if line.startswith("app:")}
    in_use = {f"app:v{number}": "stays: in use in the cluster" for number in range(1, 8)}
    rest = {"app:v8": "would go", "app:v9": "would go", "app:v10": "stays: among the last 1"}
    assert said == in_use | rest
    assert "8 tags stay, 2 would go" in await cluster.until_event("Swept")
    assert len(await http.tags("app")) == 10

    await cluster.change({"retention": {"mode": "Enforce"}})
    await ask(cluster, "second")
    done = await until_swept(cluster, "second")
    assert (done.result, done.mode, done.message) == ("Succeeded", "Enforce", "")
    assert (done.kept, done.would_delete, done.deleted) == (8, 0, 2)
    assert set(await http.tags("app")) == {f"v{number}" for number in (*range(1, 8), 10)}


async def test_what_nobody_asks_for_any_more_goes(cluster: Cluster) -> None:
    """Job, lists and status, once spec.retention is taken away; of somebody else's nothing."""
    await cluster.ready({"retention": RULES})
    await push_ages(await cluster.http(), 2)
    await ask(cluster, "first")
    assert (await until_swept(cluster, "first")).would_delete == 1
    await cluster.change({"retention": None})
    await cluster.until_gone(kinds.JOB, "team-sweep")
    for name in ("team-images", "team-retention"):
        await cluster.until_gone(kinds.CONFIG_MAP, name)

    async def forgotten() -> bool:
        status = (await cluster.registry()).status.retention
        assert status == RetentionStatus(), status
        return True

    await cluster.until(forgotten, what="the status forgets it")


async def test_a_list_of_somebody_else_is_left_alone(cluster: Cluster) -> None:
    """A ConfigMap of that name stays as it is, the status says what is in the way, and nothing is deleted."""
    await cluster.add(kinds.CONFIG_MAP, "team-images", data={"mine": "yes"})
    await cluster.ready({"retention": {**RULES, "mode": "Enforce"}})
    http = await cluster.http()
    await push_ages(http, 2)
    await ask(cluster, "first")
    told = await until_swept(cluster, "first")
    assert told.result == "Failed"
    assert "there is a ConfigMap team-images that is not this registry's" in told.message
    assert (await cluster.get(kinds.CONFIG_MAP, "team-images"))["data"] == {"mine": "yes"}
    assert await http.tags("app") == ["v1", "v2"]


async def test_a_name_for_the_report_may_be_taken(cluster: Cluster) -> None:
    """The sweep ends all the same, and its status says where the list is not."""
    await cluster.add(kinds.CONFIG_MAP, "team-retention", data={"mine": "yes"})
    await cluster.ready({"retention": RULES})
    await push_ages(await cluster.http(), 2)
    await ask(cluster, "first")
    told = await until_swept(cluster, "first")
    assert (told.result, told.would_delete) == ("Succeeded", 1)
    assert "there is a ConfigMap team-retention that is not this registry's" in told.message
    assert (await cluster.get(kinds.CONFIG_MAP, "team-retention"))["data"] == {"mine": "yes"}


async def test_a_killed_operator_goes_on_with_a_sweep(cluster: Cluster) -> None:
    """Killed after each of the writes of a sweep, the next operator brings it to its end, and one sweep is one."""
    await cluster.ready({"retention": RULES})
    await push_ages(await cluster.http(), 2)
    for writes in range(1, 5):
        cluster.operator.stop()
        await ask(cluster, f"after {writes}")
        cluster.operator.start(waits=cluster.operator.waits, writes=writes)

        async def dead() -> bool:
            return not cluster.operator.is_running()

        await cluster.until(dead, within=LONG, what="the operator is killed")
        cluster.operator.start(waits=cluster.operator.waits)
        told = await until_swept(cluster, f"after {writes}")
        assert (told.result, told.kept, told.would_delete) == ("Succeeded", 1, 1), told
        async with cluster.writes() as written:
            await cluster.touch()
            await cluster.until_ready()
        assert not [each for each in written if "jobs" in each or "configmaps" in each]


async def test_a_cluster_is_gone_through_page_by_page(cluster: Cluster, elsewhere: Elsewhere) -> None:
    """Every object is on one page, however small the pages are, so that no large answer is needed."""
    made = {await elsewhere.add() for _ in range(3)}
    pages = [page.items async for page in cluster.kube.pages(kinds.NAMESPACE, limit=2)]
    found = [each["metadata"]["name"] for page in pages for each in page]
    assert max(map(len, pages)) == 2
    assert made <= set(found)
    assert len(found) == len(set(found))
