"""A registry's volume: what is asked for (spec), and how full it is (status)."""

from typing import Literal

from pydantic import Field

from private_registry.api.model import Model, Written
from private_registry.api.selectors import ObjectName

DEFAULT_SIZE = "20Gi"
"""Of a claim that the operator makes; not in the CRD, where it would collide with claimName."""


class Storage(Model):
    """Where the images are kept."""

    delete_enabled: bool = True
    read_only: bool = False
    size: str | None = Field(default=None, max_length=32)
    storage_class_name: str | None = Field(default=None, max_length=253)
    access_mode: Literal["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"] = "ReadWriteOnce"
    claim_name: ObjectName | None = None
    reclaim_policy: Literal["Retain", "Delete"] = "Retain"
    reserve: str | None = Field(default=None, max_length=32)

    @property
    def wanted_size(self) -> str:
        """Of our own claim, as a Kubernetes quantity."""
        return self.size or DEFAULT_SIZE


class StorageStatus(Written):
    """How full the volume is, as its own file system says; all empty before that has been heard of.

    Quantities of four digits, for people, and for the columns of kubectl; to the byte they are in the metrics.
    """

    total: str = ""
    used: str = ""
    free: str = ""
    """What the registry can still write: less than the difference where some is set aside for root."""
    full: bool = False
    """Whether pushes are refused for it, until twice the reserve is free. What is decided next depends on it."""
