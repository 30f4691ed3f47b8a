"""Marked lines in /etc/hosts, edited as bytes: whatever is not ours stays as it is, down to the last newline.

Only a registry whose certificate names no address needs one. Ours come first in the file: a resolver takes the first
match, and in front of the others they need no newline that somebody else's last line may lack.
"""

import re
from dataclasses import dataclass

from private_registry.trust import marker

_LINE = re.compile(rb"[^\n]+\n?|\n")


@dataclass(frozen=True)
class Alias:
    """The address that a node is to find under a name."""

    address: str
    name: str

    def line(self, registry: str, entry_hash: str) -> bytes:
        return f"{self.address} {self.name} {marker.line(registry, entry_hash)}\n".encode()


def _lines(content: bytes) -> list[bytes]:
    return [match.group() for match in _LINE.finditer(content)]


def owner(line: bytes) -> str | None:
    """The registry that a line is marked for; None: the line is foreign."""
    _, comment, text = line.partition(b"#")
    return marker.owner(comment + text)


def owners(content: bytes) -> frozenset[str]:
    return frozenset(key for line in _lines(content) if (key := owner(line)))


def edit(content: bytes, registry: str, line: bytes | None) -> bytes:
    """The file with exactly this line for the registry, or with none; untouched when that is so already."""
    lines = _lines(content)
    ours = [each for each in lines if owner(each) == registry]
    if ours == ([line] if line else []):
        return content
    return (line or b"") + b"".join(each for each in lines if owner(each) != registry)


def foreign_address(content: bytes, alias: Alias) -> str | None:
    """Another address that somebody else's line gives to the name: the runtime might try that one."""
    for line in _lines(content):
        if owner(line):
            continue
        address, *names = line.partition(b"#")[0].decode(errors="replace").split() or [""]
        if alias.name in names and address != alias.address:
            return address
    return None


def torn(current: bytes, old: bytes, new: bytes) -> bool:
    """Whether the file is what a crash may leave of writing `new` over `old` in place, and nobody's edit."""
    written = next((at for at, pair in enumerate(zip(current, new, strict=False)) if pair[0] != pair[1]), None)
    if written is None:  # one is the beginning of the other
        return current != new and (new.startswith(current) or current[len(new) :] == old[len(new) :])
    return current != old and current[written:] == old[written:]
