"""The whole river on loopback: operator, registry, trust entry, a real agent with its own rights, a real containerd."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from private_registry.agent.cri.client import Cri
from private_registry.api import names
from private_registry.kube import kinds
from tests.cluster.processes import ControlPlane
from tests.integration.agent_node import Agent, NodeContainerd
from tests.integration.conftest import SERVICE_CIDR
from tests.integration.operator.parts.agents import AGENT_PODS
from tests.integration.operator.parts.cluster import READY, Cluster, a_node
from tests.integration.pushing import push
from tests.kubectl import Kubectl
from tests.trees import tree

NODE = "node-real"
ONLY_THERE = {"nodeTrust": {"nodeSelector": {"kubernetes.io/hostname": NODE}}}


@pytest.fixture
def ipv6_services() -> Iterator[None]:
    """The Services' IPv6 range on loopback, as the other one is by itself."""
    _, ipv6_range = SERVICE_CIDR.split(",")
    route = ["local", ipv6_range, "dev", "lo"]
    subprocess.run(["ip", "-6", "route", "add", *route], check=True)
    yield
    subprocess.run(["ip", "-6", "route", "del", *route], check=True)


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


async def token_of_pod(cluster: Cluster, kubectl: Kubectl) -> str:
    """The token that the agent's pod on the node has, which names the node."""

    async def pod_of_node() -> dict[str, Any]:
        pods = (await cluster.kube.list(kinds.POD, names.AGENTS_NAMESPACE, labels=AGENT_PODS)).items
        return next((pod for pod in pods if pod["spec"].get("nodeName") == NODE), {})

    pod = (await cluster.until(pod_of_node, what="the agent's pod is on the node"))["metadata"]
    bound = ["--bound-object-kind=Pod", f"--bound-object-name={pod['name']}", f"--bound-object-uid={pod['uid']}"]
    namespace = f"--namespace={names.AGENTS_NAMESPACE}"
    return kubectl("create", "token", "private-registry-agent", namespace, *bound).strip()


async def test_from_apply_to_pull_and_back(
    cluster: Cluster,
    control_plane: ControlPlane,
    kubectl: Kubectl,
    shared_node: NodeContainerd,
    ipv6_services: None,
    tmp_path: Path,
) -> None:
    """Seconds after `kubectl apply` the node pulls; after a `kill -9` in the deletion it is as it was, and then only
    the object goes.
    """
    before = tree(shared_node.etc)
    async with real_node(cluster):
        agent = Agent(
            shared_node,
            tmp_path / "agent",
            name=NODE,
            namespace=names.AGENTS_NAMESPACE,
            ca_file=control_plane.ca_file,
            token=await token_of_pod(cluster, kubectl),
            port=urlsplit(control_plane.url).port or 443,
        )
        with agent:
            registry = await cluster.ready(ONLY_THERE)
            assert registry.status.nodes.summary == "1/1"
            address, ipv6_address = registry.status.cluster_ips
            await push(f"https://{address}:5000", "busybox", login=await cluster.login())
            async with Cri(shared_node.socket) as cri:
                for host in (registry.status.host, f"{address}:5000", f"[{ipv6_address}]:5000"):
                    answer = await cri.pull(f"{host}/busybox:v1")
                    assert answer.code == "OK", answer

            agent.process.stop()
            await cluster.delete(kinds.PRIVATE_REGISTRY, "team")
            entry = names.entry(cluster.namespace, "team")
            await cluster.until_gone(kinds.CONFIG_MAP, entry, names.AGENTS_NAMESPACE)
            cluster.operator.kill()
            assert tree(shared_node.etc) != before
            cluster.operator.start()
            assert (await cluster.registry()).deleting
            agent.process.start()
            await cluster.until_gone(kinds.PRIVATE_REGISTRY, "team")
            assert tree(shared_node.etc) == before
