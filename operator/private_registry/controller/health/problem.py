"""What stands between a registry and what was asked for, with the words for its conditions."""

from dataclasses import dataclass
from enum import Enum, auto

from private_registry.api.conditions import Reason


class Concern(Enum):
    """Which condition a problem speaks to."""

    REGISTRY = auto()
    STORAGE = auto()
    NODES = auto()
    COPIES = auto()
    """None of its conditions alone: what other namespaces have of it."""


@dataclass(frozen=True)
class Problem:
    """Nothing that waiting alone cures. What ran before keeps running; the message names the cause and the fix."""

    reason: Reason
    message: str
    concern: Concern = Concern.REGISTRY
