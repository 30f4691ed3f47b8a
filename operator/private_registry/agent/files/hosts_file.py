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
from private_registry.trust import etc_hosts
from private_registry.trust.etc_hosts import Alias

PATH = PurePosixPath("/etc/hosts")
_COPY = ".private-registry-operator-hosts"  # no TEMPORARY name: it has to survive until it has been looked at
"""Holds the file as it was and as it is to be, one after the other, behind a line with the length of the first."""
_LIMIT = 4 * 1024 * 1024


class HostsFile:
    """The file, for one thread at a time."""

    def __init__(self, host_root: Path) -> None:
        self._host_root = host_root

    @property
    def here(self) -> Path:
        return atomic.on_host(self._host_root, PATH)

    def owners(self) -> frozenset[str]:
        """The registries that have a line. Makes good what a crash left."""
        with contextlib.suppress(FileNotFoundError), atomic.opened(self.here.parent) as directory:
            atomic.discard_leftovers(directory)
            self._recover(directory)
            return etc_hosts.owners(self._read(directory))
        return frozenset()

    def apply(self, alias: Alias, registry: str, entry_hash: str) -> int:
        """See to it that the node finds the address under the name; returns the number of writes.

        Raises ConflictError when somebody else's line gives the name another address, and OSError.
        """
        with atomic.opened(self.here.parent) as directory:
            content = self._read(directory)
            if address := etc_hosts.foreign_address(content, alias):
                raise ConflictError(
                    f"a line of somebody else in {PATH} gives {alias.name} the address {address}: remove it"
                )
            return self._edit(directory, content, registry, alias.line(registry, entry_hash))

    def remove(self, registry: str) -> int:
        """Take a registry's line out, if there is one; returns the number of writes. Raises OSError."""
        with contextlib.suppress(FileNotFoundError), atomic.opened(self.here.parent) as directory:
            return self._edit(directory, self._read(directory), registry, None)
        return 0

    def _read(self, directory: int) -> bytes:
        try:
            content = atomic.read(directory, self.here.name, _LIMIT)
        except FileNotFoundError:
            return b""
        if content is None:
            raise OSError(errno.EINVAL, "no regular file", str(PATH))
        return content

    def _edit(self, directory: int, content: bytes, registry: str, line: bytes | None) -> int:
        wanted = etc_hosts.edit(content, registry, line)
        if wanted == content:
            return 0
        name = self.here.name
        aside = atomic.temporary()
        try:
            self._copy(directory, aside, wanted)
            try:
                atomic.move(directory, aside, name)
            except OSError as error:
                if error.errno not in (errno.EBUSY, errno.EXDEV):
                    raise
                atomic.replace(directory, _COPY, b"%d\n%b%b" % (len(content), content, wanted))
                self._write_in_place(directory, wanted)
                atomic.discard(directory, aside)
        except OSError:
            atomic.discard(directory, aside)
            raise
        return 1

    def _copy(self, directory: int, aside: str, content: bytes) -> None:
        """A file with the mode and the owner of the one that it is to replace."""
        try:
            status = os.stat(self.here.name, dir_fd=directory)
        except FileNotFoundError:
            atomic.create(directory, aside, content)
            return
        atomic.create(directory, aside, content, status.st_mode & 0o7777)
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(aside, status.st_uid, status.st_gid, dir_fd=directory)

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
        old, new = both[: int(length)], both[int(length) :]
        if etc_hosts.torn(self._read(directory), old, new):
            self._write_in_place(directory, new)
        else:
            os.unlink(_COPY, dir_fd=directory)
            os.fsync(directory)
