"""The kinds of objects that operator and agents touch, and the URL paths they have."""

from dataclasses import dataclass
from typing import Any, Final

from private_registry.api import names


@dataclass(frozen=True)
class Kind:
    """One resource of the API server."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """URL path of a collection (without name), an object, or a subresource of it."""
        parts = ["/apis" if self.group else "/api", self.api_version]
        if namespace is not None and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part is not None]
        return "/".join(parts)


PRIVATE_REGISTRY: Final = Kind(names.GROUP, names.VERSION, "privateregistries", "PrivateRegistry")
NODE_TRUST: Final = Kind(names.GROUP, names.VERSION, "nodetrusts", "NodeTrust", namespaced=False)

CONFIG_MAP: Final = Kind("", "v1", "configmaps", "ConfigMap")
EVENT: Final = Kind("", "v1", "events", "Event")
NAMESPACE: Final = Kind("", "v1", "namespaces", "Namespace", namespaced=False)
NODE: Final = Kind("", "v1", "nodes", "Node", namespaced=False)
CLAIM: Final = Kind("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
POD: Final = Kind("", "v1", "pods", "Pod")
SECRET: Final = Kind("", "v1", "secrets", "Secret")
SERVICE_ACCOUNT: Final = Kind("", "v1", "serviceaccounts", "ServiceAccount")
SERVICE: Final = Kind("", "v1", "services", "Service")
DEPLOYMENT: Final = Kind("apps", "v1", "deployments", "Deployment")
REPLICA_SET: Final = Kind("apps", "v1", "replicasets", "ReplicaSet")
DAEMON_SET: Final = Kind("apps", "v1", "daemonsets", "DaemonSet")
STATEFUL_SET: Final = Kind("apps", "v1", "statefulsets", "StatefulSet")
CONTROLLER_REVISION: Final = Kind("apps", "v1", "controllerrevisions", "ControllerRevision")
CRON_JOB: Final = Kind("batch", "v1", "cronjobs", "CronJob")
JOB: Final = Kind("batch", "v1", "jobs", "Job")
LEASE: Final = Kind("coordination.k8s.io", "v1", "leases", "Lease")
STORAGE_CLASS: Final = Kind("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False)
SERVICE_CIDR: Final = Kind("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", namespaced=False)

_ALL: Final = {kind.kind: kind for kind in list(globals().values()) if isinstance(kind, Kind)}


def of(obj: dict[str, Any]) -> Kind:
    """The kind of an object. Raises KeyError for one that this program has no business with."""
    kind = _ALL[obj["kind"]]
    if kind.api_version != obj["apiVersion"]:
        raise KeyError(f"{obj['apiVersion']} {obj['kind']}")
    return kind
