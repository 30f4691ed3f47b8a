"""The volume claim of a registry. It holds people's images, so it outlives the registry unless they say otherwise."""

from typing import Any

from private_registry.api import names
from private_registry.api.quantity import InvalidQuantityError, parse_quantity
from private_registry.api.registry import PrivateRegistry


def claim(registry: PrivateRegistry, live: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """The PersistentVolumeClaim; None where the registry uses one that someone else owns.

    It is no smaller than the `live` one, which may be larger where it was kept. Never with an ownerReference: the
    garbage collector knows nothing of `reclaimPolicy`.
    """
    storage = registry.spec.storage
    if storage.claim_name is not None:
        return None
    spec: dict[str, Any] = {
        "accessModes": [storage.access_mode],
        "resources": {"requests": {"storage": _larger(storage.wanted_size, live)}},
    }
    if storage.storage_class_name is not None:
        spec["storageClassName"] = storage.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": names.claim(registry.name),
            "namespace": registry.namespace,
            "labels": names.labels(registry.name, registry.uid),
        },
        "spec": spec,
    }


def is_to_grow(registry: PrivateRegistry, live: dict[str, Any]) -> bool:
    """Whether more is asked for than the `live` claim asks for, which the registry's owner may decide."""
    storage = registry.spec.storage
    return storage.claim_name is None and is_smaller(_asked(live), storage.wanted_size)


def with_size_of(desired: dict[str, Any], live: dict[str, Any]) -> dict[str, Any]:
    """The same claim, but no larger than the `live` one."""
    return {**desired, "spec": {**desired["spec"], "resources": {"requests": {"storage": _asked(live)}}}}


def with_class_of(desired: dict[str, Any], live: dict[str, Any]) -> dict[str, Any]:
    """The same claim, of the class that the `live` one has: whoever applies one without would take that from it."""
    kept = live["spec"].get("storageClassName")
    return desired if kept is None else {**desired, "spec": {"storageClassName": kept, **desired["spec"]}}


def is_smaller(quantity: str, than: str) -> bool:
    """Whether one quantity is less than another; what is none is less than nothing, and nothing is less than it."""
    try:
        return parse_quantity(quantity) < parse_quantity(than)
    except InvalidQuantityError:
        return False


def _larger(wanted: str, live: dict[str, Any] | None) -> str:
    return _asked(live) if live is not None and is_smaller(wanted, _asked(live)) else wanted


def _asked(live: dict[str, Any]) -> str:
    asked: str = live["spec"]["resources"]["requests"]["storage"]
    return asked
