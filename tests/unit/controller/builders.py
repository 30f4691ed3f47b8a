"""What the controller's tests are made of: registries, and objects as the API server gives them.

Each builder has defaults that a healthy cluster would have; a test names only what it is about.
"""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from itertools import count
from typing import Any

import bcrypt
from cryptography.hazmat.primitives.asymmetric import ec

from private_registry import pki
from private_registry.api import names
from private_registry.api.hosts import Rules
from private_registry.api.registry import PrivateRegistry, RegistryStatus, parse
from private_registry.controller.facts import Facts
from private_registry.controller.registries.certificate import Chance
from private_registry.controller.settings import Settings
from private_registry.controller.world import World
from private_registry.registry.image_proof import COMPONENT as IMAGE_PROOF
from tests.certificates import a_certificate

Object = dict[str, Any]

NOW = datetime(2026, 1, 3, 12, tzinfo=UTC)
UID = "5e1f0c1e-0000-4000-8000-000000000001"
ADDRESS = "10.96.12.34"
SETTINGS = Settings(Rules(service_ranges=(ip_network("10.96.0.0/16"),), allowed_hosts=("*.example.com:5000",)))
IMAGE = SETTINGS.registry_image


def a_key(number: int) -> ec.EllipticCurvePrivateKey:
    """The same key for the same number."""
    return ec.derive_private_key(number, ec.SECP256R1())


AUTHORITY = pki.create_authority(a_key(1), serial=1, now=NOW - timedelta(days=1))
SALT = b"$2b$04$" + b"a" * 21 + b"u"
"""Of a hash that is made in no time."""
LOADED_DICE = Chance(key=lambda: a_key(2), serial=lambda: 2, token=lambda: "a token", salt=lambda: SALT)
"""Chance that gives the same each time, so that two ends can be compared."""


_NUMBERS = count(100)
CHANCE = Chance(
    key=lambda: a_key(next(_NUMBERS)),
    serial=lambda: next(_NUMBERS),
    token=lambda: f"token {next(_NUMBERS)}",
    salt=lambda: bcrypt.gensalt(rounds=4),
)
"""Chance that never gives the same twice."""


def at(seconds: float) -> str:
    """The time so many seconds before NOW, as the API server writes it."""
    return f"{NOW - timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


def a_body(
    spec: Object | None = None,
    *,
    name: str = "team",
    namespace: str = "registries",
    created: str = "2026-01-02T03:04:05Z",
    generation: int = 1,
    status: RegistryStatus | None = None,
) -> Object:
    """A PrivateRegistry as the API server gives it."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": "PrivateRegistry",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": UID,
            "generation": generation,
            "creationTimestamp": created,
            "resourceVersion": "1",
        },
        "spec": spec or {},
        "status": (status or RegistryStatus()).model_dump(mode="json", by_alias=True),
    }


def a_registry(spec: Object | None = None, **metadata: Any) -> PrivateRegistry:
    """The same, as the operator reads it."""
    return parse(a_body(spec, **metadata))


def facts(**others: Any) -> Facts:
    """What a plan is made from beside the objects: a CA, and nothing in the way."""
    usual = Facts(
        settings=SETTINGS,
        now=NOW,
        chance=LOADED_DICE,
        authority=AUTHORITY,
        ca_bundle=AUTHORITY.cert_pem,
        serves=True,
    )
    return replace(usual, **others)


def labels(**others: str) -> dict[str, str]:
    return {**names.labels("team", UID), **others}


def a_claim(phase: str = "Bound", *, name: str = "team-data", storage_class: str | None = "standard") -> Object:
    """A claim of 20Gi; without storage class as it is where there is no default one."""
    spec: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}}
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    status = {"phase": phase} | ({"capacity": {"storage": "20Gi"}} if phase == "Bound" else {})
    metadata = {"name": name, "namespace": "registries", "labels": labels()}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec, "status": status}


def a_brought_secret(
    name: str = "brought",
    *,
    hosts: tuple[str, ...] = ("team.registries.svc", ADDRESS),
    authority: pki.Authority = AUTHORITY,
) -> Object:
    """What a user brings who has a certificate for these names and addresses."""
    pair = a_certificate(hosts, authority, now=NOW)
    parts = {"tls.crt": pair.cert_pem, "tls.key": pair.key_pem, "ca.crt": pair.ca_pem}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "registries"},
        "data": {key: base64.b64encode(pem.encode()).decode() for key, pem in parts.items()},
    }


def a_storage_class(name: str = "standard", mode: str = "Immediate") -> Object:
    return {"metadata": {"name": name}, "volumeBindingMode": mode}


def a_service(address: str = ADDRESS) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "team", "namespace": "registries", "labels": labels()},
        "spec": {"clusterIP": address, "clusterIPs": [address]},
    }


def a_deployment(
    *,
    template: str = "new",
    updated: int = 1,
    replicas: int = 1,
    available: int = 1,
    strategy: str = "RollingUpdate",
    rolled_out_for: str = "spec",
    conditions: tuple[Object, ...] = (),
) -> Object:
    """A Deployment whose rollout is complete."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "team",
            "namespace": "registries",
            "generation": 2,
            "labels": labels(),
            "annotations": {names.TEMPLATE: template, names.ROLLED_OUT_FOR: rolled_out_for},
        },
        "spec": {
            "replicas": 1,
            "strategy": {"type": strategy},
            "template": {"metadata": {"annotations": {names.TEMPLATE: template}}},
        },
        "status": {
            "observedGeneration": 2,
            "updatedReplicas": updated,
            "replicas": replicas,
            "availableReplicas": available,
            "conditions": list(conditions),
        },
    }


def a_condition(kind: str, status: str = "True", *, since: float = 3600, message: str = "") -> Object:
    """A condition of a pod, node or Deployment that is as it is for so many seconds."""
    return {"type": kind, "status": status, "lastTransitionTime": at(since), "message": message}


def a_pod(
    *,
    template: str = "new",
    node: str = "worker",
    ready: bool = True,
    scheduled: float = 3600,
    state: Object | None = None,
    last_state: Object | None = None,
) -> Object:
    """A pod of the registry; `state` is its container's, `scheduled` for how many seconds its node is known."""
    # The runtime has another name for the same image.
    container = {
        "name": "registry",
        "image": "docker.io/library/registry:other-tag",
        "state": state or {"running": {}},
        "lastState": last_state or {},
    }
    conditions = [a_condition("Ready", str(ready)), a_condition("PodScheduled", since=scheduled)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"team-{template}-{node}",
            "namespace": "registries",
            "uid": f"{template}-{node}",
            "labels": labels(),
            "annotations": {names.TEMPLATE: template},
        },
        "spec": {"nodeName": node, "containers": [{"name": "registry", "image": IMAGE}]},
        "status": {"containerStatuses": [container], "conditions": conditions},
    }


def an_unschedulable_pod(*, since: float = 3600) -> Object:
    """A pod that fits on no node."""
    pod = a_pod(ready=False)
    del pod["spec"]["nodeName"]
    pod["status"] = {
        "conditions": [a_condition("PodScheduled", "False", since=since, message="0/3 nodes are available")]
    }
    return pod


def waiting(reason: str, message: str = "") -> Object:
    """State of a container that has not started."""
    return {"waiting": {"reason": reason, "message": message}}


CREATING = waiting("ContainerCreating")


def a_proof_pod(phase: str, *, node: str = "other", state: Object | None = None) -> Object:
    """A pod that proves the image on a node."""
    pod = a_pod(template="proof", node=node, state=state)
    pod["metadata"]["labels"][names.COMPONENT] = IMAGE_PROOF
    pod["status"]["phase"] = phase
    return pod


def a_node(
    name: str = "worker", *, age: float = 3600, ready: bool = True, system: str = "linux", **node_labels: str
) -> Object:
    """A node of that age in seconds."""
    return {
        "metadata": {
            "name": name,
            "uid": f"uid of {name}",
            "creationTimestamp": at(age),
            "labels": {"kubernetes.io/os": system, **node_labels},
        },
        "status": {"conditions": [a_condition("Ready", str(ready))]},
    }


def a_row(*, trusted: bool = True, reason: str = "Trusted", message: str = "", entry_hash: str = "hash") -> Object:
    """What an agent reports of the registry `registries/team`."""
    return {
        "registry": "registries/team",
        "entryHash": entry_hash,
        "trusted": trusted,
        "reason": reason,
        "message": message,
    }


def an_agent_pod(node: str = "worker", *, ready: bool = True) -> Object:
    return {
        "metadata": {"name": f"agent-{node}", "namespace": names.AGENTS_NAMESPACE},
        "spec": {"nodeName": node},
        "status": {"conditions": [a_condition("Ready", str(ready))]},
    }


def a_world(*nodes: Object, rows: dict[str, Object] | None = None, agents: tuple[Object, ...] | None = None) -> World:
    """A world with these nodes; each has a ready agent that trusts the registry unless told otherwise."""
    by_name = {node["metadata"]["name"]: node for node in nodes}
    reported = {name: a_row() for name in by_name} if rows is None else rows
    pods = tuple(an_agent_pod(name) for name in by_name) if agents is None else agents
    return World(
        nodes=by_name,
        node_trusts={
            name: {"metadata": {"name": name}, "status": {"registries": [row]}} for name, row in reported.items()
        },
        agent_pods={pod["metadata"]["name"]: pod for pod in pods},
    )
