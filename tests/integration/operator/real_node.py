"""A node with a real containerd and a real agent beside the two for which a part of the tests speaks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from private_registry.api import names
from private_registry.kube import kinds
from tests.cluster.processes import ControlPlane
from tests.integration.agent_node import Agent, NodeContainerd
from tests.integration.operator.parts.agents import AGENT_PODS
from tests.integration.operator.parts.cluster import READY, Cluster, a_node
from tests.kubectl import Kubectl

NODE = "node-real"
ONLY_THERE = {"nodeTrust": {"nodeSelector": {"kubernetes.io/hostname": NODE}}}


@asynccontextmanager
async def real_node(cluster: Cluster) -> AsyncIterator[None]:
    """A node for which no part of the tests speaks."""
    cluster.proxy.ipv6 = True
    cluster.agents.silent.add(NODE)
    await cluster.kube.create(a_node(NODE))
    await cluster.set_node(NODE, READY)
    try:
        yield
    finally:
        await cluster.clear()
        await cluster.delete(kinds.NODE, NODE)
        await cluster.until_gone(kinds.NODE_TRUST, NODE)  # or the next node of this name would be given it, and lose it


async def token_of_pod(cluster: Cluster, kubectl: Kubectl) -> str:
    """The token that the agent's pod on the node has, which names the node."""

    async def pod_of_node() -> dict[str, Any]:
        pods = (await cluster.kube.list(kinds.POD, names.AGENTS_NAMESPACE, labels=AGENT_PODS)).items
        return next((pod for pod in pods if pod["spec"].get("nodeName") == NODE), {})

    pod = (await cluster.until(pod_of_node, what="the agent's pod is on the node"))["metadata"]
    bound = ["--bound-object-kind=Pod", f"--bound-object-name={pod['name']}", f"--bound-object-uid={pod['uid']}"]
    namespace = f"--namespace={names.AGENTS_NAMESPACE}"
    return kubectl("create", "token", "private-registry-agent", namespace, *bound).strip()


async def an_agent(
    cluster: Cluster, control_plane: ControlPlane, kubectl: Kubectl, node: NodeContainerd, directory: Path
) -> Agent:
    """The agent of that node, with the rights of its pod; not started."""
    return Agent(
        node,
        directory / "agent",
        name=NODE,
        namespace=names.AGENTS_NAMESPACE,
        ca_file=control_plane.ca_file,
        token=await token_of_pod(cluster, kubectl),
        port=urlsplit(control_plane.url).port or 443,
    )
