"""The node's /etc/hosts on a real file system: renamed over, or written in place where it is a mount."""

import contextlib
import errno
import itertools
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from private_registry.agent.files.hosts_file import HostsFile
from private_registry.agent.files.roots import ConflictError
from private_registry.trust.formats.etc_hosts import Alias
from tests.failing import failing_from
from tests.killing import Crash, killed_at

TEAM, OTHER = "registries/team", "registries/other"
HASH = "0123456789abcdef"
ALIAS = Alias("10.96.12.34", ("team.registries.svc",))
BEFORE = b"127.0.0.1\tlocalhost\n# no newline at the end"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a node's /etc/hosts, with a mode that is not ours."""
    (tmp_path / "etc").mkdir()
    path = tmp_path / "etc" / "hosts"
    path.write_bytes(BEFORE)
    path.chmod(0o640)
    return path


@pytest.fixture
def mounted(path: Path) -> Iterator[Path]:
    """The same, as a mount of its own: nothing can be renamed over it."""
    subprocess.run(["mount", "--bind", path, path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


def names(path: Path) -> list[str]:
    return [each.name for each in path.parent.iterdir()]


def comes_and_goes(tmp_path: Path, path: Path) -> None:
    hosts_file = HostsFile(tmp_path)
    assert hosts_file.apply(ALIAS, TEAM, HASH) == 1
    assert hosts_file.apply(ALIAS, TEAM, HASH) == 0
    assert path.read_bytes() == ALIAS.line(TEAM, HASH) + BEFORE
    assert hosts_file.registries == {TEAM}
    assert hosts_file.remove(OTHER) == 0
    assert hosts_file.remove(TEAM) == 1
    assert path.read_bytes() == BEFORE
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert names(path) == ["hosts"]


def test_a_line_comes_and_goes(tmp_path: Path, path: Path) -> None:
    """Bytes and mode are what they were, and no other file is left."""
    with path.open() as before:
        comes_and_goes(tmp_path, path)
        assert os.fstat(before.fileno()).st_nlink == 0


def test_where_the_file_is_a_mount_it_is_written_in_place(tmp_path: Path, mounted: Path) -> None:
    """As in a node that is a container, whose /etc/hosts is its engine's."""
    inode = mounted.stat().st_ino
    comes_and_goes(tmp_path, mounted)
    assert mounted.stat().st_ino == inode


@pytest.mark.parametrize("cut", [0, 5, 20, 100])
def test_a_write_in_place_that_was_cut_off_is_finished(tmp_path: Path, mounted: Path, cut: int) -> None:
    """The copy beside it says what was meant."""
    after = ALIAS.line(TEAM, HASH) + BEFORE
    copy = mounted.with_name(".private-registry-operator-hosts")
    copy.write_bytes(b"%d\n" % len(BEFORE) + BEFORE + after)
    mounted.write_bytes(after[:cut] + BEFORE[cut:] if cut else b"")
    os.utime(mounted, (1, 1))
    hosts_file = HostsFile(tmp_path)
    hosts_file.survey()
    assert hosts_file.registries == {TEAM}
    assert mounted.read_bytes() == after
    assert names(mounted) == ["hosts"]


def test_killed_at_any_step_the_next_start_finishes_it(tmp_path: Path, mounted: Path) -> None:
    """Written in place, it may be torn for a moment; whoever comes next makes it whole."""
    for step in itertools.count(1):
        try:
            with killed_at(step):
                HostsFile(tmp_path).apply(ALIAS, TEAM, HASH)
                HostsFile(tmp_path).remove(TEAM)
            break
        except Crash:
            pass
        HostsFile(tmp_path).apply(ALIAS, TEAM, HASH)
        assert mounted.read_bytes() == ALIAS.line(TEAM, HASH) + BEFORE, step
        HostsFile(tmp_path).remove(TEAM)
        assert mounted.read_bytes() == BEFORE, step
        HostsFile(tmp_path).survey()
        assert names(mounted) == ["hosts"], step
    assert step > 25


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_where_it_cannot_be_written_it_is_whole_at_the_end(tmp_path: Path, mounted: Path, error: int) -> None:
    """From any step on the disk fails: nobody's line is lost, and once it works again the next look finishes it."""
    for step in itertools.count(1):
        hosts_file = HostsFile(tmp_path)
        with failing_from(step, error) as failures, contextlib.suppress(OSError):
            hosts_file.apply(ALIAS, TEAM, HASH)
        if not failures.count:
            break
        if error == errno.ENOSPC:  # what was there can be written back
            assert mounted.read_bytes() in (BEFORE, ALIAS.line(TEAM, HASH) + BEFORE), step
        assert hosts_file.apply(ALIAS, TEAM, HASH) in (0, 1)
        assert mounted.read_bytes() == ALIAS.line(TEAM, HASH) + BEFORE, step
        hosts_file.survey()
        assert hosts_file.remove(TEAM) == 1
        assert mounted.read_bytes() == BEFORE, step
        assert names(mounted) == ["hosts"], step
    assert step > 5


@pytest.mark.parametrize("copy", [b"", b"\n", b"x\nyz", b"5"])
def test_what_is_no_copy_of_ours_goes(tmp_path: Path, mounted: Path, copy: bytes) -> None:
    """It tells nothing, and the file stays as it is."""
    mounted.with_name(".private-registry-operator-hosts").write_bytes(copy)
    HostsFile(tmp_path).survey()
    assert mounted.read_bytes() == BEFORE
    assert names(mounted) == ["hosts"]


def test_an_edit_after_a_crash_is_kept(tmp_path: Path, mounted: Path) -> None:
    """What somebody wrote since is worth more than what we had begun."""
    edited = BEFORE + b"\n192.0.2.1 somebody\n"
    copy = mounted.with_name(".private-registry-operator-hosts")
    copy.write_bytes(b"%d\n" % len(BEFORE) + BEFORE + ALIAS.line(TEAM, HASH) + BEFORE)
    mounted.write_bytes(edited)
    hosts_file = HostsFile(tmp_path)
    hosts_file.survey()
    assert hosts_file.registries == frozenset()
    assert mounted.read_bytes() == edited
    assert names(mounted) == ["hosts"]


def test_somebody_elses_line_for_the_name_is_a_conflict(tmp_path: Path, path: Path) -> None:
    """Two addresses for one name: the runtime would try both."""
    path.write_bytes(b"192.0.2.1 team.registries.svc\n")
    with pytest.raises(ConflictError, match=r"192\.0\.2\.1"):
        HostsFile(tmp_path).apply(ALIAS, TEAM, HASH)
    assert path.read_bytes() == b"192.0.2.1 team.registries.svc\n"


def test_a_file_that_is_just_being_written(tmp_path: Path, path: Path) -> None:
    """Whoever has emptied it to write it anew loses nothing: the agent waits until it has settled."""
    with path.open("wb") as file:
        with pytest.raises(OSError, match="hosts was emptied a moment ago"):
            HostsFile(tmp_path).apply(ALIAS, TEAM, HASH)
        file.write(BEFORE)
    HostsFile(tmp_path).apply(ALIAS, TEAM, HASH)
    assert path.read_bytes() == ALIAS.line(TEAM, HASH) + BEFORE


def test_a_node_without_the_file_gets_one(tmp_path: Path, path: Path) -> None:
    """And keeps it, empty, afterwards."""
    path.unlink()
    hosts_file = HostsFile(tmp_path)
    hosts_file.survey()
    assert hosts_file.registries == frozenset()
    hosts_file.apply(ALIAS, TEAM, HASH)
    assert path.read_bytes() == ALIAS.line(TEAM, HASH)
    hosts_file.remove(TEAM)
    assert path.read_bytes() == b""
