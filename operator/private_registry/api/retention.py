"""Which images of a registry stay: what its owner asks for, and what came of the last sweep."""

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from private_registry.api.model import Model, Written

_DURATION = re.compile(r"(?=.)(?:([0-9]{1,7})h)?(?:([0-9]{1,7})m)?(?:([0-9]{1,7})s)?")
"""As Kubernetes spells durations, in whole numbers: 720h, 1h30m."""

Mode = Literal["Report", "Enforce"]


def parse_duration(text: str) -> timedelta:
    """Raises ValueError for what is no duration."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no duration such as 720h or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def _duration(text: str) -> str:
    parse_duration(text)
    return text


Duration = Annotated[str, Field(max_length=32), AfterValidator(_duration)]
Pattern = Annotated[str, Field(min_length=1, max_length=255)]


class Rule(Model):
    """What stays of the repositories whose names match; whatever one of its conditions keeps, stays."""

    repositories: Pattern
    keep_last: int | None = Field(default=None, ge=1, le=100_000)
    keep_younger_than: Duration | None = None
    keep_tags: tuple[Pattern, ...] = Field(default=(), max_length=32)

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if self.keep_last is None and self.keep_younger_than is None and not self.keep_tags:
            raise ValueError("a rule needs keepLast, keepYoungerThan or keepTags: it would keep nothing")
        return self


class Retention(Model):
    """Which tags stay, when that is seen to, and whether the others really go."""

    mode: Mode = "Report"
    schedule: str | None = Field(default=None, min_length=9, max_length=128)
    time_zone: str = Field(default="Etc/UTC", min_length=1, max_length=64)
    rules: tuple[Rule, ...] = Field(min_length=1, max_length=64)


class RetentionStatus(Written):
    """What came of the last sweep. Written by the operator's retention loop alone, and by no other."""

    observed_generation: int = Field(default=0, ge=0)
    """Of the spec that `next_run` is worked out from."""
    last_run: str = ""
    """When it began, in RFC 3339; empty before the first one."""
    next_run: str = ""
    """When the schedule asks for the next one; empty without a schedule."""
    mode: str = ""
    result: str = ""
    """Succeeded or Failed; empty before the first one."""
    kept: int = Field(default=0, ge=0)
    """Tags."""
    would_delete: int = Field(default=0, ge=0)
    """Tags that the rules let go, and that were there after the sweep."""
    deleted: int = Field(default=0, ge=0)
    """Tags."""
    message: str = ""
    """What went wrong, or where the list is."""
    asked: str = ""
    """Value of the annotation that asks for a sweep, as it was last seen to."""
