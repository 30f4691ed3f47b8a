"""The writer in registries.conf.d, on a real file system: one file for each registry, and nobody else's."""

import itertools
from pathlib import Path

import pytest

from private_registry.agent.files.drop_ins import DropIns
from private_registry.agent.files.roots import ConflictError
from private_registry.trust import marker
from tests.killing import Crash, killed_at
from tests.trees import tree

TEAM, OTHER = "registries/team", "registries/other"
NAME = "90-private-registry.registries.team.conf"


def a_drop_in(version: str = "1", owner: str = TEAM) -> bytes:
    return f'{marker.line(owner, version * 16)}\n\n[[registry]]\nprefix = "{version}"\n'.encode()


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc"


@pytest.fixture
def told() -> list[str]:
    """How often CRI-O was told to read its drop-ins."""
    return []


@pytest.fixture
def drop_ins(etc: Path, told: list[str]) -> DropIns:
    return DropIns(etc.parent, lambda: told.append("changed"))


def in_directory(etc: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in (etc / "containers/registries.conf.d").glob("*.conf")}


@pytest.mark.parametrize("there", [True, False], ids=["their directory", "no directory"])
def test_a_registry_leaves_no_trace(etc: Path, drop_ins: DropIns, told: list[str], there: bool) -> None:
    """Others' files and the directory are what they were, and CRI-O is told of changes only."""
    directory = etc / "containers/registries.conf.d"
    if there:
        directory.mkdir(parents=True)
        (directory / "000-shortnames.conf").write_text("[aliases]\n")
    before = tree(etc)
    assert (drop_ins.apply(TEAM, a_drop_in()), drop_ins.apply(TEAM, a_drop_in())) == (1, 0)
    assert drop_ins.apply(TEAM, a_drop_in("2")) == 1
    assert (directory / NAME).read_bytes() == a_drop_in("2")
    assert (drop_ins.remove(OTHER), drop_ins.remove(TEAM), drop_ins.remove(TEAM)) == (0, 1, 0)
    assert tree(etc) == before
    assert len(told) == 3


def test_somebody_elses_file_of_that_name_stays(etc: Path, drop_ins: DropIns) -> None:
    """It is named, and neither changed nor removed."""
    file = etc / "containers/registries.conf.d" / NAME
    file.parent.mkdir(parents=True)
    file.write_text("of somebody else\n")
    with pytest.raises(ConflictError, match=rf"^/etc/containers/registries.conf.d/{NAME} is not ours"):
        drop_ins.apply(TEAM, a_drop_in())
    assert drop_ins.remove(TEAM) == 0
    assert file.read_text() == "of somebody else\n"


def test_a_truncated_file_is_repaired(etc: Path, drop_ins: DropIns) -> None:
    """Its beginning is ours."""
    drop_ins.apply(TEAM, a_drop_in())
    (etc / "containers/registries.conf.d" / NAME).write_bytes(a_drop_in()[:20])
    assert drop_ins.apply(TEAM, a_drop_in()) == 1


def test_killed_at_any_step_the_next_start_finishes_it(etc: Path) -> None:
    """The next one finds what is there, can take it away, and CRI-O knows of it what it would without the crash."""
    before, known = tree(etc), dict[str, bytes]()

    def read() -> None:
        """What CRI-O does when it is told."""
        known.clear()
        known.update(in_directory(etc))

    for step in itertools.count(1):
        try:
            with killed_at(step):
                first = DropIns(etc.parent, read)
                first.apply(TEAM, a_drop_in())
                first.apply(TEAM, a_drop_in("2"))
                first.remove(TEAM)
            break
        except Crash:
            pass
        after = DropIns(etc.parent, read)
        after.survey()
        assert known == in_directory(etc), step
        for registry in after.registries:
            after.remove(registry)
        assert tree(etc) == before, step
        assert known == {}, step


def test_one_that_could_not_be_told_is_told_by_the_next_look(etc: Path) -> None:
    """The file is right already, and still CRI-O has to read it."""
    answers = iter([OSError("no such process"), None, None])

    def tell() -> None:
        if answer := next(answers):
            raise answer

    drop_ins = DropIns(etc.parent, tell)
    with pytest.raises(OSError, match="no such process"):
        drop_ins.apply(TEAM, a_drop_in())
    assert drop_ins.apply(TEAM, a_drop_in()) == 0
    assert drop_ins.remove(TEAM) == 1
    assert next(answers, "all were asked for") == "all were asked for"
    assert tree(etc) == {}
