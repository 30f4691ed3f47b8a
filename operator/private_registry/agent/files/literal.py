"""A list of directories that a containerd takes for the name of one: made to lead to the first directory of the list.

Since 2.1 containerd hands its whole config_path to the pull as one path (containerd issue 12808), be it the list that
2.2 and later have built in. Such a path may exist, and does no harm to whoever splits the list.
"""

import contextlib
import os
from pathlib import Path, PurePosixPath

from private_registry.agent.files import atomic, made
from private_registry.agent.files.roots import ConflictError


class LiteralPath:
    """One such path, for one thread at a time. It is ours where it is a link to the directory and we made its place."""

    def __init__(self, host_root: Path, path: PurePosixPath, root: PurePosixPath) -> None:
        """`path` is the list, as it would be the name of one directory; `root` the first of the list."""
        self.path = path
        self._host_root = host_root
        self._target = os.path.relpath(root, path.parent)

    def exists(self) -> bool:
        with contextlib.suppress(OSError):
            return str(self._here.readlink()) == self._target
        return False

    def survey(self) -> None:
        """Clear away what a crash left. Raises OSError."""
        made.tidy(self._host_root, self.path)

    def make(self) -> int:
        """Have it there; returns the number of writes. Raises ConflictError, NotVisibleError and OSError."""
        if self.exists():
            return 0
        made.make(self._host_root, self.path.parent)
        with atomic.of_node(self.path), atomic.opened(self._here.parent) as parent:
            if atomic.exists(parent, self.path.name):
                raise ConflictError(f"{self.path} is there, and the runtime takes its config_path for it: remove it")
            atomic.link(parent, self.path.name, self._target)
        return 1

    def remove(self) -> int:
        """Take it away with what it is in, if it is ours; returns the number of writes. Raises OSError."""
        removed = 0
        with (
            atomic.of_node(self.path),
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            atomic.opened(self._here.parent) as parent,
        ):
            if self.exists() and made.NOTE in atomic.names(parent):
                os.unlink(self.path.name, dir_fd=parent)
                os.fsync(parent)
                removed = 1
        made.unmake(self._host_root, self.path.parent)
        return removed

    @property
    def _here(self) -> Path:
        return atomic.on_host(self._host_root, self.path.parent) / self.path.name
