"""Our files in registries.conf.d, one for each registry, which CRI-O and podman read beside everybody else's."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from private_registry.agent.files import atomic, made
from private_registry.agent.files.roots import ConflictError
from private_registry.trust import marker, registries_conf

PATH = PurePosixPath("/etc/containers/registries.conf.d")
_LIMIT = 1024 * 1024


class DropIns:
    """The directory, for one thread at a time."""

    path = PATH

    def __init__(self, host_root: Path, changed: Callable[[], None]) -> None:
        """`changed` is called after each write."""
        self._host_root = host_root
        self._changed = changed
        self.registries: frozenset[str] = frozenset()
        """Those that have a file, as of the last survey and our own changes since."""

    @property
    def here(self) -> Path:
        return atomic.on_host(self._host_root, PATH)

    def survey(self) -> None:
        """Read whose files there are, and clear away what a crash left. Raises OSError."""
        found = set()
        made.tidy(self._host_root, PATH)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), atomic.opened(self.here) as directory:
            atomic.discard_leftovers(directory)
            for name in atomic.names(directory):
                if name.startswith(registries_conf.PREFIX) and (owner := _owner(directory, name)):
                    found.add(owner)
        self.registries = frozenset(found)
        if not found:
            made.unmake(self._host_root, PATH)

    def apply(self, registry: str, content: bytes) -> int:
        """Make a registry's file what it should be; returns the number of writes.

        Raises ConflictError, NotVisibleError and OSError.
        """
        made.make(self._host_root, PATH)
        self.registries |= {registry}
        name = registries_conf.file_name(registry)
        with atomic.opened(self.here) as directory:
            if atomic.exists(directory, name):
                found = atomic.read(directory, name, _LIMIT)
                if found == content:
                    return 0
                if found is None or not (marker.owner(found) == registry or content.startswith(found)):
                    raise ConflictError(f"{PATH / name} is not ours and stays as it is: remove it")
            atomic.replace(directory, name, content)
        self._changed()
        return 1

    def remove(self, registry: str) -> int:
        """Remove a registry's file, if there is one; returns the number of writes. Raises OSError."""
        name = registries_conf.file_name(registry)
        removed = False
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), atomic.opened(self.here) as directory:
            if _owner(directory, name) == registry:
                os.unlink(name, dir_fd=directory)
                os.fsync(directory)
                removed = True
        if removed:
            self._changed()
        self.registries -= {registry}
        if not self.registries:
            made.unmake(self._host_root, PATH)
        return int(removed)


def _owner(directory: int, name: str) -> str | None:
    with contextlib.suppress(FileNotFoundError):
        if content := atomic.read(directory, name, _LIMIT):
            return marker.owner(content)
    return None
