"""From `kubectl apply` to a registry that serves and that every node trusts."""

import asyncio

from private_registry.api import names
from private_registry.api.conditions import Type
from private_registry.kube import kinds
from tests.integration.operator.parts.cluster import Cluster

CHILDREN = 9
"""Service, four Secrets, claim, two ConfigMaps, Deployment, trust entry."""


async def test_an_empty_spec_is_enough(cluster: Cluster) -> None:
    """The smallest object becomes a registry that clients reach over TLS by its Service, with the CA beside it."""
    registry = await cluster.ready()

    status = registry.status
    service = await cluster.get(kinds.SERVICE, "team")
    assert status.host == f"team.{cluster.namespace}.svc:5000"
    assert list(status.cluster_ips) == service["spec"]["clusterIPs"]
    assert status.size == "20Gi"
    assert (status.nodes.desired, status.nodes.trusted, status.nodes.summary) == (2, 2, "2/2")
    assert status.message == ""
    assert {each.type: each.status for each in status.conditions} == {
        Type.READY: "True",
        Type.AVAILABLE: "True",
        Type.STORAGE_READY: "True",
        Type.NODES_TRUSTED: "True",
    }
    client = await cluster.http()
    assert (await client.serves()).yes
    assert await client.catalog() == []
    assert await client.deletion_enabled()


async def test_nothing_is_made_before_what_it_needs(cluster: Cluster) -> None:
    """The finalizer comes first and the trust entry last; a pod finds everything that it mounts."""
    async with cluster.writes() as written:
        await cluster.ready()

    order = [" ".join(each.split()[:2]) for each in written]
    assert written[0] == f"patch privateregistries {cluster.namespace}/team"
    service, deployment = order.index("create services"), order.index("create deployments")
    mounted = [
        f"create secrets {cluster.namespace}/team-certificate",
        f"create secrets {cluster.namespace}/team-config",
        f"create persistentvolumeclaims {cluster.namespace}/team-data",
    ]
    assert all(written.index(each) < deployment for each in mounted)
    assert service < written.index(mounted[0])
    entry = f"create configmaps {names.AGENTS_NAMESPACE}/{names.entry(cluster.namespace, 'team')}"
    assert deployment < written.index(entry)


async def test_it_takes_few_writes(cluster: Cluster) -> None:
    """A registry costs the API server one write per child, and no more than four on the object itself."""
    async with cluster.writes() as written:
        await cluster.ready()
        await cluster.until_event("Ready")

    of_it = [each for each in written if cluster.namespace in each]  # it may be the first, and find no NodeTrust yet
    on_itself = [each for each in of_it if "privateregistries" in each]
    assert len(on_itself) <= 4, on_itself
    assert len([each for each in of_it if each.startswith("create") and "events" not in each]) == CHILDREN, of_it
    assert len(of_it) <= CHILDREN + 6, of_it


async def test_what_turns_is_told_in_an_event(cluster: Cluster) -> None:
    """`kubectl describe` shows when the registry became ready, and by which host."""
    await cluster.ready()
    message = await cluster.until_event("Ready")
    assert message == f"serves at team.{cluster.namespace}.svc:5000; 2/2 nodes trust it"


async def test_registries_do_not_disturb_each_other(cluster: Cluster) -> None:
    """Several at once become ready, each with its own address, certificate, volume and trust."""
    await asyncio.gather(*(cluster.create(name=name) for name in ("team", "another", "third")))
    registries = [await cluster.until_ready(name) for name in ("team", "another", "third")]
    assert len({each.status.cluster_ips for each in registries}) == 3
    assert len({each.status.entry_hash for each in registries}) == 3

    await cluster.delete(kinds.PRIVATE_REGISTRY, "another")
    await cluster.until_gone(kinds.PRIVATE_REGISTRY, "another")
    for name in ("team", "third"):
        await cluster.until_ready(name)
        assert (await (await cluster.http(name)).serves()).yes


async def test_a_change_arrives_without_a_gap(cluster: Cluster) -> None:
    """A changed spec is rolled out beside the pod that serves: at every moment the registry answers."""
    await cluster.ready()
    client = await cluster.http()
    refusals: list[str] = []

    async def ask() -> None:
        while True:
            if not (answer := await client.serves()).yes:
                refusals.append(answer.message)

    asking = asyncio.create_task(ask())
    try:
        await cluster.change({"storage": {"deleteEnabled": False}})
        await cluster.until_ready()
    finally:
        asking.cancel()
    assert refusals == []
    assert not await client.deletion_enabled()
    assert set(await cluster.events()) == {"CredentialsCreated", "Ready"}


async def test_a_change_reaches_the_child_at_once(cluster: Cluster) -> None:
    """A second after `kubectl apply`, the child has what the spec says."""
    await cluster.ready()
    await cluster.change({"service": {"type": "NodePort"}})

    async def changed() -> bool:
        service = await cluster.get(kinds.SERVICE, "team")
        assert service["spec"]["type"] == "NodePort"
        return True

    await cluster.until(changed, within=5, what="the Service is a NodePort")


async def test_the_pod_answers_to_everything_it_is_asked_for(cluster: Cluster) -> None:
    """A registry whose options are all set is as ready as the smallest one."""
    await cluster.ready(
        {
            "storage": {
                "deleteEnabled": False,
                "size": "3Gi",
                "storageClassName": "growing",
                "reclaimPolicy": "Delete",
            },
            "service": {"type": "NodePort"},
            "nodeTrust": {"additionalHosts": ["team.registry.example.com"]},
            "image": "registry.example.com/registry:3.1.2",
            "resources": {"requests": {"cpu": "1", "memory": "64Mi"}, "limits": {"memory": "1Gi"}},
            "scheduling": {
                "nodeSelector": {"kubernetes.io/hostname": "node-b"},
                "tolerations": [{"operator": "Exists"}],
                "priorityClassName": "system-cluster-critical",
                "imagePullSecrets": [{"name": "pull"}],
            },
        }
    )
    (pod,) = await cluster.pods()
    assert pod["spec"]["nodeName"] == "node-b"
    assert pod["spec"]["priorityClassName"] == "system-cluster-critical"
