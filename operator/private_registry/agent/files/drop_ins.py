"""Our files in registries.conf.d, one for each registry, which CRI-O and podman read beside everybody else's."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from private_registry.agent.files import atomic, made
from private_registry.agent.files.roots import ConflictError
from private_registry.trust import marker
from private_registry.trust.formats import registries_conf

PATH = PurePosixPath("/etc/containers/registries.conf.d")
_LIMIT = 1024 * 1024
_UNTOLD = ".private-registry-operator-untold"
"""Is there from before a change until CRI-O was told of it: an agent that ends in between leaves the telling to do."""


class DropIns:
    """The directory, for one thread at a time."""

    path = PATH

    def __init__(self, host_root: Path, changed: Callable[[], None]) -> None:
        """`changed` is called after each write; its OSError is passed on."""
        self._host_root = host_root
        self.changed = changed
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
            self._tell(directory)
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
        with atomic.of_node(PATH / name), atomic.opened(self.here) as directory:
            if is_new := not _is_right(directory, name, content, registry):
                atomic.replace(directory, _UNTOLD, b"")
                atomic.replace(directory, name, content)
            self._tell(directory)
        return int(is_new)

    def remove(self, registry: str) -> int:
        """Remove a registry's file, if there is one; returns the number of writes. Raises OSError."""
        name = registries_conf.file_name(registry)
        removed = False
        with (
            atomic.of_node(PATH / name),
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            atomic.opened(self.here) as directory,
        ):
            if removed := _owner(directory, name) == registry:
                atomic.replace(directory, _UNTOLD, b"")
                os.unlink(name, dir_fd=directory)
                os.fsync(directory)
            self._tell(directory)
        self.registries -= {registry}
        if not self.registries:
            made.unmake(self._host_root, PATH)
        return int(removed)

    def _tell(self, directory: int) -> None:
        if atomic.exists(directory, _UNTOLD):
            self.changed()
            os.unlink(_UNTOLD, dir_fd=directory)
            os.fsync(directory)


def _is_right(directory: int, name: str, content: bytes, registry: str) -> bool:
    """Whether a file is what it should be. Raises ConflictError when it is somebody else's."""
    if not atomic.exists(directory, name):
        return False
    found = atomic.read(directory, name, _LIMIT)
    if found is None or not (marker.owner(found) == registry or content.startswith(found)):
        raise ConflictError(f"{PATH / name} is not ours and stays as it is: remove it")
    return found == content


def _owner(directory: int, name: str) -> str | None:
    with contextlib.suppress(FileNotFoundError):
        if content := atomic.read(directory, name, _LIMIT):
            return marker.owner(content)
    return None
