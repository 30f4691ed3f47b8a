"""The nodes that an agent may meet."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.node.whole_node import FAMILIES, WholeNode


@pytest.fixture
def in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for a node on which no power fails: thousands of small writes wait for no disk."""
    directory = tmp_path / "node"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", directory], check=True)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    yield directory
    subprocess.run(["umount", directory], check=True)


NODES = {"furnished": FAMILIES, "bare": (), "half": ("docker",)}


@pytest.fixture(params=["furnished", "bare"])
def node(in_memory: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> WholeNode:
    """One with files of other people wherever there is a place for them, and one without; or something in between."""
    return WholeNode(in_memory, monkeypatch, furnished=NODES[request.param])
