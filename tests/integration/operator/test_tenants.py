"""A tenant with every right in his own namespace, and none elsewhere, against his neighbours: by real accounts."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from private_registry.api import names
from private_registry.api.conditions import Type
from private_registry.kube import kinds
from private_registry.kube.client import ApiError, ForbiddenError, Kube
from private_registry.kube.kinds import Kind
from tests.certificates import a_certificate
from tests.integration.accounts import SERVICE_ACCOUNT, may, token
from tests.integration.conftest import credentials
from tests.integration.operator.parts.cluster import Cluster
from tests.integration.operator.test_refused import CLAIM, bring

Object = dict[str, Any]

ROLE_BINDING = Kind("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
TENANT = "tenant"
PULLED = "pulled.registry.example.com"
PLAIN: Object = {"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}}


@pytest.fixture
def waits() -> Mapping[str, float]:
    """An operator that sees in time for a test what no watch tells it."""
    return {"controller.engine.RESYNC": 2.0}


class Tenant:
    """The administrator of one namespace, under an account of that namespace; `place` is how the test sees it."""

    def __init__(self, kube: Kube, place: Cluster) -> None:
        self.kube = kube
        self.place = place
        self.namespace = place.namespace

    async def ask_for(self, name: str, spec: Object | None = None) -> Object:
        return await self.make(kinds.PRIVATE_REGISTRY, name, spec=spec or {})

    async def make(self, kind: Kind, name: str, labels: Object | None = None, **fields: Any) -> Object:
        about = {"name": name, "namespace": self.namespace, "labels": labels or {}}
        return await self.kube.create({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": about, **fields})

    async def until_refused(self, name: str, reason: str) -> str:
        """Wait until a registry is stalled for this reason; return the message."""
        return await self.place.until_condition(Type.STALLED, "True", reason, name=name)


@asynccontextmanager
async def tenant_beside(cluster: Cluster, directory: Path, namespace: str = "") -> AsyncIterator[Tenant]:
    """Somebody with a namespace of his own, in which registries run as well."""
    parts = (cluster.control_plane, cluster.kube, cluster.operator, directory)
    async with Cluster(*parts, namespace=namespace, agents=cluster.agents) as place:
        about = {"name": TENANT, "namespace": place.namespace}
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about}
        await cluster.kube._call("POST", SERVICE_ACCOUNT.path(place.namespace), body=account)
        binding = {
            "apiVersion": ROLE_BINDING.api_version,
            "kind": ROLE_BINDING.kind,
            "metadata": about,
            "roleRef": {"apiGroup": ROLE_BINDING.group, "kind": "ClusterRole", "name": "admin"},
            "subjects": [{"kind": "ServiceAccount", **about}],
        }
        await cluster.kube._call("POST", ROLE_BINDING.path(place.namespace), body=binding)
        who, wanted = (
            f"system:serviceaccount:{place.namespace}:{TENANT}",
            "create privateregistries.privateregistry.dev",
        )
        await cluster.until(lambda: may(cluster.kube, who, wanted, place.namespace), what="the tenant has his rights")
        for elsewhere in (names.AGENTS_NAMESPACE, names.OPERATOR_NAMESPACE, cluster.namespace):
            for what in ("get secrets", "create configmaps", "create pods", wanted):
                assert not await may(cluster.kube, who, what, elsewhere), (what, elsewhere)
        its = await token(cluster.kube, place.namespace, TENANT)
        async with Kube(replace(credentials(cluster.control_plane), token=lambda: its)) as kube:
            yield Tenant(kube, place)


@pytest_asyncio.fixture
async def mallory(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Tenant]:
    """Who attacks."""
    async with tenant_beside(cluster, tmp_path / "mallory") as tenant:
        yield tenant


async def told(tenant: Tenant, name: str) -> list[str]:
    """The hosts that nodes are told to trust for a registry; none where it has no entry."""
    entry = names.entry(tenant.namespace, name)
    found = await tenant.place.kube.get(kinds.CONFIG_MAP, names.AGENTS_NAMESPACE, entry)
    return list(json.loads(found["data"]["entry.json"])["hosts"]) if found else []


def asking(*hosts: str) -> Object:
    return {**PLAIN, "nodeTrust": {"additionalHosts": list(hosts)}}


async def test_hosts_of_others(cluster: Cluster, mallory: Tenant) -> None:
    """Neither Docker's, nor another registry's in any spelling, nor a Service's: each is refused, and no node told."""
    victim = await cluster.ready()
    his = f"team.{cluster.namespace}"
    refused = ["docker.io", "registry-1.docker.io:443", f"{his}:5000", "kubernetes.default:443"]
    await mallory.ask_for("redirect", asking(*refused))
    message = await mallory.until_refused("redirect", "HostNotAllowed")
    for host in refused:
        assert f"{host} is neither a name of {mallory.namespace}/redirect nor allowed" in message
    for host in (f"{his}.svc:5000", f"{his}.svc.cluster.local:5000", f"{victim.status.cluster_ips[0]}:5000"):
        with pytest.raises(ApiError) as refusal:
            await mallory.ask_for("at-once", asking(host))
        assert refusal.value.status == 422, host

    async def is_told() -> bool:
        return bool(await told(mallory, "redirect"))

    await cluster.until(is_told, what="nodes are told of what is his")
    own = f"redirect.{mallory.namespace}.svc"
    hosts = await told(mallory, "redirect")
    assert [host for host in hosts if not host.startswith((own, "127.", "[fd00:"))] == []
    await cluster.until_ready()


async def test_a_name_by_being_older(cluster: Cluster, mallory: Tenant) -> None:
    """Who asks for a name by which nodes pull from another gets nothing: neither with a registry from before that one,
    nor with a later one, nor while the operator is away. It is free once its owner has given it up.
    """
    await mallory.ask_for("older", PLAIN)
    await mallory.place.until_ready("older")
    await cluster.ready(asking(PULLED))
    before = await cluster.entry()
    await mallory.kube.merge(kinds.PRIVATE_REGISTRY, mallory.namespace, "older", {"spec": asking(PULLED)})
    await mallory.ask_for("younger", asking(PULLED))
    for way in ("older", "younger"):
        message = await mallory.until_refused(way, "HostTaken")
        assert f"{PULLED} is a name of the registry {cluster.namespace}/team already" in message
    cluster.operator.restart()
    await cluster.change({"storage": {"deleteEnabled": False}})
    await cluster.until_ready()
    for way in ("older", "younger"):
        assert PULLED not in await told(mallory, way)
    assert (await cluster.entry())["data"] == before["data"]

    await cluster.change({"nodeTrust": None})

    async def is_had() -> bool:
        return PULLED in await told(mallory, "older")

    await cluster.until(is_had, what="the name is had once it is given up")
    assert PULLED not in (await cluster.entry())["data"]["entry.json"]
    await cluster.until_ready()


async def test_secrets_and_claims_of_others(cluster: Cluster, mallory: Tenant) -> None:
    """A name is one of the own namespace, whatever is called so elsewhere, and there is no way to name another one."""
    await bring(cluster, a_certificate([f"team.{cluster.namespace}.svc"]))
    await cluster.add(kinds.SECRET, "ci", stringData={"username": "someone", "password": "somebody"})
    await cluster.add(kinds.CLAIM, "images", **CLAIM)
    ways: dict[str, tuple[str, Object, str]] = {
        "certificate": ("brought", {"tls": {"mode": "Secret", "secretName": "brought"}}, "SecretNotFound"),
        "user": ("ci", {"auth": {"users": [{"secretName": "ci"}]}}, "SecretNotFound"),
        "volume": ("images", {"storage": {"claimName": "images"}}, "ClaimNotFound"),
    }
    for registry, (name, spec, reason) in ways.items():
        for elsewhere in (f"{cluster.namespace}/{name}", f"../{cluster.namespace}/secrets/{name}"):
            reaching = json.loads(json.dumps(spec).replace(f'"{name}"', f'"{elsewhere}"'))
            with pytest.raises(ApiError) as refused:
                await mallory.ask_for(registry, reaching)
            assert refused.value.status == 422
        await mallory.ask_for(registry, spec)
        message = await mallory.until_refused(registry, reason)
        assert f"{name} in namespace {mallory.namespace}" in message
    for kind, name in ((kinds.SECRET, "ci"), (kinds.SECRET, "brought"), (kinds.CLAIM, "images")):
        with pytest.raises(ForbiddenError):
            await mallory.kube.get(kind, cluster.namespace, name)


@pytest.mark.parametrize(("namespace", "name"), [("dev", "registry"), ("svc", "registries")])
async def test_a_name_that_reads_as_anothers_host(cluster: Cluster, tmp_path: Path, namespace: str, name: str) -> None:
    """`registry.dev:5000`, or a whole `registries.svc`, is nobody's for having made up a namespace; and a name with a
    dot, which would make `team.registries` in `svc` another registry's host, is none.
    """
    async with tenant_beside(cluster, tmp_path / namespace, namespace) as tenant:
        with pytest.raises(ApiError) as refused:
            await tenant.ask_for("team.registries")
        assert refused.value.status == 422
        with pytest.raises(ApiError) as refused:
            await tenant.ask_for("asks", asking("team.registries.svc:5000"))
        assert refused.value.status == 422
        await tenant.ask_for(name, PLAIN)
        await tenant.place.until_ready(name)
        hosts = await told(tenant, name)
        assert hosts[:2] == [f"{name}.{namespace}.svc:5000", f"{name}.{namespace}.svc.cluster.local:5000"]
        assert all(host.startswith(("127.", "[fd00:")) for host in hosts[2:])
        if namespace == "dev":
            await tenant.ask_for("asks", asking(f"{name}.{namespace}:5000"))
            await tenant.until_refused("asks", "HostNotAllowed")


async def test_more_registries_than_a_namespace_may_have(cluster: Cluster, mallory: Tenant) -> None:
    """The oldest run, one more is told so and no node hears of it, and its neighbours do not notice; what nodes have
    been told stays, whatever the administrator allows later.
    """
    cluster.operator.start("--registries-per-namespace=2", waits={"controller.engine.RESYNC": 2.0})
    for name in ("a", "b"):
        await mallory.ask_for(name, PLAIN)
        await mallory.place.until_ready(name)
    for name in ("c", "d"):
        await mallory.ask_for(name, PLAIN)
        message = await mallory.until_refused(name, "TooManyRegistries")
        assert message.startswith(f"the namespace {mallory.namespace} has 2 older registries, and may have no more")
        assert not await told(mallory, name)
        assert await cluster.kube.get(kinds.SERVICE, mallory.namespace, name) is None
    await cluster.ready()

    await mallory.kube._call("DELETE", kinds.PRIVATE_REGISTRY.path(mallory.namespace, "a"))
    await mallory.place.until_ready("c")
    await mallory.until_refused("d", "TooManyRegistries")

    cluster.operator.start("--registries-per-namespace=1", waits={"controller.engine.RESYNC": 2.0})
    await mallory.kube.merge(
        kinds.PRIVATE_REGISTRY, mallory.namespace, "c", {"spec": {"storage": {"deleteEnabled": False}}}
    )
    await mallory.place.until_ready("c")


async def test_labels_that_say_they_are_ours(cluster: Cluster, mallory: Tenant) -> None:
    """Objects that look like another's, like an agent or like a failing upgrade change nothing elsewhere."""
    await cluster.ready()
    ours = {names.PART_OF: names.MANAGER, names.MANAGED_BY: names.MANAGER, names.INSTANCE: "team"}
    entry = await cluster.entry()
    other = names.entry(cluster.namespace, "team")
    forged = {"entry.json": entry["data"]["entry.json"].replace('"port":5002', '"port":5003')}
    labels = {**entry["metadata"]["labels"], **ours}
    await mallory.make(kinds.CONFIG_MAP, other, labels, data=forged)
    await mallory.make(kinds.CONFIG_MAP, names.COMPLETE, ours)
    confined = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
    confined |= {"seccompProfile": {"type": "RuntimeDefault"}}
    containers = [{"name": "a", "image": "localhost/nobody-has-this", "securityContext": confined}]
    template = {"metadata": {"labels": {"app": "forged"}}, "spec": {"containers": containers}}
    about = {"name": "team", "namespace": mallory.namespace, "annotations": {names.ROLLED_OUT_FOR: "upgrade"}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "forged"}}, "template": template}
    of_team = {**ours, names.REGISTRY_UID: (await cluster.registry()).uid, names.REGISTRY_NAMESPACE: cluster.namespace}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {**about, "labels": of_team}, "spec": spec}
    await mallory.kube.create(deployment)
    agent = {names.PART_OF: names.MANAGER, names.COMPONENT: "agent"}
    await mallory.make(kinds.POD, "agent", agent, spec={"nodeName": "node-a", "containers": containers})

    cluster.agents.set_ready("node-a", ready=False)
    try:
        await cluster.until_condition(Type.NODES_TRUSTED, "Unknown", "AgentNotReady")
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        await cluster.kube.merge(kinds.POD, mallory.namespace, "agent", ready, subresource="status")
        await cluster.touch()
        await cluster.change({"storage": {"deleteEnabled": False}})
        await cluster.until_condition(Type.NODES_TRUSTED, "Unknown", "AgentNotReady")
    finally:
        cluster.agents.set_ready("node-a", ready=True)
    await cluster.until_ready()
    assert (await cluster.entry())["data"] == entry["data"]

    cluster.operator.start(
        "--registry-image=docker.io/library/registry:3.1.1-again", waits={"controller.engine.RESYNC": 2.0}
    )

    async def is_upgraded() -> bool:
        found = await cluster.get(kinds.DEPLOYMENT, "team")
        (container, *_) = found["spec"]["template"]["spec"]["containers"]
        return bool(container["image"].endswith("-again"))

    await cluster.until(is_upgraded, what="the operator's upgrade reaches the registry")
    await cluster.until_ready()
