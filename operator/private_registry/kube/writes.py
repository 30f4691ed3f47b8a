"""What a plan asks the API server to write, one object each."""

from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class Create:
    """POST: an object of this name that comes into being meanwhile is not ours and stays as it is."""

    obj: Object


@dataclass(frozen=True)
class Apply:
    """Server-side apply of the whole object as we want it."""

    obj: Object
    live: Object


@dataclass(frozen=True)
class Delete:
    """Delete this very object, as it was read."""

    live: Object


@dataclass(frozen=True)
class Merge:
    """Change some fields of this very object, as it was read."""

    change: Object
    live: Object


Write = Create | Apply | Delete | Merge
