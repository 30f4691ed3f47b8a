"""Whether a live object is what we asked for. Pure.

An object is written only when the hash of what we last applied is another than today's, or when the live object does
not contain what we ask for. What others added beside our fields is theirs.
"""

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from private_registry.api import names
from private_registry.api.quantity import InvalidQuantityError, parse_quantity
from private_registry.registry.metadata import applied_hash

Object = dict[str, Any]

_KEYS = ("name", "mountPath", "key", "uid")
"""What tells the items of a list of objects apart, in the order in which it is looked for."""
_WHOLE = ("selector", "nodeSelector")
"""Maps that mean something else with one more key in them; the API server has one owner for all of it (atomic)."""


def stamped(desired: Object) -> Object:
    """The desired object with the annotation that remembers what was applied."""
    metadata = desired["metadata"]
    annotations = {**metadata.get("annotations", {}), names.APPLIED: applied_hash(desired)}
    return {**desired, "metadata": {**metadata, "annotations": annotations}}


def drifted(desired: Object, live: Object) -> bool:
    """Whether `desired`, stamped, has to be applied again."""
    annotations = live["metadata"].get("annotations") or {}
    return annotations.get(names.APPLIED) != desired["metadata"]["annotations"][names.APPLIED] or not contains(
        live, desired
    )


def contains(live: Any, desired: Any) -> bool:
    """Whether everything in `desired` is in `live`, with the API server's ways of spelling the same allowed for."""
    if live == desired:  # most parts are, and this is soon seen
        return True
    if isinstance(desired, Mapping):
        return isinstance(live, Mapping) and all(
            live.get(key) == value if key in _WHOLE else contains(live.get(key), value)
            for key, value in desired.items()
            if not _is_empty(value) or live.get(key)
        )
    if isinstance(desired, list):
        return isinstance(live, list) and _contains_list(live, desired)
    return _same_quantity(live, desired)


def _contains_list(live: list[Any], desired: list[Any]) -> bool:
    for key in _KEYS:
        # Tolerations have a `key` as well, and may have the same one twice.
        if desired and all(isinstance(item, Mapping) and key in item for item in desired) and _is_unique(key, desired):
            by_key = {item.get(key): item for item in live if isinstance(item, Mapping)}
            return all(contains(by_key.get(item[key]), item) for item in desired)
    return len(live) == len(desired) and all(contains(mine, theirs) for mine, theirs in zip(live, desired, strict=True))


def _is_unique(key: str, items: list[Any]) -> bool:
    return len({item[key] for item in items}) == len(items)


def _is_empty(value: Any) -> bool:
    # The server leaves out empty objects, lists and strings, so asking for one is asking for nothing.
    return value is None or value in ({}, [], "")


def _same_quantity(live: Any, desired: Any) -> bool:
    if not isinstance(live, str | int) or not isinstance(desired, str | int):
        return False
    return _number(live) is not None and _number(live) == _number(desired)


def _number(value: str | int) -> Decimal | None:
    try:
        return parse_quantity(str(value))
    except InvalidQuantityError:
        return None


def is_ours(live: Object, uid: str) -> bool:
    """Whether this object was made for the registry of this uid."""
    labels = live["metadata"].get("labels") or {}
    return bool(labels.get(names.MANAGED_BY) == names.MANAGER and labels.get(names.REGISTRY_UID) == uid)


def is_left_behind(live: Object, name: str) -> bool:
    """Whether this was made for a registry of this name, be it an earlier one: a kept claim, an entry that nodes know.

    Its heir may have it.
    """
    labels = live["metadata"].get("labels") or {}
    return bool(
        labels.get(names.MANAGED_BY) == names.MANAGER
        and labels.get(names.INSTANCE) == name
        and not live["metadata"].get("deletionTimestamp")
    )


def fingerprint(live: Object) -> str:
    """Changes when somebody changes the object; status and bookkeeping of the server do not count."""
    metadata = {
        key: value for key, value in live["metadata"].items() if key not in ("resourceVersion", "managedFields")
    }
    bare = {key: value for key, value in live.items() if key not in ("status", "metadata")}
    canonical = json.dumps({**bare, "metadata": metadata}, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
