"""A volume whose power can be cut: it then forgets what was not synced, as a machine's memory does.

It is a file system of its own on a loop device. Linux lets a file system be ended at once, without writing anything
that is still in memory, its journal included; the next mount finds what had reached the device, and replays the
journal.
"""

import fcntl
import os
import struct
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster.host import unmount

# Of linux/fs.h and ext4.h; Python has no names for them.
_SHUTDOWN = 0x8004587D
_WITHOUT_THE_LOG = struct.pack("I", 2)
_SIZE = 448 * 2**20


class PowerVolume:
    """An ext4 file system, mounted at `place`; its device is in memory, below `directory`."""

    def __init__(self, directory: Path, place: Path) -> None:
        """Make it; it is empty. Raises AssertionError where this machine has no loop devices."""
        self.place = place
        self._memory = directory / "device"
        self._device = self._memory / "ext4"
        self._memory.mkdir(parents=True)
        place.mkdir(parents=True)
        assert Path("/dev/loop-control").exists(), "no /dev/loop-control: this test needs loop devices (modprobe loop)"
        _run("mount", "-t", "tmpfs", "-o", "size=2g", "tmpfs", self._memory)
        with self._device.open("wb") as device:
            device.truncate(_SIZE)
        _run("mkfs.ext4", "-q", self._device)
        self._mount()

    def cut(self) -> None:
        """Cut the power: from now on nothing is written any more, and what is not on the device never will be."""
        top = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(top, _SHUTDOWN, _WITHOUT_THE_LOG)
        finally:
            os.close(top)

    def restore(self) -> None:
        """Give it power again, and what was on the device. Nobody may have a file of it open."""
        _run("umount", self.place)
        # Whoever has made himself a mount namespace meanwhile still has the file system mounted, with its memory: to
        # mount the same device would be to get that one.
        left = self._device.rename(self._device.with_name("left"))
        _run("cp", "--sparse=always", left, self._device)
        left.unlink()
        self._mount()

    def _mount(self) -> None:
        _run("mount", "-o", "loop", self._device, self.place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        unmount(self.place)
        unmount(self._memory)


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, f"{' '.join(map(str, command))}: {done.stderr.strip()}"
