"""The configuration of the registry process, as CNCF distribution 3.1 reads it.

The file is complete: nothing is left to an image's own file, whose defaults are a developer's. Its ConfigMap is named
by its content, so a pod never finds another configuration under the name that it was started with.
"""

import base64
import hashlib
from functools import cache
from typing import Any

import yaml

from private_registry.api import names
from private_registry.api.registry import PrivateRegistry
from private_registry.registry.metadata import metadata

FILE = "config.yml"
PULLS_FILE = "pulls.yml"
"""For the process that serves those who only pull, where there is one."""
HTPASSWD = "htpasswd"
PULLS_HTPASSWD = "pulls-htpasswd"
"""Of the process for those who only pull."""
HTTP_SECRET_KEY = "http-secret"  # noqa: S105
DIRECTORY = "/etc/private-registry"
CREDENTIALS_DIRECTORY = "/etc/private-registry-credentials"
DATA_DIRECTORY = "/var/lib/registry"

DRAIN_SECONDS = 60
"""How long requests that have begun may go on after SIGTERM; most are done at once."""


def configuration(registry: PrivateRegistry) -> dict[str, Any]:
    """The ConfigMap with the configuration, one file for each process of the pod."""
    tls, delete_enabled = registry.certificate_secret is not None, registry.spec.storage.delete_enabled
    files = {FILE: _text(tls=tls, delete_enabled=delete_enabled, asks=registry.doors.asks)}
    if registry.doors.pulls:
        files[PULLS_FILE] = _pulls_text(tls=tls, asks=registry.doors.pulls_ask)
    content_hash = hashlib.sha256("".join(files.values()).encode()).hexdigest()[:10]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(registry, names.configuration(registry.name, content_hash)),
        "immutable": True,
        "data": files,
    }


def http_secret(registry: PrivateRegistry, value: str) -> dict[str, Any]:
    """The Secret with the value that signs the state of an upload, so that another pod can go on with it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(registry, names.http_secret(registry.name)),
        "type": "Opaque",
        "data": {HTTP_SECRET_KEY: base64.b64encode(value.encode()).decode()},
    }


@cache
def _text(*, tls: bool, delete_enabled: bool, asks: bool) -> str:
    """Kept, because there are a few of them and each plan of each registry begins with one."""
    settings = _settings(names.PORT, names.DEBUG_PORT, tls=tls)
    settings["storage"] |= {
        "delete": {"enabled": delete_enabled},
        "maintenance": {"uploadpurging": {"enabled": True, "age": "168h", "interval": "24h", "dryrun": False}},
    }
    return yaml.safe_dump(settings | _auth(HTPASSWD, asks=asks), sort_keys=False)


@cache
def _pulls_text(*, tls: bool, asks: bool) -> str:
    settings = _settings(names.PULL_PORT, names.PULL_DEBUG_PORT, tls=tls)
    # Its volume is mounted read-only as well; this is what answers 405 to a write, and keeps its purge from starting.
    settings["storage"]["maintenance"] = {"uploadpurging": {"enabled": False}, "readonly": {"enabled": True}}
    return yaml.safe_dump(settings | _auth(PULLS_HTPASSWD, asks=asks), sort_keys=False)


def _auth(file: str, *, asks: bool) -> dict[str, Any]:
    # The file is read again when it has changed; without one, distribution would make up a user.
    path = f"{CREDENTIALS_DIRECTORY}/{file}"
    return {"auth": {"htpasswd": {"realm": "private registry", "path": path}}} if asks else {}


def _settings(port: int, debug_port: int, *, tls: bool) -> dict[str, Any]:
    """What both processes have in common."""
    http: dict[str, Any] = {
        "addr": f":{port}",
        # A client comes under several names, through a port-forward or a gateway: only it knows which.
        "relativeurls": True,
        "draintimeout": f"{DRAIN_SECONDS}s",
        "debug": {"addr": f":{debug_port}", "prometheus": {"enabled": True, "path": "/metrics"}},
    }
    if tls:
        http["tls"] = {
            "certificate": f"{DIRECTORY}/tls.crt",
            "key": f"{DIRECTORY}/tls.key",
            "minimumtls": "tls1.2",
        }
    return {
        "version": "0.1",
        # Every answer under /v2/ is logged all the same; the access log would add one line per readiness probe.
        "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": True}},
        # No cache of blob descriptors: two processes share the volume, during a rollout at the least, and neither would
        # hear what the other deletes.
        "storage": {"filesystem": {"rootdirectory": DATA_DIRECTORY}},
        "http": http,
        "health": {"storagedriver": {"enabled": True, "interval": "10s", "threshold": 3}},
    }
