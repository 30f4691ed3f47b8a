"""What a plan for a registry depends on beside that registry and its own objects."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from private_registry import pki
from private_registry.controller.health.confirmation import Confirmation
from private_registry.controller.registries.certificate import Chance
from private_registry.controller.settings import Settings
from private_registry.data.readonly import Cause


@dataclass(frozen=True)
class Blocker:
    """Another registry whose rollout after an upgrade of the operator is not complete: one at a time."""

    key: str
    failing: bool
    """The upgrade stops here until someone has seen to it."""


@dataclass(frozen=True)
class Facts:
    """What a plan depends on beside the registry and its own objects."""

    settings: Settings
    now: datetime
    chance: Chance
    authority: pki.Authority | None = field(repr=False)
    """None until the fleet loop has made or read the cluster's CA."""
    ca_bundle: str = ""
    """What everybody is to trust: that CA, and during a rotation the one before or after it."""
    succession: bool = False
    """Whether another CA is to follow once everybody trusts it."""
    confirmation: Confirmation = field(default_factory=Confirmation)
    """How far the published entry has come."""
    serves: bool = False
    """Whether /v2/ answered through the Service, a moment ago, the way the entry says that it does."""
    followed: str = ""
    """Hash of the entry that every node goes by; empty: there is none."""
    accepted: Collection[str] = ()
    """User names of the credentials to come that the registry has accepted."""
    taken_hosts: Mapping[str, str] = field(default_factory=dict)
    """Further names, without port, of registries that asked for them first, with those registries."""
    read_only: tuple[Cause, ...] = ()
    """What was observed for which the registry is to take no writes."""
    claim_user: str = ""
    """Another registry that uses the claim this one names."""
    upgrade_blocker: Blocker | None = None
