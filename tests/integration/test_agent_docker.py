"""Docker Engine on a node: a person pushes and pulls by the private name, and dockerd is never restarted for it."""

import asyncio
import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import pytest_asyncio

from private_registry.kube.client import Kube
from private_registry.registry.credentials import DOCKER_CONFIG, Credential, pull_secret
from tests.cluster import versions
from tests.cluster.commands import CommandError
from tests.cluster.processes import ControlPlane
from tests.cluster.processes.copied import Original
from tests.integration.agent_node import cleanup
from tests.integration.agent_world import TLS_OFF, AgentWorld, Served, local_address
from tests.integration.container import content as content_of
from tests.integration.machine import DockerHost
from tests.trees import tree
from tests.waiting import aeventually, eventually

DockerWorld = AgentWorld[DockerHost]
ADDRESS = "fd00:96::d"
"""Not one of IPv4's loopback range, which Docker takes without TLS in any case."""
FOREIGN = "192.0.2.7:5000"
MANY_KEYS = {
    "registry-mirrors": ["https://mirror.example.com"],
    "insecure-registries": [FOREIGN],
    "debug": False,
    "max-concurrent-downloads": 3,
    "max-concurrent-uploads": 5,
    "shutdown-timeout": 15,
    "log-level": "info",
    "log-driver": "json-file",
    "log-opts": {"max-size": "10m", "max-file": "3"},
    "live-restore": False,
    "experimental": False,
    "labels": ["site=one"],
    "dns": ["192.0.2.53"],
    "dns-opts": ["ndots:1"],
    "dns-search": ["example.com"],
    "icc": True,
    "ip-forward": False,
    "mtu": 1500,
    "no-new-privileges": False,
    "selinux-enabled": False,
    "default-shm-size": "64M",
    "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 1024, "Soft": 1024}},
}


@pytest.fixture(scope="module", params=versions.MACHINES, ids=[*versions.MACHINES.values()])
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerHost]:
    """A machine with this Docker Engine, and an image on it."""
    with DockerHost(tmp_path_factory.mktemp("docker"), debian=request.param) as machine:
        machine.make_image("busybox:v1")
        yield machine


@pytest_asyncio.fixture
async def world(
    control_plane: ControlPlane, kube: Kube, machine: DockerHost, original: Original, tmp_path: Path
) -> AsyncIterator[DockerWorld]:
    """A cluster with that machine as its node, which is at the end as it was at the beginning."""
    world = DockerWorld(control_plane, kube, machine, tmp_path, original=original)
    await world.set_up()
    before = content(machine)
    with local_address(ADDRESS):
        try:
            yield world
        finally:
            world.tear_down()
    assert content(machine) == before


def serve(world: DockerWorld, spec: Mapping[str, Any] | None = None) -> Served:
    """A registry whose certificate has the names that the operator would give it."""
    names = ["team.registries.svc", "team.registries.svc.cluster.local"]
    return world.serve("team", spec=dict(spec or {}), address=ADDRESS, certified=[ADDRESS, *names])


def hosts(team: Served) -> set[str]:
    """Those that Docker can be asked for: its image names know no address of IPv6."""
    return {host for host in team.hosts if not host.startswith("[")}


def content(machine: DockerHost) -> dict[str, tuple[object, ...]]:
    """The machine's /etc, without the times of the two files that are not ours and that we have to edit."""
    edited = ("hosts", "docker/daemon.json")
    return {path: kept[:-1] if path in edited else kept for path, kept in tree(machine.etc).items()}


async def is_not_trusted(machine: DockerHost, team: Served) -> None:
    """Docker finds the registry, by a line of the machine's own, and does not take what it serves."""
    before = machine.hosts.read_bytes()
    machine.hosts.write_text(f"{ADDRESS} {team.registry.host.partition(':')[0]}\n")

    async def is_refused() -> bool:
        with pytest.raises(CommandError) as refused:
            await asyncio.to_thread(machine.run, "docker", "pull", f"{team.registry.host}/busybox:v1")
        assert re.search(r"x509: |server gave HTTP response to HTTPS client", str(refused.value)), refused.value
        return True

    # Go's resolver, which Docker uses, looks into /etc/hosts every five seconds.
    await aeventually(is_refused, within=10, what="Docker does not trust it")
    machine.hosts.write_bytes(before)


def set_immutable(path: Path, *, immutable: bool) -> None:
    """Not even root may change an immutable file."""
    subprocess.run(["chattr", "+i" if immutable else "-i", path], check=True)


@contextlib.contextmanager
def given(machine: DockerHost, daemon_json: bytes | None) -> Iterator[None]:
    """Docker with this daemon.json; afterwards without one again."""
    machine.daemon_json.parent.mkdir(exist_ok=True)
    if daemon_json is not None:
        machine.daemon_json.write_bytes(daemon_json)
        machine.reload()
    try:
        yield
    finally:
        machine.daemon_json.write_text('{"insecure-registries": []}')
        machine.reload()
        eventually(lambda: not machine.insecure(), within=5, what="Docker has forgotten all hosts")
        machine.daemon_json.unlink()


@pytest.mark.parametrize("spec", [{}, TLS_OFF], ids=["tls", "plain"])
async def test_a_person_pushes_and_pulls(world: DockerWorld, spec: Mapping[str, Any]) -> None:
    """By every name, without a restart, and no container is lost; afterwards Docker trusts it no more than before."""
    machine, team = world.node, serve(world, spec)
    container, dockerd = machine.run_container("busybox:v1"), machine.process.pid
    canonical, *others = sorted(hosts(team), key=len)
    machine.run("docker", "tag", "busybox:v1", f"{canonical}/busybox:v1")
    await is_not_trusted(machine, team)
    with world.agent():
        await world.publish(team)
        await world.until_trusted(team)
        machine.run("docker", "push", f"{canonical}/busybox:v1")
        machine.run("docker", "rmi", f"{canonical}/busybox:v1")
        for host in (canonical, *others):
            machine.run("docker", "pull", f"{host}/busybox:v1")
        await world.withdraw(team)
        await world.until_gone(team.key)
        await is_not_trusted(machine, team)
    assert machine.runs(container)
    machine.run("docker", "rm", "--force", container)
    assert machine.process.pid == dockerd
    for host in (canonical, *others):
        machine.run("docker", "rmi", f"{host}/busybox:v1")


async def test_a_registry_that_asks_for_a_credential(world: DockerWorld) -> None:
    """Docker goes to the port that asks, wherever others pull: it is trusted, and NodeTrust says what that takes."""
    team = serve(world, {"auth": {"mode": "Basic"}})
    with world.agent():
        await world.publish(team)
        await world.until_trusted(team)
        status = await world.status()
        assert "Docker Engine on this node pulls with a credential only" in status["message"]
        assert status["summary"] == "1/1"
        await world.withdraw(team)
        await world.until_gone(team.key)


async def test_a_pull_secret(world: DockerWorld) -> None:
    """What the operator puts into other namespaces is what Docker pulls with, by every name, if that was asked for."""
    closed = {"anonymousPull": False, "pullSecret": {"namespaces": ["apps"], "dockerNodes": True}}
    machine, team = world.node, serve(world, {"auth": {"mode": "Basic", **closed}})
    credential = Credential("pull", "a password of a test")
    hashed = bcrypt.hashpw(credential.password.encode(), bcrypt.gensalt(4)).decode()
    (team.server.config.parent / "htpasswd").write_text(f"{credential.username}:{hashed}\n")
    secret = content_of(pull_secret(team.registry, credential, hosts(team)))
    (machine.host_root / "tmp/pull").mkdir()
    (machine.host_root / "tmp/pull/config.json").write_bytes(secret[DOCKER_CONFIG])
    images = [f"{host}/busybox:v1" for host in sorted(hosts(team), key=len)]
    with world.agent():
        await world.publish(team)
        await world.until_trusted(team)
        machine.run("docker", "tag", "busybox:v1", images[0])
        machine.run("docker", "--config=/tmp/pull", "push", images[0])
        for image in images:
            with pytest.raises(CommandError, match=r"no basic auth credentials|authentication required"):
                machine.run("docker", "pull", image)
            machine.run("docker", "--config=/tmp/pull", "pull", image)
            machine.run("docker", "rmi", image)
        await world.withdraw(team)
        await world.until_gone(team.key)


@pytest.mark.parametrize(
    "before",
    [None, b"", b"{}", b'{\n\t"debug": false\n}\n', json.dumps(MANY_KEYS, indent=4).encode() + b"\n"],
    ids=["absent", "empty", "nothing in it", "one key", "twenty keys"],
)
async def test_daemon_json_is_given_back_as_it_was(world: DockerWorld, before: bytes | None) -> None:
    """Whatever was in it, Docker reads our hosts beside it, and afterwards its bytes are what they were."""
    machine, team = world.node, serve(world, TLS_OFF)
    with given(machine, before):
        foreign = {FOREIGN} if before and FOREIGN.encode() in before else set[str]()
        with world.agent():
            await world.publish(team)
            await world.until_trusted(team)
            assert machine.insecure() == foreign | hosts(team)
            if before:
                now, then = json.loads(machine.daemon_json.read_text()), json.loads(before)
                assert now | {"insecure-registries": ...} == then | {"insecure-registries": ...}
            await world.withdraw(team)
            await world.until_gone(team.key)
        assert machine.insecure() == foreign
        assert (machine.daemon_json.read_bytes() if machine.daemon_json.exists() else None) == before


async def test_a_file_that_docker_cannot_read_is_left_alone(world: DockerWorld) -> None:
    """It is reported, with what is wrong in it. Once it is put right, the node trusts the registry."""
    machine, team = world.node, serve(world, TLS_OFF)
    broken = b'{"debug": false,}'
    with given(machine, broken):
        with world.agent():
            await world.publish(team)
            await world.until(team.key, "DaemonConfigInvalid", saying="/etc/docker/daemon.json is none that Docker")
            assert machine.daemon_json.read_bytes() == broken
            machine.daemon_json.write_bytes(b'{"debug": false}')
            await world.until_trusted(team)
            await world.withdraw(team)
            await world.until_gone(team.key)
        assert machine.daemon_json.read_bytes() == b'{"debug": false}'


async def test_a_file_that_cannot_be_written(world: DockerWorld) -> None:
    """It is reported, and nothing else happens to it."""
    machine, team = world.node, serve(world, TLS_OFF)
    with given(machine, b"{}"):
        set_immutable(machine.daemon_json, immutable=True)
        try:
            with world.agent():
                await world.publish(team)
                await world.until(team.key, "FileSystemError", saying="Operation not permitted")
                set_immutable(machine.daemon_json, immutable=False)
                machine.daemon_json.write_bytes(b"{}")
                await world.until_trusted(team)
                await world.withdraw(team)
                await world.until_gone(team.key)
        finally:
            set_immutable(machine.daemon_json, immutable=False)


async def test_what_somebody_takes_out_comes_back(world: DockerWorld) -> None:
    """The file is put right at once, and Docker told, by whoever it was changed."""
    machine, team = world.node, serve(world, TLS_OFF)
    with given(machine, b'{"debug": false}'):
        with world.agent():
            await world.publish(team)
            await world.until_trusted(team)
            machine.daemon_json.write_bytes(b'{"debug": false, "mtu": 1400}')
            machine.reload()

            async def is_back() -> bool:
                return hosts(team) <= machine.insecure()

            await aeventually(is_back, within=5, what="Docker takes the registry again")
            assert json.loads(machine.daemon_json.read_text())["mtu"] == 1400
            await world.withdraw(team)
            await world.until_gone(team.key)
        assert machine.daemon_json.read_bytes() == b'{"debug": false, "mtu": 1400}'


async def test_a_directory_that_is_put_aside_is_filled_anew(world: DockerWorld) -> None:
    """Somebody's set-up makes /etc/docker anew, and again: each time our hosts are in its daemon.json soon after."""
    machine, team = world.node, serve(world, TLS_OFF)
    etc_docker = machine.daemon_json.parent
    asides = [etc_docker.with_name(f"docker.{number}") for number in range(2)]
    with given(machine, b'{"debug": false}'):
        with world.agent():
            await world.publish(team)
            await world.until_trusted(team)
            for aside in asides:
                etc_docker.rename(aside)
                etc_docker.mkdir(exist_ok=True)
                for own in aside.glob("key.json"):  # dockerd's
                    shutil.copy2(own, etc_docker)
                machine.daemon_json.write_bytes(b'{"mtu": 1400}')

                async def is_back() -> bool:
                    text = json.loads(machine.daemon_json.read_text())
                    return text["mtu"] == 1400 and hosts(team) <= set(text.get("insecure-registries", ()))

                await aeventually(is_back, within=5, what="our hosts are in the new file")
                await world.until_trusted(team)
            await world.withdraw(team)
            await world.until_gone(team.key)
        assert machine.insecure() == set()
        for aside in asides:
            shutil.rmtree(aside)


async def test_clean_up_needs_nobody(world: DockerWorld) -> None:
    """With the operator gone for good, one command leaves file and daemon as they were."""
    machine, team = world.node, serve(world, TLS_OFF)
    with given(machine, b'{"debug": false}\n'):
        with world.agent():
            await world.publish(team)
            await world.until_trusted(team)
        said = await asyncio.to_thread(cleanup, machine)
        assert f"removed what was of {team.key}" in said
        assert machine.daemon_json.read_bytes() == b'{"debug": false}\n'
        assert machine.insecure() == set()


async def test_docker_starts_after_the_agent(world: DockerWorld) -> None:
    """A build node that gets its Docker later; one that is stopped and started again keeps its trust."""
    machine, team = world.node, serve(world)
    machine.process.stop()
    try:
        with world.agent():
            await world.publish(team)
            await world.until(team.key, "NoRuntime")
            machine.process.start()
            await world.until_trusted(team)
            assert (await world.status())["runtime"].startswith("docker ")
            await asyncio.to_thread(machine.process.restart)
            await world.until_trusted(team)
            await world.withdraw(team)
            await world.until_gone(team.key)
    finally:
        machine.process.stop()
        machine.process.start()


async def test_a_flag_of_dockerd(
    control_plane: ControlPlane, kube: Kube, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Beside it the key would keep Docker from starting again, so it is not written; TLS needs neither."""
    flags = (f"--insecure-registry={FOREIGN}",)
    with (
        local_address(ADDRESS),
        DockerHost(tmp_path_factory.mktemp("docker"), debian="trixie", flags=flags) as machine,
    ):
        world = DockerWorld(control_plane, kube, machine, tmp_path)
        await world.set_up()
        plain = serve(world, TLS_OFF)
        try:
            with world.agent():
                await world.publish(plain)
                await world.until(plain.key, "Conflict", saying="--insecure-registry=team.registries.svc:5000")
                assert not machine.daemon_json.exists()
        finally:
            world.tear_down()
