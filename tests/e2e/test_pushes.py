"""The ways to push that the README names."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.cluster import versions
from tests.cluster.built import golang
from tests.cluster.commands import CommandError
from tests.cluster.kind import Cluster
from tests.e2e import nodes
from tests.e2e.place import Place
from tests.integration.machine import DockerHost
from tests.kubectl import KubectlError
from tests.live_registry import LiveRegistry
from tests.waiting import eventually


@pytest.fixture(scope="session")
def crane(cluster: Cluster) -> Path:
    """The program, built from its Go module."""
    return golang.build(golang.CRANE, cluster.cache, cluster.cache / "logs" / "crane.log") / "crane"


def test_a_build_pod_in_another_namespace_pushes_with_the_ca(team: LiveRegistry, shared: Place) -> None:
    """It needs the CA and the credential that are beside the registry, and nothing else; without, it is turned away."""
    (image,) = shared.push(team, 1, repository="built")
    nodes.pull_on_all(shared.cluster, image)
    with pytest.raises(KubectlError, match="CERTIFICATE_VERIFY_FAILED"):
        shared.push_trusting(team, "/opt/private-registry/certifi/cacert.pem")


def test_docker_pushes_through_a_port_forward(team: LiveRegistry, cluster: Cluster) -> None:
    """Docker takes a registry on localhost as it is: nothing in daemon.json, no CA."""
    said = team.push(versions.BUSYBOX_IMAGE, "by-docker:v1")
    assert said.startswith("v1: digest: sha256:"), said
    assert team.run("by-docker:v1", cluster.nodes)


def test_docker_in_a_machine_of_its_own_pushes_through_a_port_forward(
    team: LiveRegistry, cluster: Cluster, tmp_path: Path
) -> None:
    """As Docker Desktop is one: it knows this machine by a name, which its daemon.json lists as it is in the README."""
    with DockerHost(tmp_path, debian="trixie") as desktop:
        desktop.make_image("busybox:v1")
        desktop.hosts.write_text(f"{desktop.gateway} host.docker.internal\n")

        def pushed() -> bool:
            with team.kubectl.port_forward(
                team.namespace, f"service/{team.name}", 5000, address=desktop.gateway
            ) as forward:
                there = f"host.docker.internal:{forward.port}"
                desktop.daemon_json.parent.mkdir(exist_ok=True)
                desktop.daemon_json.write_text(json.dumps({"insecure-registries": [there]}))
                desktop.reload()
                eventually(lambda: there in desktop.insecure(), within=5, what="Docker has read its daemon.json")
                (desktop.etc / "config.json").write_text(team.docker_config(there))
                desktop.run("docker", "tag", "busybox:v1", f"{there}/by-desktop:v1")
                try:
                    desktop.run("docker", "--config", "/etc", "push", f"{there}/by-desktop:v1")
                except CommandError as error:
                    raise AssertionError(str(error)) from None
            return True

        eventually(pushed, within=60, every=1, what="Docker pushes")
    nodes.pull_on_all(cluster, f"{team.host}/by-desktop:v1")


def test_crane_pushes_through_a_port_forward(team: LiveRegistry, cluster: Cluster, crane: Path, tmp_path: Path) -> None:
    """From an archive of `docker save`, as the README says it."""
    archive = tmp_path / "busybox.tar"
    subprocess.run(["docker", "save", "--output", archive, versions.BUSYBOX_IMAGE], check=True)

    def pushed() -> bool:
        with team.kubectl.port_forward(team.namespace, f"service/{team.name}", 5000) as forward:
            there = f"localhost:{forward.port}"
            (tmp_path / "config.json").write_text(team.docker_config(there))
            command = [str(crane), "push", str(archive), f"{there}/by-crane:v1", "--insecure"]
            env = {**os.environ, "DOCKER_CONFIG": str(tmp_path)}
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
        assert done.returncode == 0, done.stderr
        return True

    eventually(pushed, within=60, every=1, what="crane pushes")
    assert team.run("by-crane:v1", cluster.nodes)
