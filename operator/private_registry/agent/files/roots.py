"""The directories in which a container runtime looks registries up, one below the other: root, host, files.

A host's directory is never there without its files: it is filled aside, renamed into place, and renamed away again.
What does not begin with our marker is somebody else's: it is not changed, and where it is in the way, that is a
conflict for a person to solve.
"""

import contextlib
import errno
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from private_registry.agent.files import atomic, made
from private_registry.trust import marker
from private_registry.trust.entry import LIMIT
from private_registry.trust.formats.hosts_toml import CA_FILE, FILE
from private_registry.trust.node_files import HostDirectory

_BACKUP = "_backup"
"""Where spegel puts all that it finds in a root, to bring it back when it goes itself: ours is not to come back."""
_NAMES = (FILE, CA_FILE)  # in the order of removal: nobody is to find a hosts.toml without its CA


class ConflictError(Exception):
    """Somebody else's file or directory is in the way; the message names it and says what to do."""


class HeldError(Exception):
    """The directory still holds files of another registry, which is about to remove them."""

    def __init__(self, host: str, holder: str) -> None:
        super().__init__(f"{host} is still held by the registry {holder}")


class Root:
    """One root, for one thread at a time. Each method opens it anew: it may have been swapped."""

    def __init__(self, host_root: Path, path: PurePosixPath) -> None:
        self.path = path
        self._host_root = host_root
        self.hosts: dict[str, frozenset[str]] = {}
        """The directories of each registry, as of the last survey and our own changes since."""

    @property
    def registries(self) -> frozenset[str]:
        """Those that have something here, as far as is known."""
        return frozenset(self.hosts)

    @property
    def here(self) -> Path:
        """Where the root is for us at this moment."""
        return atomic.on_host(self._host_root, self.path)

    def survey(self) -> None:
        """Read which registries have files here, and clear away what a crash left. Raises OSError."""
        made.tidy(self._host_root, self.path)
        with atomic.of_node(self.path), self._opened() as root, _backup(root) as backup:
            if root is not None:
                atomic.discard_leftovers(root)
            owners, put_aside = _owners(root), _owners(backup)
            self.hosts = {owner: frozenset(owners.get(owner, ())) for owner in owners.keys() | put_aside.keys()}
            if not self.hosts:
                _remove_note(backup)
        if not self.hosts:
            made.unmake(self._host_root, self.path)

    def keep(self, directories: Iterable[HostDirectory], registry: str) -> int:
        """Let a registry have these directories, as far as there is a file in them, and no others.

        Returns the number of writes. Raises what `apply` does.
        """
        wanted = [directory for directory in directories if directory.files]
        hosts = frozenset(directory.host for directory in wanted)
        writes = 0
        if wanted:
            self.hosts[registry] = self.hosts.get(registry, frozenset()) | hosts
            with self._made() as root:
                writes = sum(self._apply(root, directory, registry) for directory in wanted)
        if self.hosts.get(registry, frozenset()) - hosts:
            writes += self.remove(registry, keep=hosts)
        return writes

    def apply(self, directory: HostDirectory, registry: str) -> int:
        """Make a host's directory what it should be, and return how many writes that took: 0 when it was right.

        Raises ConflictError and HeldError with nothing changed, NotVisibleError, and OSError.
        """
        with self._made() as root:
            return self._apply(root, directory, registry)

    def _apply(self, root: int, directory: HostDirectory, registry: str) -> int:
        with atomic.of_node(self.path / directory.host):
            self._refuse_shadow(root, directory)
            with self._host(root, directory.host) as found:
                if found is not None:
                    atomic.discard_leftovers(found)
                    if contents := _contents(found):
                        return self._repair(found, contents, directory, registry)
                    if atomic.names(found):  # looked at last: somebody may be emptying the directory right now
                        path = self.path / directory.host
                        raise ConflictError(f"{path} has files of somebody else: remove it, or what writes it")
            atomic.create_directory(root, directory.host, {file.name: file.content for file in directory.files})
            return len(directory.files)

    def remove(self, registry: str, keep: Collection[str] = ()) -> int:
        """Remove a registry's files, except those of some hosts, and the directories that were for them alone.

        Returns the number of files. Raises OSError.
        """
        removed, left = 0, False
        with atomic.of_node(self.path), self._opened() as root, _backup(root) as backup:
            if root is not None:
                owners, put_aside = _owners(root), _owners(backup)
                removed = sum(self._remove(root, host, registry) for host in owners.get(registry, set()) - set(keep))
                left = bool(keep) or bool((owners.keys() | put_aside.keys()) - {registry})
            if backup is not None and not keep:
                removed += sum(self._remove(backup, host, registry) for host in put_aside.get(registry, ()))
            if not left:
                _remove_note(backup)
        if not left:
            made.unmake(self._host_root, self.path)
        if keep:
            self.hosts[registry] = frozenset(keep)
        else:
            self.hosts.pop(registry, None)
        return removed

    def _remove(self, root: int, host: str, registry: str) -> int:
        with atomic.subdirectory(root, host) as directory:
            if directory is None:
                return 0
            atomic.discard_leftovers(directory)
            # One that was truncated to nothing beside another of ours holds nobody's bytes.
            ours = [
                name
                for name, content in _contents(directory).items()
                if content == b"" or (content and marker.owner(content) == registry)
            ]
            shared = set(atomic.names(directory)) > set(ours)
            for name in ours if shared else ():
                os.unlink(name, dir_fd=directory)
                os.fsync(directory)
        if not shared:
            atomic.remove_directory(root, host)
        return len(ours)

    @contextlib.contextmanager
    def _made(self) -> Iterator[int]:
        made.make(self._host_root, self.path)
        with contextlib.ExitStack() as stack:
            with atomic.of_node(self.path):
                root = stack.enter_context(self._opened())
                if root is None:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))
            yield root

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int | None]:
        here = self.here
        with atomic.opened(here.parent) if here.parent.exists() else contextlib.nullcontext() as parent:
            if parent is None:
                yield None
                return
            with atomic.subdirectory(parent, here.name) as root:
                yield root

    def _refuse_shadow(self, root: int, directory: HostDirectory) -> None:
        shadow = directory.shadow
        if shadow is not None and atomic.exists(root, shadow):
            raise ConflictError(
                f"{self.path / shadow} is there, and the runtime reads it instead of {directory.host}: "
                "remove it, or whatever writes it"
            )

    @contextlib.contextmanager
    def _host(self, root: int, host: str) -> Iterator[int | None]:
        with atomic.subdirectory(root, host) as directory:
            if directory is None and atomic.exists(root, host):
                raise ConflictError(f"{self.path / host} is no directory, and not ours: remove it")
            yield directory

    def _repair(self, found: int, contents: Mapping[str, bytes | None], directory: HostDirectory, registry: str) -> int:
        """Bring a directory that is in use to what it should be, file by file."""
        wanted = {file.name: file.content for file in directory.files}
        for name, content in contents.items():
            if content is None or content != wanted.get(name):
                self._refuse_foreign(directory.host, name, content, wanted.get(name, b""), registry)
        writes = 0
        for name, content in wanted.items():
            if contents.get(name) != content:
                atomic.replace(found, name, content)
                writes += 1
        for name in contents.keys() - wanted.keys():
            os.unlink(name, dir_fd=found)
            os.fsync(found)
            writes += 1
        return writes

    def _refuse_foreign(self, host: str, name: str, content: bytes | None, wanted: bytes, registry: str) -> None:
        path = self.path / host / name
        if content is None:
            raise ConflictError(f"{path} is no regular file of ours: remove it")
        owner = marker.owner(content)
        if owner == registry or wanted.startswith(content):  # a truncation may have taken our marker
            return
        if owner is not None:
            raise HeldError(host, owner)
        raise ConflictError(f"{path} is not ours and stays as it is: remove it, or whatever writes it")


def _contents(directory: int) -> dict[str, bytes | None]:
    """What is in the files of our names; None for one that cannot be ours."""
    contents = {}
    for name in _NAMES:
        with contextlib.suppress(FileNotFoundError):
            contents[name] = atomic.read(directory, name, 2 * LIMIT)
    return contents


@contextlib.contextmanager
def _backup(root: int | None) -> Iterator[int | None]:
    if root is None:
        yield None
        return
    with atomic.subdirectory(root, _BACKUP) as backup:
        yield backup


def _remove_note(backup: int | None) -> None:
    """Of our having made the root, once nothing of ours is in it."""
    if backup is not None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(made.NOTE, dir_fd=backup)


def _owners(root: int | None) -> dict[str, set[str]]:
    owners: dict[str, set[str]] = {}
    if root is None:
        return owners
    for name in atomic.names(root):
        with atomic.subdirectory(root, name) as directory:
            for content in _contents(directory).values() if directory is not None else ():
                if content and (owner := marker.owner(content)):
                    owners.setdefault(owner, set()).add(name)
    return owners
