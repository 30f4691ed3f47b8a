"""The image of a cluster's node, in place of the published kindest/node.

Debian with systemd, Kubernetes, containerd, and in containerd the images that a cluster starts from.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import images, versions
from tests.cluster.built import golang, rootfs
from tests.cluster.built.golang import DATA
from tests.cluster.commands import DIE_WITH_PARENT, CommandError, output, run, tail
from tests.waiting import eventually

DEBIAN_IMAGE = "private-registry-debian:1"  # what pods, and the operator's image, are based on
PODNET_IMAGE = "private-registry-podnet:1"
LOCAL_PATH_IMAGE = "private-registry-local-path:1"
PRELOAD = "private-registry-preload"  # a container
CONFIGURATION = DATA / "containerd" / "config.toml"


@dataclass(frozen=True)
class Node:
    """Which node image: the versions and the containerd configuration inside."""

    containerd: str = versions.CONTAINERD
    configuration: Path = CONFIGURATION
    name: str = versions.NODE_IMAGE


def debian(cache: Path, log: Path) -> images.Image:
    """Return the image that stands in for python:3-slim."""
    archive = rootfs.build("pod", rootfs.POD, cache, log)
    return images.Image(DEBIAN_IMAGE, (DATA / "images" / "debian.Dockerfile").read_text(), {"rootfs.tar": archive})


def busybox() -> images.Image:
    """Return busybox with all its applets."""
    return images.Image(versions.BUSYBOX_IMAGE, (DATA / "images" / "busybox.Dockerfile").read_text(), base=DEBIAN_IMAGE)


def registry(cache: Path) -> images.Image:
    """Return the registry, under the name of the published image. `registry` is in its PATH, as there."""
    return images.program(versions.REGISTRY_IMAGE, golang.REGISTRY.directory(cache) / "registry")


def cluster_images(cache: Path) -> list[images.Image]:
    """Return what kubeadm and kind's manifests name, besides busybox."""
    hub = "registry.k8s.io"
    kubernetes = cache / "bin" / f"kubernetes-{versions.KUBERNETES}"
    names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    podnet = f"ARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\nCOPY podnet.py /\nENTRYPOINT {['python3', '-u', '/podnet.py']}\n"
    return [
        *(images.program(f"{hub}/{name}:{versions.KUBERNETES}", kubernetes / name) for name in names),
        images.program(f"{hub}/kube-proxy:{versions.KUBERNETES}", kubernetes / "kube-proxy", DEBIAN_IMAGE),
        images.program(f"{hub}/etcd:{versions.ETCD_TAG}", golang.ETCD.directory(cache) / "etcd"),
        images.program(f"{hub}/coredns/coredns:{versions.COREDNS_TAG}", golang.COREDNS.directory(cache) / "coredns"),
        images.program(f"{hub}/pause:{versions.PAUSE_TAG}", golang.PAUSE.directory(cache) / "pause"),
        images.program(LOCAL_PATH_IMAGE, golang.LOCAL_PATH.directory(cache) / "local-path-provisioner"),
        images.Image(
            PODNET_IMAGE, podnet.replace("'", '"'), {"podnet.py": DATA / "podnet" / "podnet.py"}, DEBIAN_IMAGE
        ),
    ]


def build(node: Node, cache: Path, log: Path) -> bool:
    """Build the node image unless it is up to date, and tell whether it was built. Raises CommandError.

    The programs and the root filesystem must have been built.
    """
    preloaded = [*cluster_images(cache), busybox()]
    for each in (debian(cache, log), *preloaded):
        images.ensure(each, cache, log)
    kubernetes = cache / "bin" / f"kubernetes-{versions.KUBERNETES}"
    containerd = golang.containerd(node.containerd).directory(cache)
    generated = cache / "tmp" / "node"
    generated.mkdir(parents=True, exist_ok=True)
    (generated / "version").write_text(versions.KUBERNETES)
    (generated / "config.toml").write_text(node.configuration.read_text().replace("@PAUSE_TAG@", versions.PAUSE_TAG))
    empty = images.Image(
        f"private-registry-node:{node.containerd}",
        (DATA / "images" / "node.Dockerfile").read_text(),
        {
            "rootfs.tar": rootfs.build("node", rootfs.NODE, cache, log),
            "node": DATA / "node",
            "crictl": golang.CRICTL.directory(cache) / "crictl",
            **{name: generated / name for name in ("version", "config.toml")},
            **{name: kubernetes / name for name in ("kubeadm", "kubelet", "kubectl")},
            **{name: containerd / name for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
        },
    )
    images.ensure(empty, cache, log)
    names = [each.name for each in preloaded]
    stamp = " ".join(images.identity(each) for each in (empty.name, *names))
    if images.label(node.name) == stamp:
        return False
    preload(empty.name, names, node.name, stamp, log)
    return True


def preload(image: str, names: list[str], result: str, stamp: str, log: Path) -> None:
    """Import `names` into the containerd of `image` and commit that as `result`. Raises CommandError."""
    run("docker", "rm", "--force", "--volumes", PRELOAD, log=log)
    run(
        "docker", "run", "--detach", "--name", PRELOAD, "--privileged", "--tmpfs", "/run",
        "--entrypoint", "/usr/local/bin/containerd", image, log=log,
    )  # fmt: skip
    try:
        _import(names, log)
        run("docker", "stop", "--time", "20", PRELOAD, log=log)
        run(
            "docker", "commit", "--change", 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]',
            "--change", f"LABEL {images.FINGERPRINT}='{stamp}'", PRELOAD, result, log=log,
        )  # fmt: skip
    finally:
        run("docker", "rm", "--force", "--volumes", PRELOAD, log=log)


def _import(names: list[str], log: Path) -> None:
    """Pipe images from the Docker daemon into the containerd of the container PRELOAD, pinned against collection."""

    def serves() -> bool:
        try:
            return bool(output("docker", "exec", PRELOAD, "ctr", "version"))
        except CommandError:
            return False

    eventually(serves, within=30, what=f"containerd in {PRELOAD} answers")
    importing = (
        "docker", "exec", "--interactive", PRELOAD, "ctr", "--namespace", "k8s.io", "images", "import",
        "--label", "io.cri-containerd.pinned=pinned", "--all-platforms", "--no-unpack", "-",
    )  # fmt: skip
    with log.open("ab") as out:
        save = subprocess.Popen([*DIE_WITH_PARENT, "docker", "save", *names], stdout=subprocess.PIPE, stderr=out)
        done = subprocess.run([*DIE_WITH_PARENT, *importing], stdin=save.stdout, stdout=out, stderr=out, check=False)
        assert save.stdout is not None
        save.stdout.close()
        if save.wait() or done.returncode:
            raise CommandError(f"images could not be imported; the end of {log}:\n{tail(log)}")
