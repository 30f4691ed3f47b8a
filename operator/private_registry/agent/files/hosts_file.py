"""Our lines in the node's /etc/hosts; the file is somebody else's.

Where it is a mount of its own, as in a node that is a container, nothing can be renamed over it: then it is written
in place, with a copy beside it from which a crash in the middle is made good.
"""

import contextlib
import errno
import os
from pathlib import Path, PurePosixPath

from private_registry.agent.files import atomic
from private_registry.agent.files.roots import ConflictError
from private_registry.trust.formats import etc_hosts
from private_registry.trust.formats.etc_hosts import Alias

PATH = PurePosixPath("/etc/hosts")
_COPY = ".private-registry-operator-hosts"  # no TEMPORARY name: it has to survive until it has been looked at
"""Holds the file as it was and as it is to be, one after the other, behind a line with the length of the first."""
_LIMIT = 4 * 1024 * 1024


class HostsFile:
    """The file, for one thread at a time."""

    def __init__(self, host_root: Path) -> None:
        self._host_root = host_root
        self.registries: frozenset[str] = frozenset()
        """Those that have a line, as of the last survey and our own changes since."""

    @property
    def here(self) -> Path:
        return atomic.on_host(self._host_root, PATH)

    def survey(self) -> None:
        """Read whose lines there are. Makes good what a crash left. Raises OSError."""
        self.registries = frozenset()
        with (
            atomic.of_node(PATH),
            contextlib.suppress(FileNotFoundError),
            atomic.opened(self.here.parent) as directory,
        ):
            atomic.discard_leftovers(directory)
            self._recover(directory)
            self.registries = etc_hosts.owners(self._read(directory))

    def names(self, registry: str) -> frozenset[str]:
        """The names in a registry's line. Raises OSError."""
        if registry not in self.registries:
            return frozenset()
        with atomic.opened(self.here.parent) as directory:
            return etc_hosts.names(self._read(directory), registry)

    def apply(self, alias: Alias, registry: str, entry_hash: str) -> int:
        """See to it that the node finds the address under its names; returns the number of writes.

        Raises ConflictError when somebody else's line gives one of them another address, and OSError.
        """
        with atomic.of_node(PATH), atomic.opened(self.here.parent) as directory:
            self._recover(directory)
            content = self._read(directory)
            if foreign := etc_hosts.foreign_address(content, alias):
                name, address = foreign
                raise ConflictError(f"a line of somebody else in {PATH} gives {name} the address {address}: remove it")
            self.registries |= {registry}
            return self._edit(directory, content, registry, alias.line(registry, entry_hash))

    def remove(self, registry: str) -> int:
        """Take a registry's line out, if there is one; returns the number of writes. Raises OSError."""
        writes = 0
        with (
            atomic.of_node(PATH),
            contextlib.suppress(FileNotFoundError),
            atomic.opened(self.here.parent) as directory,
        ):
            self._recover(directory)
            writes = self._edit(directory, self._read(directory), registry, None)
        self.registries -= {registry}
        return writes

    def _read(self, directory: int) -> bytes:
        try:
            content = atomic.read(directory, self.here.name, _LIMIT)
        except FileNotFoundError:
            return b""
        if content is None:
            raise OSError(errno.EINVAL, "no regular file", str(PATH))
        if not content:
            atomic.refuse_unsettled(directory, self.here.name)
        return content

    def _edit(self, directory: int, content: bytes, registry: str, line: bytes | None) -> int:
        wanted = etc_hosts.edit(content, registry, line)
        if wanted == content:
            return 0
        name = self.here.name
        aside = atomic.temporary()
        try:
            atomic.create_like(directory, aside, wanted, name)
            try:
                atomic.move(directory, aside, name)
            except OSError as error:
                if error.errno not in (errno.EBUSY, errno.EXDEV):
                    raise
                atomic.replace(directory, _COPY, b"%d\n%b%b" % (len(content), content, wanted))
                try:
                    self._write_in_place(directory, wanted)
                except OSError:
                    with contextlib.suppress(OSError):  # then the copy stays, and the next look finishes it
                        self._write_in_place(directory, content)
                    raise
                atomic.discard(directory, aside)
        except OSError:
            atomic.discard(directory, aside)
            raise
        return 1

    def _write_in_place(self, directory: int, content: bytes) -> None:
        file = os.open(self.here.name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            written = 0
            while written < len(content):
                written += os.pwrite(file, content[written:], written)
            os.ftruncate(file, len(content))
            os.fsync(file)
        finally:
            os.close(file)
        os.unlink(_COPY, dir_fd=directory)
        os.fsync(directory)

    def _recover(self, directory: int) -> None:
        """Finish what was begun in place, unless somebody has edited the file since."""
        try:
            copy = atomic.read(directory, _COPY, 2 * _LIMIT) or b""
        except FileNotFoundError:
            return
        length, _, both = copy.partition(b"\n")
        at = int(length) if length.isdigit() else len(both)  # what is no copy of ours tells nothing
        old, new = both[:at], both[at:]
        if new and etc_hosts.torn(self._read(directory), old, new):
            self._write_in_place(directory, new)
        else:
            os.unlink(_COPY, dir_fd=directory)
            os.fsync(directory)
