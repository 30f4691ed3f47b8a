"""The Job of a sweep, and what it is given: a pod without rights that talks to the registry as its clients do."""

from typing import Any

from private_registry.api import names
from private_registry.api.registry import PrivateRegistry
from private_registry.data.orders import CA, FILE, PASSWORD, USERNAME
from private_registry.registry.metadata import metadata
from private_registry.registry.pod import CONTAINER_SECURITY, pod_spec

COMPONENT = "sweep"
"""Another component than `registry`, or the Service would send clients here."""
DIRECTORY = "/etc/private-registry-sweep"
RESULT = "/dev/termination-log"
REPORT = "report"
"""Key of the list in its ConfigMap."""

DEADLINE_SECONDS = 3600


def sweep_job(registry: PrivateRegistry, *, image: str, url: str, server_name: str, has_ca: bool) -> dict[str, Any]:
    """The Job: `url` is where the registry serves, `server_name` the name in its certificate where that is no address.

    It is for the value that the registry's annotation has, and says so itself.
    """
    about = metadata(registry, names.sweep(registry.name))
    about["labels"] = {**about["labels"], names.COMPONENT: COMPONENT}
    about["annotations"] = {names.SWEEP: registry.sweep}
    arguments = ["sweep", f"--registry={url}", f"--directory={DIRECTORY}", f"--result={RESULT}"]
    if server_name:
        arguments.append(f"--server-name={server_name}")
    if registry.has_pulls and not registry.has_pull_user:
        arguments.append(f"--pull-port={names.PULL_PORT}")
    spec = pod_spec(registry) | {
        "restartPolicy": "Never",
        "containers": [
            {
                "name": COMPONENT,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "args": arguments,
                "ports": [{"name": "list", "containerPort": names.SWEEP_PORT, "protocol": "TCP"}],
                "terminationMessagePath": RESULT,
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "securityContext": CONTAINER_SECURITY,
                "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
                "volumeMounts": [{"name": "orders", "mountPath": DIRECTORY, "readOnly": True}],
            }
        ],
        "volumes": [
            {"name": "orders", "projected": {"defaultMode": 0o440, "sources": _sources(registry, has_ca=has_ca)}}
        ],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": about,
        "spec": {
            # What was decided by one list is not tried again with an older one.
            "backoffLimit": 0,
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "template": {"metadata": {"labels": about["labels"]}, "spec": spec},
        },
    }


def _sources(registry: PrivateRegistry, *, has_ca: bool) -> list[dict[str, Any]]:
    sources = [_source("configMap", names.images(registry.name), FILE)]
    if has_ca:
        sources.append(_source("configMap", names.ca_config_map(registry.name), CA))
    if registry.authenticates:
        sources.append(_source("secret", names.credentials_secret(registry.name), USERNAME, PASSWORD))
    return sources


def _source(kind: str, name: str, *keys: str) -> dict[str, Any]:
    return {kind: {"name": name, "items": [{"key": key, "path": key} for key in keys]}}


def orders_config_map(registry: PrivateRegistry, text: str) -> dict[str, Any]:
    return _config_map(registry, names.images(registry.name), {FILE: text})


def report_config_map(registry: PrivateRegistry, text: str, job_uid: str) -> dict[str, Any]:
    made = _config_map(registry, names.retention(registry.name), {REPORT: text})
    made["metadata"]["annotations"] = {names.SWEPT_BY: job_uid}
    return made


def _config_map(registry: PrivateRegistry, name: str, data: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(registry, name), "data": data}
