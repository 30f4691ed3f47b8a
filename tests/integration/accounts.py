"""The installation's accounts in a cluster of a test: who they are, what they may do, and the tokens they have."""

import json
from typing import Final

from private_registry.api import names
from private_registry.kube.client import Kube, Object
from private_registry.kube.kinds import Kind
from tests.contract.documents import installation
from tests.waiting import aeventually

OPERATOR: Final = f"system:serviceaccount:{names.OPERATOR_NAMESPACE}:private-registry-operator"
AGENT_ACCOUNT: Final = "private-registry-agent"
AGENT: Final = f"system:serviceaccount:{names.AGENTS_NAMESPACE}:{AGENT_ACCOUNT}"
CLEANUP: Final = "system:serviceaccount:private-registry-cleanup:private-registry-cleanup"

SERVICE_ACCOUNT: Final = Kind("", "v1", "serviceaccounts", "ServiceAccount")
_RBAC: Final = "rbac.authorization.k8s.io"
_KINDS: Final = {
    "ServiceAccount": SERVICE_ACCOUNT,
    "Role": Kind(_RBAC, "v1", "roles", "Role"),
    "RoleBinding": Kind(_RBAC, "v1", "rolebindings", "RoleBinding"),
    "ClusterRoleBinding": Kind(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
}


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


async def token(admin: Kube, namespace: str, account: str) -> str:
    """One of no pod."""
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = await admin._call("POST", SERVICE_ACCOUNT.path(namespace, account, "token"), body=request)
    return str(answer["status"]["token"])


async def add_agents(admin: Kube, namespace: str) -> str:
    """What the installation gives the agents, in a namespace that takes the place of its own; return a token.

    Its ClusterRoles have to be there already.
    """
    for obj in installation("plain"):
        if obj["kind"] in _KINDS and obj["metadata"]["name"] == AGENT_ACCOUNT:
            await admin._call("POST", _KINDS[obj["kind"]].path(namespace), body=_moved(obj, namespace))
    agent = f"system:serviceaccount:{namespace}:{AGENT_ACCOUNT}"

    async def in_force() -> bool:
        in_namespace = await may(admin, agent, "list configmaps", namespace=namespace)
        return in_namespace and await may(admin, agent, "list nodetrusts.privateregistry.dev")

    await aeventually(in_force, within=20, every=0.02, what=f"the agents' account may work in {namespace}")
    return await token(admin, namespace, AGENT_ACCOUNT)


def _moved(obj: Object, namespace: str) -> Object:
    """The object with another namespace in the place of the agents'; one for the whole cluster gets another name."""
    moved: Object = json.loads(json.dumps(obj).replace(names.AGENTS_NAMESPACE, namespace))
    if "namespace" not in moved["metadata"]:
        moved["metadata"]["name"] += f"-{namespace}"
    return moved
