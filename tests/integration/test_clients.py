"""The clients that people use, against a bare registry and against one of ours, with TLS and a credential.

| | push | pull | list | catalog | mount | attach | delete |
|---|---|---|---|---|---|---|---|
| crane | x | x | x | x | x | | x |
| regctl | x | x | x | x | x | x | x |
| oras | x | x | x | x | x | x | x |
| docker | x | x | | | x | | |
| skopeo | x | x | x | | x | | x |
| podman | x | x | x | x | x | | |

What has no x is nothing that the client can do. To attach is to refer to an image: this registry has no API for that,
and clients use a tag in its place.
"""

import asyncio
import base64
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from private_registry.distribution import Registry, RegistryError
from tests.certificates import a_certificate
from tests.cluster.built import golang
from tests.cluster.commands import CommandError
from tests.cluster.processes import RegistryServer
from tests.cluster.processes.process import program
from tests.integration.clients import OPERATIONS, SCRIPTS, script
from tests.integration.machine import DockerHost
from tests.integration.registry_pod import RegistryPod
from tests.integration.test_distribution_credentials import hashed
from tests.registries import a_registry

NAME, BARE = "team.registries.svc", "bare.example.com"
LOGIN = ("me", "mine")
_MOUNTED = re.compile(r"mount=sha256.*http\.response\.status\"?[=:]201|http\.response\.status\"?[=:]201.*mount=sha256")


@dataclass(frozen=True)
class Side:
    """A registry as its clients find it, as it is asked past them, and its log."""

    host: str
    registry: Registry
    log: Path
    plain: bool = False


@dataclass(frozen=True)
class Outcome:
    """What an operation left behind, and what the client said."""

    status: bool
    tags: Mapping[str, Mapping[str, str | None]]
    """Digests by repository and tag."""
    mounted: bool
    said: str


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """A registry process as anybody starts one."""
    with RegistryServer(tmp_path_factory.mktemp("bare")) as server:
        registry = Registry("127.0.0.1", server.port, "http")
        yield Side(f"{BARE}:{server.port}", registry, server.process.log, plain=True)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """The pod of a registry with an empty spec."""
    certificate = a_certificate([NAME, "127.0.0.1"])
    directory = tmp_path_factory.mktemp("ours") / "pod"
    with RegistryPod(a_registry(), directory, certificate=certificate, hashes={LOGIN[0]: hashed(LOGIN[1])}) as pod:
        yield Side(f"{NAME}:{pod.port}", replace(pod.http, login=LOGIN), pod.process.log)


@pytest.fixture(scope="module")
def machine(bare: Side, ours: Side, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerHost]:
    """Where somebody has all the clients, a credential, the CA, and an image.

    Docker verifies no certificate of a registry on IPv4's loopback; that it does elsewhere is another test's business.
    """
    machine = DockerHost(tmp_path_factory.mktemp("machine"), debian="trixie")
    machine.hosts.write_text(f"127.0.0.1 localhost {NAME} {BARE}\n")
    certs = machine.etc / "docker/certs.d" / ours.host
    certs.mkdir(parents=True)
    (certs / "ca.crt").write_text(ours.registry.ca_bundle)
    machine.daemon_json.write_text(json.dumps({"insecure-registries": [bare.host]}))
    insecure = f'[[registry]]\nlocation = "{bare.host}"\ninsecure = true\n'
    (machine.etc / "containers/registries.conf.d").mkdir(parents=True, exist_ok=True)
    (machine.etc / "containers/registries.conf.d/bare.conf").write_text(insecure)
    auth = base64.b64encode(":".join(LOGIN).encode()).decode()
    (machine.etc / "config.json").write_text(json.dumps({"auths": {ours.host: {"auth": auth}}}))
    for each in golang.CLIENTS:
        shutil.copy(program(f"{each.name}-{each.version}", each.name), machine.host_root / "tmp")
    (machine.host_root / "tmp/note").write_text("note\n")
    with machine:
        machine.make_image("busybox:v1")
        machine.run("docker", "save", "--output=/tmp/image.tar", "busybox:v1")
        machine.run("skopeo", "copy", "--quiet", "docker-archive:/tmp/image.tar", "oci:/tmp/layout:v1")
        yield machine


@pytest.fixture(scope="module")
def image(machine: DockerHost) -> str:
    """The digest of the image's configuration."""
    return machine.run("docker", "image", "inspect", "--format={{.Id}}", "busybox:v1").removeprefix("sha256:")


@pytest.mark.parametrize("client", SCRIPTS)
async def test_it_is_the_same_with_ours_as_with_a_bare_one(
    client: str, bare: Side, ours: Side, machine: DockerHost, image: str
) -> None:
    """Each operation ends as it does there: the same digests, the same listings, nothing uploaded that is there."""
    for operation in (each for each in OPERATIONS if each in SCRIPTS[client]):
        there = await perform(client, operation, bare, machine)
        here = await perform(client, operation, ours, machine)
        assert here.status, here.said
        assert replace(here, said="") == replace(there, said=""), (here.said, there.said)
        app, copy = (here.tags[f"{client}/{name}"] for name in ("app", "copy"))
        if operation == "push":
            pushed = app["v1"]
        elif operation == "pull":
            assert image in here.said or str(pushed) in here.said
        elif operation in {"list", "catalog"}:
            assert ("v1" if operation == "list" else f"{client}/app") in here.said
            assert here.said == there.said
        elif operation == "mount":
            assert here.mounted
            assert copy == {"v1": pushed}
        elif operation == "attach":
            assert set(app) == {"v1", f"{pushed}".replace(":", "-")}
        elif operation == "delete":
            assert "v1" not in app


async def perform(client: str, operation: str, side: Side, machine: DockerHost) -> Outcome:
    """Have it done on that machine, and look at the registry afterwards."""
    command = script(client, operation, side.host, plain=side.plain)
    variables = ("PATH=/tmp:/usr/bin:/bin", "HOME=/tmp", "DOCKER_CONFIG=/etc", "REGISTRY_AUTH_FILE=/etc/config.json")
    trusts = () if side.plain else (f"SSL_CERT_FILE=/etc/docker/certs.d/{side.host}/ca.crt",)
    before = side.log.stat().st_size
    try:
        said = await asyncio.to_thread(machine.run, "env", *variables, *trusts, "sh", "-ec", command)
        status = True
    except CommandError as error:
        said, status = str(error), False
    logged = side.log.read_text()[before:]
    mounted = operation == "mount" and any(_MOUNTED.search(line) for line in logged.splitlines())
    tags = {name: await _tags(side.registry, name) for name in (f"{client}/app", f"{client}/copy")}
    words = " ".join(said.replace(side.host, "HOST").split())  # tables are as wide as the host's name
    return Outcome(status, tags, mounted, words)


async def _tags(registry: Registry, repository: str) -> dict[str, str | None]:
    try:
        tags = await registry.tags(repository)
    except RegistryError as error:
        assert error.status == 404, error  # noqa: PT017  (a repository that there is not yet)
        return {}
    return {tag: await registry.manifest_digest(repository, tag) for tag in tags}
