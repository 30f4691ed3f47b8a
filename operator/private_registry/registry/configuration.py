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
HTTP_SECRET_KEY = "http-secret"  # noqa: S105
DIRECTORY = "/etc/private-registry"
DATA_DIRECTORY = "/var/lib/registry"

DRAIN_SECONDS = 60
"""How long requests that have begun may go on after SIGTERM; most are done at once."""


def configuration(registry: PrivateRegistry) -> dict[str, Any]:
    """The ConfigMap with the configuration file."""
    text = _text(tls=registry.certificate_secret is not None, delete_enabled=registry.spec.storage.delete_enabled)
    content_hash = hashlib.sha256(text.encode()).hexdigest()[:10]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(registry, names.configuration(registry.name, content_hash)),
        "immutable": True,
        "data": {FILE: text},
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
def _text(*, tls: bool, delete_enabled: bool) -> str:
    """Kept, because there are four of them and each plan of each registry begins with one."""
    return yaml.safe_dump(_settings(tls=tls, delete_enabled=delete_enabled), sort_keys=False)


def _settings(*, tls: bool, delete_enabled: bool) -> dict[str, Any]:
    http: dict[str, Any] = {
        "addr": f":{names.PORT}",
        # A client comes under several names, through a port-forward or a gateway: only it knows which.
        "relativeurls": True,
        "draintimeout": f"{DRAIN_SECONDS}s",
        "debug": {"addr": f":{names.DEBUG_PORT}", "prometheus": {"enabled": True, "path": "/metrics"}},
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
        # No cache of blob descriptors: during a rollout two processes share the volume, and neither would hear what
        # the other deletes.
        "storage": {
            "filesystem": {"rootdirectory": DATA_DIRECTORY},
            "delete": {"enabled": delete_enabled},
            "maintenance": {
                "uploadpurging": {"enabled": True, "age": "168h", "interval": "24h", "dryrun": False},
            },
        },
        "http": http,
        "health": {"storagedriver": {"enabled": True, "interval": "10s", "threshold": 3}},
    }
