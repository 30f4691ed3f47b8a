"""What every object made for a registry carries, and the hashes by which two versions of one are told apart."""

import hashlib
import json
from typing import Any

from private_registry.api import names
from private_registry.api.registry import PrivateRegistry


def metadata(registry: PrivateRegistry, name: str) -> dict[str, Any]:
    """Metadata of a child that goes when its registry goes."""
    return {
        "name": name,
        "namespace": registry.namespace,
        "labels": names.labels(registry.name, registry.uid),
        "ownerReferences": [registry.owner_reference()],
    }


def copy_metadata(registry: PrivateRegistry, name: str, namespace: str) -> dict[str, Any]:
    """Metadata of an object in another namespace, where nothing can have the registry as its owner."""
    labels = names.copy_labels(registry.namespace, registry.name, registry.uid)
    return {"name": name, "namespace": namespace, "labels": labels}


def template_hash(template: dict[str, Any]) -> str:
    """Hash of a pod template as we ask for it: two templates of one hash need no rollout between them."""
    return _digest(template)


def asked_hash(registry: PrivateRegistry, *beside: str) -> str:
    """Hash of what the owner of a registry, and what is `beside` it, asks of its pods.

    As long as it stays the same, a change of the pods comes from the operator. Defaults are left out, so that a newer
    operator, which may know more fields, finds it the same.
    """
    asked = registry.spec.model_dump(
        mode="json",
        exclude_defaults=True,
        exclude={
            "service": True,
            "storage": {"size", "reclaim_policy", "reserve"},
            "garbage_collection": True,
            "retention": True,
            "node_trust": {"enabled", "node_selector"},
            "auth": {"users", "pull_secret"},
            "tls": {"ca_distribution"},
        },
    )
    return _digest({"spec": {part: value for part, value in asked.items() if value}, "beside": list(beside)})


def applied_hash(obj: dict[str, Any]) -> str:
    """Hash of an object as we apply it, whether or not it already carries this hash as an annotation."""
    annotations = obj["metadata"].get("annotations", {})
    others = {key: value for key, value in annotations.items() if key != names.APPLIED}
    bare = {key: value for key, value in obj["metadata"].items() if key != "annotations"}
    return _digest({**obj, "metadata": {**bare, "annotations": others}})


def _digest(value: dict[str, Any]) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
