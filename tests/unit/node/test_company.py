"""Others who write to the same directories: what is theirs stays theirs, and what is ours does not stay with them."""

import asyncio
import shutil
from pathlib import Path
from typing import cast

import pytest

from private_registry.agent.health import Health
from private_registry.agent.keeper import Keeper, Tools
from private_registry.agent.node import Node
from private_registry.agent.report import Reporter, Row
from private_registry.trust import docker, marker, node_files
from private_registry.trust.entry import Entry
from private_registry.trust.reasons import TRUSTED, Reason, Verdict
from tests.trees import tree
from tests.unit.node.changes import CYCLE, FIRST, HOST, SECOND, TEAM
from tests.unit.node.whole_node import K3S, ROOTS, WholeNode, changed
from tests.unit.test_trust_node_files import RULES
from tests.waiting import aeventually

DROP_IN = "etc/containers/registries.conf.d/90-private-registry.registries.team.conf"
LITERAL = "etc/containerd/certs.d:/etc/docker/certs.d"
TEMPORARY = ".private-registry-operator.0123456789abcdef"


class TestSpegel:
    """It puts what is in certs.d aside when it comes, wipes at each start, and brings the old back when it goes."""

    def comes(self, certs_d: Path) -> None:
        names = list(certs_d.iterdir())
        (certs_d / "_backup").mkdir()
        for each in names:
            each.rename(certs_d / "_backup" / each.name)

    def starts(self, certs_d: Path) -> None:
        for each in certs_d.iterdir():
            if each.name != "_backup":
                shutil.rmtree(each) if each.is_dir() else each.unlink()
        (certs_d / "_default").mkdir()
        (certs_d / "_default" / "hosts.toml").write_text("of spegel\n")

    def goes(self, certs_d: Path) -> None:
        self.starts(certs_d)
        shutil.rmtree(certs_d / "_default")
        for each in (certs_d / "_backup").iterdir():
            each.rename(certs_d / each.name)
        (certs_d / "_backup").rmdir()

    async def test_a_copy_that_comes_back_is_made_what_it_should_be(self, node: WholeNode) -> None:
        """The registry has changed meanwhile; nothing is left when it goes."""
        before, _, second, _ = await node.walk(CYCLE)
        certs_d = node.host_root / ROOTS[0]
        async with node.agent() as agent:
            await node.converge(agent, FIRST)
            self.comes(certs_d)
            self.starts(certs_d)
            assert await node.converge(agent, SECOND) == []
            self.goes(certs_d)
            assert await node.converge(agent, SECOND) == []
            assert changed(second, node.state) == {}
            assert await node.converge(agent) == []
        assert changed(before, node.state) == {}

    async def test_a_registry_that_goes_meanwhile_does_not_come_back(self, node: WholeNode) -> None:
        """Also where there is no agent any more when spegel brings back what it had put aside."""
        before = node.state
        certs_d = node.host_root / ROOTS[0]
        async with node.agent() as agent:
            await node.converge(agent, FIRST)
            self.comes(certs_d)
            self.starts(certs_d)
            await node.converge(agent)
        self.goes(certs_d)
        if not list(certs_d.iterdir()):  # it leaves the directory that it found
            certs_d.rmdir()
        assert changed(before, node.state) == {}


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize(
    "content", [f'{K3S}server = "https://192.0.2.1"\n', "of a person\n", f"{K3S}{marker.line(TEAM, '0' * 16)}\n"]
)
async def test_a_host_that_somebody_else_has_set_up(node: WholeNode, root: str, content: str) -> None:
    """k3s, or a person: his file is named, and neither changed nor removed, now or when the registry goes."""
    theirs = node.host_root / root / HOST
    theirs.mkdir(parents=True)
    (theirs / ("hosts.toml" if "containerd" in root else "ca.crt")).write_text(content)
    before, files = node.state, tree(theirs)
    async with node.agent() as agent:
        for entries in CYCLE[:-1]:
            said = " ".join(map(str, await node.converge(agent, entries)))
            assert tree(theirs) == files
        assert f"/{root}/{HOST}" in said or entries is SECOND
        assert await node.converge(agent) == []
    assert changed(before, node.state) == {}


@pytest.mark.parametrize("node", ["bare"], indirect=True)
@pytest.mark.parametrize("target", ["victim", "/etc", "/nowhere", "itself"])
@pytest.mark.parametrize(
    "planted",
    [
        *(f"{root}/{HOST}" for root in ROOTS),
        *(f"{root}/{HOST}/{name}" for root in ROOTS for name in ("hosts.toml", "ca.crt", TEMPORARY)),
        *(f"{root}/{TEMPORARY}" for root in ROOTS),
        "etc/docker/daemon.json",
        "etc/docker/.private-registry-operator-daemon.json",
        DROP_IN,
        "etc/containers/registries.conf.d/.private-registry-operator-untold",
        "etc/.private-registry-operator-hosts",
        f"etc/{TEMPORARY}",
        LITERAL,
    ],
)
async def test_a_link_that_somebody_planted_leads_nowhere(node: WholeNode, planted: str, target: str) -> None:
    """Nothing behind it changes, be it files that look like ours, somebody's directory, nothing at all, or the link."""
    victim = node.host_root / "victim"
    victim.mkdir()
    for name in ("hosts.toml", "ca.crt"):
        (victim / name).write_text(f"{marker.line(TEAM, '0' * 16)}\n")
    link = node.host_root / planted
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to({"itself": link.name, "victim": "../" * planted.count("/") + "victim"}.get(target, target))
    before, behind = node.state, tree(victim)
    async with node.agent() as agent:
        for entries in CYCLE:
            await node.converge(agent, entries)
            assert tree(victim) == behind
    # One that has a name of ours goes, and the directory with it where it was all that there was in it.
    ours = {planted, planted.rpartition("/")[0]} if ".private-registry" in planted else set()
    assert changed(before, node.state).keys() <= ours


FIGHTS = {
    "hosts.toml": (FIRST, f"{ROOTS[0]}/{HOST}/hosts.toml"),
    "a directory": (FIRST, f"{ROOTS[0]}/{HOST}"),
    "ca.crt": (FIRST, f"{ROOTS[1]}/{HOST}/ca.crt"),
    "the line in /etc/hosts": (FIRST, "etc/hosts"),
    "daemon.json": (SECOND, "etc/docker/daemon.json"),
    "a drop-in": (FIRST, DROP_IN),
    "the link for a list": (FIRST, LITERAL),
}


class Notes:
    """What a keeper has said of its registry, where the API server is not asked."""

    registries = frozenset[str]()

    def __init__(self) -> None:
        self.reasons: list[Reason] = []

    async def listed(self, row: Row) -> None:
        pass

    def set(self, row: Row) -> bool:
        self.reasons.append(row.verdict.reason)
        return True


@pytest.mark.parametrize("node", ["furnished"], indirect=True)
@pytest.mark.parametrize(("entries", "path"), FIGHTS.values(), ids=FIGHTS)
async def test_a_fight_ends_in_a_conflict(
    node: WholeNode, monkeypatch: pytest.MonkeyPatch, entries: tuple[Entry, ...], path: str
) -> None:
    """Whatever somebody takes away again and again: repaired ten times, then left to a person."""
    (files,) = node_files.allocate(entries, RULES).values()
    notes, target = Notes(), node.host_root / path
    foreign = target.read_bytes() if target.is_file() else None

    async def proven(*_: object) -> Verdict:
        node.engine.learn(docker.plain_hosts(files))
        return TRUSTED

    async def may_undo() -> bool:
        return False

    monkeypatch.setattr(Node, "prove", proven)
    damaged = 0

    async def is_over() -> bool:
        nonlocal damaged
        if Reason.TRUSTED in notes.reasons and changed(right, node.state) == {}:
            _take_away(target, foreign)
            damaged += 1
            keeper.check()
        return notes.reasons[-1:] == [Reason.CONFLICT]

    _, right, _ = await node.walk((entries, ()))
    async with node.agent() as agent:
        tools = Tools(agent, cast("Reporter", notes), Health(), may_undo, 600)
        keeper = Keeper(TEAM, files, tools)
        tools.health.expected(TEAM)
        running = asyncio.create_task(keeper.run())
        try:
            await aeventually(is_over, within=10, every=0.01, what="the keeper gives in")
        finally:
            running.cancel()
    assert 10 <= damaged <= 12


def _take_away(path: Path, foreign: bytes | None) -> None:
    if foreign is not None:
        new = path.with_name("new")
        new.write_bytes(foreign)
        shutil.copystat(path, new)
        shutil.chown(new, path.stat().st_uid, path.stat().st_gid)
        new.rename(path)
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
