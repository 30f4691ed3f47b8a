"""Several runtimes on one node: what each needs is there, and none is in another's way."""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest
import pytest_asyncio

from private_registry.agent.files.roots import ConflictError, Root
from private_registry.agent.node import Node
from private_registry.trust import node_files
from private_registry.trust.node_files import HostDirectory, NodeFiles
from private_registry.trust.reasons import TRUSTED, Reason, Verdict
from tests.unit.test_trust_node_files import BROUGHT, RULES, an_entry

CERTS_D = PurePosixPath("/etc/containerd/certs.d")
HOSTS = "127.0.0.1 localhost\n"
LOST = Verdict(Reason.RUNTIME_UNAVAILABLE, "nobody answers")


@dataclass
class Told:
    """A runtime that needs what it is made with, and answers as it is told to."""

    name: str
    root: Root | None
    own_names: bool = False
    verdict: Verdict = TRUSTED
    version: str = "1"
    config_path: str = ""
    sure: bool = True
    literal: None = None
    identity: int = 1

    def names(self, files: NodeFiles) -> Collection[str]:
        return files.names if self.own_names else (files.server_name,)

    def directories(self, files: NodeFiles) -> tuple[HostDirectory, ...]:
        return files.certificates if self.own_names else files.directories

    def apply(self, _: NodeFiles) -> int:
        return 0

    async def prove(self, _: NodeFiles) -> Verdict:
        return self.verdict

    async def close(self) -> None:
        pass


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    (tmp_path / "etc/containerd/certs.d").mkdir(parents=True)
    (tmp_path / "etc/hosts").write_text(HOSTS)
    node = Node(tmp_path, wrote=lambda _: None)
    await node.survey()
    yield node
    await node.close()


def containerd(node: Node) -> Told:
    return Told("containerd", node.places.root("containerd", CERTS_D))


def wanted(server_name: bool = False) -> NodeFiles:
    entry = an_entry(**(BROUGHT if server_name else {}))
    return node_files.allocate([entry], RULES)[entry.registry]


async def test_the_name_of_a_runtime_that_is_away_stays(node: Node, tmp_path: Path) -> None:
    """It restarts, for longer than one waits for it, and its first pull is to find the registry."""
    await node.adopt(containerd(node))
    await node.apply(wanted(server_name=True))
    with_line = (tmp_path / "etc/hosts").read_text()
    assert "team.registries.svc" in with_line
    for verdict in (LOST, None):
        await node.lose("containerd", verdict)
        assert await node.apply(wanted(server_name=True)) == 0
        assert (tmp_path / "etc/hosts").read_text() == with_line
    await node.adopt(containerd(node))
    assert await node.apply(wanted()) > 0
    assert (tmp_path / "etc/hosts").read_text() == HOSTS


async def test_where_two_runtimes_read_one_directory_both_find_their_files(node: Node, tmp_path: Path) -> None:
    """A containerd whose config_path is Docker's directory: hosts.toml does not come and go."""
    shared = PurePosixPath("/etc/docker/certs.d")
    await node.adopt(Told("containerd", node.places.root("containerd", shared)))
    await node.adopt(Told("docker", node.places.root("docker", shared), own_names=True))
    assert await node.apply(wanted()) > 0
    assert await node.apply(wanted()) == 0
    files = {each.name for each in (tmp_path / "etc/docker/certs.d/team.registries.svc:5000").iterdir()}
    assert files == {"ca.crt", "hosts.toml"}


async def test_nothing_points_to_a_name_that_somebody_else_has(node: Node, tmp_path: Path) -> None:
    """His line in /etc/hosts leads elsewhere: no runtime is sent there."""
    (tmp_path / "etc/hosts").write_text("192.0.2.1 team.registries.svc\n")
    await node.adopt(containerd(node))
    with pytest.raises(ConflictError, match=r"gives team.registries.svc the address 192.0.2.1"):
        await node.apply(wanted(server_name=True))
    assert not list((tmp_path / "etc/containerd/certs.d").iterdir())


async def test_one_runtime_in_trouble_keeps_nothing_from_the_other(node: Node, tmp_path: Path) -> None:
    """What can be written is written; the node says what is wrong."""
    await node.adopt(containerd(node))
    await node.adopt(Told("docker", node.places.root("docker", PurePosixPath("/etc/docker/certs.d")), own_names=True))
    shadow = tmp_path / "etc/containerd/certs.d/team.registries.svc_5000_"
    shadow.mkdir()
    with pytest.raises(ConflictError, match=r"team\.registries\.svc_5000_"):
        await node.apply(wanted())
    assert (tmp_path / "etc/docker/certs.d/team.registries.svc:5000/ca.crt").exists()


async def test_a_node_is_trusted_when_all_of_its_runtimes_do(node: Node) -> None:
    """One that does not, or that cannot be asked, is the node's verdict."""
    await node.adopt(containerd(node))
    assert await node.prove(wanted()) == TRUSTED
    await node.adopt(Told("docker", None, verdict=Verdict(Reason.SCHEME_MISMATCH, "x")))
    assert (await node.prove(wanted())).reason is Reason.SCHEME_MISMATCH
    await node.lose("docker", LOST)
    assert await node.prove(wanted()) == LOST
    await node.lose("docker", None)
    assert await node.prove(wanted()) == TRUSTED
