"""The configuration of the registry process, as CNCF distribution 3.1 reads it.

The files are complete: nothing is left to an image's own file, whose defaults are a developer's. They are in a Secret,
because distribution takes what signs uploads from its file, or else from an environment that leaks more easily.
Each key is named by its content, so a pod never finds another configuration under the key that it was started with.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
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
"""In the Secret, what signs the state of an upload, so that another pod can go on with it."""
DIRECTORY = "/etc/private-registry"
CREDENTIALS_DIRECTORY = "/etc/private-registry-credentials"
DATA_DIRECTORY = "/var/lib/registry"

DRAIN_SECONDS = 60
"""How long requests that have begun may go on after SIGTERM; most are done at once."""


def files(registry: PrivateRegistry) -> dict[str, str]:
    """The key in the Secret of each file that the pod has, one for each of its processes."""
    return {name: _key(name, text) for name, text in _texts(registry).items()}


def configuration(registry: PrivateRegistry, signs: str, others: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The Secret with the configuration. `signs` is the value that signs uploads; `others` are files, by their keys and
    in base64, that pods of before still have.
    """
    made = {HTTP_SECRET_KEY: signs}
    for name, text in _texts(registry).items():
        # Those who only pull have no upload to go on with: their process makes up a value that signs nothing.
        made[_key(name, text)] = f"{text}  secret: {json.dumps(signs)}\n" if name == FILE else text
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in made.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(registry, names.configuration(registry.name)),
        "type": "Opaque",
        "data": {**(others or {}), **encoded},
    }


def _key(name: str, text: str) -> str:
    """The key of a file; what signs uploads has no part in it, so that a lost one is replaced without a rollout."""
    stem, _, extension = name.rpartition(".")
    return f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:10]}.{extension}"


def _texts(registry: PrivateRegistry) -> dict[str, str]:
    """Each file but for its last line, by the name that it has in the pod."""
    tls, delete_enabled = registry.certificate_secret is not None, registry.spec.storage.delete_enabled
    texts = {
        FILE: _text(tls=tls, delete_enabled=delete_enabled, asks=registry.doors.asks, read_only=registry.read_only)
    }
    if registry.doors.pulls:
        texts[PULLS_FILE] = _pulls_text(tls=tls, asks=registry.doors.pulls_ask)
    return texts


_READ_ONLY = {"uploadpurging": {"enabled": False}, "readonly": {"enabled": True}}
"""What answers 405 to a write, and keeps the purge from starting; the volume is mounted read-only as well."""


@cache
def _text(*, tls: bool, delete_enabled: bool, asks: bool, read_only: bool) -> str:
    """Kept, because there are a few of them and each plan of each registry begins with one."""
    purge = {"uploadpurging": {"enabled": True, "age": "168h", "interval": "24h", "dryrun": False}}
    storage = {"delete": {"enabled": delete_enabled}, "maintenance": _READ_ONLY if read_only else purge}
    return _dumped(storage, _auth(HTPASSWD, asks=asks), _http(names.PORT, names.DEBUG_PORT, tls=tls))


@cache
def _pulls_text(*, tls: bool, asks: bool) -> str:
    storage = {"maintenance": _READ_ONLY}
    http = _http(names.PULL_PORT, names.PULL_DEBUG_PORT, tls=tls)
    return _dumped(storage, _auth(PULLS_HTPASSWD, asks=asks), http)


def _auth(file: str, *, asks: bool) -> dict[str, Any]:
    # The file is read again when it has changed; without one, distribution would make up a user.
    path = f"{CREDENTIALS_DIRECTORY}/{file}"
    return {"auth": {"htpasswd": {"realm": "private registry", "path": path}}} if asks else {}


def _http(port: int, debug_port: int, *, tls: bool) -> dict[str, Any]:
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
    return http


def _dumped(storage: dict[str, Any], auth: dict[str, Any], http: dict[str, Any]) -> str:
    """What all processes have in common, and what is particular to one; `http` is last: its secret may follow."""
    settings = {
        "version": "0.1",
        # Every answer under /v2/ is logged all the same; the access log would add one line per readiness probe.
        "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": True}},
        # No cache of blob descriptors: two processes share the volume, during a rollout at the least, and neither would
        # hear what the other deletes.
        "storage": {"filesystem": {"rootdirectory": DATA_DIRECTORY}, **storage},
        "health": {"storagedriver": {"enabled": True, "interval": "10s", "threshold": 3}},
        **auth,
        "http": http,
    }
    return yaml.safe_dump(settings, sort_keys=False)
