"""What each account may do, asked of the API server: least privilege as it is, not as it is written down."""

import pytest

from private_registry.api import names
from private_registry.kube.client import Kube
from tests.cluster.processes import ControlPlane
from tests.integration.admission.conftest import NAMESPACE, kubectl
from tests.waiting import aeventually

OPERATOR = f"system:serviceaccount:{names.OPERATOR_NAMESPACE}:private-registry-operator"
AGENT = f"system:serviceaccount:{names.AGENTS_NAMESPACE}:private-registry-agent"
CLEANUP = "system:serviceaccount:private-registry-cleanup:private-registry-cleanup"


async def may(admin: Kube, who: str, what: str, namespace: str = "", name: str = "") -> bool:
    """Whether an account may do `what`, given as `verb plural[/subresource][.group]`."""
    verb, _, resource = what.partition(" ")
    plural, _, group = resource.partition(".")
    plural, _, subresource = plural.partition("/")
    attributes = {"verb": verb, "group": group, "resource": plural, "subresource": subresource}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": who, "resourceAttributes": {**attributes, "namespace": namespace, "name": name}},
    }
    answer = await admin._call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body=review)
    return bool(answer["status"]["allowed"])


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
        "create jobs.batch",
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
    for role, user in (("edit", "editor"), ("view", "viewer")):
        kubectl(cluster, "create", "rolebinding", role, f"--clusterrole={role}", f"--user={user}", f"-n{NAMESPACE}")
    reading = ["get", "list", "watch"]
    everything = ["create", "update", "patch", "delete", *reading]
    resource = "privateregistries.privateregistry.dev"

    async def verbs(who: str) -> list[str]:
        return [verb for verb in everything if await may(admin, who, f"{verb} {resource}", namespace=NAMESPACE)]

    async def put_together() -> bool:
        return await verbs("editor") == everything

    await aeventually(put_together, within=30, what="a controller puts the roles together")
    assert await verbs("viewer") == reading
    assert not await may(admin, "editor", f"get {resource}", namespace="default")
    assert not await may(admin, "editor", "patch privateregistries/status.privateregistry.dev", namespace=NAMESPACE)
