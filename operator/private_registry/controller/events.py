"""Events for people: one when something turns, none while it stays. kopf posts them."""

from typing import Any, cast

import kopf

from private_registry.api.conditions import Reason, Type, find
from private_registry.api.registry import RegistryStatus

_REPORTED = (Type.READY, Type.STALLED)


def post(body: dict[str, Any], *, reason: str, message: str, warning: bool = False) -> None:
    """Say something about an object, once."""
    kopf.event(
        kopf.Body(cast("kopf.RawBody", body)),
        type="Warning" if warning else "Normal",
        reason=reason,
        message=message[:1024],
    )


def post_transitions(body: dict[str, Any], old: RegistryStatus, new: RegistryStatus) -> None:
    """Say what turned between two statuses of a registry: ready or no longer, stalled or no longer."""
    for kind in _REPORTED:
        before, after = find(old.conditions, kind), find(new.conditions, kind)
        was, now = (each is not None and each.status == "True" for each in (before, after))
        if kind is Type.READY and was != now and after:
            message = after.message or f"serves at {new.host}; {new.nodes.summary} nodes trust it"
            as_asked = now or after.reason is Reason.DELETING
            post(body, reason=after.reason if as_asked else f"Not{kind}", message=message, warning=not as_asked)
        if kind is Type.STALLED and now and after and (before is None or before.reason != after.reason):
            post(body, reason=after.reason, message=after.message, warning=True)
