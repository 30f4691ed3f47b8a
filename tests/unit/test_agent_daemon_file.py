"""The writer of Docker's daemon.json, on a real file system: exact, and safe to kill anywhere."""

import itertools
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from private_registry.agent.files import atomic
from private_registry.agent.files.daemon_file import DaemonFile, DaemonFileError
from tests.killing import Crash, killed_at
from tests.trees import tree

TEAM, OTHER = "registries/team", "registries/other"
HOSTS, OTHERS = ["team.registries.svc:5000", "10.96.0.1:5000"], ["other.registries.svc:5000"]


class Docker:
    """Remembers what each reload made of the file, as dockerd does: a key that is gone changes nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.live: list[str] = []
        self.forgotten: list[set[str]] = []

    def reload(self) -> None:
        self.live = json.loads(self.path.read_text()).get("insecure-registries", self.live)

    def takes(self, hosts: Collection[str]) -> bool:
        return bool(set(self.live) & set(hosts))

    def forget(self, hosts: Collection[str]) -> None:
        self.reload()
        self.forgotten.append(set(hosts))
        assert not set(self.live) & set(hosts), "it would have waited in vain"


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is one that somebody has only just emptied."""
    monkeypatch.setattr(atomic, "_SETTLES_WITHIN", 0.0)


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc"


@pytest.fixture
def docker(etc: Path) -> Docker:
    return Docker(etc / "docker/daemon.json")


@pytest.fixture
def daemon_file(etc: Path, docker: Docker) -> DaemonFile:
    return DaemonFile(etc.parent, docker)


def content(etc: Path) -> dict[str, Any]:
    """All but times: the file is not ours, and has to be edited."""
    return {
        path: [part for part in kept if not isinstance(part, int) or part < 2**32] for path, kept in tree(etc).items()
    }


@pytest.mark.parametrize("before", [None, b"", b"{}", b'{"debug": true}\n', b'{"insecure-registries": ["192.0.2.7"]}'])
def test_two_registries_come_and_go(etc: Path, docker: Docker, daemon_file: DaemonFile, before: bytes | None) -> None:
    """The last one to leave leaves what the first one found, and Docker has forgotten both."""
    if before is not None:
        docker.path.parent.mkdir()
        docker.path.write_bytes(before)
        docker.path.chmod(0o600)
    at_first = content(etc)
    assert daemon_file.apply(TEAM, HOSTS) == 1
    assert daemon_file.apply(OTHER, OTHERS) == 1
    docker.reload()
    assert {*HOSTS, *OTHERS} <= set(docker.live)
    assert (daemon_file.apply(TEAM, HOSTS), daemon_file.apply(OTHER, OTHERS)) == (0, 0)
    if before is not None:
        assert docker.path.stat().st_mode & 0o777 == 0o600

    assert daemon_file.remove(TEAM) == 1
    assert docker.live == [*(["192.0.2.7"] if before and b"192" in before else []), *OTHERS]
    assert daemon_file.remove(OTHER) == 1
    assert docker.forgotten == [set(HOSTS), set(OTHERS)]
    assert content(etc) == at_first


def test_hosts_that_are_no_longer_wanted_are_forgotten(docker: Docker, daemon_file: DaemonFile) -> None:
    """A registry that gets TLS leaves the list, and so does an address that it has no more."""
    daemon_file.apply(TEAM, HOSTS)
    docker.reload()
    daemon_file.apply(TEAM, HOSTS[:1])
    assert docker.forgotten == [{HOSTS[1]}]
    daemon_file.apply(TEAM, [])
    assert docker.forgotten[1:] == [{HOSTS[0]}]
    assert not docker.path.parent.exists()


def test_a_host_of_somebody_elses_is_not_taken_away(docker: Docker, daemon_file: DaemonFile) -> None:
    """An administrator listed the registry himself, before: his line stays."""
    docker.path.parent.mkdir()
    docker.path.write_text(json.dumps({"insecure-registries": HOSTS[:1]}))
    daemon_file.apply(TEAM, HOSTS)
    daemon_file.remove(TEAM)
    assert json.loads(docker.path.read_text()) == {"insecure-registries": HOSTS[:1]}


def test_what_others_change_meanwhile_stays(docker: Docker, daemon_file: DaemonFile) -> None:
    """He edits the file by hand, in another layout: only our hosts go."""
    daemon_file.apply(TEAM, HOSTS)
    docker.path.write_text(json.dumps({"mtu": 1400, "insecure-registries": [*HOSTS, "192.0.2.7"]}, indent=2))
    daemon_file.remove(TEAM)
    assert json.loads(docker.path.read_text()) == {"mtu": 1400, "insecure-registries": ["192.0.2.7"]}


def test_a_file_that_somebody_deleted_is_not_missed(docker: Docker, daemon_file: DaemonFile) -> None:
    """There is nothing to take out of it, and still Docker has to forget."""
    daemon_file.apply(TEAM, HOSTS)
    docker.reload()
    docker.path.unlink()
    assert daemon_file.remove(TEAM) == 1
    assert not docker.path.parent.exists()


@pytest.mark.parametrize("text", ["[]", '{"a": 1', '{"insecure-registries": {}}'])
def test_what_is_no_configuration_is_left_alone(docker: Docker, daemon_file: DaemonFile, text: str) -> None:
    """Nothing is written, and the message names the file."""
    docker.path.parent.mkdir()
    docker.path.write_text(text)
    with pytest.raises(DaemonFileError, match=r"^/etc/docker/daemon.json is none that Docker could read"):
        daemon_file.apply(TEAM, HOSTS)
    assert [each.name for each in docker.path.parent.iterdir()] == ["daemon.json"]
    assert docker.path.read_text() == text


def test_a_link_is_not_followed(etc: Path, docker: Docker, daemon_file: DaemonFile) -> None:
    """Where the configuration is generated elsewhere, it is not ours to change."""
    docker.path.parent.mkdir()
    (etc / "elsewhere.json").write_text("{}")
    docker.path.symlink_to("/etc/elsewhere.json")
    with pytest.raises(DaemonFileError, match="is no regular file"):
        daemon_file.apply(TEAM, HOSTS)
    assert (etc / "elsewhere.json").read_text() == "{}"


@pytest.mark.parametrize("before", [None, b"", b'{"debug": true}'], ids=["absent", "empty", "there"])
def test_killed_at_any_step_the_next_start_finishes_it(etc: Path, docker: Docker, before: bytes | None) -> None:
    """On the way in, on the way out: what is listed covers what is there, and at the end nothing is."""
    if before is not None:
        docker.path.parent.mkdir()
        docker.path.write_bytes(before)
    at_first = content(etc)
    for step in itertools.count(1):
        try:
            with killed_at(step):
                first = DaemonFile(etc.parent, docker)
                first.apply(TEAM, HOSTS)
                docker.reload()
                first.apply(TEAM, HOSTS[:1])
                first.remove(TEAM)
            break
        except Crash:
            pass
        after = DaemonFile(etc.parent, docker)
        after.survey()
        if docker.path.exists() and HOSTS[0].encode() in docker.path.read_bytes():
            assert after.registries == {TEAM}, step
        for registry in after.registries:
            after.remove(registry)
        assert (content(etc), docker.live) == (at_first, []), step


def test_a_file_that_is_just_being_written(
    etc: Path, docker: Docker, daemon_file: DaemonFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has emptied it to write it anew loses nothing: the agent waits until it has settled."""
    monkeypatch.setattr(atomic, "_SETTLES_WITHIN", 1.0)
    docker.path.parent.mkdir()
    with docker.path.open("w") as file:
        with pytest.raises(OSError, match=r"daemon\.json was emptied a moment ago"):
            daemon_file.apply(TEAM, HOSTS)
        file.write('{"debug": true}')
    assert daemon_file.apply(TEAM, HOSTS) == 1
    assert json.loads(docker.path.read_text()) == {"debug": True, "insecure-registries": HOSTS}
    daemon_file.remove(TEAM)
    assert docker.path.read_text() == '{"debug": true}'
    docker.path.write_bytes(b"")
    os.utime(docker.path, (1, 1))
    assert daemon_file.apply(TEAM, HOSTS) == 1
