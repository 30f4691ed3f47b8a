"""The first line of every file of ours on a node. A file without it is somebody else's and is never touched.

Both hosts.toml and PEM readers skip the line: in TOML it is a comment, and PEM allows text before the first block.
"""

import re

_LINE = re.compile(
    rb"# Managed by private-registry-operator for ([-a-z0-9]{1,63}/[-a-z0-9]{1,63}), entry [0-9a-f]{16}\b"
)


def line(registry: str, entry_hash: str) -> str:
    """The marker, without a line end, of the registry `namespace/name`."""
    return f"# Managed by private-registry-operator for {registry}, entry {entry_hash}. Edits are undone."


def owner(content: bytes) -> str | None:
    """The registry whose marker the content begins with; None: the file is foreign."""
    match = _LINE.match(content)
    return match.group(1).decode() if match else None
