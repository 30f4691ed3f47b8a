"""Marked lines in /etc/hosts, edited as bytes: whatever is not ours stays as it is, down to the last newline.

A runtime that goes to a registry under its own name needs one: Docker Engine and CRI-O for every registry, containerd
where the certificate names no address. Ours come first in the file: a resolver takes the first
match, and in front of the others they need no newline that somebody else's last line may lack.
"""

import re
from dataclasses import dataclass

from private_registry.trust import marker

_LINE = re.compile(rb"[^\n]+\n?|\n")


@dataclass(frozen=True)
class Alias:
    """The address that a node is to find under some names."""

    address: str
    names: tuple[str, ...]

    def line(self, registry: str, entry_hash: str) -> bytes:
        return f"{self.address} {' '.join(self.names)} {marker.line(registry, entry_hash)}\n".encode()


def _lines(content: bytes) -> list[bytes]:
    return [match.group() for match in _LINE.finditer(content)]


def owner(line: bytes) -> str | None:
    """The registry that a line is marked for; None: the line is foreign."""
    _, comment, text = line.partition(b"#")
    return marker.owner(comment + text)


def owners(content: bytes) -> frozenset[str]:
    return frozenset(key for line in _lines(content) if (key := owner(line)))


def names(content: bytes, registry: str) -> frozenset[str]:
    """The names that our line for a registry has."""
    ours = [line.partition(b"#")[0].decode().split() for line in _lines(content) if owner(line) == registry]
    return frozenset(name for _, *found in ours for name in found)


def edit(content: bytes, registry: str, line: bytes | None) -> bytes:
    """The file with exactly this line for the registry, or with none; untouched when that is so already."""
    lines = _lines(content)
    ours = [each for each in lines if owner(each) == registry]
    if ours == ([line] if line else []):
        return content
    return (line or b"") + b"".join(each for each in lines if owner(each) != registry)


def foreign_address(content: bytes, alias: Alias) -> tuple[str, str] | None:
    """A name and another address that somebody else's line gives to it: the runtime might try that one."""
    for line in _lines(content):
        if owner(line):
            continue
        address, *names = line.partition(b"#")[0].decode(errors="replace").split() or [""]
        if address != alias.address and (name := next((each for each in alias.names if each in names), None)):
            return name, address
    return None


def torn(current: bytes, old: bytes, new: bytes) -> bool:
    """Whether the file is what a crash may leave of writing `new` over `old` in place, and nobody's edit."""
    written = next((at for at, pair in enumerate(zip(current, new, strict=False)) if pair[0] != pair[1]), None)
    if written is None:  # one is the beginning of the other
        return current != new and (new.startswith(current) or current[len(new) :] == old[len(new) :])
    return current != old and current[written:] == old[written:]
