"""Why a registry takes no writes for now. Pure.

It is read-only exactly while there is a cause, and the causes are worked out anew at each look from what is observed:
nothing remembers that a registry was made read-only, so nothing can forget to lift it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from private_registry.api.conditions import Reason
from private_registry.api.registry import PrivateRegistry


@dataclass(frozen=True)
class Cause:
    """One thing for which a registry takes no writes."""

    reason: Reason
    message: str
    """What ends it."""


def causes(registry: PrivateRegistry, observed: Iterable[Cause]) -> tuple[Cause, ...]:
    """What the owner asks for, and what was observed."""
    asked = Cause(Reason.REQUESTED, "spec.storage.readOnly is true")
    return (*([asked] if registry.spec.storage.read_only else []), *observed)
