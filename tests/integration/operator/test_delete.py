"""From `kubectl delete` to clean nodes, and what happens to the images."""

import hashlib

import aiohttp

from private_registry.api import names
from private_registry.api.conditions import Type
from private_registry.kube import kinds
from tests.integration.conftest import ROOT
from tests.integration.operator.parts.cluster import NODES, READY, REFUSED, SILENT, Cluster
from tests.kubectl import Kubectl

PLAIN = {"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}}
BOTH = ("team", "another")


async def test_the_order_of_a_deletion(cluster: Cluster) -> None:
    """First nodes hear of it, then they undo their trust, then the registry's objects go, last the object itself."""
    registry = await cluster.ready()
    cluster.agents.silent.add("node-b")
    async with cluster.requests() as requests:
        await cluster.delete(kinds.PRIVATE_REGISTRY, "team")
        assert (await cluster.until_event("Deleting")).startswith("nodes undo their trust: ")
        cluster.agents.agree("node-b")
        await cluster.until_gone(kinds.PRIVATE_REGISTRY, "team")
    made = [each for _, each in requests]
    entry = made.index(f"delete configmaps private-registry-nodes/entry.{cluster.namespace}.team")
    undone = [made.index(f"patch nodetrusts/status {node}") for node in NODES]
    own = [index for index, (user, _) in enumerate(requests) if user == cluster.operator.user]
    deleted = [index for index in own if made[index].startswith("delete ") and index != entry]
    released = made.index(f"patch privateregistries {cluster.namespace}/team")
    assert entry < min(undone)
    assert max(undone) < min(deleted)
    assert max(deleted) < released
    assert len(deleted) == 7

    labels = f"{names.REGISTRY_UID}={registry.uid}"
    for kind in (kinds.SERVICE, kinds.DEPLOYMENT, kinds.CONFIG_MAP, kinds.SECRET):
        assert (await cluster.kube.list(kind, labels=labels)).items == []


async def test_a_slow_node_is_waited_for(cluster: Cluster) -> None:
    """As long as a ready node has not undone its trust, the registry goes on serving and says what it waits for."""
    await cluster.ready(PLAIN)
    client = await cluster.http()
    cluster.agents.silent.add("node-b")
    await cluster.delete(kinds.PRIVATE_REGISTRY, "team")
    await cluster.until_condition(Type.NODES_TRUSTED, "False", "Deleting", says="node-b")

    async def only_one_is_left() -> bool:
        return (await cluster.registry()).status.message == "nodes undo their trust: node-b"

    await cluster.until(only_one_is_left, what="node-a has undone its trust")
    assert (await client.serves()).yes
    cluster.agents.agree("node-b")
    await cluster.until_gone(kinds.PRIVATE_REGISTRY, "team")


async def test_a_node_that_is_down_holds_nothing_up_for_ever(cluster: Cluster) -> None:
    """A node that nobody hears of is waited for a while; then the object goes, and an event names the node."""
    await cluster.ready(PLAIN)
    cluster.agents.silent.add("node-b")
    await cluster.set_node("node-b", SILENT)
    try:
        await cluster.delete(kinds.PRIVATE_REGISTRY, "team")

        async def says_so() -> bool:
            message = (await cluster.registry()).status.message
            assert message == "nodes undo their trust: node-b (node-b not ready: at most 6 s)"
            return True

        await cluster.until(says_so, within=5, what="the status names the node")
        message = await cluster.until_event("NodesLeftBehind")
        assert message == "not undone on node-b, which are gone or not ready: their agents do it on return"
        await cluster.until_gone(kinds.PRIVATE_REGISTRY, "team")
    finally:
        await cluster.set_node("node-b", READY)


async def push_blob(cluster: Cluster, content: bytes) -> str:
    """Upload a blob, as a push does; its path."""
    registry = await cluster.http()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    url = f"{registry.scheme}://{registry.address}:{registry.port}"
    async with aiohttp.ClientSession(url, raise_for_status=True, headers=registry.authorization) as session:
        async with session.post("/v2/app/blobs/uploads/") as begun:
            location = begun.headers["Location"]
        await session.put(location, params={"digest": digest}, data=content)
    return f"{url}/v2/app/blobs/{digest}"


async def test_by_default_no_image_is_lost(cluster: Cluster) -> None:
    """The claim outlives its registry, and the next registry of that name finds everything that was pushed."""
    await cluster.ready(PLAIN)
    path = (await push_blob(cluster, b"precious")).partition("5000")[2]
    claim = await cluster.get(kinds.CLAIM, "team-data")
    await cluster.delete(kinds.PRIVATE_REGISTRY, "team")
    await cluster.until_gone(kinds.PRIVATE_REGISTRY, "team")

    registry = await cluster.ready(PLAIN)
    kept = await cluster.get(kinds.CLAIM, "team-data")
    assert kept["metadata"]["uid"] == claim["metadata"]["uid"]
    assert kept["metadata"]["labels"][names.REGISTRY_UID] == registry.uid
    url = f"http://{registry.status.cluster_ips[0]}:5000{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert await answer.read() == b"precious"


async def test_images_go_where_their_owner_said_so(cluster: Cluster) -> None:
    """With reclaimPolicy Delete the claim goes with its registry; a claim of somebody else's never does."""
    await cluster.ready({**PLAIN, "storage": {"reclaimPolicy": "Delete"}})
    resources = {"requests": {"storage": "1Gi"}}
    await cluster.add(kinds.CLAIM, "brought", spec={"accessModes": ["ReadWriteOnce"], "resources": resources})
    await cluster.ready({**PLAIN, "storage": {"claimName": "brought"}}, name="another")
    for name in BOTH:
        await cluster.delete(kinds.PRIVATE_REGISTRY, name)
        await cluster.until_gone(kinds.PRIVATE_REGISTRY, name)
    await cluster.until_gone(kinds.CLAIM, "team-data")
    brought = await cluster.get(kinds.CLAIM, "brought")
    assert "deletionTimestamp" not in brought["metadata"]
    assert "labels" not in brought["metadata"]


async def test_one_that_was_never_ready_goes_at_once(cluster: Cluster) -> None:
    """A registry that nothing came of leaves nothing either."""
    await cluster.create({"storage": {"claimName": "missing"}})
    await cluster.until_condition(Type.STALLED, "True", "ClaimNotFound")
    await cluster.delete(kinds.PRIVATE_REGISTRY, "team")
    await cluster.until_gone(kinds.PRIVATE_REGISTRY, "team")
    await cluster.until_gone(kinds.SERVICE, "team")


async def test_a_whole_namespace(cluster: Cluster) -> None:
    """When a namespace goes, its registries' nodes are cleaned before, and nothing is made in it any more."""
    await cluster.ready()
    await cluster.ready(PLAIN, name="another")
    for name in BOTH:  # the event comes after the status that says ready, and would count as made below
        await cluster.until_event("Ready", name)
    async with cluster.requests() as requests:
        await cluster.kube._call("DELETE", kinds.NAMESPACE.path(None, cluster.namespace))
        for name in BOTH:
            await cluster.until_gone(kinds.PRIVATE_REGISTRY, name)
            await cluster.until_gone(kinds.CONFIG_MAP, f"entry.{cluster.namespace}.{name}", names.AGENTS_NAMESPACE)

        async def is_gone() -> bool:
            return await cluster.kube.get(kinds.NAMESPACE, None, cluster.namespace) is None

        await cluster.until(is_gone, what="the namespace is gone")
    for node in NODES:
        status = (await cluster.get(kinds.NODE_TRUST, node))["status"]
        assert [row for row in status["registries"] if row["registry"].startswith(cluster.namespace)] == []
    made = [each for user, each in requests if user == cluster.operator.user]
    assert [each for each in made if each.startswith("create ") and REFUSED not in each] == []


async def test_the_agents_namespace_comes_back(cluster: Cluster, kubectl: Kubectl) -> None:
    """Where it was deleted and made anew, agents may undo again only once every entry is back; none undoes anything."""
    await cluster.ready()
    await cluster.ready(PLAIN, name="another")
    entries = [f"create configmaps {names.AGENTS_NAMESPACE}/entry.{cluster.namespace}.{each}" for each in BOTH]
    complete = f"create configmaps {names.AGENTS_NAMESPACE}/{names.COMPLETE}"
    async with cluster.requests() as requests:
        await cluster.kube._call("DELETE", kinds.NAMESPACE.path(None, names.AGENTS_NAMESPACE))

        async def is_gone() -> bool:
            return await cluster.kube.get(kinds.NAMESPACE, None, names.AGENTS_NAMESPACE) is None

        async def is_complete() -> bool:
            return bool(await cluster.get(kinds.CONFIG_MAP, names.COMPLETE, names.AGENTS_NAMESPACE))

        try:
            await cluster.until(is_gone, what="the agents' namespace is gone")
            message = await cluster.until_condition(Type.STALLED, "True", "RefusedByServer")
            assert message.startswith(f"the API server refuses the ConfigMap entry.{cluster.namespace}.team: ")
            await cluster.until_condition(Type.AVAILABLE, "True", "Serving")
        finally:
            for part in ("namespaces", "rbac", "agents/daemonset"):
                kubectl("apply", f"--filename={ROOT / 'manifests' / part}.yaml")
        await cluster.until(is_complete, within=60, what="the marker is back")
    made = [each for user, each in requests if user == cluster.operator.user]
    last = {each: len(made) - 1 - made[::-1].index(each) for each in (*entries, complete)}
    assert max(last[entry] for entry in entries) < last[complete]
    for name in BOTH:
        await cluster.until_ready(name)
