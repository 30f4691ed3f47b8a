"""Where a registry's users are kept: as htpasswd for its pod, and as a Secret that people and builds log in with."""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from private_registry.api import names
from private_registry.api.registry import PrivateRegistry
from private_registry.registry.configuration import HTPASSWD
from private_registry.registry.metadata import metadata

DOCKER_CONFIG = ".dockerconfigjson"
NEXT = "next"
"""Key of the htpasswd Secret: the credential that is to replace the generated one, once the registry knows it."""


@dataclass(frozen=True)
class Credential:
    username: str
    password: str = field(repr=False)


def credentials_secret(registry: PrivateRegistry, credential: Credential, hosts: Iterable[str]) -> dict[str, Any]:
    """The Secret to push with: for a pod's imagePullSecrets and build tools, and for people.

    `hosts`: every name that a client may call the registry, with port.
    """
    login = f"{credential.username}:{credential.password}"
    auth = {"auth": base64.b64encode(login.encode()).decode()}
    config = json.dumps({"auths": dict.fromkeys(hosts, auth)}, sort_keys=True)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(registry, names.credentials_secret(registry.name)),
        "type": "kubernetes.io/dockerconfigjson",
        "data": encoded({"username": credential.username, "password": credential.password, DOCKER_CONFIG: config}),
    }


def htpasswd_secret(
    registry: PrivateRegistry, hashes: Mapping[str, str], following: Credential | None, annotations: Mapping[str, str]
) -> dict[str, Any]:
    """The Secret that the pod mounts: a bcrypt hash for each user name, and what the operator has to remember of it."""
    data = {HTPASSWD: "".join(f"{username}:{hashed}\n" for username, hashed in sorted(hashes.items()))}
    if following:
        data[NEXT] = json.dumps([following.username, following.password])
    about = metadata(registry, names.htpasswd_secret(registry.name))
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": about | {"annotations": dict(annotations)} if annotations else about,
        "type": "Opaque",
        "data": encoded(data),
    }


def encoded(texts: Mapping[str, str]) -> dict[str, str]:
    """Of a Secret's data."""
    return {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
