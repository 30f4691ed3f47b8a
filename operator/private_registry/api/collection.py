"""The collection of garbage: when its owner asks for it (spec), and what came of it (status)."""

from pydantic import Field

from private_registry.api.model import Model, Written


class GarbageCollection(Model):
    """When space is given back that nobody can pull from any more."""

    schedule: str | None = Field(default=None, min_length=9, max_length=128)
    time_zone: str = Field(default="Etc/UTC", min_length=1, max_length=64)
    delete_untagged: bool = False
    allow_outage: bool = False
    deadline_minutes: int = Field(default=60, ge=1, le=1440)


class GarbageCollectionStatus(Written):
    """What came of the last run. Written by the operator's registry loop alone."""

    next_run: str = ""
    """When the schedule asks for the next one (RFC 3339); empty without a schedule."""
    schedule: str = ""
    """With its time zone, the one that `next_run` was worked out from."""
    asked: str = ""
    """Value of the annotation that asks for a run, as it was last seen to."""
    asked_dry_run: str = ""
    """Likewise, of the one that asks for a dry run."""
    last_run: str = ""
    """When it began (RFC 3339); empty before the first one."""
    result: str = ""
    """Succeeded or Failed; empty before the first one."""
    dry_run: bool = False
    """Whether nothing was deleted: the figures are what a run would have given back."""
    duration_seconds: int = Field(default=0, ge=0)
    blobs: int = Field(default=0, ge=0)
    bytes: int = Field(default=0, ge=0)
    manifests: int = Field(default=0, ge=0)
    repositories: int = Field(default=0, ge=0)
    message: str = ""
    """What went wrong, and the cure; empty when nothing did."""
