"""The writer of containerd's configuration, on a real file system: exact, and safe to kill anywhere."""

import errno
import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from private_registry.agent.files.config_file import CANDIDATE, ConfigFile, ConfigFileError, Edit
from tests.killing import Crash, each_step, killed_at
from tests.trees import tree

CERTS_D = "/etc/containerd/certs.d"
BEFORE = b'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n'
AFTER = BEFORE + b'config_path = "/etc/containerd/certs.d"\n'
EDIT = Edit("config.toml", BEFORE, AFTER, CERTS_D)
NEW = Edit("config.toml", None, AFTER, CERTS_D)


@pytest.fixture(params=[EDIT, NEW], ids=["a file", "no file"])
def edit(request: pytest.FixtureRequest, tmp_path: Path) -> Edit:
    """An edit that the node is ready for."""
    (tmp_path / "etc").mkdir()
    edit: Edit = request.param
    if edit.before is not None:
        (tmp_path / "etc/containerd").mkdir(mode=0o711)
        (tmp_path / "etc/containerd/config.toml").write_bytes(edit.before)
        (tmp_path / "etc/containerd/config.toml").chmod(0o640)
    return edit


def apply(files: ConfigFile, edit: Edit) -> None:
    files.edit(edit, unit="containerd.service", process="boot/1/2")


def test_put_in_and_taken_out(tmp_path: Path, edit: Edit) -> None:
    """The mode stays, a backup lies beside; afterwards names, bytes, modes and times are what they were."""
    before = tree(tmp_path)
    files, config = ConfigFile(tmp_path), tmp_path / "etc/containerd/config.toml"
    apply(files, edit)
    assert config.read_bytes() == AFTER
    assert config.stat().st_mode & 0o777 == (0o640 if edit.before else 0o644)
    backup = config.with_name("config.toml.before-private-registry-operator")
    assert (backup.read_bytes() if backup.exists() else None) == edit.before
    files.forget()
    assert tree(tmp_path) == before
    assert files.changes == 2  # by which containerd is looked at again, whoever knew of the edit before


def test_killed_at_every_step(tmp_path: Path, edit: Edit) -> None:
    """The file is the one or the other at every moment, and whoever comes next can undo all of it."""
    before = tree(tmp_path)
    config = tmp_path / "etc/containerd/config.toml"
    for step in itertools.count(1):
        files = ConfigFile(tmp_path)
        files.survey()
        try:
            with killed_at(step):
                files.propose(edit.after)
                files.withdraw()
                apply(files, edit)
                files.fail("why")
                files.put_back()
                files.forget()
            break
        except Crash:
            assert (config.read_bytes() if config.exists() else None) in (edit.before, edit.after)
        again = ConfigFile(tmp_path)
        again.survey()
        again.forget()
        left = {path for path in tree(tmp_path) if path not in before}
        assert not {path for path in left if ".private-registry-operator." in path}
        assert left <= {"etc/containerd", "etc/containerd/.made-by-private-registry-operator"}
    assert step > 20
    assert tree(tmp_path) == before


def test_somebody_was_quicker(tmp_path: Path, edit: Edit) -> None:
    """An edit is for the file that containerd was asked about, and for no other."""
    files, config = ConfigFile(tmp_path), tmp_path / "etc/containerd/config.toml"
    config.parent.mkdir(exist_ok=True)
    config.write_bytes(b"version = 3\n")
    with pytest.raises(ConfigFileError, match="was changed by somebody else just now"):
        apply(files, edit)
    assert config.read_bytes() == b"version = 3\n"
    assert files.record is None


def test_what_cannot_be_put_back_is_left_alone(tmp_path: Path, edit: Edit) -> None:
    """A file that somebody has broken since is named, and stays as it is."""
    files, config = ConfigFile(tmp_path), tmp_path / "etc/containerd/config.toml"
    apply(files, edit)
    config.write_bytes(b"version = [")
    with pytest.raises(ConfigFileError, match="config_path cannot be taken out of /etc/containerd/config"):
        files.forget()
    assert config.read_bytes() == b"version = ["
    config.unlink()
    files.forget()
    assert files.record is None


def test_a_candidate_that_a_crash_left_goes(tmp_path: Path, edit: Edit) -> None:
    """Containerd was to be asked about it, and nobody is there any more who asks."""
    files = ConfigFile(tmp_path)
    files.propose(edit.after)
    ConfigFile(tmp_path).survey()
    assert not (tmp_path / "etc/containerd" / CANDIDATE).exists()


def test_whether_it_is_in_place(tmp_path: Path, edit: Edit) -> None:
    """Before and after it is not; while it is, others may change what else they like."""
    files, config = ConfigFile(tmp_path), tmp_path / "etc/containerd/config.toml"
    assert not files.is_in_place()
    apply(files, edit)
    assert files.is_in_place()
    config.write_bytes(AFTER + b"\n[metrics]\n")
    assert files.is_in_place()
    config.write_bytes(b"version = 2\n")
    assert not files.is_in_place()
    config.unlink()
    assert not files.is_in_place()


def test_a_full_disk_keeps_nobody_from_putting_it_back(tmp_path: Path, edit: Edit) -> None:
    """A containerd that did not come back must not wait for space."""
    before = tree(tmp_path)
    files = ConfigFile(tmp_path)
    apply(files, edit)

    def full(name: str, arguments: tuple[Any, ...]) -> None:
        if name in ("write", "mkdir") or (name == "open" and arguments[1] & os.O_CREAT):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with each_step(full):
        files.put_back()
        files.forget()
    assert tree(tmp_path) == before
