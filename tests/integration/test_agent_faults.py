"""A node whose disk fills up or turns read-only: what it trusted it trusts on, it says why, and it heals by itself."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.certificates import a_certificate
from tests.integration.agent_world import Served, World
from tests.integration.small_disk import read_only, small_node
from tests.trees import tree

HEALED_WITHIN = 30.0


@pytest.fixture
def small_world(world: World, tmp_path: Path) -> Iterator[World]:
    """A world whose node has its /etc/containerd on a small file system of its own."""
    with small_node(tmp_path) as node:
        world.node = node
        yield world


@contextlib.contextmanager
def full(directory: Path) -> Iterator[None]:
    """Not a byte more fits on the file system of a directory."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    yield
    filler.unlink()


async def still_pulls(world: World, served: Served) -> None:
    """By every name the registry itself answers that it has no such image."""
    for host in served.hosts:
        assert (await world.node.pull(f"{host}/x:v1")).code == "NOT_FOUND"


async def test_a_disk_that_is_full(small_world: World) -> None:
    """Neither a new registry nor a renewed CA gets onto the node, what is there goes on, and then both do."""
    world, team, other = small_world, small_world.serve(), small_world.serve("other")
    before = tree(world.node.etc)
    with world.agent():
        await world.publish(team)
        await world.until_trusted(team)
        ours = tree(world.node.certs_d)
        with full(world.node.config_file.parent):
            await world.publish(other)
            why = f"/etc/containerd/certs.d/{other.hosts[0]}: No space left on device"
            await world.until(other.key, "FileSystemError", saying=why)
            assert (await world.row(team.key) or {})["trusted"] is True
            team.entry = replace(team.entry, ca_bundle=team.entry.ca_bundle + a_certificate(["x"]).ca_pem)
            await world.publish(team)
            await world.until(team.key, "FileSystemError", saying="No space left on device")
            await still_pulls(world, team)
            assert tree(world.node.certs_d) == ours
        for each in (team, other):
            await world.until_trusted(each, within=HEALED_WITHIN)
            await still_pulls(world, each)
        for each in (team, other):
            await world.withdraw(each)
            await world.until_gone(each.key)
    assert tree(world.node.etc) == before


async def test_a_disk_that_is_read_only(small_world: World) -> None:
    """A registry that is to go stays usable until it can go, and is listed as long."""
    world, team, other = small_world, small_world.serve(), small_world.serve("other")
    before = tree(world.node.etc)
    with world.agent():
        await world.publish(team)
        await world.until_trusted(team)
        with read_only(world.node):
            await world.publish(other)
            await world.until(other.key, "FileSystemError", saying="Read-only file system")
            await world.withdraw(team)
            await world.until(team.key, "Undoing", saying="certs.d: Read-only file system")
            await still_pulls(world, team)
        await world.until_gone(team.key, within=HEALED_WITHIN)
        await world.until_trusted(other, within=HEALED_WITHIN)
        await world.withdraw(other)
        await world.until_gone(other.key)
    assert tree(world.node.etc) == before
