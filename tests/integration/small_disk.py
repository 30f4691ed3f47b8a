"""A node whose /etc/containerd is a small file system of its own, which fills up or turns read-only."""

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


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)
