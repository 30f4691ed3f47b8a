"""The whole river on loopback: operator, registry, trust entry, a real agent with its own rights, a real containerd."""

from pathlib import Path

from private_registry.agent.cri.client import Cri
from private_registry.api import names
from private_registry.kube import kinds
from tests.cluster.processes import ControlPlane
from tests.integration.agent_node import NodeContainerd
from tests.integration.operator.parts.cluster import Cluster
from tests.integration.operator.real_node import ONLY_THERE, an_agent, real_node
from tests.integration.pushing import push
from tests.kubectl import Kubectl
from tests.trees import tree


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
        with await an_agent(cluster, control_plane, kubectl, shared_node, tmp_path) as agent:
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
