"""What each account may do, asked of the API server: least privilege as it is, not as it is written down."""

from dataclasses import replace

import pytest

from private_registry.api import names
from private_registry.api.registry import parse
from private_registry.kube.client import ForbiddenError, Kube
from private_registry.kube.kinds import PRIVATE_REGISTRY
from tests.cluster.processes import ControlPlane
from tests.integration.accounts import AGENT, CLEANUP, OPERATOR, may, token
from tests.integration.admission.conftest import NAMESPACE, kubectl
from tests.integration.conftest import credentials
from tests.waiting import aeventually


@pytest.mark.parametrize(
    "what",
    [
        "list secrets",
        "watch secrets",
        "update secrets",
        "create pods/exec",
        "get nodes/proxy",
        "patch nodes",
        "create daemonsets.apps",
        "patch daemonsets.apps",
        "create cronjobs.batch",
        "patch nodetrusts/status.privateregistry.dev",
        "delete nodetrusts.privateregistry.dev",
        "create privateregistries.privateregistry.dev",
        "delete privateregistries.privateregistry.dev",
        "deletecollection persistentvolumeclaims",
        "create clusterrolebindings.rbac.authorization.k8s.io",
        "create serviceaccounts/token",
        "impersonate users",
        "patch customresourcedefinitions.apiextensions.k8s.io",
        "get leases.coordination.k8s.io",
    ],
)
async def test_the_operator_may_not(admin: Kube, what: str) -> None:
    """The operator cannot read all Secrets, reach into a node or a pod, or widen its rights, in any namespace."""
    assert not await may(admin, OPERATOR, what, namespace=NAMESPACE)


@pytest.mark.parametrize(
    "what",
    [
        "patch privateregistries.privateregistry.dev",
        "patch privateregistries/status.privateregistry.dev",
        "update privateregistries/finalizers.privateregistry.dev",
        "get secrets",
        "delete persistentvolumeclaims",
        "patch deployments.apps",
        "create services",
        "create events",
        "create pods",
    ],
)
async def test_the_operator_may(admin: Kube, what: str) -> None:
    """The operator can do its work in every namespace."""
    assert await may(admin, OPERATOR, what, namespace=NAMESPACE)


async def test_the_operator_keeps_its_lease_in_its_own_namespace(admin: Kube) -> None:
    """It can lead."""
    for verb in ("get", "create", "update"):
        assert await may(admin, OPERATOR, f"{verb} leases.coordination.k8s.io", namespace=names.OPERATOR_NAMESPACE)


@pytest.mark.parametrize(
    ("what", "namespace"),
    [
        ("list configmaps", NAMESPACE),
        ("list configmaps", names.OPERATOR_NAMESPACE),
        ("create configmaps", names.AGENTS_NAMESPACE),
        ("delete configmaps", names.AGENTS_NAMESPACE),
        ("get secrets", names.AGENTS_NAMESPACE),
        ("list pods", names.AGENTS_NAMESPACE),
        ("create pods", names.AGENTS_NAMESPACE),
        ("create serviceaccounts/token", names.AGENTS_NAMESPACE),
        ("get nodes", ""),
        ("patch nodes", ""),
        ("list privateregistries.privateregistry.dev", ""),
        ("patch nodetrusts.privateregistry.dev", ""),
        ("create events", NAMESPACE),
    ],
)
async def test_an_agent_may_not(admin: Kube, what: str, namespace: str) -> None:
    """Whoever has an agent's token has hardly anything beyond that agent's node."""
    assert not await may(admin, AGENT, what, namespace=namespace)


async def test_an_agent_may_read_its_namespace_and_report(admin: Kube) -> None:
    """It sees the trust entries and whether its namespace goes; it writes a NodeTrust's status."""
    for verb in ("get", "list", "watch"):
        assert await may(admin, AGENT, f"{verb} configmaps", namespace=names.AGENTS_NAMESPACE)
    assert await may(admin, AGENT, "get namespaces", namespace=names.AGENTS_NAMESPACE, name=names.AGENTS_NAMESPACE)
    assert not await may(admin, AGENT, "get namespaces", namespace=NAMESPACE, name=NAMESPACE)
    assert await may(admin, AGENT, "watch nodetrusts.privateregistry.dev")
    assert await may(admin, AGENT, "patch nodetrusts/status.privateregistry.dev")


async def test_a_cleanup_pod_has_no_rights(admin: Kube) -> None:
    """It works on its node alone."""
    assert not await may(admin, CLEANUP, "list nodetrusts.privateregistry.dev")
    assert not await may(admin, CLEANUP, "list configmaps", namespace="private-registry-cleanup")


async def test_who_edits_a_namespace_edits_its_registries(cluster: ControlPlane, admin: Kube) -> None:
    """Kubernetes' own roles `edit` and `view` cover PrivateRegistry, in the namespace they are given for."""
    editor, viewer = (f"system:serviceaccount:{NAMESPACE}:{role}" for role in ("edit", "view"))
    for role in ("edit", "view"):
        kubectl(cluster, "create", "serviceaccount", role, f"-n{NAMESPACE}")
        account = f"--serviceaccount={NAMESPACE}:{role}"
        kubectl(cluster, "create", "rolebinding", role, f"--clusterrole={role}", account, f"-n{NAMESPACE}")
    reading = ["get", "list", "watch"]
    everything = ["create", "update", "patch", "delete", *reading]
    resource = "privateregistries.privateregistry.dev"

    async def verbs(who: str) -> list[str]:
        return [verb for verb in everything if await may(admin, who, f"{verb} {resource}", namespace=NAMESPACE)]

    async def put_together() -> bool:
        return await verbs(editor) == everything

    await aeventually(put_together, within=30, what="a controller puts the roles together")
    assert await verbs(viewer) == reading
    assert not await may(admin, editor, f"get {resource}", namespace="default")
    assert not await may(admin, editor, "patch privateregistries/status.privateregistry.dev", namespace=NAMESPACE)
    async with (
        as_account(cluster, await token(admin, NAMESPACE, "edit")) as edits,
        as_account(cluster, await token(admin, NAMESPACE, "view")) as views,
    ):
        await work_with_a_registry(edits, views)


async def work_with_a_registry(editor: Kube, viewer: Kube) -> None:
    """What two people do with one: all that there is to do."""
    about = {"name": "of-people", "namespace": NAMESPACE}
    await editor.create({"apiVersion": names.API_VERSION, "kind": "PrivateRegistry", "metadata": about})
    before = await viewer.list(PRIVATE_REGISTRY, NAMESPACE)
    await editor.merge(PRIVATE_REGISTRY, NAMESPACE, "of-people", {"metadata": {"annotations": {"by": "patch"}}})
    live = await viewer.get(PRIVATE_REGISTRY, NAMESPACE, "of-people")
    assert live is not None
    replaced = await editor.replace({**live, "spec": {"storage": {"size": "30Gi"}}})
    await editor.delete(replaced)
    seen = []
    async for event in viewer.watch(PRIVATE_REGISTRY, NAMESPACE, resource_version=before.resource_version):
        seen.append(event.type)
        if event.type == "DELETED":
            break
    assert seen == ["MODIFIED", "MODIFIED", "DELETED"]


async def test_an_owner_that_waits_for_its_children_takes_a_right(cluster: ControlPlane, admin: Kube) -> None:
    """Where an API server checks who may name an owner, the operator's role says so; to make children is not enough."""
    about = {"name": "owner", "namespace": NAMESPACE}
    owner = await admin.create({"apiVersion": names.API_VERSION, "kind": "PrivateRegistry", "metadata": about})
    child = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "child", "namespace": NAMESPACE, "ownerReferences": [parse(owner).owner_reference()]},
    }
    account = f"--serviceaccount={NAMESPACE}:stranger"
    kubectl(cluster, "create", "serviceaccount", "stranger", f"-n{NAMESPACE}")
    kubectl(cluster, "create", "role", "makes", "--verb=create", "--resource=configmaps", f"-n{NAMESPACE}")
    kubectl(cluster, "create", "rolebinding", "makes", "--role=makes", account, f"-n{NAMESPACE}")
    async with as_account(cluster, await token(admin, NAMESPACE, "stranger")) as stranger:

        async def refused() -> bool:
            with pytest.raises(ForbiddenError) as refusal:
                await stranger.create(child)
            return "cannot set blockOwnerDeletion" in refusal.value.message

        await aeventually(refused, within=20, what="refused for its owner, and no longer by RBAC")
    async with as_account(cluster, await token(admin, names.OPERATOR_NAMESPACE, names.MANAGER)) as operator:
        await operator.create(child)


def as_account(cluster: ControlPlane, token: str) -> Kube:
    return Kube(replace(credentials(cluster), token=lambda: token))
