"""Events for people: one when something turns, none while it stays. kopf posts them."""

from contextvars import Context, copy_context
from functools import partial
from typing import Any, cast

import kopf

from private_registry.api import names
from private_registry.api.collection import GarbageCollectionStatus
from private_registry.api.conditions import Reason, Type, find
from private_registry.api.registry import PrivateRegistry, RegistryStatus

_REPORTED = (Type.READY, Type.STALLED, Type.READ_ONLY)


class _Post:
    """The way to kopf's queue of events, which it shows to nobody but its handlers."""

    def __init__(self) -> None:
        self.context: Context | None = None
        self.waiting: list[partial[None]] = []


_post = _Post()


def heard() -> None:
    """A handler of kopf's is running: from now on events can be posted from anywhere."""
    _post.context = copy_context()
    while _post.waiting:
        _post.context.run(_post.waiting.pop(0))


def post(body: dict[str, Any], *, reason: str, message: str, warning: bool = False) -> None:
    """Say something about an object, once; before any handler has run, as soon as one does."""
    kind = "Warning" if warning else "Normal"
    about = kopf.Body(cast("kopf.RawBody", body))
    say = partial(kopf.event, about, type=kind, reason=reason, message=message[:1024])
    if _post.context:
        _post.context.run(say)
    else:
        _post.waiting.append(say)


def about(registry: PrivateRegistry) -> dict[str, Any]:
    """A registry, as far as an event needs it."""
    metadata = {"namespace": registry.namespace, "name": registry.name, "uid": registry.uid}
    return {"apiVersion": names.API_VERSION, "kind": "PrivateRegistry", "metadata": metadata}


def _post_collection(body: dict[str, Any], status: GarbageCollectionStatus) -> None:
    if status.result == "Failed":
        text = f"the collection of garbage failed, and pushes are taken again: {status.message}"
        post(body, reason="CollectionFailed", message=text, warning=True)
    else:
        verb, reason = ("would give back", "CollectionDryRun") if status.dry_run else ("gave back", "Collected")
        text = f"{verb} {status.bytes} bytes: {status.blobs} blobs, {status.manifests} untagged manifests, "
        post(body, reason=reason, message=f"{text}{status.repositories} empty repositories")


def post_transitions(body: dict[str, Any], old: RegistryStatus, new: RegistryStatus) -> None:
    """Say what turned between two statuses of a registry: ready or no longer, stalled or no longer."""
    run = new.garbage_collection
    if run.result and run.last_run != old.garbage_collection.last_run:
        _post_collection(body, run)
    for kind in _REPORTED:
        before, after = find(old.conditions, kind), find(new.conditions, kind)
        was, now = (each is not None and each.status == "True" for each in (before, after))
        if kind is Type.READY and was != now and after:
            message = after.message or f"serves at {new.host}; {new.nodes.summary} nodes trust it"
            as_asked = now or after.reason is Reason.DELETING
            post(body, reason=after.reason if as_asked else f"Not{kind}", message=message, warning=not as_asked)
        if kind is Type.STALLED and now and after and (before is None or before.reason != after.reason):
            post(body, reason=after.reason, message=after.message, warning=True)
        if kind is Type.READ_ONLY and was != now:
            message = after.message if after else "pushes and deletions are taken again"
            post(body, reason="ReadOnly" if after else "Writable", message=message)
