"""A worker on which people build with Docker, beside the containerd that Kubernetes uses."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.built import rootfs
from tests.cluster.commands import output
from tests.cluster.host import cache_directory
from tests.cluster.kind import Cluster
from tests.e2e import nodes
from tests.e2e.place import Place
from tests.waiting import eventually

DEBIAN = "bookworm"
"""The release whose Docker Engine runs on it."""
DOCKERD = (
    "systemd-run --unit=docker --property=Type=notify dockerd --bridge=none --iptables=false --ip-forward=false "
    "--storage-driver=vfs --containerd=/run/containerd/containerd.sock"
)
AWAY = "systemctl stop docker; rm -rf /etc/docker /var/lib/docker /root/.docker /run/docker* /usr/*bin/docker*"
CONFIG = "/root/.docker/config.json"


@contextmanager
def docker_on(cluster: Cluster, node: str) -> Iterator[None]:
    """A node with Docker's own daemon, while the block runs."""
    system = rootfs.path("machine", rootfs.MACHINE[DEBIAN], cache_directory(), DEBIAN)
    try:
        for program in ("usr/sbin/dockerd", "usr/bin/docker"):
            output("docker", "cp", system / program, f"{node}:/{program}")
        cluster.exec_on_node(node, "sh", "-ec", DOCKERD)
        yield
    finally:
        cluster.exec_on_node(node, "sh", "-c", AWAY)


def test_both_runtimes_of_a_build_node_trust_its_registries(place: Place) -> None:
    """A person pulls and pushes with Docker there, with the Secret beside the registry as Docker's own file, pods pull
    with containerd and without; NodeTrust lists both; then no trace.
    """
    kubectl, cluster = place.kubectl, place.cluster
    node = cluster.nodes[1]
    with docker_on(cluster, node):
        before = nodes.trees(cluster)
        (running,) = cluster.exec_on_node(node, "pidof", "dockerd").split()
        plain = place.registry("plain", {"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}})
        registries = [place.registry("team"), plain]

        def lists_both() -> bool:
            names = [each["name"] for each in kubectl.get("nodetrust", node)["status"]["runtimes"]]
            assert names == ["containerd", "docker"], names
            return True

        eventually(lists_both, within=30, what=f"{node} lists both of its runtimes")
        for registry in registries:
            registry.wait_ready(nodes=len(cluster.nodes))
            (image,) = place.push(registry, 1)
            built = f"{registry.host}/built/here:v1"
            if config := registry.docker_config():
                cluster.exec_on_node(node, "sh", "-ec", "mkdir -p /root/.docker; cat > $0", CONFIG, stdin=config)
            for command in (("pull", image), ("tag", image, built), ("push", built), ("rmi", image, built)):
                cluster.exec_on_node(node, "docker", *command)
            nodes.pull_on_all(cluster, built)

        for registry in registries:
            registry.delete()
        assert not nodes.changes(before, nodes.trees(cluster))
        assert cluster.exec_on_node(node, "pidof", "dockerd").split() == [running]
