"""The look at the cluster with which each reconcile of a registry begins: its children as they are now."""

import asyncio
import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from private_registry.api import names
from private_registry.api.registry import PrivateRegistry
from private_registry.controller.registries.drift import is_ours
from private_registry.kube import kinds
from private_registry.kube.client import Kube
from private_registry.kube.kinds import Kind
from private_registry.registry.claim import is_to_grow
from private_registry.registry.configuration import HTTP_SECRET_KEY, files

Object = dict[str, Any]

CREDENTIALS = (names.credentials_secret, names.htpasswd_secret)
"""Names of the Secrets that are there while the registry asks for credentials."""


@dataclass(frozen=True)
class Observed:
    """One registry's objects by kind and name: its own, and whatever has the name of one."""

    objects: Mapping[tuple[str, str], Object] = field(default_factory=dict)
    pods: tuple[Object, ...] = ()
    replica_sets: tuple[Object, ...] = ()
    """Listed only while there are files of an earlier configuration, which is when they decide something."""
    storage_classes: tuple[Object, ...] = ()
    """Listed only while the claim is not bound, or is to grow."""
    claim_events: tuple[Object, ...] = ()
    """Likewise; oldest first."""

    def get(self, kind: Kind, name: str) -> Object | None:
        return self.objects.get((kind.kind, name))

    def ours(self, kind: Kind, uid: str) -> Iterator[Object]:
        """The objects of this kind that were made for the registry of this uid."""
        return (obj for (of, _), obj in self.objects.items() if of == kind.kind and is_ours(obj, uid))

    def with_written(self, obj: Object) -> "Observed":
        """As it is after this object was written."""
        if obj["kind"] == kinds.POD.kind:
            return replace(self, pods=(*self.pods, obj))
        return replace(self, objects={**self.objects, (obj["kind"], obj["metadata"]["name"]): obj})

    def without(self, obj: Object) -> "Observed":
        """As it is after this object was deleted."""
        if obj["kind"] == kinds.POD.kind:
            return replace(
                self, pods=tuple(pod for pod in self.pods if pod["metadata"]["uid"] != obj["metadata"]["uid"])
            )
        gone = (obj["kind"], obj["metadata"]["name"])
        return replace(self, objects={key: value for key, value in self.objects.items() if key != gone})


async def observe(kube: Kube, registry: PrivateRegistry, agents_namespace: str) -> Observed:
    """Read everything that the plan for this registry may depend on."""
    namespace, name = registry.namespace, registry.name
    wanted: list[tuple[Kind, str, str]] = [
        (kinds.SERVICE, namespace, name),
        (kinds.DEPLOYMENT, namespace, name),
        (kinds.CLAIM, namespace, registry.claim_name),
        (kinds.JOB, namespace, names.collection_job(name)),
        (kinds.SECRET, namespace, names.configuration(name)),
        (kinds.SECRET, namespace, names.certificate_secret(name)),
        (kinds.CONFIG_MAP, namespace, names.ca_config_map(name)),
        (kinds.CONFIG_MAP, agents_namespace, names.entry(namespace, name)),
    ]
    if brought := registry.spec.tls.secret_name:
        wanted.append((kinds.SECRET, namespace, brought))
    if registry.spec.retention:
        wanted.append((kinds.JOB, namespace, names.sweep(name)))
    if registry.has_pull_user or registry.status.pull_secret_name:
        wanted.append((kinds.SECRET, namespace, names.pull_secret(name)))
    if registry.authenticates or registry.status.credentials_secret_name:
        wanted += [(kinds.SECRET, namespace, secret(name)) for secret in CREDENTIALS]
        wanted += [(kinds.SECRET, namespace, user.secret_name) for user in registry.spec.auth.users]
    pods_of = f"{names.PART_OF}={names.MANAGER},{names.INSTANCE}={name}"
    found, pods = await asyncio.gather(
        asyncio.gather(*(kube.get(*each) for each in wanted)),
        kube.list(kinds.POD, namespace, labels=pods_of),
    )
    objects = {(obj["kind"], obj["metadata"]["name"]): obj for obj in found if obj}
    seen = Observed(objects=objects, pods=tuple(pods.items))
    return await _look_closer(kube, registry, seen)


async def _look_closer(kube: Kube, registry: PrivateRegistry, seen: Observed) -> Observed:
    if earlier_files(registry, seen):
        own = f"{names.PART_OF}={names.MANAGER},{names.INSTANCE}={registry.name}"
        replica_sets = await kube.list(kinds.REPLICA_SET, registry.namespace, labels=own)
        seen = replace(seen, replica_sets=tuple(replica_sets.items))
    if seen.get(kinds.JOB, names.collection_job(registry.name)):
        told = await kube.get(kinds.CONFIG_MAP, registry.namespace, names.in_use(registry.name))
        seen = seen.with_written(told) if told else seen
    claim = seen.get(kinds.CLAIM, registry.claim_name)
    if claim is None or (claim.get("status") or {}).get("phase") != "Bound" or is_to_grow(registry, claim):
        classes = await kube.list(kinds.STORAGE_CLASS)
        seen = replace(seen, storage_classes=tuple(classes.items))
    if claim is not None and (claim.get("status") or {}).get("phase") != "Bound":
        uid = claim["metadata"]["uid"]
        events = await kube.list(kinds.EVENT, registry.namespace, fields=f"involvedObject.uid={uid}")
        ordered = sorted(events.items, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
        seen = replace(seen, claim_events=tuple(ordered))
    return seen


def earlier_files(registry: PrivateRegistry, seen: Observed) -> dict[str, str]:
    """Files of the configuration that today's pods have no use for, by key: an older ReplicaSet may still mount one."""
    secret = seen.get(kinds.SECRET, names.configuration(registry.name)) or {}
    todays = {HTTP_SECRET_KEY, *files(registry).values()}
    return {key: value for key, value in (secret.get("data") or {}).items() if key not in todays}


def signs_uploads(configuration: Object | None) -> str:
    """The value that signs uploads, from the Secret that has it; empty where it has none that a file could hold."""
    try:
        return base64.b64decode(((configuration or {}).get("data") or {}).get(HTTP_SECRET_KEY) or "").decode("ascii")
    except ValueError:
        return ""


def cluster_ips(service: Object | None) -> tuple[str, ...]:
    """The addresses of a Service; none before the API server has given them."""
    return tuple(ip for ip in ((service or {}).get("spec") or {}).get("clusterIPs") or () if ip and ip != "None")


def load_balancer_hosts(service: Object | None) -> tuple[str, ...]:
    """Addresses and names under which a load balancer offers the Service, as its provider reports them."""
    ingress = (((service or {}).get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return tuple(each[key] for each in ingress for key in ("ip", "hostname") if each.get(key))


def has_pull_port(service: Object | None) -> bool:
    """Whether clients may be using the port for those who only pull."""
    return any(port["port"] == names.PULL_PORT for port in ((service or {}).get("spec") or {}).get("ports") or ())


def mounted_files(seen: Observed) -> set[str]:
    """Keys that are mounted by ReplicaSets that have pods or may get some."""
    return {
        item["key"]
        for replica_set in seen.replica_sets
        if replica_set["spec"].get("replicas") or (replica_set.get("status") or {}).get("replicas")
        for volume in replica_set["spec"]["template"]["spec"].get("volumes") or []
        for source in (volume.get("projected") or {}).get("sources") or []
        for item in (source.get("secret") or {}).get("items") or []
    }
