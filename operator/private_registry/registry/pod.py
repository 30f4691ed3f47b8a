"""What every pod of a registry has in common: no privileges, and the place that its owner chose for it.

It passes the `restricted` Pod Security level: the registry needs no root, it listens above 1024 and writes to its
volume alone.
"""

from typing import Any

from private_registry.api.registry import PrivateRegistry

USER_ID = 65532
"""User, group and fsGroup; the number that images without a root user have settled on."""

CONTAINER_SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def pod_spec(registry: PrivateRegistry) -> dict[str, Any]:
    """The fields of a pod spec that do not depend on what the pod runs. A field that is not set is not there."""
    scheduling = registry.spec.scheduling
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        # A Service named `registry` would be announced as REGISTRY_SERVICE_HOST, REGISTRY_PORT, ..., and distribution
        # reads every REGISTRY_* variable as configuration.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            # Otherwise the kubelet walks through every file of the volume before each start.
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": {"kubernetes.io/os": "linux", **scheduling.node_selector},
    }
    optional = {
        "tolerations": [dict(toleration) for toleration in scheduling.tolerations],
        "priorityClassName": scheduling.priority_class_name,
        "imagePullSecrets": [{"name": secret.name} for secret in scheduling.image_pull_secrets],
    }
    return spec | {key: value for key, value in optional.items() if value}


def quantities(given: dict[str, int | str]) -> dict[str, str]:
    """Resource quantities as the API server gives them back: `cpu: 1` is a string there."""
    return {resource: str(quantity) for resource, quantity in given.items()}
