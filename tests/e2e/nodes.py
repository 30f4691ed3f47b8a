"""The nodes of the kind cluster from within: their /etc, and what their container runtime pulls.

Everything here goes past the agents, through `docker exec`: it is the witness against them.
"""

import itertools
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.cluster.commands import CommandError
from tests.cluster.kind import Cluster
from tests.waiting import eventually

CERTS_D = "/etc/containerd/certs.d"

MADE_AT_BOOT = ("./hostname", "./resolv.conf", "./machine-id", "./mtab")
"""Files in /etc that the container engine makes anew when it starts a node."""

# What goes while it is looked at has a line in the one list and none in the other, and is no error.
_TREE = r"""
cd /etc
find . -printf '%p %y %m %U:%G %l\n' || true
find . -type f -exec sha256sum {} + || true
"""
_PULL = """
while read -r image; do
    if said=$(crictl pull "$image" 2>&1); then echo pulled; else echo "failed: $image:" $said; fi
done
"""

Tree = Mapping[str, Sequence[str]]
"""A whole /etc: for each node its sorted lines about type, mode, owner and content."""


def trees(cluster: Cluster) -> Tree:
    return {node: sorted(cluster.exec_on_node(node, "sh", "-c", _TREE).splitlines()) for node in cluster.nodes}


def changes(before: Tree, after: Tree) -> str:
    """What differs, one line each, as `diff` would say it; empty when nothing does but what a start of a node makes."""
    said = []
    for node, lines in before.items():
        said += [f"{node}: - {line}" for line in sorted(set(lines) - set(after[node]))]
        said += [f"{node}: + {line}" for line in sorted(set(after[node]) - set(lines))]
    return "\n".join(line for line in said if not any(name in line for name in MADE_AT_BOOT))


def are(cluster: Cluster, before: Tree) -> bool:
    """Tell that nothing has changed. Raises AssertionError with what has."""
    assert not (changed := changes(before, trees(cluster))), changed
    return True


class PullError(AssertionError):
    """A runtime did not pull an image; the message is its own."""


def pull(cluster: Cluster, node: str, image: str) -> None:
    """Have a node's runtime pull an image that it does not have. Raises PullError.

    It is removed again, under all of its names: to be used for images that are nobody else's.
    """
    try:
        cluster.exec_on_node(node, "crictl", "pull", image)
    except CommandError as error:
        raise PullError(str(error)) from None
    cluster.exec_on_node(node, "crictl", "rmi", image)


def pull_on_all(cluster: Cluster, image: str) -> None:
    for node in cluster.nodes:
        pull(cluster, node, image)


@dataclass
class Pulls:
    """What became of the pulls so far."""

    done: int = 0
    failed: list[str] = field(default_factory=list)

    @property
    def all(self) -> int:
        return self.done + len(self.failed)

    def hear(self, line: str) -> None:
        if line.startswith("pulled"):
            self.done += 1
        else:
            self.failed.append(line.strip())

    def wait_for(self, more: int, *, within: float) -> None:
        """Return after so many further pulls."""
        wanted = self.all + more
        eventually(lambda: self.all >= wanted, within=within, what=f"{more} further pulls")


@contextmanager
def pulling(cluster: Cluster, images: Sequence[str], nodes: Iterable[str] = ()) -> Iterator[Pulls]:
    """Pull the images one after the other and over again on every node, none of them cached, until the block ends."""
    pulls, stopped = Pulls(), threading.Event()
    workers = [
        threading.Thread(target=_pull_on, args=(node, images, pulls, stopped)) for node in nodes or cluster.nodes
    ]
    for worker in workers:
        worker.start()
    try:
        yield pulls
    finally:
        stopped.set()
        for worker in workers:
            worker.join()


def _pull_on(node: str, images: Sequence[str], pulls: Pulls, stopped: threading.Event) -> None:
    command = ["docker", "exec", "--interactive", node, "sh", "-c", _PULL]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        while not stopped.is_set():
            pulled = []
            for image in itertools.takewhile(lambda _: not stopped.is_set(), images):
                process.stdin.write(f"{image}\n")
                process.stdin.flush()
                pulls.hear(process.stdout.readline())
                pulled.append(image)
            # The runtime keeps nothing of them, so that the next round is no different.
            subprocess.run(["docker", "exec", node, "crictl", "rmi", *pulled], check=False, capture_output=True)
        process.stdin.close()


def has(cluster: Cluster, node: str, path: str) -> bool:
    try:
        cluster.exec_on_node(node, "test", "-e", path)
    except CommandError:
        return False
    return True
