"""Directories that were not there before us: made with a note in them, and taken away again when nothing is left.

Where nothing was configured before, nothing is left afterwards; what others put there in the meantime stays.
"""

import contextlib
import os
from pathlib import Path, PurePosixPath

from private_registry.agent.files import atomic

NOTE = ".made-by-private-registry-operator"
_OURS = (NOTE, ".private-registry-operator")
"""How the names of whatever else of ours may be in such a directory begin."""


class NotVisibleError(Exception):
    """The directory above does not exist, or is not mounted into the agent."""


def make(host_root: Path, path: PurePosixPath) -> None:
    """Make a directory of the node unless it is there, and below /etc the one that it is in as well.

    Raises NotVisibleError and OSError.
    """
    here = atomic.on_host(host_root, path)
    if here.exists():
        return
    if len(path.parts) > 3 and path.parts[1] == "etc":
        make(host_root, path.parent)
    try:
        with atomic.of_node(path), atomic.opened(here.parent) as parent:
            atomic.create_directory(parent, here.name, {NOTE: b""})
    except (FileNotFoundError, NotADirectoryError):
        raise NotVisibleError(f"{path.parent} does not exist, or is not mounted into the agent") from None


def tidy(host_root: Path, path: PurePosixPath) -> None:
    """Clear away what a crash left of making a directory, and of those that it is in. Raises OSError."""
    for outer in path.parents[:-1]:
        here = atomic.on_host(host_root, outer)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), atomic.opened(here) as directory:
            atomic.discard_leftovers(directory)


def unmake(host_root: Path, path: PurePosixPath) -> None:
    """Now that nothing of ours is in a directory: take it away if we made it and it is empty, else the note in it.

    Then the same of the one that it is in. Raises OSError.
    """
    here = atomic.on_host(host_root, path)
    with (
        atomic.of_node(path),
        contextlib.suppress(FileNotFoundError, NotADirectoryError),
        atomic.opened(here.parent) as parent,
    ):
        with atomic.subdirectory(parent, here.name) as directory:
            if directory is not None:
                names = atomic.names(directory)
                if NOTE not in names or _has_ours(directory, names):
                    return
                if names != [NOTE]:
                    os.unlink(NOTE, dir_fd=directory)
                    return
        if directory is not None:
            atomic.remove_directory(parent, here.name)
    unmake(host_root, path.parent)


def _has_ours(directory: int, names: list[str]) -> bool:
    for name in names:
        if name != NOTE and name.startswith(_OURS):
            return True
        with atomic.subdirectory(directory, name) as inner:
            if inner is not None and NOTE in atomic.names(inner):
                return True
    return False
