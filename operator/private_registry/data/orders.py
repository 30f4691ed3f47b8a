"""What the operator tells a sweep, in one file, and what a sweep tells the operator in the end.

The file is replaced in one piece while the sweep runs: with the images that are in use by then, and with the rules.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from private_registry.api.retention import Mode, Rule
from private_registry.data.images import Reference

FILE: Final = "orders.json"
"""Key in the ConfigMap, and name of the file."""
CA, USERNAME, PASSWORD = "ca.crt", "username", "password"
"""The files beside it; an open registry, or one without a certificate of ours, has none of some."""
LIST: Final = "/report"
"""Path at which a sweep hands over its list: what a container leaves behind has 4 KiB at most."""
MAX_BYTES: Final = 900 * 1024
"""Of the file: an object of the API server may have a little more than a MiB, with all that is around it."""
MAX_RESULT: Final = 4096
"""Bytes that a kubelet takes of what a container leaves behind."""


class OrdersInvalidError(ValueError):
    """It is too large, or cannot be read; says which."""


class _Orders(BaseModel):
    model_config = ConfigDict(extra="forbid")

    taken: datetime
    mode: Mode
    rules: tuple[Rule, ...] = Field(min_length=1)
    images: tuple[str, ...]


@dataclass(frozen=True)
class Orders:
    """The rules, and what is in use."""

    taken: datetime
    """When the list of images was begun, with a time zone."""
    mode: Mode
    rules: tuple[Rule, ...]
    used: frozenset[Reference]

    def text(self) -> str:
        """Raises OrdersInvalidError when there are too many images."""
        content = {
            "taken": self.taken.astimezone(UTC).isoformat(timespec="seconds"),
            "mode": self.mode,
            "rules": [rule.model_dump(mode="json", by_alias=True, exclude_defaults=True) for rule in self.rules],
            "images": sorted(map(str, self.used)),
        }
        text = json.dumps(content, indent=0)
        if len(text.encode()) > MAX_BYTES:
            raise OrdersInvalidError(
                f"{len(self.used)} images of this registry are in use, more than a list of {MAX_BYTES // 1024} KiB has "
                "room for: nothing is deleted"
            )
        return text

    def asks_as(self, other: "Orders") -> bool:
        """Whether both have the same rules and mode."""
        return (self.mode, self.rules) == (other.mode, other.rules)


def parse_orders(text: str) -> Orders:
    """Raises OrdersInvalidError."""
    try:
        read = _Orders.model_validate_json(text)
        used = frozenset(map(_reference, read.images))
    except (ValidationError, ValueError) as error:
        raise OrdersInvalidError(f"the list of images in use cannot be read: {error}") from None
    if read.taken.tzinfo is None:
        raise OrdersInvalidError("the list of images in use does not say when it was taken")
    return Orders(read.taken, read.mode, read.rules, used)


def _reference(text: str) -> Reference:
    """Raises ValueError."""
    repository, at, digest = text.partition("@")
    if at:
        return Reference(repository, digest=digest)
    repository, colon, tag = text.rpartition(":")
    if not colon:
        raise ValueError(f"{text!r} is no image")
    return Reference(repository, tag=tag)


@dataclass(frozen=True)
class Result:
    """How a sweep ended."""

    result: Literal["Succeeded", "Failed"]
    kept: int = 0
    would_delete: int = 0
    deleted: int = 0
    message: str = ""

    def text(self) -> str:
        """At most MAX_RESULT bytes."""
        short, cut = self, len(self.message)
        while len(text := json.dumps(vars(short))) > MAX_RESULT:
            cut = cut * 3 // 4
            short = replace(self, message=f"{self.message[:cut]}…")
        return text

    def failed(self, message: str) -> "Result":
        return replace(self, result="Failed", message=message)


def parse_result(text: str) -> Result | None:
    """None for what no sweep has written: a container may have ended otherwise."""
    try:
        found: dict[str, Any] = json.loads(text)
        counts = {key: int(found[key]) for key in ("kept", "would_delete", "deleted")}
        if found["result"] not in ("Succeeded", "Failed") or min(counts.values()) < 0:
            return None
        return Result(found["result"], message=str(found["message"]), **counts)
    except (ValueError, TypeError, KeyError):
        return None


def list_key(password: str) -> str:
    """What has to be shown to be given the list: who knows the registry's credential knows it, and nobody else."""
    return hmac.new(password.encode(), b"report of a sweep", hashlib.sha256).hexdigest()


def cut(lines: Iterable[str], most: int = MAX_BYTES) -> str:
    """As many whole lines as there is room for in `most` bytes; the last one says how many more there are."""
    kept, size, more = list[str](), 0, 0
    for line in lines:
        size += len(line.encode()) + 1
        if size > most:
            more += 1
        else:
            kept.append(line)
    return "".join(f"{line}\n" for line in [*kept, *([f"and {more} more"] if more else [])])
