"""The admission policy: an agent speaks for its own node, whatever RBAC lets it write."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from private_registry.api import names
from private_registry.kube.client import ApiError, ConflictError, ForbiddenError, Kube
from private_registry.kube.kinds import NODE_TRUST
from tests.cluster.processes import ControlPlane
from tests.integration.admission.conftest import kubectl
from tests.integration.conftest import credentials
from tests.waiting import aeventually

SAYS = "an agent may write the status of the NodeTrust of its own node, and nothing else"
POLICY = "private-registry-agent-own-node"
ACCOUNT = "private-registry-agent"
STATUS = {"status": {"message": "written"}}

AgentOn = Callable[[str | None], AbstractAsyncContextManager[Kube]]


async def report(kube: Kube, node: str, body: dict[str, Any] = STATUS) -> None:
    await kube.merge(NODE_TRUST, None, node, body, subresource="status")


@pytest_asyncio.fixture
async def agent_on(cluster: ControlPlane, admin: Kube) -> AgentOn:
    """Makes clients with the token that an agent on `node-a` or `node-b` has; on None: a token of no pod.

    Both nodes have a NodeTrust, and the policy is in force, which takes a moment after it was made.
    """
    for node in ("node-a", "node-b"):
        await made(admin, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
        await made(admin, {"apiVersion": names.API_VERSION, "kind": "NodeTrust", "metadata": {"name": node}})
        container = {"name": "agent", "image": "private-registry-operator"}
        spec = {"nodeName": node, "serviceAccountName": ACCOUNT, "containers": [container]}
        about = {"name": f"agent-on-{node}", "namespace": names.AGENTS_NAMESPACE}
        await made(admin, {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec})

    def client(node: str | None) -> AbstractAsyncContextManager[Kube]:
        bound = ("--bound-object-kind=Pod", f"--bound-object-name=agent-on-{node}") if node else ()
        token = kubectl(cluster, "create", "token", ACCOUNT, f"--namespace={names.AGENTS_NAMESPACE}", *bound)
        return Kube(replace(credentials(cluster), token=lambda: token))

    async def in_force() -> bool:
        async with client(None) as stranger:
            try:
                await report(stranger, "node-a")
            except ForbiddenError as error:
                return SAYS in error.message
        return False

    await aeventually(in_force, within=30, what="the policy is in force")
    return client


async def made(admin: Kube, obj: dict[str, Any]) -> None:
    try:
        await admin.create(obj)
    except ConflictError:
        return


async def test_an_agent_reports_for_its_own_node(agent_on: AgentOn) -> None:
    """An agent writes the status of its node's NodeTrust."""
    async with agent_on("node-a") as agent:
        await report(agent, "node-a")
    async with agent_on("node-b") as agent:
        await report(agent, "node-b")


@pytest.mark.parametrize(("node", "other"), [("node-a", "node-b"), ("node-b", "node-a"), (None, "node-a")])
async def test_an_agent_reports_for_no_other_node(agent_on: AgentOn, node: str | None, other: str) -> None:
    """Whoever broke into a node cannot claim that another one trusts a registry, nor with a token of no pod."""
    async with agent_on(node) as agent:
        with pytest.raises(ForbiddenError, match=SAYS):
            await report(agent, other)


async def test_an_agent_changes_nothing_but_a_status(agent_on: AgentOn) -> None:
    """Its node's labels are the operator's to say, and so is which NodeTrusts there are."""
    new = {"apiVersion": names.API_VERSION, "kind": "NodeTrust", "metadata": {"name": "node-c"}}
    async with agent_on("node-a") as agent:
        with pytest.raises(ForbiddenError):
            await agent.merge(NODE_TRUST, None, "node-a", {"spec": {"nodeLabels": {"a": "b"}}})
        with pytest.raises(ForbiddenError):
            await agent.create(new)
        [own] = (await agent.list(NODE_TRUST, fields="metadata.name=node-a")).items
        with pytest.raises(ForbiddenError):
            await agent.delete(own)


async def test_the_policy_holds_where_rbac_is_too_generous(cluster: ControlPlane, agent_on: AgentOn) -> None:
    """Even an agent that was given every right to NodeTrusts changes its own status only."""
    grant = ("--clusterrole=generous", f"--serviceaccount={names.AGENTS_NAMESPACE}:{ACCOUNT}")
    resources = ("--verb=create,update,patch,delete", "--resource=nodetrusts.privateregistry.dev")
    kubectl(cluster, "create", "clusterrole", "generous", *resources)
    kubectl(cluster, "create", "clusterrolebinding", "generous", *grant)
    try:
        async with agent_on("node-a") as agent:
            [own] = (await agent.list(NODE_TRUST, fields="metadata.name=node-a")).items

            async def refused() -> bool:
                with pytest.raises(ForbiddenError) as refusal:
                    await agent.replace({**own, "spec": {"nodeLabels": {"a": "b"}}})
                return SAYS in refusal.value.message

            await aeventually(refused, within=20, what="refused by the policy and no longer by RBAC")
            with pytest.raises(ForbiddenError, match=SAYS):
                await agent.create({**own, "metadata": {"name": "node-c"}})
            with pytest.raises(ForbiddenError, match=SAYS):
                await agent.delete(own)
            await report(agent, "node-a")
    finally:
        kubectl(cluster, "delete", "clusterrolebinding", "generous")
        kubectl(cluster, "delete", "clusterrole", "generous")


async def test_the_policy_concerns_nobody_else(admin: Kube, agent_on: AgentOn) -> None:
    """An administrator, and the operator, write NodeTrusts as their rights say."""
    await report(admin, "node-a")
    [live] = (await admin.list(NODE_TRUST, fields="metadata.name=node-a")).items
    await admin.replace({**live, "spec": {"nodeLabels": {"a": "b"}}})


async def test_the_policy_is_understood(cluster: ControlPlane, agent_on: AgentOn) -> None:
    """The API server has found nothing to object to in the policy's expressions."""

    async def checked() -> dict[str, Any]:
        policy = json.loads(
            kubectl(cluster, "get", "validatingadmissionpolicy/private-registry-agent-own-node", "-ojson")
        )
        status: dict[str, Any] = policy.get("status", {})
        return status

    status = await aeventually(checked, within=30, what="the policy was checked")
    assert status["typeChecking"].get("expressionWarnings", []) == []


async def test_an_unknown_status_is_an_error_of_the_agent(agent_on: AgentOn) -> None:
    """A report that does not fit the CRD is refused as such, so that an agent cannot be silently misunderstood."""
    async with agent_on("node-a") as agent:
        with pytest.raises(ApiError) as refusal:
            await report(agent, "node-a", {"status": {"registries": [{"registry": "a/b"}]}})
    assert refusal.value.status == 422
