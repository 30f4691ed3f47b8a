"""The volume claim of a registry. It holds people's images, so it outlives the registry unless they say otherwise."""

from typing import Any

from private_registry.api import names
from private_registry.api.registry import PrivateRegistry


def claim(registry: PrivateRegistry) -> dict[str, Any] | None:
    """The PersistentVolumeClaim; None where the registry uses one that someone else owns.

    Never with an ownerReference: the garbage collector knows nothing of `reclaimPolicy`.
    """
    storage = registry.spec.storage
    if storage.claim_name is not None:
        return None
    spec: dict[str, Any] = {
        "accessModes": [storage.access_mode],
        "resources": {"requests": {"storage": storage.wanted_size}},
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
