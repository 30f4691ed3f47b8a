"""An agent that is killed, restarted, or left alone: the same end, and silence once it is reached."""

import asyncio
import random
import tomllib
from dataclasses import replace
from typing import Any

import pytest

from private_registry.trust import marker
from tests.certificates import a_certificate
from tests.cluster.processes import ControlPlane
from tests.integration.agent_world import World
from tests.trees import tree
from tests.waiting import aeventually, eventually

MANY = 20
KILLS = 8


@pytest.mark.parametrize("after", [1, 7, 25])
async def test_killed_in_the_middle_of_its_work_the_next_one_finishes_it(world: World, after: int) -> None:
    """While files come, and again while they go: what is listed covers what is there, and at the end nothing is."""
    served = [world.serve(f"r{number}", listen=False) for number in range(MANY)]
    certs_d = world.node.certs_d

    def hosts() -> int:
        return sum(":" in each.name for each in certs_d.iterdir())

    for each in served:
        await world.publish(each)
    agent = world.agent()
    agent.process.start()
    await asyncio.to_thread(eventually, lambda: hosts() >= after, within=20, every=0.001, what="some files are there")
    agent.process.kill()
    listed = {row["registry"] for row in (await world.status())["registries"]}
    assert {f"registries/{each.name.partition('.')[0]}" for each in certs_d.glob("r*")} <= listed

    agent.process.start()
    await asyncio.to_thread(eventually, lambda: hosts() == 3 * MANY, within=30, what="all files are there")
    for each in served:
        await world.withdraw(each)
    await asyncio.to_thread(
        eventually, lambda: hosts() <= 3 * MANY - after, within=30, every=0.001, what="some files are gone"
    )
    agent.process.kill()
    listed = {row["registry"] for row in (await world.status())["registries"]}
    assert {f"registries/{each.name.partition('.')[0]}" for each in certs_d.glob("r*")} <= listed

    with agent:

        async def nothing_listed() -> bool:
            return not (await world.status())["registries"]

        await aeventually(nothing_listed, within=30, what="nothing is listed")
    assert tree(certs_d) == {}


async def test_killed_again_and_again_while_entries_change(world: World) -> None:
    """At whatever moment: pulls go on, every file is whole, the next agent goes on from there, and nothing is left."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance, clock = random.Random(seed), asyncio.get_running_loop().time
    before, hosts_before = tree(world.node.certs_d), world.node.hosts.read_bytes()
    team = world.serve()
    other = world.serve("other", certified=["other.registries.svc"], server_name="other.registries.svc")
    first, more = team.entry, a_certificate(["x"]).ca_pem
    with world.agent():
        for each in (team, other):
            await world.publish(each)
            await world.until_trusted(each)
    agent = world.agent()
    for _ in range(KILLS):
        agent.process.start()
        until = clock() + chance.uniform(0, 0.7)
        while clock() < until:
            hosts, bundle = first.hosts[: chance.randint(1, 3)], first.ca_bundle + chance.choice(["", more])
            team.entry = replace(first, hosts=hosts, ca_bundle=bundle)
            await world.publish(team)
        agent.process.kill()
        for toml in world.node.certs_d.glob("[!.]*/hosts.toml"):
            assert tomllib.loads(toml.read_text())["ca"] == "ca.crt"
            assert marker.owner(toml.with_name("ca.crt").read_bytes()) in (team.key, other.key)
        for each in (team, other):
            assert (await world.node.pull(f"{each.hosts[0]}/x:v1")).code == "NOT_FOUND"
    with agent:
        for each in (team, other):
            await world.until_trusted(each)
        for each in (team, other):
            await world.withdraw(each)
            await world.until_gone(each.key)
    assert tree(world.node.certs_d) == before
    assert world.node.hosts.read_bytes() == hosts_before


async def test_one_at_a_time(world: World) -> None:
    """Of two agents on a node, as there are for a moment when it is opted in, one waits until the other has gone."""
    before = tree(world.node.host_root / "etc")
    team = world.serve()
    await world.publish(team)
    with world.agent() as first:
        await world.until_trusted(team)
        with world.agent() as second:
            await second.until_it_says("another agent is at work on this node")
            assert second.get("/healthz") == "ok\n"
            with pytest.raises(OSError, match="503"):
                second.get("/readyz")
            first.process.kill()
            await second.until_it_says("looks hosts up in")
            await world.withdraw(team)
            await world.until_gone(team.key)
    assert tree(world.node.host_root / "etc").keys() == before.keys()


async def test_steady_is_silent(world: World, control_plane: ControlPlane) -> None:
    """Proven again and again, restarted, and not one write: neither on the node nor to the API server."""
    served = [world.serve(f"r{number}") for number in range(3)]
    with world.agent():
        for each in served:
            await world.publish(each)
        for each in served:
            await world.until_trusted(each)
    before = tree(world.node.certs_d)
    began = control_plane.now()
    with world.agent("--proof-interval=1") as agent:
        asked = [each.probes for each in served]

        def proven() -> bool:
            return all(each.probes >= before + 3 * 3 for each, before in zip(served, asked, strict=True))

        await asyncio.to_thread(eventually, proven, within=20, what="three rounds of proofs")
        assert agent.get("/readyz") == "ok\n"
        assert "private_registry_agent_node_writes_total 0.0" in agent.get("/metrics")
    assert tree(world.node.certs_d) == before
    assert writes_to(world.name, control_plane.audit(began)) == []


async def test_a_new_registry_costs_two_writes(world: World, control_plane: ControlPlane) -> None:
    """That it is being applied, and that it is trusted."""
    team = world.serve()
    with world.agent():

        async def runtime() -> str:
            return str((await world.status()).get("runtime") or "")

        await aeventually(runtime, within=20, what="the agent has told its runtime")
        began = control_plane.now()
        await world.publish(team)
        await world.until_trusted(team)

        async def noted() -> bool:
            """A request is in the log once it is answered, which is after others have seen what it changed."""
            return len(writes_to(world.name, control_plane.audit(began))) >= 2

        await aeventually(noted, within=20, what="both are in the audit log")
    assert [each["verb"] for each in writes_to(world.name, control_plane.audit(began))] == ["patch"] * 2


async def test_an_agent_is_small(world: World) -> None:
    """With twenty registries it has 64 MiB at most: every node pays for it."""
    served = [world.serve(f"r{number}", listen=number == 0) for number in range(MANY)]
    with world.agent(copied=False) as agent:
        for each in served:
            await world.publish(each)
        await world.until_trusted(served[0])
        for each in served[1:]:
            await world.until(each.key, "Unreachable")
        resident = agent.resident_kib()
    assert resident <= 64 * 1024, f"{resident} KiB"


async def test_an_agent_is_not_ready_before_it_knows_its_entries(world: World) -> None:
    """It lives, and waits for the API server."""
    with world.agent(api_port=1) as agent:
        assert agent.get("/healthz") == "ok\n"
        with pytest.raises(OSError, match="503"):
            agent.get("/readyz")


def writes_to(node_trust: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The requests that change, or try to change, this NodeTrust."""
    reads = ("get", "list", "watch")
    return [
        each for each in events if each["verb"] not in reads and each.get("objectRef", {}).get("name") == node_trust
    ]
