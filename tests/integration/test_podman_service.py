"""A daemon of CRI-O's family that keeps what it has read: podman's service, in CRI-O's place, older and newer.

It shows what a daemon makes of our files and of our signal. What it answers to a pull is what CRI-O would pass on.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from private_registry.agent.cri.client import Cri
from private_registry.agent.files.drop_ins import DropIns
from private_registry.agent.node import Node
from private_registry.agent.runtimes import crio
from private_registry.api import names
from private_registry.trust import node_files, proof
from private_registry.trust.entry import Entry
from private_registry.trust.formats import registries_conf
from private_registry.trust.node_files import NodeFiles
from private_registry.trust.reasons import Reason, Verdict
from tests.certificates import a_certificate
from tests.cluster import versions
from tests.cluster.processes import RegistryServer
from tests.integration.agent_node import cleanup
from tests.integration.agent_world import RULES
from tests.integration.machine import PodmanHost
from tests.integration.pushing import push
from tests.trees import tree
from tests.unit.test_trust_node_files import PLAIN, an_entry
from tests.waiting import aeventually

ADDRESS = "127.96.254.8"
NAMES = ("team.registries.svc", "team.registries.svc.cluster.local")
HOSTS = tuple(f"{name}:5000" for name in (*NAMES, ADDRESS))
SITE = '[[registry]]\nprefix = "*.registries.svc"\nblocked = true\n'
"""Somebody else's, about names that are ours as well."""
RESOLVED_WITHIN = 10
"""Seconds: Go's resolver looks into /etc/hosts every five."""


@pytest.fixture(scope="module", params=versions.MACHINES)
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodmanHost]:
    machine = PodmanHost(tmp_path_factory.mktemp("podman"), debian=request.param)
    machine.drop_ins.mkdir(exist_ok=True)
    (machine.drop_ins / "50-site.conf").write_text(SITE)
    with machine:
        yield machine


@pytest.fixture(autouse=True)
def everything_is_given_back(machine: PodmanHost) -> Iterator[None]:
    """Also the names, and the process is the same."""

    def found() -> tuple[object, ...]:
        return {path: kept[:4] for path, kept in tree(machine.etc).items()}, machine.hosts.read_text()

    before = found()
    yield
    assert found() == before


@contextlib.contextmanager
def serving(
    directory: Path,
    *,
    plain: bool,
    certified: tuple[str, ...] = (*NAMES, ADDRESS),
    asks: bool = False,
    pulls: int = names.PORT,
) -> Iterator[tuple[RegistryServer, Entry]]:
    """The registry, and the entry that the operator would make of it. `asks`: everybody for a password.

    `pulls`: the port that asks nobody, where it is another one; what it serves is not what the other port serves.
    """
    certificate = a_certificate(certified)
    tls = (directory / "tls.crt", directory / "tls.key")
    tls[0].write_text(certificate.cert_pem)
    tls[1].write_text(certificate.key_pem)
    fields = PLAIN if plain else {"ca_bundle": certificate.ca_pem}
    with contextlib.ExitStack() as stack:
        serve = partial(RegistryServer, tls=None if plain else tls, address=ADDRESS)
        server = stack.enter_context(serve(directory, port=names.PORT, asks=asks))
        if pulls != names.PORT:
            server = stack.enter_context(serve(directory / "pulls", port=pulls))
        yield server, an_entry(hosts=HOSTS, addresses=(ADDRESS,), port=pulls, **fields)


def files(entry: Entry) -> NodeFiles:
    return node_files.allocate([entry], RULES)[entry.registry]


@contextlib.asynccontextmanager
async def a_node(machine: PodmanHost) -> AsyncIterator[Node]:
    """What an agent has to write with, once it has found CRI-O."""
    node = Node(machine.host_root, wrote=lambda _: None)
    root, drop_ins = node.places.root(crio.Crio.name, crio.ROOT), node.places.drop_ins
    # This daemon knows no CRI: it is asked in its own words.
    cri = Cri(machine.host_root / "none")
    await node.adopt(crio.Crio(cri, identity=(0, 0), version="", root=root, drop_ins=drop_ins))
    try:
        yield node
    finally:
        await node.close()


async def until_pulled(machine: PodmanHost, host: str) -> None:
    async def is_pulled() -> bool:
        said = await asyncio.to_thread(machine.pull, f"{host}/busybox:v1")
        assert not said, said
        return True

    await aeventually(is_pulled, within=RESOLVED_WITHIN, every=0.2, what=f"{host} is pulled from")


async def until_refused(machine: PodmanHost, host: str, why: str) -> None:
    async def is_refused() -> bool:
        said = await asyncio.to_thread(machine.pull, f"{host}/busybox:v1")
        assert re.search(why, said), said
        return True

    await aeventually(is_refused, within=RESOLVED_WITHIN, every=0.2, what=f"{host} is refused")


async def until_judged(machine: PodmanHost, wanted: NodeFiles, reason: Reason, host: int = 0) -> Verdict:
    """Wait until what it answers about one of the hosts is understood as this."""
    directory = wanted.certificates[host]

    async def judged() -> Verdict:
        said = await asyncio.to_thread(machine.pull, f"{directory.host}/{proof.REPOSITORY}:0a1b")
        verdict = proof.classify("UNKNOWN", said, server=directory.server, mirror=directory.mirror)
        assert verdict.reason is reason, said
        return verdict

    return await aeventually(judged, within=RESOLVED_WITHIN, every=0.2, what=f"the answer means {reason}")


@pytest.mark.parametrize("plain", [False, True], ids=["tls", "plain"])
async def test_it_learns_of_a_registry_and_forgets_it(machine: PodmanHost, tmp_path: Path, plain: bool) -> None:
    """By every name, although somebody else blocks them with a wildcard; it reads its files only when they changed."""
    pid, reads = machine.process.pid, machine.reads()
    with serving(tmp_path, plain=plain) as (server, entry):
        await push(server.url, "busybox")
        await until_judged(machine, files(entry), Reason.NOT_HONOURED)
        await until_refused(machine, HOSTS[0], "registry .* is blocked")
        async with a_node(machine) as node:
            await node.apply(files(entry))
            for host in HOSTS:
                await until_pulled(machine, host)
            assert await node.apply(files(entry)) == 0
            await until_pulled(machine, HOSTS[0])
            assert machine.reads() == reads + 1
            await node.remove(entry.registry)
        await until_refused(machine, HOSTS[0], "registry .* is blocked")
        await until_refused(machine, HOSTS[-1], r"x509|HTTP response to HTTPS client")
    assert (machine.process.pid, machine.reads()) == (pid, reads + 2)


async def test_a_change_of_the_certificate_authority(machine: PodmanHost, tmp_path: Path) -> None:
    """The next pull goes by it, and by two of them while one follows the other."""
    with serving(tmp_path, plain=False) as (server, entry):
        await push(server.url, "busybox")
        other = a_certificate(NAMES).ca_pem
        async with a_node(machine) as node:
            await node.apply(files(replace(entry, ca_bundle=other)))
            await until_refused(machine, HOSTS[0], "x509")
            await node.apply(files(replace(entry, ca_bundle=other + entry.ca_bundle)))
            await until_pulled(machine, HOSTS[0])
            await node.remove(entry.registry)


async def test_clean_up_is_noticed_too(machine: PodmanHost, tmp_path: Path) -> None:
    """With the operator gone for good, one command leaves the files and the daemon as they were."""
    with serving(tmp_path, plain=True) as (server, entry):
        await push(server.url, "busybox")
        async with a_node(machine) as node:
            await node.apply(files(entry))
            await until_pulled(machine, HOSTS[0])
        said = await asyncio.to_thread(cleanup, machine)
        assert f"removed what was of {entry.registry}" in said
        await until_refused(machine, HOSTS[0], "registry .* is blocked")


async def test_a_file_that_it_was_not_told_of(machine: PodmanHost, tmp_path: Path) -> None:
    """An agent may be ended before it tells: the answer says that the file is not followed; told, it is."""
    with serving(tmp_path, plain=True) as (_, entry):
        wanted = files(entry)
        await until_refused(machine, HOSTS[-1], "HTTP response to HTTPS client")
        ended = DropIns(machine.host_root, lambda: None)
        ended.apply(wanted.registry, registries_conf.render(wanted))
        await until_judged(machine, wanted, Reason.NOT_HONOURED, host=-1)
        crio.reload(machine.host_root)
        await until_judged(machine, wanted, Reason.TRUSTED, host=-1)
        DropIns(machine.host_root, lambda: crio.reload(machine.host_root)).remove(wanted.registry)
        await until_judged(machine, wanted, Reason.NOT_HONOURED, host=-1)


@pytest.mark.parametrize(
    ("served", "changes", "reason"),
    [
        ({"plain": False}, {}, Reason.TRUSTED),
        ({"plain": True}, {}, Reason.TRUSTED),
        ({"plain": False, "asks": True}, {}, Reason.TRUSTED),
        ({"plain": False, "asks": True, "pulls": names.PULL_PORT}, {}, Reason.TRUSTED),
        ({"plain": True, "asks": True, "pulls": names.PULL_PORT}, {}, Reason.TRUSTED),
        ({"plain": False, "asks": True}, {"port": names.PULL_PORT}, Reason.UNREACHABLE),
        ({"plain": False, "certified": NAMES[1:]}, {}, Reason.CERTIFICATE_INVALID),
        ({"plain": True}, {"scheme": "https"}, Reason.SCHEME_MISMATCH),
    ],
    ids=[
        *("not found, tls", "not found, plain", "unauthorized"),
        *("pulls elsewhere, tls", "pulls elsewhere, plain", "pulls nowhere", "another name", "no tls"),
    ],
)
async def test_its_answers_are_understood(
    machine: PodmanHost, tmp_path: Path, served: dict[str, Any], changes: dict[str, Any], reason: Reason
) -> None:
    """What the registry itself has said counts as trust; of anything else a person reads what is wrong."""
    with serving(tmp_path, **served) as (_, entry):
        wanted = files(replace(entry, **changes))
        async with a_node(machine) as node:
            await node.apply(wanted)
            await until_judged(machine, wanted, reason)
            await node.remove(entry.registry)


@pytest.mark.parametrize("plain", [False, True], ids=["tls", "plain"])
async def test_pulls_that_have_a_port_of_their_own(machine: PodmanHost, tmp_path: Path, plain: bool) -> None:
    """They need no credential, by every name; a daemon that has not heard of the port is told from one that has."""
    with serving(tmp_path, plain=plain, asks=True, pulls=names.PULL_PORT) as (pulls, entry):
        await push(pulls.url, "busybox")
        async with a_node(machine) as node:
            await node.apply(files(replace(entry, port=names.PORT)))
            await until_refused(machine, HOSTS[0], "authentication required")
            await until_judged(machine, files(entry), Reason.NOT_HONOURED)
            await node.apply(files(entry))
            for host in HOSTS:
                await until_pulled(machine, host)
            await node.remove(entry.registry)


@pytest.mark.parametrize("plain", [False, True], ids=["tls", "plain"])
async def test_a_registry_that_is_down(machine: PodmanHost, tmp_path: Path, plain: bool) -> None:
    """It is told from one that the daemon was not led to."""
    with serving(tmp_path, plain=plain) as (server, entry):
        async with a_node(machine) as node:
            await node.apply(files(entry))
            await until_judged(machine, files(entry), Reason.TRUSTED)
            server.stop()
            await until_judged(machine, files(entry), Reason.UNREACHABLE)
            await node.remove(entry.registry)


async def test_a_broken_file_of_somebody_else(machine: PodmanHost, tmp_path: Path) -> None:
    """It is named, and stays as it is; once it has been put right, the registry is trusted."""
    broken = machine.drop_ins / "60-broken.conf"
    with serving(tmp_path, plain=True) as (_, entry):
        wanted = files(entry)
        async with a_node(machine) as node:
            broken.write_text("[[registry\n")
            await node.apply(wanted)
            verdict = await until_judged(machine, wanted, Reason.PROOF_FAILED)
            assert "/etc/containers/registries.conf.d/60-broken.conf" in verdict.message
            assert broken.read_text() == "[[registry\n"
            broken.unlink()
            await until_judged(machine, wanted, Reason.TRUSTED)
            await node.remove(entry.registry)
