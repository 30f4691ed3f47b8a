"""The images of a registry that a cluster uses, as the operator tells them to a Job: in a file, with their time."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from private_registry.api.model import Model
from private_registry.data.images import Reference

OLDEST: Final = timedelta(minutes=10)
"""Age of a list by which something is decided."""
MAX_BYTES: Final = 900 * 1024
"""Of the file: an object of the API server may have a little more than a MiB, with all that is around it."""


class ListInvalidError(ValueError):
    """It is too large or too old, cannot be read, or has no place; says which. By such a list nothing is deleted."""


class Listed(Model):
    """The file."""

    taken: datetime
    images: tuple[str, ...]

    def in_use(self) -> "InUse":
        """Raises ListInvalidError."""
        if self.taken.tzinfo is None:
            raise ListInvalidError("the list of images in use does not say when it was taken")
        return InUse(self.taken, frozenset(map(_reference, self.images)))


@dataclass(frozen=True)
class InUse:
    """What was in use, and when."""

    taken: datetime
    """When the list was begun, with a time zone."""
    images: frozenset[Reference]

    def text(self, **more: Any) -> str:
        """The file, with more in it. Raises ListInvalidError when there are too many images."""
        taken = self.taken.astimezone(UTC).isoformat(timespec="seconds")
        text = json.dumps({"taken": taken, **more, "images": sorted(map(str, self.images))}, indent=0)
        if len(text.encode()) > MAX_BYTES:
            raise ListInvalidError(
                f"{len(self.images)} images of this registry are in use, more than a list of {MAX_BYTES // 1024} KiB "
                "has room for: nothing is deleted"
            )
        return text

    def demand_recent(self, now: datetime) -> None:
        """Raises ListInvalidError for a list that is too old to decide by."""
        if (age := now - self.taken) > OLDEST:
            minutes = age.total_seconds() / 60
            raise ListInvalidError(f"the list of images in use is {minutes:.0f} minutes old: does the operator run?")

    def digests(self, repository: str) -> frozenset[str]:
        """What is used of a repository by its digest: a manifest's, or that of a configuration."""
        return frozenset(each.digest for each in self.images if each.digest and each.repository == repository)


def parse_in_use(text: str) -> InUse:
    """Raises ListInvalidError."""
    try:
        return Listed.model_validate_json(text).in_use()
    except ValidationError as error:
        raise unreadable(error) from None


def unreadable(error: ValidationError) -> ListInvalidError:
    return ListInvalidError(f"the list of images in use cannot be read: {error}")


def _reference(text: str) -> Reference:
    """Raises ListInvalidError."""
    repository, at, digest = text.partition("@")
    if at:
        return Reference(repository, digest=digest)
    repository, colon, tag = text.rpartition(":")
    if not colon:
        raise ListInvalidError(f"the list of images in use cannot be read: {text!r} is no image")
    return Reference(repository, tag=tag)
