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


def _larger(wanted: str, live: dict[str, Any] | None) -> str:
    if live is None:
        return wanted
    asked: str = live["spec"]["resources"]["requests"]["storage"]
    try:
        return asked if parse_quantity(asked) > parse_quantity(wanted) else wanted
    except InvalidQuantityError:
        return wanted
