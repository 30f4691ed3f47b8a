"""Tells of changes in some directories as they happen (inotify), directories that are replaced included.

A hint and no more: what it misses, for want of watches or in a full queue, is found by the slow re-read.
"""

import asyncio
import ctypes
import logging
import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

logger = logging.getLogger(__name__)

_MODIFY, _ATTRIB, _CLOSE_WRITE = 0x2, 0x4, 0x8
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x40, 0x80, 0x100, 0x200, 0x400, 0x800
_Q_OVERFLOW, _IGNORED, _ONLYDIR = 0x4000, 0x8000, 0x1000000
_CHANGES = _MODIFY | _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF
_EVENT = struct.Struct("iIII")

_libc = ctypes.CDLL(None, use_errno=True)


class Watcher:
    """Watches directories by path. Use it within a running event loop, and close it."""

    def __init__(self, changed: Callable[[Path, str], None]) -> None:
        """`changed` is called with a directory and the name in it that changed, which is empty for itself.

        After an overflow it is called with an empty name for every directory.
        """
        self._changed = changed
        self._watched: dict[Path, int] = {}
        self._paths: dict[int, Path] = {}
        self._full = False
        self._inotify: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._inotify < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        asyncio.get_running_loop().add_reader(self._inotify, self._read)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._inotify)
        os.close(self._inotify)

    def watch(self, directories: Iterable[Path]) -> None:
        """Watch these directories, as they are now, and no others; those that do not exist are left out.

        One that is new counts as changed: something may have happened in it before it was watched.
        """
        wanted, new = set(directories), list[Path]()
        for path in self._watched.keys() - wanted:
            self._forget(path)
        for path in wanted:
            watch: int = _libc.inotify_add_watch(self._inotify, os.fsencode(path), _CHANGES | _ONLYDIR)
            if watch < 0:
                self._failed(ctypes.get_errno())
            if watch == self._watched.get(path):
                continue
            self._forget(path)
            if watch >= 0:
                self._watched[path] = watch
                self._paths[watch] = path
                new.append(path)
        for path in new:
            self._changed(path, "")

    def _forget(self, path: Path) -> None:
        watch = self._watched.pop(path, None)
        if watch is not None and self._paths.pop(watch, None) is not None:
            _libc.inotify_rm_watch(self._inotify, watch)

    def _failed(self, error: int) -> None:
        if error in (2, 20) or self._full:  # ENOENT, ENOTDIR: not there at present
            return
        self._full = True
        logger.warning("no further inotify watch (%s): changes on the node are found once a minute", os.strerror(error))

    def _read(self) -> None:
        try:
            data = os.read(self._inotify, 64 * 1024)
        except BlockingIOError:
            return
        changes = dict[tuple[Path, str], None]()
        position = 0
        while position < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, position)
            position += _EVENT.size
            name = os.fsdecode(data[position : position + length].rstrip(b"\0"))
            position += length
            if mask & _Q_OVERFLOW:
                changes |= {(path, ""): None for path in self._watched}
            elif path := self._paths.get(watch):
                if mask & _IGNORED:  # the directory is gone, and the kernel has dropped the watch
                    del self._paths[watch], self._watched[path]
                changes[path, name] = None
        for path, name in changes:
            self._changed(path, name)
