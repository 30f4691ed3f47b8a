"""Directory trees, compared as a person would who has to vouch that nothing changed."""

import os
import stat
from pathlib import Path
from typing import Any


def tree(path: Path) -> dict[str, tuple[Any, ...]]:
    """Everything below a path: type, mode and owner, and of what is no directory also content and time of change."""
    found: dict[str, tuple[Any, ...]] = {}
    _collect(str(path), "", found)
    return found


def _collect(path: str, prefix: str, found: dict[str, tuple[Any, ...]]) -> None:
    for each in sorted(os.scandir(path), key=lambda each: each.name):
        status = each.stat(follow_symlinks=False)
        kept: tuple[Any, ...] = (
            stat.S_IFMT(status.st_mode),
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
        )
        name = f"{prefix}{each.name}"
        if each.is_symlink():
            kept += (str(Path(each.path).readlink()),)
        elif each.is_file():
            kept += (Path(each.path).read_bytes(), status.st_mtime_ns)
        found[name] = kept
        if each.is_dir(follow_symlinks=False):
            _collect(each.path, f"{name}/", found)
