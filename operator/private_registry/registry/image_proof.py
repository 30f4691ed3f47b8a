"""A pod that proves an image on one node before the pod that serves has to make way for it.

Where the volume can be attached to one node only, a new pod on another node waits for the volume and never gets as far
as pulling its image. Only when this pod, which has no volume, has run there may a rollout stop the old pod first.
"""

import hashlib
from typing import Any

from private_registry.api import names
from private_registry.api.registry import PrivateRegistry
from private_registry.registry.metadata import metadata
from private_registry.registry.pod import CONTAINER_SECURITY, pod_spec, quantities

COMPONENT = "image-proof"
"""Another component than `registry`, or the Service would send clients here."""


def image_proof_pod(registry: PrivateRegistry, *, image: str, node_name: str) -> dict[str, Any]:
    """The pod, bound to its node. It succeeds when `image` can be pulled there and is a registry."""
    which = hashlib.sha256(f"{image}\n{node_name}".encode()).hexdigest()[:8]
    about = metadata(registry, f"{registry.name}-{COMPONENT}-{which}")
    about["labels"] = {**about["labels"], names.COMPONENT: COMPONENT}
    resources: dict[str, Any] = {"requests": {"cpu": "10m", "memory": "32Mi"}}
    if limits := registry.spec.resources.limits:
        resources["limits"] = quantities(limits)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": about,
        "spec": pod_spec(registry)
        | {
            "nodeName": node_name,
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": COMPONENT,
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["registry", "--version"],
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "securityContext": CONTAINER_SECURITY,
                    "resources": resources,
                }
            ],
        },
    }
