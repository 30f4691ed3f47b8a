"""The Deployment of a registry: one pod, and a rollout in which the next one serves before the last one goes.

The pod template is a pure function of the spec, the names of what it mounts and the certificate's hash; nothing else
can cause a rollout.
"""

import copy
from typing import Any, Literal

from private_registry.api import names
from private_registry.api.registry import Doors, PrivateRegistry
from private_registry.registry.configuration import (
    CREDENTIALS_DIRECTORY,
    DATA_DIRECTORY,
    DIRECTORY,
    DRAIN_SECONDS,
    FILE,
    HTPASSWD,
    PULLS_FILE,
    PULLS_HTPASSWD,
    files,
)
from private_registry.registry.metadata import metadata, template_hash
from private_registry.registry.pod import CONTAINER_SECURITY, pod_spec, quantities
from private_registry.registry.service import PORT_NAME, PULL_PORT_NAME

Strategy = Literal["RollingUpdate", "Recreate"]

CONTAINER, PULLS_CONTAINER, SPACE_CONTAINER = "registry", "pulls", "space"
CREDENTIALS, PULLS_CREDENTIALS = "credentials", "pulls-credentials"
"""The volumes."""
METRICS_PORT_NAME, PULLS_METRICS_PORT_NAME, SPACE_PORT_NAME = "metrics", "pulls-metrics", "space"

PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"

LEAVE_SECONDS = 8
"""How long a pod that has to go still serves: the time that the kube-proxy of a busy node needs to forget it."""

PROGRESS_DEADLINE_SECONDS = 300
"""After this long without progress the Deployment says so; it goes on trying."""


def deployment(
    registry: PrivateRegistry, *, image: str, certificate_hash: str, strategy: Strategy, space_image: str = ""
) -> dict[str, Any]:
    """The Deployment. `certificate_hash` is empty where the registry serves plain HTTP, `space_image`, the operator's
    own, where it is not known: then nobody tells how full the volume is.

    A ReadWriteOncePod volume cannot be shared for the length of a rollout: there `strategy` is always Recreate.
    """
    template = _template(registry, image, certificate_hash, space_image)
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
            "replicas": 0 if registry.halted else 1,
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": PROGRESS_DEADLINE_SECONDS,
            "strategy": _strategy(registry, strategy),
            "selector": {"matchLabels": names.selector(registry.name)},
            "template": template,
        },
    }


def doors_of(deployment: dict[str, Any]) -> Doors:
    """What the pods of a Deployment are like."""
    spec = deployment["spec"]["template"]["spec"]
    named = {part: [each["name"] for each in spec.get(part) or []] for part in ("containers", "volumes")}
    return Doors(
        asks=CREDENTIALS in named["volumes"],
        pulls=PULLS_CONTAINER in named["containers"],
        pulls_ask=PULLS_CREDENTIALS in named["volumes"],
    )


def _strategy(registry: PrivateRegistry, wanted: Strategy) -> dict[str, Any]:
    if wanted == "Recreate" or registry.spec.storage.access_mode == "ReadWriteOncePod":
        return {"type": "Recreate"}
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def _template(registry: PrivateRegistry, image: str, certificate_hash: str, space_image: str) -> dict[str, Any]:
    about: dict[str, Any] = {"labels": names.labels(registry.name, registry.uid)}
    annotations = {
        **({names.CERTIFICATE: certificate_hash} if certificate_hash else {}),
        **({names.READ_ONLY: "true"} if registry.read_only else {}),
    }
    if annotations:
        about["annotations"] = annotations
    spec = pod_spec(registry) | {
        "affinity": _affinity(registry),
        "terminationGracePeriodSeconds": LEAVE_SECONDS + DRAIN_SECONDS + 7,
        "containers": [*_containers(registry, image), *([_space(space_image)] if space_image else [])],
        "volumes": _volumes(registry),
    }
    return {"metadata": about, "spec": spec}


def _containers(registry: PrivateRegistry, image: str) -> list[dict[str, Any]]:
    """The registry; where it asks for credentials, beside it one for those who pull, in which nobody writes."""
    deletes = "true" if registry.spec.storage.delete_enabled else "false"
    main = _container(registry, CONTAINER, image, FILE)
    main["env"].insert(0, {"name": "REGISTRY_STORAGE_DELETE_ENABLED", "value": deletes})
    if registry.read_only:
        main["volumeMounts"][0]["readOnly"] = True
    if registry.doors.asks:
        main["volumeMounts"].append(_credentials_mount(CREDENTIALS))
    if not registry.doors.pulls:
        return [main]
    pulls = _container(registry, PULLS_CONTAINER, image, PULLS_FILE)
    pulls["volumeMounts"][0]["readOnly"] = True
    if registry.doors.pulls_ask:
        pulls["volumeMounts"].append(_credentials_mount(PULLS_CREDENTIALS))
    return [main, pulls]


def _space(image: str) -> dict[str, Any]:
    """Beside them, what tells how full the volume is.

    It has no probe: as long as it runs, the pod serves, whatever can be said of its volume. For the same reason it
    leaves no sooner than the others.
    """
    return {
        "name": SPACE_CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["report", f"--directory={DATA_DIRECTORY}", f"--port={names.SPACE_PORT}"],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [{"name": SPACE_PORT_NAME, "containerPort": names.SPACE_PORT, "protocol": "TCP"}],
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVE_SECONDS}}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": CONTAINER_SECURITY,
        # A limit of both, because a quota may ask for both.
        "resources": {"requests": {"cpu": "5m", "memory": "24Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}},
        "volumeMounts": [{"name": "data", "mountPath": DATA_DIRECTORY, "readOnly": True}],
    }


def _credentials_mount(volume: str) -> dict[str, Any]:
    return {"name": volume, "mountPath": CREDENTIALS_DIRECTORY, "readOnly": True}


_PORTS = {
    CONTAINER: ((PORT_NAME, names.PORT), (METRICS_PORT_NAME, names.DEBUG_PORT)),
    PULLS_CONTAINER: ((PULL_PORT_NAME, names.PULL_PORT), (PULLS_METRICS_PORT_NAME, names.PULL_DEBUG_PORT)),
}


def _container(registry: PrivateRegistry, name: str, image: str, file: str) -> dict[str, Any]:
    # No startup probe: a registry listens within a second of its start, and liveness gives it a minute.
    (serving, _), (metrics, _) = ports = _PORTS[name]
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        # The entrypoints of the published images differ; the program is in the path of all of them.
        "command": ["registry", "serve", f"{DIRECTORY}/{file}"],
        "env": [
            # By itself Go collects its garbage once the heap has doubled, and a registry's is a few MB. Once it has
            # tripled, pulls are faster for little memory (`make bench PART=throughput`, `PART=memory`).
            {"name": "GOGC", "value": "200"},
            # Distribution 3 would otherwise send traces to a collector on localhost, and log that there is none.
            {"name": "OTEL_TRACES_EXPORTER", "value": "none"},
        ],
        "ports": [{"name": port, "containerPort": number, "protocol": "TCP"} for port, number in ports],
        "readinessProbe": {
            "httpGet": {
                "path": "/",
                "port": serving,
                "scheme": "HTTP" if registry.certificate_secret is None else "HTTPS",
            },
            "periodSeconds": 1,
            "timeoutSeconds": 3,
            "failureThreshold": 5,
        },
        # A connection and no request: a slow disk turns every path to 503 and must not become a restart loop. On the
        # metrics port of the same process, because a connection without TLS handshake is logged as an error on 5000.
        "livenessProbe": {
            "tcpSocket": {"port": metrics},
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


def _volumes(registry: PrivateRegistry) -> list[dict[str, Any]]:
    """One volume for files and certificate: a volume cannot be mounted inside another read-only one."""
    configuration = [_source(names.configuration(registry.name), **files(registry))]
    if registry.certificate_secret is not None:
        pair = {key: key for key in ("tls.crt", "tls.key")}
        configuration.append(_source(registry.certificate_secret, **pair))
    volumes: list[dict[str, Any]] = [
        {"name": "data", "persistentVolumeClaim": {"claimName": registry.claim_name}},
        {"name": "configuration", "projected": {"defaultMode": 0o440, "sources": configuration}},
    ]
    doors, secret = registry.doors, names.htpasswd_secret(registry.name)
    for asks, volume, key in (
        (doors.asks, CREDENTIALS, HTPASSWD),
        (doors.pulls_ask, PULLS_CREDENTIALS, PULLS_HTPASSWD),
    ):
        if asks:
            sources = [_source(secret, **{key: key})]
            volumes.append({"name": volume, "projected": {"defaultMode": 0o440, "sources": sources}})
    return volumes


def _source(secret: str, **keys: str) -> dict[str, Any]:
    """Files of a Secret: its keys by the names that they have in the pod."""
    return {"secret": {"name": secret, "items": [{"key": key, "path": path} for path, key in keys.items()]}}


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
