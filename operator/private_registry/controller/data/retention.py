"""The retention loop: when a sweep is due, it is told what is in use, started, followed, and its list brought back.

It writes what belongs to sweeps and `status.retention`, and no other loop does.
"""

import asyncio
import base64
import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
from yarl import URL

from private_registry.api import names
from private_registry.api.conditions import Type, find
from private_registry.api.registry import PrivateRegistry, SpecInvalidError, parse
from private_registry.api.retention import RetentionStatus
from private_registry.controller import events, metrics
from private_registry.controller.data import sweeps, usage
from private_registry.controller.data.sweeps import TIME, Begin, Blocked, Conclude, Follow, Forget, Rest
from private_registry.controller.data.usage import Usage
from private_registry.controller.engine import Next
from private_registry.controller.registries.drift import drifted, is_ours, stamped
from private_registry.controller.settings import Settings
from private_registry.data.in_use import ListInvalidError
from private_registry.data.orders import LIST, Orders, Result, cut, list_key
from private_registry.data.schedule import ScheduleInvalidError
from private_registry.distribution import Registry
from private_registry.kube import kinds
from private_registry.kube.client import ApiError, Kube
from private_registry.kube.kinds import PRIVATE_REGISTRY
from private_registry.registry.sweep import COMPONENT, orders_config_map, report_config_map, sweep_job
from private_registry.trust import entry as trust

Object = dict[str, Any]

logger = logging.getLogger(__name__)

RENEW = 60.0
"""Seconds after which a sweep that is under way gets a new list of what is in use."""
LOOK = 2.0
"""Seconds between two looks at a sweep: nothing tells of Jobs."""
AGAIN = 10.0
"""Seconds until a registry that does not serve yet, or has something in its way, is looked at again."""
_DEADLINE = aiohttp.ClientTimeout(total=10, sock_connect=2)


class RetentionLoop:
    """Sees to the sweeps of one registry at a time, by its key."""

    def __init__(self, kube: Kube, settings: Settings, usage: Usage) -> None:
        self._kube = kube
        self._settings = settings
        self._usage = usage
        self._ordered: dict[str, tuple[float, int]] = {}
        """By uid of a Job: when its orders were made last, by the loop's clock, and for which spec."""

    async def reconcile(self, key: str) -> Next:
        namespace, _, name = key.partition("/")
        body = await self._kube.get(PRIVATE_REGISTRY, namespace, name)
        if body is None:
            return Next(done=True)
        try:
            registry = parse(body)
        except SpecInvalidError:
            return Next()  # The registry loop says what is wrong; nothing is deleted by what cannot be read.
        if registry.spec.retention is None and registry.status.retention == RetentionStatus():
            return Next(done=True)
        return await self._step(registry)

    async def _step(self, registry: PrivateRegistry) -> Next:
        now = datetime.now(UTC)
        try:
            status = sweeps.scheduled(registry, now)
        except ScheduleInvalidError as error:
            return await self._blocked(registry, str(error))
        job = await self._kube.get(kinds.JOB, registry.namespace, names.sweep(registry.name))
        match sweeps.step(registry, status, job, now):
            case Forget():
                return await self._forget(registry, job)
            case Conclude(ended):
                await self._conclude(registry, status, ended)
                return Next(after=0)
            case Follow(under_way):
                await self._say(registry, status)
                return await self._follow(registry, under_way)
            case Begin(replaced):
                return await self._begin(registry, status, replaced)
            case Blocked(why):
                return await self._blocked(registry, why)
            case Rest(until):
                await self._say(registry, status)
                return Next(after=max(0.0, (until - now).total_seconds()) if until else math.inf)

    async def _begin(self, registry: PrivateRegistry, status: RetentionStatus, replaced: Object | None) -> Next:
        if not self._settings.image:
            return await self._blocked(registry, "the operator does not know its own image: give it --image")
        if not self._is_served(registry):
            return Next(after=AGAIN)
        if replaced is not None:
            await self._delete(replaced)
            return Next(after=0)
        began = datetime.now(UTC)
        if began.strftime(TIME) == status.last_run:
            return Next(after=1)  # Runs are told apart by the second in which they began.
        try:
            published = await self._published(registry)
            await self._order(registry, published)
            ca = await self._kube.get(kinds.CONFIG_MAP, registry.namespace, names.ca_config_map(registry.name))
            target = self._target(registry, published)
            wanted = sweep_job(
                registry,
                image=self._settings.image,
                url=target.url,
                server_name=target.server_name,
                has_ca=ca is not None and registry.certificate_secret is not None,
            )
            metrics.WRITES.labels("create", kinds.JOB.kind).inc()
            job = await self._kube.create(wanted)
        except ListInvalidError as error:
            await self._failed(registry, status, str(error), began)
            return Next(after=0)
        except ApiError as error:
            if error.status not in (403, 422):
                raise
            await self._failed(registry, status, f"the API server refuses a part of the sweep: {error.message}", began)
            return Next(after=0)
        self._ordered[job["metadata"]["uid"]] = asyncio.get_running_loop().time(), registry.generation
        return Next(after=LOOK)

    @staticmethod
    def _is_served(registry: PrivateRegistry) -> bool:
        """Whether it answers, and takes deletions where there may be some."""
        available = find(registry.status.conditions, Type.AVAILABLE)
        read_only = find(registry.status.conditions, Type.READ_ONLY)
        enforced = registry.spec.retention is not None and registry.spec.retention.mode == "Enforce"
        return available is not None and available.status == "True" and not (enforced and read_only)

    async def _follow(self, registry: PrivateRegistry, job: Object) -> Next:
        uid, now = job["metadata"]["uid"], asyncio.get_running_loop().time()
        before = self._ordered.get(uid)
        if before is None or now - before[0] >= RENEW or before[1] != registry.generation:
            try:
                await self._order(registry, await self._published(registry))
            except ListInvalidError as error:
                # The sweep stops by itself once its list is old.
                logger.warning("a sweep gets no new list", extra={"key": registry.key, "error": str(error)})
            self._ordered[uid] = now, registry.generation
        if not await self._has_list(registry, uid) and (text := await self._list_of(registry, job)) is not None:
            await self._keep_list(registry, cut(text.splitlines()), uid)
        return Next(after=LOOK)

    async def _conclude(self, registry: PrivateRegistry, status: RetentionStatus, job: Object) -> None:
        result = sweeps.result_of(job, await self._pods_of(registry, job))
        metadata = job["metadata"]
        asked = (metadata.get("annotations") or {}).get(names.SWEEP, "")
        if not await self._has_list(registry, metadata["uid"]):
            text = (
                f"nobody fetched the list of this sweep: kubectl logs -n {registry.namespace} job/{metadata['name']}\n"
            )
            problem = await self._keep_list(registry, text, metadata["uid"])
            result = replace(result, message=result.message or problem)
        await self._tell(registry, status, result, metadata["creationTimestamp"], asked)
        self._ordered.pop(metadata["uid"], None)

    async def _failed(self, registry: PrivateRegistry, status: RetentionStatus, message: str, began: datetime) -> None:
        await self._tell(registry, status, Result("Failed", message=message), began.strftime(TIME), registry.sweep)

    async def _tell(
        self, registry: PrivateRegistry, status: RetentionStatus, result: Result, began: str, asked: str
    ) -> None:
        """The status first: an event that is lost is told by it, one that is told twice is not."""
        spec = registry.spec.retention
        after = sweeps.concluded(status, spec.mode if spec else "", result, began=began, asked=asked)
        await self._say(registry, after)
        counts = f"{result.kept} tags stay, {result.would_delete} would go, {result.deleted} are gone"
        text = f"{result.message}; {counts}" if result.message else f"{counts}: see the ConfigMap "
        text += "" if result.message else names.retention(registry.name)
        failed = result.result != "Succeeded"
        events.post(events.about(registry), reason="SweepFailed" if failed else "Swept", message=text, warning=failed)

    async def _blocked(self, registry: PrivateRegistry, why: str) -> Next:
        """Said in the status as long as it is so, and tried again."""
        blocked = {"result": sweeps.BLOCKED, "message": why[:1024]}
        await self._say(registry, registry.status.retention.model_copy(update=blocked))
        return Next(after=AGAIN)

    async def _forget(self, registry: PrivateRegistry, job: Object | None) -> Next:
        """The status last: it remembers that there may be something."""
        if job is not None and is_ours(job, registry.uid):
            await self._delete(job)
        if registry.deleting:
            return Next(done=True)  # What else there is goes with its owner.
        for name in (names.images(registry.name), names.retention(registry.name)):
            found = await self._kube.get(kinds.CONFIG_MAP, registry.namespace, name)
            if found is not None and is_ours(found, registry.uid):
                await self._delete(found)
        await self._patch_status(registry, None)
        return Next(done=True)

    async def _order(self, registry: PrivateRegistry, published: trust.Entry | None) -> None:
        """Raises ApiError, ListInvalidError."""
        spec = registry.spec.retention
        if spec is None:
            return
        service = await self._kube.get(kinds.SERVICE, registry.namespace, registry.name)
        orders = Orders(spec.mode, spec.rules, await self._usage.of(registry, service, published))
        await self._write(registry, orders_config_map(registry, orders.text()))

    async def _write(self, registry: PrivateRegistry, desired: Object) -> None:
        """Raises ListInvalidError where the name is somebody else's."""
        desired = stamped(desired)
        name = desired["metadata"]["name"]
        live = await self._kube.get(kinds.CONFIG_MAP, registry.namespace, name)
        if live is None:
            metrics.WRITES.labels("create", kinds.CONFIG_MAP.kind).inc()
            await self._kube.create(desired)
        elif not is_ours(live, registry.uid):
            raise ListInvalidError(f"there is a ConfigMap {name} that is not this registry's: rename or delete it")
        elif drifted(desired, live):
            metrics.WRITES.labels("apply", kinds.CONFIG_MAP.kind).inc()
            await self._kube.apply(desired, live)

    async def _published(self, registry: PrivateRegistry) -> trust.Entry | None:
        """What nodes are told of the registry, as far as they are told anything."""
        name = names.entry(registry.namespace, registry.name)
        return usage.published(await self._kube.get(kinds.CONFIG_MAP, self._settings.agents_namespace, name))

    def _target(self, registry: PrivateRegistry, published: trust.Entry | None) -> Registry:
        """Where the sweep finds the registry, without CA and credential."""
        if registry.certificate_secret is None:
            return Registry(registry.status.cluster_ips[0], names.PORT, "http")
        name = published.server_name if published else ""
        if not published and registry.spec.tls.mode == "Secret":
            name = registry.host.partition(":")[0]
        return Registry(registry.status.cluster_ips[0], names.PORT, "https", server_name=name)

    async def _keep_list(self, registry: PrivateRegistry, text: str, job_uid: str) -> str:
        """What is in the way of it; a sweep has ended all the same."""
        try:
            await self._write(registry, report_config_map(registry, text, job_uid))
        except ListInvalidError as error:
            return str(error)
        except ApiError as error:
            if error.status not in (403, 422):
                raise
            return f"the API server refuses the list: {error.message}"
        return ""

    async def _has_list(self, registry: PrivateRegistry, job_uid: str) -> bool:
        found = await self._kube.get(kinds.CONFIG_MAP, registry.namespace, names.retention(registry.name))
        return ((found or {}).get("metadata", {}).get("annotations") or {}).get(names.SWEPT_BY) == job_uid

    async def _list_of(self, registry: PrivateRegistry, job: Object) -> str | None:
        """The list, once its pod has made it; it waits a minute for this."""
        for pod in await self._pods_of(registry, job):
            status = pod.get("status") or {}
            if status.get("phase") == "Running" and (ip := status.get("podIP")):
                headers = {}
                if registry.authenticates:
                    headers["Authorization"] = f"Bearer {await self._key(registry)}"
                url = URL.build(scheme="http", host=ip, port=names.SWEEP_PORT, path=LIST)
                try:
                    async with (
                        aiohttp.ClientSession(timeout=_DEADLINE) as session,
                        session.get(url, headers=headers, allow_redirects=False) as answer,
                    ):
                        return await answer.text() if answer.status == 200 else None
                except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError) as error:
                    logger.debug("no list yet", extra={"key": registry.key, "error": str(error)})
        return None

    async def _key(self, registry: PrivateRegistry) -> str:
        secret = await self._kube.get(kinds.SECRET, registry.namespace, names.credentials_secret(registry.name))
        return list_key(base64.b64decode(((secret or {}).get("data") or {}).get("password", "")).decode())

    async def _pods_of(self, registry: PrivateRegistry, job: Object) -> list[Object]:
        labels = f"{names.INSTANCE}={registry.name},{names.COMPONENT}={COMPONENT}"
        pods = await self._kube.list(kinds.POD, registry.namespace, labels=labels)
        uid = job["metadata"]["uid"]
        return [
            pod
            for pod in pods.items
            if any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences") or ())
        ]

    async def _delete(self, live: Object) -> None:
        metrics.WRITES.labels("delete", live["kind"]).inc()
        await self._kube.delete(live)

    async def _say(self, registry: PrivateRegistry, status: RetentionStatus) -> None:
        if status != registry.status.retention:
            await self._patch_status(registry, status.model_dump(mode="json", by_alias=True))

    async def _patch_status(self, registry: PrivateRegistry, status: Mapping[str, Any] | None) -> None:
        metrics.WRITES.labels("status", PRIVATE_REGISTRY.kind).inc()
        body = {"metadata": {"uid": registry.uid}, "status": {"retention": status}}
        await self._kube.merge(PRIVATE_REGISTRY, registry.namespace, registry.name, body, subresource="status")
