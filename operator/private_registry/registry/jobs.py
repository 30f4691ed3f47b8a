"""The Job of a collection: it waits until nobody writes, and then works on the volume where the registry's pod is."""

from typing import Any

from private_registry.api import names
from private_registry.api.registry import PrivateRegistry
from private_registry.registry.configuration import DATA_DIRECTORY
from private_registry.registry.metadata import metadata
from private_registry.registry.pod import CONTAINER_SECURITY, pod_spec, quantities

COMPONENT = "collection"
TERMINATION_LOG = "/dev/termination-log"
DIRECTORY, FILE, IN_USE = "/etc/private-registry-collection", "in-use.json", "in-use"
"""Where the images in use are told, and the name of the volume of which that is a file."""

GRACE = 3600.0
"""Seconds for which everything stays that is younger: a push may be on its way, its manifest still to come."""


def collection_job(registry: PrivateRegistry, *, image: str, asked: str, dry_run: bool, node: str) -> dict[str, Any]:
    """The Job, which begins once it is no longer suspended; a dry run, which changes nothing, on `node`.

    `asked` is the value of the annotation for which it is made, empty for the schedule's.
    """
    collection = registry.spec.garbage_collection
    seconds = collection.deadline_minutes * 60
    about = metadata(registry, names.collection_job(registry.name))
    about["labels"] = {**about["labels"], names.COMPONENT: COMPONENT}
    about["annotations"] = {names.COLLECT_DRY_RUN if dry_run else names.COLLECT: asked}
    arguments = ["collect", f"--directory={DATA_DIRECTORY}", f"--grace={GRACE:.0f}", f"--outcome={TERMINATION_LOG}"]
    mounts = [{"name": "data", "mountPath": DATA_DIRECTORY} | ({"readOnly": True} if dry_run else {})]
    volumes: list[dict[str, Any]] = [{"name": "data", "persistentVolumeClaim": {"claimName": registry.claim_name}}]
    if collection.delete_untagged:
        arguments.append(f"--delete-untagged={DIRECTORY}/{FILE}")
        mounts.append({"name": IN_USE, "mountPath": DIRECTORY, "readOnly": True})
        told = {"name": names.in_use(registry.name), "items": [{"key": FILE, "path": FILE}]}
        volumes.append({"name": IN_USE, "projected": {"defaultMode": 0o440, "sources": [{"configMap": told}]}})
    if dry_run:
        arguments.append("--dry-run")
    resources: dict[str, Any] = {"requests": {"cpu": "50m", "memory": "64Mi"}}
    if limits := registry.spec.resources.limits:
        resources["limits"] = quantities(limits)
    spec = pod_spec(registry) | {
        "restartPolicy": "Never",
        # Of the kubelet's own: it also ends a pod whose node nobody can reach.
        "activeDeadlineSeconds": seconds,
        "affinity": on_node(node),
        "containers": [
            {
                "name": COMPONENT,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "args": arguments,
                "terminationMessagePath": TERMINATION_LOG,
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "securityContext": CONTAINER_SECURITY,
                "resources": resources,
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": about,
        "spec": {
            "suspend": True,
            "backoffLimit": 0,
            "activeDeadlineSeconds": seconds,
            # It has failed when its pod has ended, and not before.
            "podReplacementPolicy": "Failed",
            "template": {"metadata": {"labels": about["labels"]}, "spec": spec},
        },
    }


def is_told_of_use(job: dict[str, Any]) -> bool:
    """Whether it has to know the images in use before it begins."""
    return any(volume["name"] == IN_USE for volume in job["spec"]["template"]["spec"]["volumes"])


def in_use_config_map(registry: PrivateRegistry, text: str, job_uid: str) -> dict[str, Any]:
    about = metadata(registry, names.in_use(registry.name))
    about["annotations"] = {names.COLLECTED_BY: job_uid}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {FILE: text}}


def on_node(node: str) -> dict[str, Any]:
    """Affinity to the node of this name, whatever its labels; to none for an empty name."""
    if not node:
        return {}
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"nodeSelectorTerms": [term]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
