"""Hosts of ours in Docker Engine's daemon.json; the file is somebody else's, or was not there.

JSON has no place for a mark, so a record beside the file tells which of its hosts are ours, and of what there was
before them. The record is written before the file and taken away after it: whatever is not in it is foreign.
"""

import contextlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from private_registry.agent.files import atomic, made
from private_registry.trust.formats import daemon_json

DIRECTORY = PurePosixPath("/etc/docker")
NAME = "daemon.json"
RECORD = ".private-registry-operator-daemon.json"
_LIMIT = 4 * 1024 * 1024


class DaemonFileError(Exception):
    """The file is none that dockerd could read; the message names it and says what is wrong."""


class Engine(Protocol):
    """What reads the file."""

    def takes(self, hosts: Collection[str]) -> bool:
        """Whether it takes one of these without TLS at this moment; False while it does not run. Raises OSError."""

    def forget(self, hosts: Collection[str]) -> None:
        """Have it read the file; returns once it takes none of these any more. Raises OSError."""


@dataclass(frozen=True)
class _Record:
    """What is ours in the file."""

    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By registry."""
    before: str = "absent"
    """What there was before us: `absent` (no file), `empty` (no byte in it), `object` (without the key) or `key`."""

    def all(self) -> frozenset[str]:
        return frozenset(host for hosts in self.hosts.values() for host in hosts)

    def as_bytes(self) -> bytes:
        return json.dumps({"before": self.before, "hosts": self.hosts}, sort_keys=True, indent=1).encode() + b"\n"


class DaemonFile:
    """The file, for one thread at a time."""

    def __init__(self, host_root: Path, engine: Engine) -> None:
        self._host_root = host_root
        self._engine = engine
        self.registries: frozenset[str] = frozenset()
        """Those that have hosts in the file, as of the last survey and our own changes since."""

    @property
    def here(self) -> Path:
        return atomic.on_host(self._host_root, DIRECTORY)

    def survey(self) -> None:
        """Read whose hosts there are, and clear away what a crash left. Raises OSError."""
        self.registries = frozenset()
        made.tidy(self._host_root, DIRECTORY)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), atomic.opened(self.here) as directory:
            atomic.discard_leftovers(directory)
            self.registries = frozenset(self._record(directory).hosts)
        if not self.registries:
            made.unmake(self._host_root, DIRECTORY)

    def apply(self, registry: str, hosts: Collection[str]) -> int:
        """Have these hosts of a registry in the file, and none else of it; returns the number of writes.

        A host that somebody else lists serves as it is. Raises DaemonFileError with nothing changed, NotVisibleError
        and OSError.
        """
        if not hosts:
            return self.remove(registry)
        made.make(self._host_root, DIRECTORY)
        self.registries |= {registry}
        with atomic.of_node(DIRECTORY / NAME), atomic.opened(self.here) as directory:
            record, content = self._record(directory), self._read(directory)
            text = _text(content)
            try:
                listed = daemon_json.insecure_registries(text)
                if not record.hosts:
                    before = "absent" if content is None else "empty" if not content else "object"
                    record = _Record(before="key" if listed is not None else before)
                foreign = set(listed or ()) - record.all()
                ours = tuple(host for host in hosts if host not in foreign)
                wanted = _Record({**record.hosts, registry: ours}, record.before)
                gone = record.all() - wanted.all()
                edited = daemon_json.add(daemon_json.remove(text, gone, drop_key=False), ours)
            except daemon_json.DaemonJsonError as error:
                raise DaemonFileError(f"{DIRECTORY / NAME} is none that Docker could read ({error})") from None
            if edited == text and wanted == record:
                return 0
            both = {**wanted.hosts, registry: tuple(dict.fromkeys([*record.hosts.get(registry, ()), *ours]))}
            atomic.replace(directory, RECORD, _Record(both, record.before).as_bytes())
            if edited != text:
                _write(directory, edited)
            if gone:
                if self._engine.takes(gone):
                    self._engine.forget(gone)
                atomic.replace(directory, RECORD, wanted.as_bytes())
            return 1

    def remove(self, registry: str) -> int:
        """Take a registry's hosts out of the file and out of dockerd; returns the number of writes.

        The last one leaves the bytes that were there before the first. Raises DaemonFileError and OSError.
        """
        with atomic.of_node(DIRECTORY / NAME):
            writes = self._remove(registry)
        self.registries -= {registry}
        if not self.registries:  # also when the directory was made and nothing could be written into it
            made.unmake(self._host_root, DIRECTORY)
        return writes

    def _remove(self, registry: str) -> int:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), atomic.opened(self.here) as directory:
            record = self._record(directory)
            if registry not in record.hosts:
                return 0
            rest = _Record({key: hosts for key, hosts in record.hosts.items() if key != registry}, record.before)
            gone = record.all() - rest.all()
            self._take_out(directory, gone, rest)
            if rest.hosts:
                atomic.replace(directory, RECORD, rest.as_bytes())
            else:
                os.unlink(RECORD, dir_fd=directory)
                os.fsync(directory)
            return 1
        return 0

    def _take_out(self, directory: int, gone: Collection[str], rest: _Record) -> None:
        content = self._read(directory)
        text = _text(content)
        try:
            # dockerd forgets a host when it reads a list without it, and not when the key has gone.
            shorter = daemon_json.remove(text, gone, drop_key=False)
            if self._engine.takes(gone):
                shorter = daemon_json.add(shorter, ())
            last = daemon_json.remove(shorter, (), drop_key=not rest.hosts and rest.before != "key")
            says_nothing = not daemon_json.keys(last)
        except daemon_json.DaemonJsonError as error:
            raise DaemonFileError(
                f"{DIRECTORY / NAME} is none that Docker could read ({error}), so that nothing can be taken out of it"
            ) from None
        if shorter != text:
            _write(directory, shorter)
        if self._engine.takes(gone):
            self._engine.forget(gone)
        if says_nothing and (content is None or rest.before == "absent"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(NAME, dir_fd=directory)
                os.fsync(directory)
        elif says_nothing and rest.before == "empty":
            _write(directory, "")
        elif last != shorter:
            _write(directory, last)

    def _read(self, directory: int) -> bytes | None:
        try:
            content = atomic.read(directory, NAME, _LIMIT)
        except FileNotFoundError:
            return None
        if content is None:
            raise DaemonFileError(f"{DIRECTORY / NAME} is no regular file")
        if not content:
            atomic.refuse_unsettled(directory, NAME)
        return content

    def _record(self, directory: int) -> _Record:
        try:
            content = atomic.read(directory, RECORD, _LIMIT)
            raw = json.loads(content or b"")
            return _Record({key: tuple(hosts) for key, hosts in raw["hosts"].items()}, raw["before"])
        except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError):
            return _Record()  # it is written in one piece: any other is not ours


def _write(directory: int, text: str) -> None:
    """With the mode and the owner of the file that it replaces."""
    atomic.replace(directory, NAME, text.encode(errors="surrogateescape"), like=NAME)


def _text(content: bytes | None) -> str:
    """As JSON: a file that is not there or empty says nothing."""
    return (content or b"{}").decode(errors="surrogateescape")
