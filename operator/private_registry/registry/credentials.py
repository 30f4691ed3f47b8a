"""Where a registry's users are kept: as htpasswd for its pod, and as Secrets that people, builds and pods use."""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from private_registry.api import names
from private_registry.api.registry import PrivateRegistry
from private_registry.registry.configuration import HTPASSWD, PULLS_HTPASSWD
from private_registry.registry.metadata import copy_metadata, metadata

DOCKER_CONFIG = ".dockerconfigjson"
NEXT, NEXT_PULL = "next", "next-pull"
"""Keys of the htpasswd Secret: the credentials that are to replace the generated ones, once the registry knows them."""


@dataclass(frozen=True)
class Credential:
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Htpasswd:
    """What the operator keeps of a registry's users: bcrypt hashes by user name, and what is to come."""

    push: Mapping[str, str]
    """Who may do everything, on the registry's own port."""
    pull: Mapping[str, str] | None = None
    """Who may pull on the other one; None: it asks nobody, or there is none."""
    following: Credential | None = None
    following_pull: Credential | None = None


def credentials_secret(registry: PrivateRegistry, credential: Credential, hosts: Iterable[str]) -> dict[str, Any]:
    """The Secret to push with: for build tools, for people, and for a pod's imagePullSecrets.

    `hosts`: every name that a client may call the registry, with port.
    """
    return _login_secret(registry, names.credentials_secret(registry.name), credential, hosts)


def pull_secret(registry: PrivateRegistry, credential: Credential, hosts: Iterable[str]) -> dict[str, Any]:
    """The Secret to pull with, likewise, from which the copies in other namespaces are made."""
    return _login_secret(registry, names.pull_secret(registry.name), credential, hosts)


def _login_secret(registry: PrivateRegistry, name: str, credential: Credential, hosts: Iterable[str]) -> dict[str, Any]:
    login = f"{credential.username}:{credential.password}"
    auth = {"auth": base64.b64encode(login.encode()).decode()}
    config = json.dumps({"auths": dict.fromkeys(hosts, auth)}, sort_keys=True)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(registry, name),
        "type": "kubernetes.io/dockerconfigjson",
        "data": encoded({"username": credential.username, "password": credential.password, DOCKER_CONFIG: config}),
    }


def pull_secret_copy(registry: PrivateRegistry, namespace: str, docker_config: str) -> dict[str, Any]:
    """What the pods of another namespace pull with; `docker_config` as the Secret beside the registry has it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": copy_metadata(registry, names.pull_secret_copy(registry.namespace, registry.name), namespace),
        "type": "kubernetes.io/dockerconfigjson",
        "data": {DOCKER_CONFIG: docker_config},
    }


def htpasswd_secret(registry: PrivateRegistry, users: Htpasswd, annotations: Mapping[str, str]) -> dict[str, Any]:
    """The Secret that the pod mounts: who is let in, and what the operator has to remember of it."""
    data = {HTPASSWD: _lines(users.push)}
    if users.pull is not None:
        data[PULLS_HTPASSWD] = _lines(users.pull)
    for key, following in ((NEXT, users.following), (NEXT_PULL, users.following_pull)):
        if following:
            data[key] = json.dumps([following.username, following.password])
    about = metadata(registry, names.htpasswd_secret(registry.name))
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": about | {"annotations": dict(annotations)} if annotations else about,
        "type": "Opaque",
        "data": encoded(data),
    }


def _lines(hashes: Mapping[str, str]) -> str:
    return "".join(f"{username}:{hashed}\n" for username, hashed in sorted(hashes.items()))


def encoded(texts: Mapping[str, str]) -> dict[str, str]:
    """Of a Secret's data."""
    return {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
