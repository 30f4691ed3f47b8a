"""The main configuration file of containerd, on a node whose administrator lets the agent set `config_path` in it.

What was there before lies beside it, whole, and a record says what was done and which run of containerd has not read it
yet. Both go when the file is as it was.
"""

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from private_registry.agent.files import atomic, made
from private_registry.trust.formats.config_toml import ConfigNotEditableError, is_set, unset_config_path

DIRECTORY: Final = PurePosixPath("/etc/containerd")
"""The only one in which a configuration is edited: elsewhere it is a vendor's."""
CANDIDATE: Final = ".private-registry-operator-candidate.toml"
"""What containerd is asked about before it is told: in the same directory, because imports may be relative."""

_RECORD = ".private-registry-operator-containerd.json"
_BACKUP = ".before-private-registry-operator"
_LIMIT = 1 << 20


class ConfigFileError(Exception):
    """The file can be neither edited nor put back by a program; the message names it and says why."""


@dataclass(frozen=True)
class Edit:
    """What a configuration file is to become. The names of nothing else are in it."""

    file: str
    """Its name in the directory."""
    before: bytes | None
    """None: there is none."""
    after: bytes
    directory: str
    """What config_path is set to."""

    @property
    def id(self) -> str:
        """Short, for the status of a node: another one for another edit."""
        return hashlib.sha256((self.before or b"") + b"\0" + self.after).hexdigest()[:16]


@dataclass(frozen=True)
class Record:
    """An edit that was made, or is about to be."""

    file: str
    existed: bool
    directory: str
    edited: str
    """SHA-256 of the file as edited."""
    edit: str
    """Id of the edit."""
    unit: str
    """The service that reads it."""
    process: str
    """The run of that service which has not read it yet."""
    failure: str = ""
    """Why it is being taken back."""


class ConfigFile:
    """The file, for one thread at a time."""

    def __init__(self, host_root: Path) -> None:
        self._host_root = host_root
        self._surveyed = False
        self.record: Record | None = None
        """Of the edit that there is, as of the last survey and our own changes since."""
        self.changes = 0
        """How often we have changed the file."""

    @property
    def here(self) -> Path:
        return atomic.on_host(self._host_root, DIRECTORY)

    def survey(self) -> None:
        """Read what was done, and clear away what a crash left. Raises OSError."""
        made.tidy(self._host_root, DIRECTORY)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), atomic.opened(self.here) as directory:
            atomic.discard_leftovers(directory)
            self.record = _record(directory)
            if not self._surveyed:  # later there may be one that is being asked about
                _unlink(directory, CANDIDATE)
            self._surveyed = True

    def read(self, name: str) -> bytes | None:
        """A configuration file of the directory; None: there is none. Raises ConfigFileError and OSError."""
        try:
            with atomic.opened(self.here) as directory:
                return _read(directory, name)
        except FileNotFoundError:
            return None

    def propose(self, content: bytes) -> None:
        """Write the candidate. Raises OSError."""
        made.make(self._host_root, DIRECTORY)
        with atomic.opened(self.here) as directory:
            atomic.replace(directory, CANDIDATE, content)

    def withdraw(self) -> None:
        """Remove the candidate. Raises OSError."""
        with contextlib.suppress(FileNotFoundError), atomic.opened(self.here) as directory:
            _unlink(directory, CANDIDATE)
        if self.record is None:
            made.unmake(self._host_root, DIRECTORY)

    def edit(self, edit: Edit, *, unit: str, process: str) -> None:
        """Put it in place, with a backup. Raises ConfigFileError with nothing changed, and OSError."""
        made.make(self._host_root, DIRECTORY)
        with atomic.opened(self.here) as directory:
            if _read(directory, edit.file) != edit.before:
                raise ConfigFileError(f"{DIRECTORY / edit.file} was changed by somebody else just now")
            self._note(
                directory,
                Record(
                    file=edit.file,
                    existed=edit.before is not None,
                    directory=edit.directory,
                    edited=_digest(edit.after),
                    edit=edit.id,
                    unit=unit,
                    process=process,
                ),
            )
            if edit.before is not None:
                _copy(directory, edit.file, edit.file + _BACKUP, edit.before)
            atomic.replace(directory, edit.file, edit.after, like=edit.file)
            self.changes += 1

    def is_in_place(self) -> bool:
        """Whether the file has the setting, whatever else others have changed in it since. Raises OSError."""
        if self.record is None:
            return False
        try:
            return is_set(_text(self.read(self.record.file) or b""), self.record.directory)
        except (ConfigFileError, ConfigNotEditableError):
            return False

    def fail(self, why: str) -> None:
        """Note, for whoever comes after a crash, that the edit is being taken back. Raises OSError."""
        if self.record:
            with atomic.opened(self.here) as directory:
                self._note(directory, replace(self.record, failure=why))

    def put_back(self) -> int:
        """Have the file as it was, and keep the record; returns the number of writes.

        Where somebody else has changed it since, only the setting is taken out. Raises ConfigFileError and
        OSError.
        """
        if self.record is None:
            return 0
        name = self.record.file
        with contextlib.suppress(FileNotFoundError), atomic.opened(self.here) as directory:
            content = _read(directory, name)
            before = _read(directory, name + _BACKUP) if self.record.existed else None
            if content is None or content == before or (before is None and self.record.existed):
                return 0
            if _digest(content) != self.record.edited:
                try:
                    text = unset_config_path(_text(content), self.record.directory, _text(before or b""))
                except ConfigNotEditableError as error:
                    message = f"config_path cannot be taken out of {DIRECTORY / name}: {error}"
                    raise ConfigFileError(message) from None
                if text == _text(content):
                    return 0
                atomic.replace(directory, name, text.encode(errors="surrogateescape"), like=name)
            elif before is None:
                _unlink(directory, name)
            else:
                atomic.move(directory, name + _BACKUP, name)  # which takes no space, and has mode, owner and times
            self.changes += 1
            return 1
        return 0

    def forget(self) -> int:
        """Have the file as it was, and keep nothing; returns the number of writes.

        Raises ConfigFileError and OSError.
        """
        if self.record is None:
            return 0
        self.put_back()
        with contextlib.suppress(FileNotFoundError), atomic.opened(self.here) as directory:
            _unlink(directory, self.record.file + _BACKUP)
            _unlink(directory, _RECORD)
        self.record = None
        made.unmake(self._host_root, DIRECTORY)
        return 1

    def _note(self, directory: int, record: Record) -> None:
        atomic.replace(directory, _RECORD, json.dumps(asdict(record), indent=1).encode() + b"\n")
        self.record = record


def _record(directory: int) -> Record | None:
    try:
        return Record(**json.loads(atomic.read(directory, _RECORD, _LIMIT) or b""))
    except (FileNotFoundError, ValueError, TypeError):
        return None  # it is written in one piece: any other is not ours


def _read(directory: int, name: str) -> bytes | None:
    try:
        content = atomic.read(directory, name, _LIMIT)
    except FileNotFoundError:
        return None
    if content is None:
        raise ConfigFileError(f"{DIRECTORY / name} is no regular file")
    return content


def _copy(directory: int, of: str, to: str, content: bytes) -> None:
    """With mode, owner and times."""
    status = os.stat(of, dir_fd=directory, follow_symlinks=False)
    aside = atomic.temporary()
    try:
        atomic.create_like(directory, aside, content, of)
        os.utime(aside, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=directory)
        atomic.move(directory, aside, to)
    except OSError:
        atomic.discard(directory, aside)
        raise


def _unlink(directory: int, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)
        os.fsync(directory)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _text(content: bytes) -> str:
    return content.decode(errors="surrogateescape")
