"""Directory trees, compared as a person would who has to vouch that nothing changed."""

import stat
from pathlib import Path
from typing import Any


def tree(path: Path) -> dict[str, tuple[Any, ...]]:
    """Everything below a path: type, mode and owner, and of what is no directory also content and time of change."""
    found: dict[str, tuple[Any, ...]] = {}
    for each in sorted(path.rglob("*")):
        status = each.lstat()
        kept: tuple[Any, ...] = (
            stat.S_IFMT(status.st_mode),
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
        )
        if each.is_symlink():
            kept += (str(each.readlink()),)
        elif each.is_file():
            kept += (each.read_bytes(), status.st_mtime_ns)
        found[str(each.relative_to(path))] = kept
    return found
