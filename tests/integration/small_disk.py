"""File systems so small that they fill up: a node's /etc/containerd, which may turn read-only as well, and a volume."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.integration.agent_node import NodeContainerd


@contextlib.contextmanager
def small_node(directory: Path) -> Iterator[NodeContainerd]:
    """The node, running."""
    node = NodeContainerd(directory / "small")
    config = node.config_file.read_bytes()
    _mount("-t", "tmpfs", "-o", "size=256k", "tmpfs", str(node.config_file.parent))
    node.config_file.write_bytes(config)
    node.certs_d.mkdir()
    with node:
        yield node


@contextlib.contextmanager
def read_only(node: NodeContainerd) -> Iterator[None]:
    """Nothing can be written there."""
    _mount("-o", "remount,ro", str(node.config_file.parent))
    yield
    _mount("-o", "remount,rw", str(node.config_file.parent))


@contextlib.contextmanager
def small_volume(directory: Path, megabytes: int) -> Iterator[None]:
    """A disk of its own at `directory`: ext4, as most volumes are, with nothing set aside for root."""
    image = directory.with_name(f"{directory.name}.img")
    with image.open("wb") as file:
        file.truncate(megabytes * 2**20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    with _mounted(directory, "-o", "loop", str(image)):
        yield


@contextlib.contextmanager
def elastic_volume(directory: Path, megabytes: int) -> Iterator[None]:
    """One that can grow while it is mounted, wherever this runs."""
    with _mounted(directory, "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs"):
        yield


def grow(directory: Path, megabytes: int) -> None:
    """Make an elastic volume larger while it is in use, as a driver does that can."""
    _mount("-o", f"remount,size={megabytes}m", str(directory))


@contextlib.contextmanager
def _mounted(directory: Path, *what: str) -> Iterator[None]:
    _mount(*what, str(directory))
    yield
    subprocess.run(["umount", "--lazy", directory], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)
