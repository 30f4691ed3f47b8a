"""Files and directories that are whole at every moment, made and read through the descriptor of their directory.

Below such a descriptor nothing is reached by path and no link is followed: a link that somebody planted leads nowhere.
"""

import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

TEMPORARY = ".private-registry-operator."
"""How the names of unfinished things begin: whatever has such a name was left by a crash."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LINKS = 40  # as many as Linux follows
_SETTLES_WITHIN = 1.0
"""Seconds between the emptying and the filling of a file that is rewritten in place, at the very most."""


def on_host(host_root: Path, path: PurePosixPath) -> Path:
    """Where an absolute path of the node is for us, links resolved as the node resolves them: within its root."""
    at, resolved = str(host_root), list[str]()
    rest = list(reversed(path.parts[1:]))
    links = 0
    while rest:
        part = rest.pop()
        if part == "..":
            del resolved[-1:]
            continue
        try:
            target = os.readlink("/".join((at, *resolved, part)))  # noqa: PTH115  (for each of very many look-ups)
        except OSError:  # no link, or nothing at all: whoever opens it will see
            resolved.append(part)
            continue
        links += 1
        if links > _LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        if target.startswith("/"):
            resolved = []
        rest.extend(part for part in reversed(target.split("/")) if part not in ("", "."))
    return Path(at, *resolved)


@contextlib.contextmanager
def of_node(path: PurePosixPath) -> Iterator[None]:
    """Let an error of the file system name this path of the node, and not what we happened to open for it."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # not of the file system: its message is its own
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """The descriptor of a directory. Raises OSError."""
    descriptor = os.open(path, _DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def subdirectory(parent: int, name: str) -> Iterator[int | None]:
    """The descriptor of a directory in another; None where there is none, be it for a link or a file."""
    try:
        descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def names(directory: int) -> list[str]:
    return os.listdir(directory)


def exists(directory: int, name: str) -> bool:
    """Whether there is anything of that name, a link that leads nowhere included."""
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def read(directory: int, name: str, limit: int) -> bytes | None:
    """The content of a regular file; None for anything else, and for more than `limit` bytes.

    Raises FileNotFoundError.
    """
    try:
        # Not blocking: a FIFO would wait for a writer.
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            return None
        raise
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            return None
        return os.read(file, limit + 1)
    finally:
        os.close(file)


def refuse_unsettled(directory: int, name: str) -> None:
    """Raise OSError for an empty file that has just changed: whoever emptied it may be about to fill it.

    What we put in its place would be lost on him, and what he writes on everybody else.
    """
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if status.st_size == 0 and abs(time.time() - status.st_mtime) < _SETTLES_WITHIN:
        raise OSError(f"{name} was emptied a moment ago: somebody seems to be writing it")


def temporary() -> str:
    return f"{TEMPORARY}{secrets.token_hex(8)}"


def create(directory: int, name: str, content: bytes, mode: int = 0o644) -> None:
    """A new file, on the disk before this returns (its name is not: see to the directory)."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, mode, dir_fd=directory), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def create_like(directory: int, name: str, content: bytes, like: str) -> None:
    """A new file with the mode and the owner of another one, if that is there."""
    try:
        status = os.stat(like, dir_fd=directory)
    except FileNotFoundError:
        create(directory, name, content)
        return
    create(directory, name, content, status.st_mode & 0o7777)
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(name, status.st_uid, status.st_gid, dir_fd=directory)


def replace(directory: int, name: str, content: bytes, *, like: str | None = None) -> None:
    """Put a file in place of another, or of none, between two instants. `like`: whose mode and owner it gets."""
    aside = temporary()
    try:
        if like:
            create_like(directory, aside, content, like)
        else:
            create(directory, aside, content)
        move(directory, aside, name)
    except OSError:
        discard(directory, aside)
        raise


def move(directory: int, name: str, to: str) -> None:
    os.rename(name, to, src_dir_fd=directory, dst_dir_fd=directory)
    os.fsync(directory)


def link(directory: int, name: str, target: str) -> None:
    """Put a symbolic link in place of nothing, or of another one, between two instants."""
    aside = temporary()
    try:
        os.symlink(target, aside, dir_fd=directory)
        move(directory, aside, name)
    except OSError:
        discard(directory, aside)
        raise


def create_directory(parent: int, name: str, files: Mapping[str, bytes]) -> None:
    """Put a directory with its files in place of an empty one, or of none, between two instants."""
    aside = temporary()
    try:
        os.mkdir(aside, 0o755, dir_fd=parent)
        directory = os.open(aside, _DIRECTORY, dir_fd=parent)
        try:
            os.fchmod(directory, 0o755)
            for file, content in files.items():
                create(directory, file, content)
            os.fsync(directory)
        finally:
            os.close(directory)
        move(parent, aside, name)
    except OSError:
        discard(parent, aside)
        raise


def remove_directory(parent: int, name: str) -> None:
    """Take a directory and the files in it away between two instants."""
    aside = temporary()
    move(parent, name, aside)
    discard(parent, aside)
    os.fsync(parent)


def discard(directory: int, name: str) -> None:
    """Remove what has a temporary name: a file, or a directory with its files. There may be none."""
    with contextlib.suppress(FileNotFoundError, IsADirectoryError):
        os.unlink(name, dir_fd=directory)
        return
    with subdirectory(directory, name) as inner:
        if inner is None:
            return
        for file in names(inner):
            os.unlink(file, dir_fd=inner)
    os.rmdir(name, dir_fd=directory)


def discard_leftovers(directory: int) -> None:
    """Remove what a crash left, as far as that goes. Nothing may be under way in this directory."""
    for name in names(directory):
        if name.startswith(TEMPORARY):
            with contextlib.suppress(OSError):  # of a file system that is read-only by now, for example
                discard(directory, name)
