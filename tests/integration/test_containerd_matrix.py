"""Every version of containerd with every kind of configuration: it works, or the node says why, and what cures it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from private_registry.agent.node import NOT_WRITTEN, Node
from private_registry.agent.runtimes.containerd import Containerd, ContainerdKind
from private_registry.trust import node_files
from private_registry.trust.node_files import NodeFiles
from private_registry.trust.reasons import Reason, Verdict
from tests.certificates import a_certificate
from tests.cluster.processes import RegistryServer
from tests.integration.agent_node import NodeContainerd
from tests.integration.agent_world import RULES
from tests.integration.containerd_matrix import CASES, HOST, VERSIONS, Case, minor
from tests.integration.pushing import push
from tests.trees import tree
from tests.unit.test_trust_node_files import an_entry

ADDRESS = "127.96.255.7"


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeFiles]:
    """What a node is to have of a registry that serves, with TLS."""
    directory = tmp_path_factory.mktemp("registry")
    certificate = a_certificate([ADDRESS])
    files = (directory / "tls.crt", directory / "tls.key")
    files[0].write_text(certificate.cert_pem)
    files[1].write_text(certificate.key_pem)
    with RegistryServer(directory, tls=files, address=ADDRESS, port=5000) as server:
        asyncio.run(push(server.url, "busybox"))
        entry = an_entry(hosts=(HOST, f"{ADDRESS}:5000"), addresses=(ADDRESS,), ca_bundle=certificate.ca_pem)
        yield node_files.allocate([entry], RULES)[entry.registry]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title.replace("`", ""))
@pytest.mark.parametrize("version", VERSIONS)
async def test_each_version_with_each_configuration(
    version: str, case: Case, wanted: NodeFiles, tmp_path: Path
) -> None:
    """The node pulls, by what the daemon itself read of our files; or its reason and message are the right ones."""
    machine = NodeContainerd(tmp_path, version=version)
    case.arrange(machine)
    expected = case.outcome(minor(version))
    with machine:
        before = tree(machine.etc)
        node = Node(machine.host_root, wrote=lambda _: None)
        places = node.places
        kind = ContainerdKind(
            machine.host_root, "worker-1", lambda path: places.root(Containerd.name, path), places.literal
        )
        try:
            await node.survey()
            await node.adopt(await kind.detect())
            verdict = await conclude(node, wanted)
            assert (verdict.reason, expected.saying in verdict.message) == (expected.reason, True), verdict
            pulled = await machine.pull(f"{HOST}/busybox:v1")
            assert (pulled.code == "OK") == verdict.trusted, pulled
            await node.remove(wanted.registry)
        finally:
            await node.close()
        assert tree(machine.etc) == before


async def conclude(node: Node, wanted: NodeFiles) -> Verdict:
    """As a keeper does: write, ask, and once more when the first answer has shown what else there is to write."""
    verdict = Verdict(Reason.APPLYING)
    for _ in range(2):
        try:
            await node.apply(wanted)
        except NOT_WRITTEN as error:
            return Verdict(Reason.CONFLICT, str(error))
        verdict = await node.prove(wanted)
        if verdict.trusted:
            break
    return verdict
