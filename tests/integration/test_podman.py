"""What is written for CRI-O, read by the tools of its family: a real podman and a real skopeo, older and newer."""

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from private_registry.agent.cri.client import Cri
from private_registry.agent.node import Node
from private_registry.agent.runtimes import crio
from private_registry.trust import node_files
from tests.certificates import a_certificate
from tests.cluster import versions
from tests.cluster.commands import CommandError
from tests.cluster.processes import RegistryServer
from tests.integration.agent_world import RULES
from tests.integration.machine import Machine
from tests.integration.pushing import push
from tests.trees import tree
from tests.unit.test_trust_node_files import PLAIN, an_entry

ADDRESS = "127.96.254.7"
NAMES = ("team.registries.svc", "team.registries.svc.cluster.local")
PODMAN = ("podman", "--root=/tmp/root", "--runroot=/tmp/run", "--storage-driver=vfs")


@pytest.fixture(scope="module", params=versions.MACHINES)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    with Machine(request.param) as machine:
        machine.run(*PODMAN, "images")  # its first run leaves a lock in /etc
        yield machine


@pytest.mark.parametrize("plain", [False, True], ids=["tls", "plain"])
async def test_podman_and_skopeo_follow_the_drop_in(machine: Machine, tmp_path: Path, plain: bool) -> None:
    """By every name of a registry, as long as it is there, and not a moment longer.

    Pulls go to the port that asks nobody, whatever the port in the name is; pushes do not.
    """
    certificate = a_certificate([ADDRESS, *NAMES])
    tls = (tmp_path / "tls.crt", tmp_path / "tls.key")
    tls[0].write_text(certificate.cert_pem)
    tls[1].write_text(certificate.key_pem)
    hosts = tuple(f"{name}:5000" for name in (*NAMES, ADDRESS))
    fields = PLAIN if plain else {"ca_bundle": certificate.ca_pem}
    entry = an_entry(hosts=hosts, addresses=(ADDRESS,), port=5002, **fields)
    wanted = node_files.allocate([entry], RULES)[entry.registry]
    before = tree(machine.etc)
    serve = partial(RegistryServer, tls=None if plain else tls, address=ADDRESS)
    with serve(tmp_path, port=5000, asks=True), serve(tmp_path / "pulls", port=5002) as pulls:
        await push(pulls.url, "busybox")
        node = Node(machine.host_root, wrote=lambda _: None)
        root, drop_ins = node.places.root(crio.Crio.name, crio.ROOT), node.places.drop_ins
        # Nobody serves this socket: what is proven here is what its family reads.
        runtime = crio.Crio(Cri(tmp_path / "none"), identity=(0, 0), version="", root=root, drop_ins=drop_ins)
        await node.adopt(runtime)
        await node.apply(wanted)
        for host in hosts:
            said = await asyncio.to_thread(machine.run, "skopeo", "inspect", "--raw", f"docker://{host}/busybox:v1")
            assert '"sha256:' in said
            await asyncio.to_thread(machine.run, *PODMAN, "pull", "--quiet", f"{host}/busybox:v1")
            with pytest.raises(CommandError, match="authentication required"):
                await asyncio.to_thread(machine.run, *PODMAN, "push", f"{host}/busybox:v1")
        await node.remove(wanted.registry)
        await node.close()
        with pytest.raises(CommandError, match=r"lookup team\.registries\.svc"):
            machine.run("skopeo", "inspect", f"docker://{hosts[0]}/busybox:v1")
        with pytest.raises(CommandError, match=r"x509|HTTP response to HTTPS client"):
            machine.run("skopeo", "inspect", f"docker://{hosts[-1]}/busybox:v1")
    assert {path: kept[:4] for path, kept in tree(machine.etc).items()} == {
        path: kept[:4] for path, kept in before.items()
    }
    assert (machine.etc / "hosts").read_text() == "127.0.0.1 localhost\n"
