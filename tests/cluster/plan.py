"""What there is to do, as a list of stages: for the cluster from built or from published images, and for the fast tier.

A stage is done again each time and finds for itself what is left to do; its times are for telling a person beforehand.
"""

import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.cluster import docker, host, images, versions
from tests.cluster.built import golang, node, rootfs
from tests.cluster.commands import run
from tests.cluster.kind import Cluster
from tests.cluster.source import Source
from tests.cluster.steps import Steps

GIB = host.GIB
DISK = {"built": 25 * GIB, "published": 10 * GIB, "parts": 8 * GIB}  # when nothing is there yet
DISK_AGAIN = 8 * GIB


@dataclass(frozen=True)
class Stage:
    """A step: its title, about how many seconds it takes (on two cores) the first time and again, and what it does."""

    title: str
    first: int
    again: int
    action: Callable[[Path], None]


class Beside:
    """An action in a thread of its own, so that what waits for the network runs beside what needs the processors."""

    def __init__(self, action: Callable[[Path], object], log: Path) -> None:
        """Begin."""
        self._error: BaseException | None = None

        def work() -> None:
            try:
                action(log)
            except BaseException as error:  # noqa: BLE001  (raised again where it is waited for)
                self._error = error

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait for the end; raise what the action raised."""
        self._thread.join()
        if self._error:
            raise self._error


def perform(stages: Sequence[Stage], cache: Path) -> None:
    """Say how long it will take, and do one stage after the other. Raises StepError."""
    marks = {each.title: cache / "made" / each.title.replace("/", "-") for each in stages}
    first = sum(each.first for each in stages)
    now = sum(each.again if marks[each.title].exists() else each.first for each in stages)
    print(f"{len(stages)} steps: about {_minutes(first)} the first time, about {_minutes(now)} now", flush=True)
    steps = Steps(len(stages), cache / "logs")
    for stage in stages:
        with steps.step(stage.title) as log:
            stage.action(log)
        marks[stage.title].parent.mkdir(parents=True, exist_ok=True)
        marks[stage.title].touch()


def made(cache: Path) -> bool:
    """Tell whether a cluster was made before, which is when most of the disk is taken already."""
    return (cache / "made" / "Cluster").exists()


def parts(cache: Path, *, others: bool, containerd: Sequence[str]) -> list[Stage]:
    """Return the stages of the fast tier. `others`: also the versions of things that are tested beside our own."""
    beside: list[Beside] = []
    programs = (golang.ETCD, golang.REGISTRY, *map(golang.containerd, containerd))

    def control_plane(log: Path) -> None:
        beside.append(Beside(partial(_build, programs, cache), log.with_name("beside-programs.log")))
        if others:
            beside.append(Beside(partial(_machines, cache), log.with_name("beside-machines.log")))
        names = ("kube-apiserver", "kube-controller-manager", "kubectl")
        golang.build(golang.kubernetes(versions.KUBERNETES, *names), cache, log)

    def oldest_control_plane(log: Path) -> None:
        names = ("kube-apiserver", "kube-controller-manager")
        golang.build(golang.kubernetes(versions.OLDEST_KUBERNETES, *names), cache, log)

    def other_containerds(log: Path) -> None:
        _build([golang.containerd(version, alone=True) for version in versions.OTHER_CONTAINERDS], cache, log)

    stages = [
        Stage(f"API server {versions.KUBERNETES}", 600, 0, control_plane),
        Stage(f"etcd, registry, containerd {', '.join(containerd)}", 120, 0, lambda _log: _all(beside)),
    ]
    if others:
        stages += [
            Stage(f"API server {versions.OLDEST_KUBERNETES}", 420, 0, oldest_control_plane),
            Stage(f"containerd {', '.join(versions.OTHER_CONTAINERDS)}", 300, 0, other_containerds),
            Stage("crane, regctl, oras", 150, 0, partial(_build, golang.CLIENTS, cache)),
        ]
    return stages


def cluster(cache: Path, source: Source, chosen: node.Node) -> list[Stage]:
    """Return the stages of the cluster."""
    return _built(cache, chosen) if source == "built" else _published(cache)


def _built(cache: Path, chosen: node.Node) -> list[Stage]:
    beside: list[Beside] = []

    def kubernetes(log: Path) -> None:
        beside.append(Beside(partial(_programs, chosen, cache), log.with_name("beside-programs.log")))
        beside.append(Beside(partial(_roots, cache), log.with_name("beside-roots.log")))
        names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubeadm")
        golang.build(golang.kubernetes(versions.KUBERNETES, "kubectl", *names), cache, log)

    def own(log: Path) -> None:
        images.ensure(node.registry(cache), cache, log)
        images.ensure(images.operator(node.DEBIAN_IMAGE), cache, log)

    return [
        Stage("Docker", 30, 2, partial(_docker, cache)),
        Stage(f"Kubernetes {versions.KUBERNETES}", 800, 0, kubernetes),
        Stage("containerd, etcd, CoreDNS, Debian and the rest", 300, 0, lambda _log: _all(beside)),
        Stage("node image", 90, 5, partial(_node_image, chosen, cache)),
        Stage("operator and registry images", 60, 2, own),
        Stage("Cluster", 90, 60, partial(_cluster, cache, chosen.name)),
    ]


def _published(cache: Path) -> list[Stage]:
    def tools(log: Path) -> None:
        if not shutil.which("kind"):
            golang.build(golang.KIND, cache, log)
        if not shutil.which("kubectl"):
            golang.build(golang.kubernetes(versions.KUBERNETES, "kubectl"), cache, log)

    def pull(log: Path) -> None:
        for name in (versions.PUBLISHED_NODE_IMAGE, versions.REGISTRY_IMAGE, versions.PUBLISHED_BUSYBOX_IMAGE):
            if not images.identity(name):
                run("docker", "pull", name, log=log)
        run("docker", "tag", versions.PUBLISHED_BUSYBOX_IMAGE, versions.BUSYBOX_IMAGE, log=log)
        if not images.identity(versions.PUBLISHED_PYTHON_IMAGE):
            run("docker", "pull", versions.PUBLISHED_PYTHON_IMAGE, log=log)
        images.ensure(images.operator(versions.PUBLISHED_PYTHON_IMAGE), cache, log)

    return [
        Stage("Docker", 30, 2, partial(_docker, cache)),
        Stage("kind and kubectl", 120, 0, tools),
        Stage("published images and the operator's", 120, 3, pull),
        Stage("Cluster", 90, 60, partial(_cluster, cache, versions.PUBLISHED_NODE_IMAGE)),
    ]


def _all(beside: Sequence[Beside]) -> None:
    for each in beside:
        each.wait()


def _build(several: Sequence[golang.Programs], cache: Path, log: Path) -> None:
    for each in several:
        golang.build(each, cache, log)


def _programs(chosen: node.Node, cache: Path, log: Path) -> None:
    several = (
        *(golang.KIND, golang.containerd(chosen.containerd), golang.ETCD, golang.COREDNS, golang.REGISTRY),
        *(golang.CRICTL, golang.LOCAL_PATH, golang.PAUSE),
    )
    _build(several, cache, log)


def _roots(cache: Path, log: Path) -> None:
    rootfs.build("node", rootfs.NODE, cache, log)
    rootfs.build("pod", rootfs.POD, cache, log)


def _machines(cache: Path, log: Path) -> None:
    """Operating systems with Docker Engine and podman; one has a containerd that no Go module builds any more."""
    if packages := [each for each in docker.missing_packages() if each == "mmdebstrap"]:
        docker.install(packages, cache, log)
    for release in versions.MACHINES:
        system = rootfs.build("machine", rootfs.MACHINE[release], cache, log, release)
        if release == "bookworm":
            programs = golang.containerd(versions.DEBIAN_CONTAINERD).directory(cache)
            programs.mkdir(parents=True, exist_ok=True)
            (programs / "containerd").unlink(missing_ok=True)
            (programs / "containerd").symlink_to(system / "usr/bin/containerd")


def _docker(cache: Path, log: Path) -> None:
    host.record(cache)
    if docker.answers():
        return
    if packages := docker.missing_packages():
        docker.install(packages, cache, log)
    docker.start(cache)


def _node_image(chosen: node.Node, cache: Path, log: Path) -> None:
    node.build(chosen, cache, log)


def _cluster(cache: Path, image: str, log: Path) -> None:
    """Make the cluster unless there is one that is whole and of this node image, and load what tests run."""
    found = Cluster(cache=cache)
    if not (found.healthy() and found.image() == images.identity(image)):
        found.delete(log)
        found.create(image, log)
    for name in (versions.REGISTRY_IMAGE, versions.BUSYBOX_IMAGE):
        found.load_image(name, log)
    found.load_operator(log)


def _minutes(seconds: float) -> str:
    return f"{round(seconds / 60)} min" if seconds >= 90 else f"{round(seconds)} s"
