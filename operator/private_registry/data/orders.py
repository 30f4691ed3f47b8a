"""What the operator tells a sweep, in one file, and what a sweep tells the operator in the end.

The file is replaced in one piece while the sweep runs: with the images that are in use by then, and with the rules.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pydantic import Field, ValidationError

from private_registry.api.retention import Mode, Rule
from private_registry.data.in_use import MAX_BYTES, InUse, Listed, unreadable

FILE: Final = "orders.json"
"""Key in the ConfigMap, and name of the file."""
CA, USERNAME, PASSWORD = "ca.crt", "username", "password"
"""The files beside it; an open registry, or one without a certificate of ours, has none of some."""
LIST: Final = "/report"
"""Path at which a sweep hands over its list: what a container leaves behind has 4 KiB at most."""
MAX_RESULT: Final = 4096
"""Bytes that a kubelet takes of what a container leaves behind."""


class _Orders(Listed):
    mode: Mode
    rules: tuple[Rule, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Orders:
    """The rules, and what is in use."""

    mode: Mode
    rules: tuple[Rule, ...]
    in_use: InUse

    def text(self) -> str:
        """Raises ListInvalidError when there are too many images."""
        rules = [rule.model_dump(mode="json", by_alias=True, exclude_defaults=True) for rule in self.rules]
        return self.in_use.text(mode=self.mode, rules=rules)

    def asks_as(self, other: "Orders") -> bool:
        """Whether both have the same rules and mode."""
        return (self.mode, self.rules) == (other.mode, other.rules)


def parse_orders(text: str) -> Orders:
    """Raises ListInvalidError."""
    try:
        read = _Orders.model_validate_json(text)
    except ValidationError as error:
        raise unreadable(error) from None
    return Orders(read.mode, read.rules, read.in_use())


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
