"""The machine: where everything is kept, and whether the machine can do what is asked of it."""

import os
import subprocess
from pathlib import Path


def cache_directory() -> Path:
    """Return the one directory that everything is kept in.

    `$PRIVATE_REGISTRY_CACHE` if set, else `private-registry` in `$XDG_CACHE_HOME` or `~/.cache`.
    """
    chosen = os.environ.get("PRIVATE_REGISTRY_CACHE")
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(chosen).absolute() if chosen else Path(caches) / "private-registry"


def unmount_below(directory: Path) -> None:
    """Unmount what is mounted below `directory`, innermost first (a process that was killed has unmounted nothing)."""
    below = f"{directory.resolve()}/"
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((each for each in mounted if each.startswith(below)), reverse=True):
        subprocess.run(["umount", "--lazy", point], check=True)
