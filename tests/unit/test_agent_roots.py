"""The writer below config_path, on a real file system: exact, atomic, blind to links, and safe to kill anywhere."""

import contextlib
import itertools
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from private_registry.agent.files import atomic
from private_registry.agent.files.made import NotVisibleError
from private_registry.agent.files.roots import ConflictError, HeldError, Root
from private_registry.trust import marker
from private_registry.trust.node_files import HostDirectory, NodeFile
from tests.killing import Crash, killed_at
from tests.trees import tree

ROOT = PurePosixPath("/etc/containerd/certs.d")
TEAM, OTHER = "registries/team", "registries/other"
HOST = "team.registries.svc:5000"


def a_directory(host: str = HOST, *, owner: str = TEAM, version: str = "1", tls: bool = True) -> HostDirectory:
    """A host's directory as it is to be; another version has other bytes."""
    first = f"{marker.line(owner, version * 16)}\n"
    ca = NodeFile("ca.crt", f"{first}certificate {version}\n".encode())
    toml = NodeFile("hosts.toml", f'{first}server = "{version}"\n'.encode())
    return HostDirectory(host, "https://10.96.0.1:5000", (ca, toml) if tls else (toml,))


@pytest.fixture
def host_root(tmp_path: Path) -> Path:
    (tmp_path / "etc/containerd").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def certs_d(host_root: Path) -> Path:
    """A root with things of other people in it."""
    certs_d = host_root / ROOT.relative_to("/")
    for name in ("_default", "docker.io", "quay.io_443_"):
        (certs_d / name).mkdir(parents=True)
        (certs_d / name / "hosts.toml").write_text('server = "https://mirror.example.com"\n')
    (certs_d / "empty").mkdir(mode=0o700)
    (certs_d / "link").symlink_to("/etc/passwd")
    (certs_d / "README").write_text("of the administrator\n")
    return certs_d


@pytest.fixture
def root(host_root: Path, certs_d: Path) -> Root:
    return Root(host_root, ROOT)


class TestComingAndGoing:
    """What is there afterwards is what is to be there, to the byte."""

    def test_a_registry_leaves_no_trace(self, root: Root, certs_d: Path) -> None:
        """Names, bytes, modes and times of everything else are what they were, before, during and after."""
        before = tree(certs_d)
        root.apply(a_directory(), TEAM)
        root.apply(a_directory("10.96.0.1:5000"), TEAM)
        assert {path: kept for path, kept in tree(certs_d).items() if path in before} == before
        assert root.remove(TEAM) == 4
        assert tree(certs_d) == before

    def test_one_that_is_just_being_emptied_is_made_anew(
        self, root: Root, certs_d: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever removes its files one by one is not taken for somebody who has put others there."""
        root.apply(a_directory(), TEAM)
        right, read = tree(certs_d / HOST).keys(), atomic.read

        def goes_first(directory: int, name: str, limit: int) -> bytes | None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
            return read(directory, name, limit)

        monkeypatch.setattr(atomic, "read", goes_first)
        root.apply(a_directory(), TEAM)
        assert tree(certs_d / HOST).keys() == right

    def test_a_root_that_was_not_there_goes_again(self, host_root: Path) -> None:
        """Where nothing was configured before, nothing is left."""
        root = Root(host_root, ROOT)
        root.apply(a_directory(), TEAM)
        root.apply(a_directory("other.registries.svc:5000", owner=OTHER), OTHER)
        root.remove(TEAM)
        root.survey()
        assert root.hosts == {OTHER: {"other.registries.svc:5000"}}
        root.remove(OTHER)
        assert tree(host_root / "etc/containerd") == {}

    def test_what_it_is_in_goes_with_it(self, tmp_path: Path) -> None:
        """Docker makes no /etc/docker before it has a use for one: we do, and it is gone again afterwards."""
        (tmp_path / "etc").mkdir()
        root = Root(tmp_path, PurePosixPath("/etc/docker/certs.d"))
        root.apply(a_directory(), TEAM)
        root.remove(TEAM)
        assert tree(tmp_path / "etc") == {}

    def test_what_it_is_in_stays_for_others(self, tmp_path: Path) -> None:
        """Docker has put something there by now: nothing but the note goes."""
        (tmp_path / "etc").mkdir()
        root = Root(tmp_path, PurePosixPath("/etc/docker/certs.d"))
        root.apply(a_directory(), TEAM)
        (tmp_path / "etc/docker/key.json").touch()
        root.remove(TEAM)
        assert list(tree(tmp_path / "etc")) == ["docker", "docker/key.json"]

    def test_a_root_that_others_use_by_now_stays(self, host_root: Path) -> None:
        """We made it, somebody put something into it: only what is ours goes."""
        root = Root(host_root, ROOT)
        root.apply(a_directory(), TEAM)
        (root.here / "docker.io").mkdir()
        root.remove(TEAM)
        assert list(tree(host_root / "etc/containerd")) == ["certs.d", "certs.d/docker.io"]

    def test_files_are_readable_by_all_and_writable_by_root(self, root: Root, certs_d: Path) -> None:
        """Whatever the umask of the process is."""
        umask = os.umask(0o077)
        try:
            root.apply(a_directory(), TEAM)
        finally:
            os.umask(umask)
        assert stat.S_IMODE((certs_d / HOST).stat().st_mode) == 0o755
        assert {stat.S_IMODE(each.stat().st_mode) for each in (certs_d / HOST).iterdir()} == {0o644}

    def test_what_is_right_is_not_written_again(self, root: Root, certs_d: Path) -> None:
        """A steady node has no writes: not even the time of a file changes."""
        assert root.apply(a_directory(), TEAM) == 2
        before = tree(certs_d)
        assert root.apply(a_directory(), TEAM) == 0
        assert tree(certs_d) == before

    def test_from_tls_to_plain_http_the_ca_goes(self, root: Root, certs_d: Path) -> None:
        """A CA that hosts.toml does not name would be one file too many after the end."""
        root.apply(a_directory(), TEAM)
        root.apply(a_directory(version="2", tls=False), TEAM)
        assert [each.name for each in (certs_d / HOST).iterdir()] == ["hosts.toml"]

    def test_names_that_are_no_longer_wanted_go(self, root: Root, certs_d: Path) -> None:
        """An address that changed does not stay trusted."""
        root.apply(a_directory(), TEAM)
        root.apply(a_directory("10.96.0.1:5000"), TEAM)
        root.remove(TEAM, keep={HOST})
        root.survey()
        assert root.hosts == {TEAM: {HOST}}

    def test_a_file_that_somebody_put_beside_ours_stays(self, root: Root, certs_d: Path) -> None:
        """Of a directory that is shared, only our files go."""
        root.apply(a_directory(), TEAM)
        (certs_d / HOST / "client.cert").write_text("of somebody")
        root.remove(TEAM)
        assert [each.name for each in (certs_d / HOST).iterdir()] == ["client.cert"]

    def test_an_ipv6_address_is_a_directory_like_any_other(self, root: Root, certs_d: Path) -> None:
        """Brackets and colons are part of the name."""
        root.apply(a_directory("[fd00:96::a]:5000"), TEAM)
        assert (certs_d / "[fd00:96::a]:5000" / "hosts.toml").exists()


class TestDrift:
    """What somebody did to our files is undone by the next look."""

    @pytest.mark.parametrize(
        "damage",
        [
            lambda path: (path / "hosts.toml").unlink(),
            lambda path: (path / "ca.crt").unlink(),
            lambda path: (path / "hosts.toml").write_bytes(b""),
            lambda path: (path / "hosts.toml").write_bytes((path / "hosts.toml").read_bytes()[:20]),
            lambda path: (path / "hosts.toml").write_bytes(
                (path / "hosts.toml").read_bytes() + b"skip_verify = true\n"
            ),
            lambda path: (path / "ca.crt").write_bytes((path / "ca.crt").read_bytes().replace(b"certificate", b"CERT")),
            lambda path: [each.unlink() for each in path.iterdir()],
            shutil.rmtree,
            lambda path: shutil.rmtree(path.parent),
        ],
    )
    def test_damage_is_repaired(self, root: Root, certs_d: Path, damage: Callable[[Path], object]) -> None:
        """Edited, truncated or deleted: it is made what it was."""
        root.apply(a_directory(), TEAM)
        before = tree(certs_d / HOST)
        damage(certs_d / HOST)
        assert root.apply(a_directory(), TEAM) > 0
        assert {path: kept[:-1] for path, kept in tree(certs_d / HOST).items()} == {
            path: kept[:-1] for path, kept in before.items()
        }

    def test_a_truncated_file_goes_with_the_rest(self, root: Root, certs_d: Path) -> None:
        """Undoing needs no marker in a file that holds nothing, beside one that has it."""
        before = tree(certs_d)
        root.apply(a_directory(), TEAM)
        (certs_d / HOST / "hosts.toml").write_bytes(b"")
        root.remove(TEAM)
        assert tree(certs_d) == before


class TestForeign:
    """Somebody else's files are in the way: that is said, and not one byte changes."""

    @pytest.mark.parametrize(
        "foreign",
        [
            lambda certs_d: (certs_d / "team.registries.svc_5000_").mkdir(),
            lambda certs_d: (certs_d / "team.registries.svc_5000_").symlink_to("docker.io"),
            lambda certs_d: ((certs_d / HOST).mkdir(), (certs_d / HOST / "hosts.toml").write_text("server = 'x'\n")),
            lambda certs_d: ((certs_d / HOST).mkdir(), (certs_d / HOST / "ca.crt").write_text("of somebody\n")),
            lambda certs_d: ((certs_d / HOST).mkdir(), (certs_d / HOST / "client.key").write_text("of somebody\n")),
            lambda certs_d: ((certs_d / HOST).mkdir(), (certs_d / HOST / "hosts.toml").mkdir()),
            lambda certs_d: [
                make(certs_d / HOST) for make in (Path.mkdir, lambda host: os.mkfifo(host / "hosts.toml"))
            ],
            lambda certs_d: (certs_d / HOST).write_text("a file"),
        ],
    )
    def test_it_is_a_conflict_and_untouched(self, root: Root, certs_d: Path, foreign: Callable[[Path], object]) -> None:
        """Also when the registry goes again: nothing of it was there."""
        foreign(certs_d)
        before = tree(certs_d)
        with pytest.raises(ConflictError, match="remove it"):
            root.apply(a_directory(), TEAM)
        assert tree(certs_d) == before
        assert root.remove(TEAM) == 0
        assert tree(certs_d) == before

    def test_an_empty_directory_is_nobodys(self, root: Root, certs_d: Path) -> None:
        """Somebody who emptied ours left it: it is filled again."""
        (certs_d / HOST).mkdir()
        assert root.apply(a_directory(), TEAM) == 2

    def test_another_registrys_files_are_waited_for(self, root: Root) -> None:
        """A name that moves from one registry to another is never in both hands."""
        root.apply(a_directory(owner=OTHER), OTHER)
        with pytest.raises(HeldError, match=OTHER):
            root.apply(a_directory(), TEAM)
        root.remove(OTHER)
        assert root.apply(a_directory(), TEAM) == 2

    def test_a_root_that_cannot_be_seen_is_named(self, host_root: Path) -> None:
        """The message has the path as the node has it, and not the agent's."""
        with pytest.raises(NotVisibleError, match=r"^/opt/registries does not exist"):
            Root(host_root, PurePosixPath("/opt/registries/certs.d")).apply(a_directory(), TEAM)


class TestSpegel:
    """It puts everything that it finds into `_backup`, and brings it back when it goes."""

    def test_a_copy_there_is_ours(self, root: Root, certs_d: Path, host_root: Path) -> None:
        """An agent that has just started finds it, and the end of the registry takes it away, and nothing else."""
        root.apply(a_directory(), TEAM)
        backup = certs_d / "_backup"
        backup.mkdir()
        (certs_d / "docker.io").rename(backup / "docker.io")
        before = tree(certs_d)
        (certs_d / HOST).rename(backup / HOST)
        later = Root(host_root, ROOT)
        later.survey()
        assert later.hosts == {TEAM: frozenset()}
        assert later.remove(TEAM) == 2
        assert later.registries == set()
        assert tree(certs_d) == {path: kept for path, kept in before.items() if not path.startswith(HOST)}

    def test_a_copy_stays_as_long_as_its_registry(self, root: Root, certs_d: Path) -> None:
        """It is spegel's to bring back, and what comes back is made what it should be."""
        root.apply(a_directory("10.96.0.1:5000"), TEAM)
        backup = certs_d / "_backup"
        backup.mkdir()
        (certs_d / "10.96.0.1:5000").rename(backup / "10.96.0.1:5000")
        root.keep([a_directory()], TEAM)
        assert [each.name for each in backup.iterdir()] == ["10.96.0.1:5000"]


class TestLinks:
    """A link that somebody planted leads nowhere, and the node's own lead where they lead on the node."""

    @pytest.mark.parametrize("name", ["hosts.toml", "ca.crt"])
    def test_a_planted_link_is_not_followed(self, root: Root, certs_d: Path, tmp_path: Path, name: str) -> None:
        """Neither to write nor to read nor to remove."""
        victim = tmp_path / "victim"
        victim.write_bytes(a_directory().files[0].content)
        (certs_d / HOST).mkdir()
        (certs_d / HOST / name).symlink_to(victim)
        before = tree(tmp_path)
        with pytest.raises(ConflictError):
            root.apply(a_directory(), TEAM)
        root.remove(TEAM)
        assert tree(tmp_path) == before

    def test_a_directory_that_is_a_link_is_not_entered(self, root: Root, certs_d: Path, tmp_path: Path) -> None:
        """Even if what it leads to looks like ours."""
        elsewhere = Root(tmp_path, PurePosixPath("/etc/elsewhere"))
        elsewhere.apply(a_directory(), TEAM)
        (certs_d / HOST).symlink_to(elsewhere.here / HOST)
        before = tree(tmp_path)
        with pytest.raises(ConflictError):
            root.apply(a_directory(version="2"), TEAM)
        root.survey()
        assert (root.hosts, root.remove(TEAM)) == ({}, 0)
        assert tree(tmp_path) == before

    def test_a_root_behind_links_is_found_within_the_nodes_root(self, host_root: Path) -> None:
        """An absolute link means a path of the node, not of the agent's own container."""
        (host_root / "data/registries").mkdir(parents=True)
        (host_root / "etc/containerd/certs.d").symlink_to("/etc/current/../../data/registries")
        (host_root / "etc/current").symlink_to("containerd")
        Root(host_root, ROOT).apply(a_directory(), TEAM)
        assert (host_root / "data/registries" / HOST / "hosts.toml").exists()

    def test_a_loop_of_links_is_an_error(self, host_root: Path) -> None:
        """And not an endless one."""
        (host_root / "etc/containerd/certs.d").symlink_to("certs.d")
        with pytest.raises(OSError, match="Too many levels"):
            Root(host_root, ROOT).apply(a_directory(), TEAM)


@pytest.mark.parametrize("made", [True, False], ids=["our root", "somebody's root"])
def test_killed_at_any_step_the_next_start_reaches_the_same_end(
    host_root: Path, request: pytest.FixtureRequest, made: bool
) -> None:
    """A reader sees whole files, cut off wherever it may be, and in the end nothing is left behind."""
    if not made:
        request.getfixturevalue("certs_d")
    before = tree(host_root)
    versions = [a_directory(version=each, tls=each != "3") for each in "1234"]
    whole = [{file.name: file.content for file in each.files} for each in versions]
    for step in itertools.count(1):
        root = Root(host_root, ROOT)
        try:
            with killed_at(step):
                for each in versions:
                    root.apply(each, TEAM)
                root.remove(TEAM)
            break
        except Crash:
            pass
        seen = {each.name: each.read_bytes() for each in (root.here / HOST).glob("[!.]*")}
        if seen:
            # Each file is whole, and the CA is the one that hosts.toml means or already the next.
            toml = [each["hosts.toml"] for each in whole].index(seen["hosts.toml"])
            assert seen.get("ca.crt") in [each.get("ca.crt") for each in whole[toml:]] or toml == 2, step

        root.survey()
        root.apply(versions[3], TEAM)
        assert {each.name: each.read_bytes() for each in (root.here / HOST).iterdir()} == whole[3], step
        root.remove(TEAM)
        assert tree(host_root) == before, step
    assert step > 30
