"""The Deployment of a registry: one pod, and a rollout in which the next one serves before the last one goes.

The pod template is a pure function of the spec, the names of what it mounts and the certificate's hash; nothing else
can cause a rollout.
"""

import copy
from typing import Any, Literal

from private_registry.api import names
from private_registry.api.registry import PrivateRegistry
from private_registry.registry.configuration import DATA_DIRECTORY, DIRECTORY, DRAIN_SECONDS, FILE, HTTP_SECRET_KEY
from private_registry.registry.metadata import metadata, template_hash
from private_registry.registry.pod import CONTAINER_SECURITY, pod_spec, quantities
from private_registry.registry.service import PORT_NAME

Strategy = Literal["RollingUpdate", "Recreate"]

CONTAINER = "registry"
METRICS_PORT_NAME = "metrics"

PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"

LEAVE_SECONDS = 8
"""How long a pod that has to go still serves: the time that the kube-proxy of a busy node needs to forget it."""

PROGRESS_DEADLINE_SECONDS = 300
"""After this long without progress the Deployment says so; it goes on trying."""


def deployment(
    registry: PrivateRegistry, *, image: str, configuration_name: str, certificate_hash: str, strategy: Strategy
) -> dict[str, Any]:
    """The Deployment. `certificate_hash` is empty where the registry serves plain HTTP.

    A ReadWriteOncePod volume cannot be shared for the length of a rollout: there `strategy` is always Recreate.
    """
    template = _template(registry, image, configuration_name, certificate_hash)
    which = template_hash(template)
    # On the Deployment to see what was asked for, on its pods to see which of them came of it.
    template["metadata"]["annotations"] = {**template["metadata"].get("annotations", {}), names.TEMPLATE: which}
    about = metadata(registry, registry.name)
    about["annotations"] = {names.TEMPLATE: which}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": about,
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": PROGRESS_DEADLINE_SECONDS,
            "strategy": _strategy(registry, strategy),
            "selector": {"matchLabels": names.selector(registry.name)},
            "template": template,
        },
    }


def _strategy(registry: PrivateRegistry, wanted: Strategy) -> dict[str, Any]:
    if wanted == "Recreate" or registry.spec.storage.access_mode == "ReadWriteOncePod":
        return {"type": "Recreate"}
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def _template(registry: PrivateRegistry, image: str, configuration_name: str, certificate_hash: str) -> dict[str, Any]:
    about: dict[str, Any] = {"labels": names.labels(registry.name, registry.uid)}
    if certificate_hash:
        about["annotations"] = {names.CERTIFICATE: certificate_hash}
    spec = pod_spec(registry) | {
        "affinity": _affinity(registry),
        "terminationGracePeriodSeconds": LEAVE_SECONDS + DRAIN_SECONDS + 7,
        "containers": [_container(registry, image)],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": registry.claim_name}},
            {"name": "configuration", "projected": _configuration(registry, configuration_name)},
        ],
    }
    return {"metadata": about, "spec": spec}


def _container(registry: PrivateRegistry, image: str) -> dict[str, Any]:
    # No startup probe: a registry listens within a second of its start, and liveness gives it a minute.
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        # The entrypoints of the published images differ; the program is in the path of all of them.
        "command": ["registry", "serve", f"{DIRECTORY}/{FILE}"],
        "env": [
            {
                "name": "REGISTRY_STORAGE_DELETE_ENABLED",
                "value": "true" if registry.spec.storage.delete_enabled else "false",
            },
            {
                "name": "REGISTRY_HTTP_SECRET",
                "valueFrom": {"secretKeyRef": {"name": names.http_secret(registry.name), "key": HTTP_SECRET_KEY}},
            },
            # Distribution 3 would otherwise send traces to a collector on localhost, and log that there is none.
            {"name": "OTEL_TRACES_EXPORTER", "value": "none"},
        ],
        "ports": [
            {"name": PORT_NAME, "containerPort": names.PORT, "protocol": "TCP"},
            {"name": METRICS_PORT_NAME, "containerPort": names.DEBUG_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": {
            "httpGet": {
                "path": "/",
                "port": PORT_NAME,
                "scheme": "HTTP" if registry.certificate_secret is None else "HTTPS",
            },
            "periodSeconds": 1,
            "timeoutSeconds": 3,
            "failureThreshold": 5,
        },
        # A connection and no request: a slow disk turns every path to 503 and must not become a restart loop. On the
        # metrics port of the same process, because a connection without TLS handshake is logged as an error on 5000.
        "livenessProbe": {
            "tcpSocket": {"port": METRICS_PORT_NAME},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVE_SECONDS}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": CONTAINER_SECURITY,
        "resources": _resources(registry),
        "volumeMounts": [
            {"name": "data", "mountPath": DATA_DIRECTORY},
            {"name": "configuration", "mountPath": DIRECTORY, "readOnly": True},
        ],
    }


def _resources(registry: PrivateRegistry) -> dict[str, Any]:
    resources = registry.spec.resources
    both = {"requests": quantities(resources.requests), "limits": quantities(resources.limits)}
    return {key: value for key, value in both.items() if value}


def _configuration(registry: PrivateRegistry, configuration_name: str) -> dict[str, Any]:
    """One volume for file and certificate: a volume cannot be mounted inside another read-only one."""
    sources: list[dict[str, Any]] = [
        {"configMap": {"name": configuration_name, "items": [{"key": FILE, "path": FILE}]}},
    ]
    if registry.certificate_secret is not None:
        items = [{"key": key, "path": key} for key in ("tls.crt", "tls.key")]
        sources.append({"secret": {"name": registry.certificate_secret, "items": items}})
    return {"defaultMode": 0o440, "sources": sources}


def _affinity(registry: PrivateRegistry) -> dict[str, Any]:
    """The user's affinity, and beside it: start where the last pod is, because the volume is attached there.

    Preferred, not required: after a drain nothing would tell the scheduler that the old pod is gone.
    """
    beside_the_last = {
        "weight": 100,
        "podAffinityTerm": {
            "labelSelector": {"matchLabels": names.selector(registry.name)},
            "topologyKey": "kubernetes.io/hostname",
        },
    }
    affinity = copy.deepcopy(registry.spec.scheduling.affinity)
    pod_affinity = affinity.get("podAffinity") or {}
    # What is no affinity at all is passed on as it is: the API server says best what is wrong with it.
    if isinstance(pod_affinity, dict):
        preferred = pod_affinity.get(PREFERRED) or []
        if isinstance(preferred, list):
            affinity["podAffinity"] = {**pod_affinity, PREFERRED: [*preferred, beside_the_last]}
    return affinity
