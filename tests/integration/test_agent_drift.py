"""Somebody else changes our files, or the runtime restarts: repaired within seconds, and proven again."""

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from private_registry.agent.cri.client import Cri
from tests.integration.agent_world import World
from tests.trees import tree
from tests.waiting import aeventually, eventually

REPAIRED_WITHIN = 5.0


def bytes_below(path: Path) -> dict[str, bytes]:
    return {str(each.relative_to(path)): each.read_bytes() for each in path.rglob("*") if each.is_file()}


def delete_old(path: Path) -> None:
    """As `rm -r` does, and again where an agent that had the directory open already repairs in it meanwhile."""

    def deleted() -> bool:
        shutil.rmtree(path)
        return True

    eventually(deleted, within=REPAIRED_WITHIN, what=f"{path.name} is deleted")


def swap(certs_d: Path, _: Path) -> None:
    """Put another directory in place of the root, as vendors do that generate it."""
    new = certs_d.with_name("certs.d.new")
    (new / "docker.io").mkdir(parents=True)
    (new / "docker.io" / "hosts.toml").write_text('server = "https://mirror.example.com"\n')
    certs_d.rename(certs_d.with_name("certs.d.old"))
    new.rename(certs_d)
    delete_old(certs_d.with_name("certs.d.old"))


def swap_parent(certs_d: Path, _: Path) -> None:
    """The same, one level up."""
    new = certs_d.parent.with_name("containerd.new")
    shutil.copytree(certs_d.parent, new, ignore=shutil.ignore_patterns("certs.d"))
    certs_d.parent.rename(certs_d.parent.with_name("containerd.old"))
    new.rename(certs_d.parent)
    delete_old(certs_d.parent.with_name("containerd.old"))


def delete(path: Path) -> None:
    """As `rm -r` does, which fails where the agent is quicker, and has damaged enough by then."""
    with contextlib.suppress(OSError):
        shutil.rmtree(path)


def wipe(certs_d: Path, _: Path) -> None:
    for each in certs_d.iterdir():
        delete(each)


def edit(_: Path, host: Path) -> None:
    """As an editor does that writes a new file and renames it."""
    edited = (host / "hosts.toml").read_text().replace("10", "20")
    (host / "hosts.toml~").write_text(edited)
    (host / "hosts.toml~").rename(host / "hosts.toml")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(edit, id="edited"),
        pytest.param(lambda _, host: (host / "hosts.toml").write_bytes(b""), id="truncated"),
        pytest.param(lambda _, host: (host / "ca.crt").unlink(), id="ca deleted"),
        pytest.param(lambda _, host: delete(host), id="directory deleted"),
        pytest.param(wipe, id="wiped"),
        pytest.param(lambda certs_d, _: delete(certs_d), id="root deleted"),
        pytest.param(swap, id="root swapped"),
        pytest.param(swap_parent, id="parent swapped"),
    ],
)
async def test_what_is_damaged_is_repaired(world: World, damage: Callable[[Path, Path], object]) -> None:
    """Whatever was done, within seconds the node pulls again, and twice in a row."""
    team = world.serve()
    certs_d = world.node.certs_d
    with world.agent():
        await world.publish(team)
        await world.until_trusted(team)
        before = bytes_below(certs_d)
        for _ in range(2):
            damage(certs_d, certs_d / team.hosts[0])

            def repaired() -> bool:
                return before.items() <= bytes_below(certs_d).items()

            await asyncio.to_thread(eventually, repaired, within=REPAIRED_WITHIN, what="the files are there again")
            assert (await world.node.pull(f"{team.hosts[0]}/x:v1")).code == "NOT_FOUND"
        await world.until_trusted(team)


async def test_a_directory_that_is_put_aside_is_filled_anew(world: World) -> None:
    """Nothing is deleted, and there is a moment with no directory at all; and what is new is watched like the old."""
    team = world.serve()
    containerd = world.node.certs_d.parent
    asides = [containerd.with_name(f"containerd.{number}") for number in range(3)]
    with world.agent():
        await world.publish(team)
        await world.until_trusted(team)
        before = bytes_below(world.node.certs_d)
        for aside in asides:
            containerd.rename(aside)
            containerd.mkdir(exist_ok=True)
            shutil.copy(aside / "config.toml", containerd)

            def repaired() -> bool:
                return before.items() <= bytes_below(world.node.certs_d).items()

            await asyncio.to_thread(eventually, repaired, within=REPAIRED_WITHIN, what="the files are there again")
    for aside in asides:
        shutil.rmtree(aside)


async def test_a_line_in_etc_hosts_comes_back(world: World) -> None:
    """Somebody, or the node's own set-up, writes the file anew without it."""
    before = world.node.hosts.read_bytes()
    team = world.serve(certified=["team.registries.svc"], server_name="team.registries.svc")
    with world.agent():
        await world.publish(team)
        await world.until_trusted(team)
        with_line = world.node.hosts.read_bytes()
        world.node.hosts.write_bytes(before)
        await asyncio.to_thread(
            eventually,
            lambda: world.node.hosts.read_bytes() == with_line,
            within=REPAIRED_WITHIN,
            what="the line is back",
        )


async def test_a_fight_ends_in_a_conflict_and_not_in_a_loop(world: World) -> None:
    """Another program removes our file whenever it appears: after ten repairs the agent says so and rests."""
    team = world.serve()
    host = world.node.certs_d / team.hosts[0]
    with world.agent():
        await world.publish(team)
        await world.until_trusted(team)
        removed = 0

        async def in_conflict() -> bool:
            nonlocal removed
            if host.exists():
                shutil.rmtree(host, ignore_errors=True)
                removed += 1
            return (await world.row(team.key) or {}).get("reason") == "Conflict"

        await aeventually(in_conflict, within=20, every=0.01, what="the agent gives in")
        assert "another program" in (await world.row(team.key) or {})["message"]
        # The last repair was found to be one too many when it had been made.
        assert 10 <= removed <= 13


async def test_a_runtime_that_restarts_is_asked_again(world: World) -> None:
    """A proof speaks of one run of the runtime: after the next start there is a new one, and nothing is written."""
    team = world.serve()
    with world.agent() as agent:
        await world.publish(team)
        await world.until_trusted(team)
        before, written = tree(world.node.certs_d), (await world.status())
        asked = team.probes
        world.node.restart()
        await asyncio.to_thread(eventually, lambda: team.probes > asked, within=15, what="the runtime is asked again")
        await world.until_trusted(team)
        assert tree(world.node.certs_d) == before
        assert await world.status() == written
        assert "private_registry_agent_node_writes_total 6.0" in agent.get("/metrics")


async def test_proofs_are_repeated(world: World) -> None:
    """A registry that goes is noticed at the next round, and so is its return."""
    team = world.serve()
    with world.agent("--proof-interval=1"):
        await world.publish(team)
        await world.until_trusted(team)
        team.server.stop()
        await world.until(team.key, "Unreachable")
        team.server.start()
        await world.until_trusted(team)


async def test_pulls_go_on_while_files_are_rewritten(world: World) -> None:
    """A reader never meets half a file: the entry changes again and again under a hundred pulls."""
    team = world.serve()
    first, second = team.entry, replace(team.entry, hosts=team.entry.hosts[:2])
    with world.agent():
        await world.publish(team)
        await world.until_trusted(team)
        stop = asyncio.Event()

        async def rewrite() -> None:
            turn = 0
            while not stop.is_set():
                turn += 1
                team.entry = (first, second)[turn % 2]
                await world.publish(team)
                await world.until_trusted(team)

        rewriting = asyncio.create_task(rewrite())
        async with Cri(world.node.socket) as cri:
            answers = [await cri.pull(f"{team.hosts[0]}/x:v{number}") for number in range(100)]
        stop.set()
        await rewriting
    assert {answer.code for answer in answers} == {"NOT_FOUND"}
