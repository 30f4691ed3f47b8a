"""Forged trust entries, more than 10,000 of them, straight into what an agent does with an entry."""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from private_registry.agent.cri.client import Cri
from private_registry.agent.files.daemon_file import DaemonFile
from private_registry.agent.node import Node
from private_registry.agent.runtimes.containerd import Containerd
from private_registry.agent.runtimes.crio import ROOT as CRIO_ROOT
from private_registry.agent.runtimes.crio import Crio
from private_registry.agent.runtimes.docker import ROOT as DOCKER_ROOT
from private_registry.agent.runtimes.docker import Docker
from private_registry.agent.runtimes.managed import Process
from private_registry.trust import containerd, docker, entry, node_files
from private_registry.trust.entry import Entry, EntryInvalidError
from private_registry.trust.formats import registries_conf
from private_registry.trust.node_files import NodeFiles
from tests.hostile import SEED, VICTIM, VICTIMS_ADDRESS, Forger
from tests.node_reading import (
    RULES,
    check_ca,
    check_drop_in,
    check_etc_hosts,
    check_hosts_toml,
    insecure,
    is_permitted,
    is_service_address,
)
from tests.trees import tree

TEAM = "registries/team"
VICTIMS = Entry(
    registry=VICTIM,
    hosts=("victim.registries.svc:5000", f"{VICTIMS_ADDRESS}:5000", "docker.registry.example.com"),
    addresses=(VICTIMS_ADDRESS,),
    port=5000,
    scheme="http",
)


@pytest.fixture(scope="module")
def forger() -> Forger:
    return Forger()


@pytest.fixture(scope="module")
def accepted(forger: Forger) -> dict[str, NodeFiles]:
    """What an agent with an older registry on its node makes of all forged entries, without those it cannot read."""
    made = {}
    count = 0
    for data in forger.all():
        count += 1
        try:
            parsed = entry.parse(forger.config_map(data))
        except EntryInvalidError as error:
            str(error).encode()  # for a status and a log: no half of a character
            continue
        except Exception as error:
            raise AssertionError(f"seed {SEED}: {data[:300]!r}") from error
        made[data] = node_files.allocate([VICTIMS, parsed], RULES)[TEAM]
    assert count >= 10_000
    assert len(made) >= 500, "the generator makes nothing that is nearly good any more"
    return made


def test_nothing_is_meant_for_a_host_or_an_address_that_is_not_permitted(
    forger: Forger, accepted: dict[str, NodeFiles]
) -> None:
    """Own names, own addresses of the Service range and what the administrator allows: no forgery gets another."""
    for data, files in accepted.items():
        try:
            assert files.entry_hash == entry.hash_of(data), "the operator would wait for another hash"
            _check(json.loads(data), files, forger.ca)
        except (AssertionError, ValueError) as error:
            raise AssertionError(f"seed {SEED}: {data[:2000]!r}") from error


def _check(raw: dict[str, Any], files: NodeFiles, ca: str) -> None:
    for each in files.directories:
        assert is_permitted(each.host, TEAM, raw["addresses"]), each.host
        assert each.host in raw["hosts"]
        assert each.host not in VICTIMS.hosts
        assert {file.name for file in each.files} == {"hosts.toml", *(["ca.crt"] if raw["caBundle"] else [])}
        for file in each.files:
            if file.name == "ca.crt":
                check_ca(file.content, raw, [ca])
            else:
                check_hosts_toml(file.content, raw, each.host)
    assert [each.host for each in files.certificates] == [each.host for each in files.directories]
    for each in files.certificates:
        for file in each.files:
            assert file.name == "ca.crt"
            check_ca(file.content, raw, [ca])
    if files.directories:
        assert files.address == raw["addresses"][0]
        assert all(map(is_service_address, raw["addresses"]))
    assert files.server_name in ("", *(each.host.rpartition(":")[0] or each.host for each in files.directories))
    if alias := files.alias(files.names):
        check_etc_hosts(alias.line(TEAM, files.entry_hash), b"")
    hosts = check_drop_in(registries_conf.render(files), TEAM, raw["addresses"], plain=raw["scheme"] == "http")
    assert hosts == {each.host for each in (*files.directories, *files.mirrors)}


@pytest.fixture
def host_root(tmp_path: Path) -> Path:
    """A node with three runtimes, and everywhere something of somebody else."""
    for name in ("containerd/certs.d", "docker/certs.d", "containers/certs.d"):
        for host in ("_default", "docker.io", "registry-1.docker.io", "quay.io_443_"):
            (tmp_path / "etc" / name / host).mkdir(parents=True)
            (tmp_path / "etc" / name / host / "hosts.toml").write_text('server = "https://mirror.example.com"\n')
    (tmp_path / "etc/containers/registries.conf.d").mkdir()
    (tmp_path / "etc/containers/registries.conf.d/000-shortnames.conf").write_text("[aliases]\n")
    (tmp_path / "etc/docker/daemon.json").write_text('{\n  "registry-mirrors": ["https://mirror.example.com"]\n}\n')
    (tmp_path / "etc/hosts").write_text("127.0.0.1 localhost\n10.0.0.1 node\n")
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (tmp_path / "run").mkdir()
    return tmp_path


@pytest.fixture
async def node(host_root: Path, tmp_path: Path) -> Any:
    """The agent's own view of it, with each runtime as it would be found."""
    node = Node(host_root, wrote=lambda _: None)
    places, nowhere = node.places, tmp_path / "run/nobody.sock"
    lookup = containerd.Lookup(str(containerd.DEFAULT_ROOT), containerd.DEFAULT_ROOT)
    root = places.root(Containerd.name, containerd.DEFAULT_ROOT)
    process = Process(0, "", "2.2.7", lookup)
    await node.adopt(Containerd(Cri(nowhere), identity=(0, 0), process=process, root=root, literal=None))
    root = places.root(Docker.name, DOCKER_ROOT)
    await node.adopt(Docker(places.dockerd, identity=(0, ""), version="26", root=root, daemon_file=places.daemon_file))
    root = places.root(Crio.name, CRIO_ROOT)
    await node.adopt(Crio(Cri(nowhere), identity=(0, 0), version="1.34", root=root, drop_ins=places.drop_ins))
    yield node
    await node.close()


async def test_nothing_is_written_outside_of_the_agents_own_directories(
    forger: Forger, accepted: dict[str, NodeFiles], node: Node, host_root: Path
) -> None:
    """Before, during and after: what is not ours is the same to the byte, and what is ours says what was meant."""
    pristine = tree(host_root)
    victims = node_files.allocate([VICTIMS], RULES)[VICTIM]
    await _apply(node, victims)
    before = tree(host_root)
    hosts_before = (host_root / "etc/hosts").read_bytes()
    foreign = {name: kept for name, kept in before.items() if name not in ("etc/hosts", *_DAEMON)}
    for data, files in _that_differ(accepted):
        await _apply(node, files)
        during = tree(host_root)
        raw = json.loads(data)
        try:
            ours = {PurePosixPath(name): kept for name, kept in during.items() if name not in before}
            assert {name: kept for name, kept in during.items() if name in foreign} == foreign
            _check_on_disk(ours, raw, files)
            lines = check_etc_hosts((host_root / "etc/hosts").read_bytes(), hosts_before)
            assert lines.keys() <= {TEAM}
            listed = insecure(host_root / "etc/docker/daemon.json")
            rest = set(listed) - set(docker.plain_hosts(victims))
            assert all(is_permitted(host, TEAM, raw["addresses"]) for host in rest), rest
        except (AssertionError, ValueError) as error:
            raise AssertionError(f"seed {SEED}: {data[:2000]!r}") from error
    await node.remove(TEAM)
    after = tree(host_root)
    assert {name: kept for name, kept in after.items() if name in foreign} == foreign
    assert {name: kept[4] for name, kept in after.items() if name in _DAEMON} == {
        name: kept[4] for name, kept in before.items() if name in _DAEMON
    }
    await node.remove(VICTIM)
    assert _without_times(tree(host_root)) == _without_times(pristine)


_DAEMON = ("etc/docker/daemon.json", "etc/docker/.private-registry-operator-daemon.json")


def _that_differ(accepted: dict[str, NodeFiles]) -> Iterator[tuple[str, NodeFiles]]:
    """One of those that ask the same of a node, but for the marks."""
    seen = set()
    for data, files in accepted.items():
        raw = json.loads(data)
        asks = (tuple(each.host for each in files.directories), files.address, files.server_name)
        key = (*asks, raw["caBundle"], raw["scheme"], raw["port"])
        if files.directories and key not in seen:
            seen.add(key)
            yield data, files


async def _apply(node: Node, files: NodeFiles) -> None:
    await node.apply(files)
    daemon_file: DaemonFile = node.places.daemon_file
    daemon_file.apply(files.registry, docker.plain_hosts(files))


def _check_on_disk(ours: dict[PurePosixPath, Any], raw: dict[str, Any], files: NodeFiles) -> None:
    for path, kept in ours.items():
        match path.parts:
            case ("etc", "containers", "registries.conf.d", "90-private-registry.registries.team.conf"):
                check_drop_in(kept[4], TEAM, raw["addresses"], plain=raw["scheme"] == "http")
            case ("etc", "containerd" | "docker" | "containers", "certs.d", host):
                assert is_permitted(host, TEAM, raw["addresses"]), path
            case ("etc", "containerd", "certs.d", host, "hosts.toml"):
                check_hosts_toml(kept[4], raw, host)
            case ("etc", "containerd" | "docker" | "containers", "certs.d", _, "ca.crt"):
                check_ca(kept[4], raw, [])
            case _:
                raise AssertionError(path)
    hosts = {path.name for path in ours if path.parent == PurePosixPath("etc/containerd/certs.d")}
    assert hosts == {each.host for each in files.directories}


def _without_times(found: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    """Two of the files are edited with the node's other bytes kept: what is compared of them is all but the time."""
    return {name: kept[:5] for name, kept in found.items()}
