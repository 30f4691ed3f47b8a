"""The operator's process: lead, read the CA, reconcile until told to stop."""

import asyncio
import logging
import secrets
import signal
import socket
from collections.abc import Coroutine
from dataclasses import replace
from ipaddress import ip_network
from typing import Any, cast

import bcrypt
import kopf
from cryptography.hazmat.primitives.asymmetric import ec

from private_registry.controller import handlers, metrics
from private_registry.controller.copies.loop import CopiesLoop
from private_registry.controller.data.retention import RetentionLoop
from private_registry.controller.data.usage import Usage
from private_registry.controller.engine import Engine
from private_registry.controller.fleet import loop as fleet_room
from private_registry.controller.fleet.loop import Fleet
from private_registry.controller.registries.certificate import Chance
from private_registry.controller.registries.loop import RegistryLoop
from private_registry.controller.settings import Settings
from private_registry.controller.status_server import StatusServer
from private_registry.controller.world import look
from private_registry.kube import kinds
from private_registry.kube.client import ApiError, Kube, NotFoundError
from private_registry.kube.lease import Lease
from private_registry.kube.login import Credentials

logger = logging.getLogger(__name__)

OLDEST = (1, 30)
"""Kubernetes: admission policies, node names in tokens and the preStop sleep are there from this version on."""
LEASE = "private-registry-operator"

ROUNDS = 10
"""The cost of a hash in htpasswd, as a power of two: whoever logs in waits for it with each request."""


class UnsupportedClusterError(Exception):
    """This cluster cannot be served; the message says why and what to do."""


CHANCE = Chance(
    key=lambda: ec.generate_private_key(ec.SECP256R1()),
    serial=lambda: secrets.randbits(127) + 1,
    token=lambda: secrets.token_hex(32),
    salt=lambda: bcrypt.gensalt(rounds=ROUNDS),
)


async def run(credentials: Credentials, settings: Settings, *, identity: str, health_port: int) -> None:
    """Run until SIGTERM or SIGINT.

    Raises UnsupportedClusterError, LeadershipLostError, and whatever ends a watch for good: the process is to end then,
    and to be started anew.
    """
    stop = asyncio.Event()
    _stop_at_signals(stop)
    async with Kube(credentials) as kube, StatusServer(health_port) as status:
        settings = await _look_around(kube, settings)
        lease = Lease(kube, settings.namespace, LEASE, identity)
        if not await _before(stop, lease.acquire()):
            return
        metrics.LEADER.set(1)
        try:
            await _lead(credentials, kube, settings, lease, identity, stop, status)
        finally:
            metrics.LEADER.set(0)
        await lease.release()


async def _look_around(kube: Kube, settings: Settings) -> Settings:
    """Check the cluster, and find what was not given: the Service range, and the image that this program is from."""
    version = await kube.server_version()
    if version < OLDEST:
        found, oldest = (".".join(map(str, each)) for each in (version, OLDEST))
        raise UnsupportedClusterError(f"this is Kubernetes {found}; the operator needs {oldest} or newer")
    try:
        await kube.list(kinds.PRIVATE_REGISTRY)
        await kube.list(kinds.NODE_TRUST)
    except NotFoundError:
        raise UnsupportedClusterError(
            "the CustomResourceDefinitions are missing: kubectl apply -k manifests, or apply install.yaml"
        ) from None
    settings = replace(settings, image=settings.image or await _own_image(kube, settings.namespace))
    if settings.rules.service_ranges:
        return settings
    try:
        found_ranges = (await kube.list(kinds.SERVICE_CIDR)).items
    except ApiError as error:
        logger.warning("the Service range is not known: set --service-cidr", extra={"error": str(error)})
        return settings
    ranges = tuple(ip_network(cidr) for obj in found_ranges for cidr in obj["spec"]["cidrs"])
    return replace(settings, rules=replace(settings.rules, service_ranges=ranges))


async def _own_image(kube: Kube, namespace: str) -> str:
    """The image of the pod that this is, whose host name is its name; empty where this is none.

    Raises ApiError: without an answer nothing may be decided, because pods without the image would differ from those
    with it, and every registry would be rolled out.
    """
    pods = await kube.list(kinds.POD, namespace, fields=f"metadata.name={socket.gethostname()}")
    image = next((str(pod["spec"]["containers"][0]["image"]) for pod in pods.items), "")
    if not image:
        logger.warning("not in a pod: without --image nothing runs beside the registries' data")
    return image


async def _lead(
    credentials: Credentials,
    kube: Kube,
    settings: Settings,
    lease: Lease,
    identity: str,
    stop: asyncio.Event,
    status: StatusServer,
) -> None:
    """Reconcile while the Lease is held."""
    world = await look(kube, settings.agents_namespace)
    fleet = Fleet(kube, world, settings, CHANCE, lambda: registries.wake_all(world.keys()))
    await fleet.prepare()
    fleet_engine, copies = Engine("fleet", fleet.reconcile), Engine("copies", CopiesLoop(kube, world).reconcile)
    usage = Usage(kube, settings.rules.cluster_domain)
    loop = RegistryLoop(kube, world, settings, CHANCE, lambda: fleet.authorities, copies.wake, usage)
    registries = Engine("registry", loop.reconcile)
    retention = Engine("retention", RetentionLoop(kube, settings, usage).reconcile)
    watches = handlers.Watches(world, registries, fleet_engine, copies, retention, settings)
    registry = handlers.register(watches, credentials)

    @kopf.on.startup(registry=registry)
    async def started(**_: object) -> None:
        fleet_engine.wake(fleet_room.KEY)
        status.ready = True

    ours = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=handlers.settings(),
        clusterwide=True,
        standalone=True,
        # Not left to kopf, which asks for the user's name: in a pod the user is a number without one.
        identity=cast("Any", identity),
    )
    # Again: kopf has taken the signals for itself, and would end before the engines do.
    _stop_at_signals(stop)
    operator = asyncio.create_task(kopf.run_tasks(tasks, ignored=ours), name="kopf")
    keeper = asyncio.create_task(lease.keep(), name="lease")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        done, _ = await asyncio.wait({operator, keeper, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        status.ready = False
        # The engines first: nothing is written any more once somebody else may lead.
        await registries.stop()
        await copies.stop()
        await retention.stop()
        await fleet_engine.stop()
        keeper.cancel()
        stopping.cancel()
        # Told to stop, kopf would wait five seconds for every task there is; nothing of it is worth that.
        operator.cancel()
        await asyncio.wait({operator}, timeout=10)
    for task in done:
        if task is not stopping:
            task.result()
            raise RuntimeError(f"{task.get_name()} ended by itself")


def _stop_at_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _before(stop: asyncio.Event, waiting: Coroutine[Any, Any, None]) -> bool:
    """Wait for something unless told to stop; False when told."""
    task = asyncio.create_task(waiting)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not task.done():
        task.cancel()
        return False
    task.result()
    return True
