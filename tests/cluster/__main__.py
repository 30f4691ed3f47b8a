"""`python3 -m tests.cluster`: brings the parts of the tests up, tells about them, and takes them down."""

import argparse
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import docker, host, images, plan, versions
from tests.cluster.built import node
from tests.cluster.commands import CommandError
from tests.cluster.kind import NETWORK, Cluster
from tests.cluster.source import choose, unreachable
from tests.cluster.steps import StepError


class RefusedError(Exception):
    """This machine cannot do what is asked. The message says why."""


def main() -> int:
    """Run one command; return the exit status."""
    arguments = parser().parse_args()
    cache = host.cache_directory()
    try:
        arguments.command(cache, arguments)
    except (RefusedError, StepError, CommandError, ValueError, AssertionError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(prog="python3 -m tests.cluster", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: object, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=function)
        return added

    command("up", up, "make the kind cluster, or bring it up to date")
    command("images", update_images, "rebuild the operator's image and load it, if the source has changed")
    each = command("parts", parts, "build the programs of the fast tier (etcd, API server, containerd, registry)")
    each.add_argument("--all", action="store_true", help="everything that the tests run, other versions included")
    each.add_argument("--containerd", action="append", default=[], metavar="VERSION", help="also this containerd")
    each = command("node-image", node_image, "build a node image with another containerd, print its name")
    each.add_argument("--containerd", default=versions.CONTAINERD, metavar="VERSION")
    each.add_argument("--config", type=Path, default=node.CONFIGURATION, metavar="FILE", help="its config.toml")
    command("status", status, "tell what runs")
    command("kubeconfig", kubeconfig, "print the path of the cluster's kubeconfig")
    command("down", down, "delete the cluster")
    each = command("clean", clean, "delete the cluster, stop what was started and put back what was changed")
    each.add_argument("--all", action="store_true", help="also remove the cache and what was installed for it")
    return top


def up(cache: Path, _arguments: argparse.Namespace) -> None:
    """Make the cluster, or bring it up to date."""
    wished = os.environ.get("SOURCE", "")
    source, reason = choose(wished, None if wished else unreachable())
    print(f"images: {source} ({reason})", flush=True)
    with alone(cache):
        refuse(cache, built=source == "built", disk=plan.DISK_AGAIN if plan.made(cache) else plan.DISK[source])
        plan.perform(plan.cluster(cache, source, node.Node()), cache)
    print(f"export KUBECONFIG={Cluster(cache=cache).kubeconfig}")


def update_images(cache: Path, _arguments: argparse.Namespace) -> None:
    """Rebuild the operator's image and load it, if the source has changed."""
    base = node.DEBIAN_IMAGE if images.identity(node.DEBIAN_IMAGE) else versions.PUBLISHED_PYTHON_IMAGE
    log = cache / "logs" / "images.log"
    with alone(cache):
        images.ensure(images.operator(base), cache, log)
        loaded = Cluster(cache=cache).load_operator(log)
    print("loaded" if loaded else "up to date")


def parts(cache: Path, arguments: argparse.Namespace) -> None:
    """Build the programs of the fast tier."""
    containerd = list(dict.fromkeys([versions.CONTAINERD, *map(tagged, arguments.containerd)]))
    with alone(cache):
        refuse(cache, built=True, docker_needed=False, disk=plan.DISK["parts"])
        plan.perform(plan.parts(cache, others=arguments.all, containerd=containerd), cache)


def node_image(cache: Path, arguments: argparse.Namespace) -> None:
    """Build a node image with another containerd or another configuration of it."""
    version = tagged(arguments.containerd)
    name = f"{versions.NODE_IMAGE}-containerd-{version}"
    if arguments.config != node.CONFIGURATION:
        name += f"-{arguments.config.stem}"
    chosen = node.Node(version, arguments.config, name)
    with alone(cache):
        refuse(cache, built=True, disk=plan.DISK_AGAIN if plan.made(cache) else plan.DISK["built"])
        plan.perform(plan.cluster(cache, "built", chosen)[:4], cache)
    print(name)


def status(cache: Path, _arguments: argparse.Namespace) -> None:
    """Tell what runs."""
    print(f"cache: {cache}")
    answers = docker.answers()
    print(f"Docker: {'answers' if answers else 'does not answer'}{', started by us' if docker.ours(cache) else ''}")
    if answers:
        cluster = Cluster(cache=cache)
        state = "ready" if cluster.healthy() else "not ready" if cluster.nodes else "none"
        print(f"cluster: {state} {' '.join(cluster.nodes)}".rstrip())


def kubeconfig(cache: Path, _arguments: argparse.Namespace) -> None:
    """Print the path of the cluster's kubeconfig."""
    print(Cluster(cache=cache).kubeconfig)


def down(cache: Path, _arguments: argparse.Namespace) -> None:
    """Delete the cluster, however much of it there is."""
    with alone(cache):
        remove(cache)


def remove(cache: Path) -> None:
    """Delete the cluster, one that an interrupted test has left, and kind's network."""
    if not docker.answers():
        if not docker.left_behind():
            return
        docker.start(cache)  # containers run without their daemon; the next one finds them
    log = cache / "logs" / "down.log"
    for name in (versions.CLUSTER, versions.BARE_CLUSTER):
        Cluster(name, cache).delete(log)
    docker.remove_container(node.PRELOAD)
    docker.remove_network(NETWORK)


def clean(cache: Path, arguments: argparse.Namespace) -> None:
    """Delete the cluster, stop what was started and put back what was changed."""
    if not cache.exists():
        return
    with alone(cache):
        remove(cache)
        docker.stop(cache)
        host.restore(cache, docker_is_gone=not docker.answers())
        if arguments.all:
            docker.uninstall(cache, cache / "logs" / "clean.log")
            shutil.rmtree(cache)


def refuse(cache: Path, *, built: bool, disk: int, docker_needed: bool = True) -> None:
    """Raise RefusedError with every reason why this machine cannot do it."""
    packages = docker.missing_packages()
    machine = host.inspect(cache, docker=docker.answers(), packages=packages)
    if reasons := host.obstacles(machine, built=built, disk=disk, docker=docker_needed):
        raise RefusedError("\n".join(["this machine cannot do it:", *(f"- {reason}" for reason in reasons)]))


def tagged(version: str) -> str:
    """Return a version as Go modules have it."""
    return "v" + version.removeprefix("v")


@contextmanager
def alone(cache: Path) -> Iterator[None]:
    """Let one run at a time work on the cache, without what an earlier one left half made."""
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "logs").mkdir(exist_ok=True)
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another run", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        host.unmount(cache / "tmp")
        shutil.rmtree(cache / "tmp", ignore_errors=True)
        (cache / "tmp").mkdir(exist_ok=True)
        yield


sys.exit(main())
