"""A rotation of the CA on a real node: an agent, the bytes on its disk, and a containerd that pulls by them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest

from private_registry.agent.cri.client import Cri
from private_registry.api import names
from private_registry.api.conditions import Type
from private_registry.controller.fleet import authorities
from private_registry.controller.fleet.authorities import Authorities
from private_registry.controller.fleet.succession import CA_SECRET
from private_registry.kube import kinds
from private_registry.trust import publish
from tests.cluster.processes import ControlPlane
from tests.integration.agent_node import NodeContainerd
from tests.integration.container import content
from tests.integration.operator.parts.cluster import Cluster
from tests.integration.operator.real_node import ONLY_THERE, an_agent, real_node
from tests.integration.pushing import push
from tests.integration.small_disk import read_only, small_node
from tests.kubectl import Kubectl


@pytest.fixture
def waits() -> Mapping[str, float]:
    """An operator that sees at once what it cannot watch."""
    return {"controller.engine.RESYNC": 1.0, "controller.fleet.loop.BUSY": 0.5}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeContainerd]:
    """A node whose disk a test can make read-only."""
    with small_node(tmp_path) as node:
        yield node


@contextlib.asynccontextmanager
async def pulling(node: NodeContainerd, image: str) -> AsyncIterator[list[str]]:
    """The node pulls an image all the time: what came of it, in gRPC's words."""
    answers = list[str]()

    async def pull() -> None:
        async with Cri(node.socket) as cri:
            while True:
                answer = await cri.pull(image)
                answers.append(answer.code if answer.code == "OK" else f"{answer.code}: {answer.details}")

    task = asyncio.create_task(pull())
    try:
        yield answers
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ca(cluster: Cluster) -> Authorities:
    return authorities.read(await cluster.get(kinds.SECRET, CA_SECRET, names.OPERATOR_NAMESPACE))


async def serves_by(cluster: Cluster) -> str:
    """The CA of the certificate that the next pod would serve."""
    return content(await cluster.get(kinds.SECRET, "team-certificate"))["ca.crt"].decode()


async def is_replaced(cluster: Cluster, before: Authorities) -> bool:
    """Whether the rotation is over."""
    known = await ca(cluster)
    return known.current != before.current and not known.previous


async def test_the_disk_decides(
    cluster: Cluster,
    control_plane: ControlPlane,
    kubectl: Kubectl,
    node: NodeContainerd,
    ipv6_services: None,
    tmp_path: Path,
) -> None:
    """While the agent can write nothing, and while it is away, no certificate of the next CA is made; with both CAs on
    the disk one is, and the last CA leaves the disk. The node pulls all the while.
    """

    def on_disk() -> set[str]:
        return set(publish.blocks((node.certs_d / host / "ca.crt").read_text()))

    async def nothing_has_changed() -> None:
        assert on_disk() == set(publish.blocks(before.current.cert_pem))
        assert (await ca(cluster)).current == before.current
        assert await serves_by(cluster) == before.current.cert_pem

    async with real_node(cluster):
        with await an_agent(cluster, control_plane, kubectl, node, tmp_path) as agent:
            registry = await cluster.ready(ONLY_THERE)
            host = registry.status.host
            await push(f"https://{registry.status.cluster_ips[0]}:5000", "busybox", login=await cluster.login())
            before = await ca(cluster)
            async with pulling(node, f"{host}/busybox:v1") as answers:
                with read_only(node):
                    about = {"annotations": {names.ROTATE_CA: cluster.namespace}}
                    await cluster.kube.merge(kinds.SECRET, names.OPERATOR_NAMESPACE, CA_SECRET, {"metadata": about})

                    async def refused() -> bool:
                        said = await cluster.condition(Type.RECONCILING)
                        return said is not None and "next CA: node-real (FileSystemError)" in said.message

                    await cluster.until(refused, what="the agent says that it cannot write")
                    await nothing_has_changed()
                    agent.process.stop()
                before_all = len(answers)

                async def some_more() -> bool:
                    return len(answers) > before_all + 10

                await cluster.until(some_more, what="the node pulls on without an agent")
                await nothing_has_changed()
                agent.process.start()

                async def both() -> bool:
                    return len(on_disk()) == 2

                await cluster.until(both, within=90, what="both CAs are on the disk")
                await cluster.until(lambda: is_replaced(cluster, before), within=90, what="the CA is replaced")
                after = await ca(cluster)

                async def only() -> bool:
                    return on_disk() == set(publish.blocks(after.current.cert_pem))

                await cluster.until(only, what="the last CA has left the disk")
                assert await serves_by(cluster) == after.current.cert_pem
            await cluster.clear()  # while there is an agent that undoes it
    assert set(answers) == {"OK"}
    assert len(answers) > 20
