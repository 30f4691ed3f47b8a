"""Which images of a registry the whole cluster uses, gathered page by page; of each page only those are kept."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

from private_registry.api import names
from private_registry.api.registry import PrivateRegistry
from private_registry.controller.registries.observe import load_balancer_hosts
from private_registry.data.images import Names, Object, Reference, Revisions, of_pod, of_template, templates
from private_registry.data.in_use import InUse
from private_registry.kube import kinds
from private_registry.kube.client import Kube
from private_registry.trust import entry as trust

WORKLOADS = (kinds.DEPLOYMENT, kinds.STATEFUL_SET, kinds.DAEMON_SET, kinds.CRON_JOB, kinds.JOB)
REVISIONS = (kinds.REPLICA_SET, kinds.CONTROLLER_REVISION)

_SCHEME_PORTS = {"https": 443, "http": 80}


class Usage:
    """Gathers for one registry at a time: it goes through the objects of a whole cluster."""

    def __init__(self, kube: Kube, cluster_domain: str) -> None:
        self._kube = kube
        self._cluster_domain = cluster_domain
        self._one = asyncio.Semaphore(1)

    async def of(self, registry: PrivateRegistry, service: Object | None, published: trust.Entry | None) -> InUse:
        """`published` is what nodes are told of the registry. Raises ApiError."""
        hosts = published.hosts if published else ()
        known = names_of(registry, service or {}, hosts, self._cluster_domain)
        async with self._one:
            taken = datetime.now(UTC)
            return InUse(taken.replace(microsecond=0), await images_in_use(self._kube, known))


def published(entry: Object | None) -> trust.Entry | None:
    """What nodes are told of a registry, by the ConfigMap that tells them, as far as it can be read."""
    try:
        return trust.parse(entry) if entry else None
    except trust.EntryInvalidError:
        return None


async def images_in_use(kube: Kube, of: Names) -> frozenset[Reference]:
    """Raises ApiError: half a list is none.

    What makes pods is looked at before the pods: what one of them makes in between is in one of both lists.
    """
    found, revisions = set[Reference](), Revisions()
    for kind in WORKLOADS:
        async for page in kube.pages(kind):
            for workload in page.items:
                for template in templates(workload):
                    found.update(of_template(template, of))
    for kind in REVISIONS:
        async for page in kube.pages(kind):
            for revision in page.items:
                revisions.add(revision, of)
    async for page in kube.pages(kinds.POD):
        for pod in page.items:
            found.update(of_pod(pod, of))
    return frozenset(found.union(revisions.used()))


def names_of(registry: PrivateRegistry, service: Object, published: Iterable[str], domain: str) -> Names:
    """What an image of this registry may have in front of its repository.

    `published` are the names that nodes are told, `domain` is the cluster's.
    """
    addresses = [f"[{ip}]" if ":" in ip else ip for ip in registry.status.cluster_ips]
    names_alone = [*addresses, f"{registry.name}.{registry.namespace}.svc.{domain}", *load_balancer_hosts(service)]
    hosts = {registry.host, *registry.hosts_in_pods, *published, *(f"{each}:{names.PORT}" for each in names_alone)}
    scheme = "http" if registry.certificate_secret is None else "https"
    # Without a port, and with the one that is meant then.
    hosts |= {f"{host}:{_SCHEME_PORTS[scheme]}" for host in hosts if ":" not in host}
    ports = (service.get("spec") or {}).get("ports") or []
    nodes = frozenset(port["nodePort"] for port in ports if port.get("nodePort"))
    return Names(frozenset(host.lower() for host in hosts), nodes)
