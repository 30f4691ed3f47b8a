"""Somebody who can write into the agents' namespace forges trust entries by the hundred, before a real agent."""

import asyncio
import json
from itertools import islice
from pathlib import Path, PurePosixPath
from random import Random
from typing import Any

from private_registry.api import names
from private_registry.kube.client import Object
from private_registry.trust import entry
from tests.hostile import SEED, Forger
from tests.integration.agent_world import World
from tests.node_reading import check_ca, check_etc_hosts, check_hosts_toml, is_permitted, marked_for
from tests.trees import tree
from tests.waiting import aeventually

SOME = 100
AT_ONCE = 16
FORGED_BY = {"forged": "yes"}


def forgeries(namespace: str) -> dict[str, Object]:
    """Entries in the agents' namespace by the registry that each speaks for.

    Texts that are none, some of all by chance, some of those that can be read and ask for what they must not.
    """
    forger = Forger("forger")
    # One for other nodes is not spoken of.
    everything = [data for data in forger.all() if '"nodeSelector":{"' not in data]
    rng = Random(SEED)
    some = rng.sample(everything, 80 * SOME)
    readable = [data for data in some if is_readable(forger.config_map(data))]
    chosen = [*islice(forger.texts(), SOME // 2), *some[:SOME], *readable[:SOME]]
    found = {}
    for number, data in enumerate(chosen):
        name = f"forged-{number}"
        labels = {**entry.LABELS, **FORGED_BY}
        found[f"registries/{name}"] = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": names.entry("registries", name), "namespace": namespace, "labels": labels},
            "data": {entry.KEY: data.replace("forger", name)},
        }
    return found


def is_readable(config_map: Object) -> bool:
    try:
        entry.parse(config_map)
    except entry.EntryInvalidError:
        return False
    return True


def misnamed(namespace: str, data: str) -> list[Object]:
    """A good entry under names that no registry has."""
    wrong = (
        "docker.io",
        "entry.registries",
        "entry.a.b.c",
        f"entry.{'a' * 100}.b",
        f"entry.a.{'b' * 100}",
        "entry.a.b",
    )
    labels = {**entry.LABELS, **FORGED_BY}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "data": {entry.KEY: data},
        }
        for name in wrong
    ]


async def test_forged_entries_reach_nothing_but_what_is_their_own(world: World) -> None:
    """Hundreds of them at once: the registry that was there is trusted all along, nothing foreign changes, what is
    written is what a registry of that name may have, and when they go nothing is left of them.
    """
    team = world.serve()
    with world.agent() as agent:
        await world.publish(team)
        await world.until_trusted(team)
        row = await world.row(team.key)
        before = tree(world.node.etc)
        forged = forgeries(world.namespace)

        gate = asyncio.Semaphore(AT_ONCE)

        async def create(obj: Object) -> None:
            async with gate:
                await world.kube.create(obj)

        strange = misnamed(world.namespace, Forger().data())
        creating = asyncio.gather(*map(create, [*strange, *forged.values()]))

        async def all_are_spoken_of() -> bool:
            check(before, tree(world.node.etc), forged)
            rows = {each["registry"]: each["reason"] for each in (await world.status()).get("registries") or []}
            left = forged.keys() - rows.keys()
            assert not left, f"{len(left)} of them: {sorted(left)[:3]}"
            return "Applying" not in rows.values()

        await creating
        await aeventually(all_are_spoken_of, within=60, every=0.2, what=f"the agent speaks of all (seed {SEED})")
        rows = {each["registry"]: each for each in (await world.status())["registries"]}
        assert rows.keys() == {team.key, "a/b", *forged}
        assert rows[team.key] == row
        during = tree(world.node.etc)
        check(before, during, forged)
        assert len(during) > len(before) + 100, "the forger had nothing that is nearly good"
        assert "Traceback" not in agent.log.read_text()

        await world.kubectl("delete", "configmap", "--selector=forged=yes", "--wait=false")

        async def all_are_gone() -> bool:
            left = [each["registry"] for each in (await world.status())["registries"]]
            assert left == [team.key], len(left)
            return True

        await aeventually(all_are_gone, within=60, every=0.2, what="the agent speaks of the good one alone")
        after = tree(world.node.etc)
        assert after.pop("hosts")[:5] == before.pop("hosts")[:5]  # in which lines came and went
        assert after == before
        assert await world.row(team.key) == row


async def test_an_agent_has_no_capability(world: World) -> None:
    """Whatever it is told: in the tests as in its pod it is root without any power, and has an account of its own."""
    with world.agent() as agent:
        assert capabilities(agent.process.pid) == {0}
        assert inode(f"/proc/{agent.process.pid}/root/run") == inode(agent.log.parent / "run") != inode("/run")


def capabilities(pid: int) -> set[int]:
    """What a process has and could come to have, as sets of bits."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {int(line.split()[1], 16) for line in lines if line.startswith("Cap")}


def inode(path: str | Path) -> int:
    return Path(path).stat().st_ino


def meant(content: bytes, forged: dict[str, Object]) -> dict[str, Any]:
    """The forged entry that a file is marked for."""
    registry = marked_for(content.decode("ascii").split("\n", 1)[0])
    raw: dict[str, Any] = json.loads(forged[registry]["data"][entry.KEY])
    return raw


def check(before: dict[str, Any], now: dict[str, Any], forged: dict[str, Object]) -> None:
    """What was there is there, and what is new is permitted to the registry that it is marked for."""
    check_etc_hosts(now["hosts"][4], before["hosts"][4])
    foreign = {name: kept for name, kept in before.items() if name != "hosts"}
    assert {name: kept for name, kept in now.items() if name in foreign} == foreign
    for name, kept in now.items():
        if name in before or ".private-registry-operator." in name:
            continue
        match PurePosixPath(name).parts:
            case ("containerd", "certs.d", _):
                continue
            case ("containerd", "certs.d", host, "hosts.toml" | "ca.crt" as file):
                raw = meant(kept[4], forged)
                assert is_permitted(host, raw["registry"], raw["addresses"]), name
                if file == "ca.crt":
                    check_ca(kept[4], raw, [])
                else:
                    check_hosts_toml(kept[4], raw, host)
            case _:
                raise AssertionError(f"seed {SEED}: {name}")
