"""A test's own namespace in a cluster with two nodes, and everything there that makes registries run."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from private_registry.api import names
from private_registry.api.conditions import Condition, Type, find
from private_registry.api.registry import PrivateRegistry, parse
from private_registry.distribution import Registry
from private_registry.kube import kinds
from private_registry.kube.client import Kube, NotFoundError
from private_registry.kube.kinds import Kind
from tests.cluster.processes import ControlPlane
from tests.integration import container
from tests.integration.operator.parts.agents import Agents
from tests.integration.operator.parts.kubelet import Kubelet
from tests.integration.operator.parts.mirror import Mirror
from tests.integration.operator.parts.process import Operator
from tests.integration.operator.parts.proxy import Proxy
from tests.integration.operator.parts.volumes import Provisioner
from tests.waiting import aeventually

Object = dict[str, Any]
T = TypeVar("T")

NODES: Final = ("node-a", "node-b")
READY: Final = {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}}
SILENT: Final = {"status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]}}
REFUSED: Final = " (refused)"
MUTATING: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})
PATIENCE: Final = 30.0
"""Seconds that whatever is to happen has, on a machine with other things to do."""

_number = itertools.count(1)


class Cluster:
    """What a test does as the user of a namespace, and what it sees there."""

    def __init__(
        self,
        control_plane: ControlPlane,
        kube: Kube,
        operator: Operator,
        directory: Path,
        *,
        namespace: str = "",
        agents: Agents | None = None,
    ) -> None:
        """Nothing is created yet. `agents`: those of another namespace's Cluster, for one that is beside it."""
        self.control_plane = control_plane
        self.kube = kube
        self.operator = operator
        self.namespace = namespace or f"team-{next(_number)}"
        mirror = Mirror(kube)
        self.proxy = Proxy(mirror, self.namespace)
        self.provisioner = Provisioner(mirror, kube, self.namespace, directory / "volumes")
        self.kubelet = Kubelet(mirror, kube, self.provisioner, self.proxy, self.namespace, directory)
        self.agents = agents or Agents(mirror, kube, names.AGENTS_NAMESPACE)
        self._mirror = mirror
        self._parts = (mirror, self.proxy, self.provisioner, self.kubelet, *(() if agents else (self.agents,)))
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        about = {"name": self.namespace, "labels": labels}
        await self.kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": about})
        self._tasks = [asyncio.create_task(part.run(), name=type(part).__name__) for part in self._parts]
        await self._mirror.synced()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.clear()
            # Claims are kept, and an operator that starts looks what became of the registry of each.
            await self.kube._call("DELETE", kinds.CLAIM.path(self.namespace))
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def clear(self) -> None:
        """Delete the test's registries; the operator, which may have been stopped, sees to the rest."""
        if not self.operator.is_running():
            self.operator.start()
        for node in NODES:
            self.agents.agree(node)
        for registry in (await self.kube.list(kinds.PRIVATE_REGISTRY, self.namespace)).items:
            await self.delete(kinds.PRIVATE_REGISTRY, registry["metadata"]["name"])
            await self.until_gone(kinds.PRIVATE_REGISTRY, registry["metadata"]["name"])

    # -- what a user does

    async def create(self, spec: Object | None = None, *, name: str = "team") -> Object:
        about = {"name": name, "namespace": self.namespace}
        body = {"apiVersion": names.API_VERSION, "kind": "PrivateRegistry", "metadata": about, "spec": spec or {}}
        return await self.kube.create(body)

    async def ready(self, spec: Object | None = None, *, name: str = "team") -> PrivateRegistry:
        """A registry with this spec that serves and that every node trusts."""
        await self.create(spec, name=name)
        return await self.until_ready(name)

    async def change(self, spec: Object, *, name: str = "team") -> Object:
        """Merge into the spec, as `kubectl patch --type=merge` does; None removes a field."""
        return await self.kube.merge(kinds.PRIVATE_REGISTRY, self.namespace, name, {"spec": spec})

    async def touch(self, name: str = "team") -> None:
        """Have the operator look at a registry that nothing else would have woken it for."""
        about = {"annotations": {"touched": f"{next(_number)}"}}
        await self.kube.merge(kinds.PRIVATE_REGISTRY, self.namespace, name, {"metadata": about})

    async def add(self, kind: Kind, name: str, **fields: Any) -> Object:
        """An object that is somebody else's."""
        about = {"name": name, "namespace": self.namespace}
        return await self.kube.create({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": about, **fields})

    async def delete(self, kind: Kind, name: str, namespace: str | None = None) -> None:
        try:
            path = kind.path(namespace or self.namespace, name)
            await self.kube._call("DELETE", path, body={"propagationPolicy": "Background"})
        except NotFoundError:
            return

    # -- what a user sees

    async def registry(self, name: str = "team") -> PrivateRegistry:
        """Raises AssertionError when there is none."""
        return parse(await self.get(kinds.PRIVATE_REGISTRY, name))

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """Raises AssertionError when there is no such object."""
        obj = await self.kube.get(kind, namespace or self.namespace, name)
        assert obj is not None, f"there is no {kind.kind} {name}"
        return obj

    async def entry(self, name: str = "team") -> Object:
        """The trust entry's ConfigMap. Raises AssertionError when there is none."""
        return await self.get(kinds.CONFIG_MAP, names.entry(self.namespace, name), names.AGENTS_NAMESPACE)

    async def pods(self, name: str = "team") -> list[Object]:
        """The registry's pods, without those that prove an image."""
        labels = ",".join(f"{key}={value}" for key, value in names.selector(name).items())
        return (await self.kube.list(kinds.POD, self.namespace, labels=labels)).items

    async def events(self, name: str = "team") -> dict[str, str]:
        """The messages of the events about a registry, by reason."""
        found = await self.kube.list(kinds.EVENT, self.namespace, fields=f"involvedObject.name={name}")
        about = [each for each in found.items if each["involvedObject"]["kind"] == "PrivateRegistry"]
        return {each["reason"]: each["message"] for each in about}

    async def until_event(self, reason: str, name: str = "team") -> str:
        """Wait for an event about a registry; return its message."""

        async def there() -> str | None:
            events = await self.events(name)
            assert reason in events, events
            return events[reason]

        return str(await self.until(there, what=f"an event {reason} about {self.namespace}/{name}"))

    async def condition(self, kind: Type, name: str = "team") -> Condition | None:
        return find((await self.registry(name)).status.conditions, kind)

    async def until_ready(self, name: str = "team", *, within: float = PATIENCE) -> PrivateRegistry:
        """The registry once it is ready as its newest spec asks, with nothing more to do."""

        async def ready() -> PrivateRegistry:
            registry = await self.registry(name)
            conditions = {each.type: each for each in registry.status.conditions}
            assert registry.status.observed_generation == registry.generation, registry.status
            assert Type.READY in conditions, registry.status
            assert conditions[Type.READY].status == "True", conditions
            assert Type.RECONCILING not in conditions, conditions
            return registry

        return await self.until(ready, within=within, what=f"{self.namespace}/{name} is ready")

    async def until_measured(self, name: str = "team") -> PrivateRegistry:
        """The registry once it is known how full its volume is."""

        async def known() -> PrivateRegistry:
            registry = await self.registry(name)
            assert registry.status.storage.total, registry.status
            return registry

        return await self.until(known, what=f"it is known how full the volume of {self.namespace}/{name} is")

    async def until_condition(
        self,
        kind: Type,
        status: str,
        reason: str | None = None,
        *,
        says: str = "",
        name: str = "team",
        within: float = PATIENCE,
    ) -> str:
        """Wait for a condition; return its message. `says`: a part of that, where others come on the way to it."""

        async def there() -> Condition:
            registry = await self.registry(name)
            found = find(registry.status.conditions, kind)
            assert registry.status.observed_generation == registry.generation, registry.status
            assert found, registry.status.conditions
            assert (found.status, found.reason) == (status, reason or found.reason), registry.status.conditions
            assert says in found.message, registry.status.conditions
            return found

        what = f"{self.namespace}/{name} is {kind}={status} {reason or ''} {says}".rstrip()
        return (await self.until(there, within=within, what=what)).message

    async def until_gone(
        self, kind: Kind, name: str, namespace: str | None = None, *, within: float = PATIENCE
    ) -> None:
        async def gone() -> bool:
            obj = await self.kube.get(kind, namespace or self.namespace, name)
            assert obj is None, obj
            return True

        await self.until(gone, what=f"the {kind.kind} {name} is gone")

    async def until(self, probe: Callable[[], Awaitable[T]], *, within: float = PATIENCE, what: str) -> T:
        """As aeventually; a part of the cluster that fails meanwhile fails the test."""

        async def look() -> T:
            for task in self._tasks:
                if task.done():
                    raise RuntimeError(f"the part {task.get_name()} ended") from task.exception()
            return await probe()

        return await aeventually(look, within=within, every=0.05, what=what)

    async def http(self, name: str = "team") -> Registry:
        """The registry as a build in the cluster finds it: by its Service, with CA and credential beside it."""
        registry = await self.registry(name)
        (address, *_) = registry.status.cluster_ips
        login = await self.login(name)
        if registry.certificate_secret is None:
            return Registry(address, names.PORT, "http", login=login)
        config_map = await self.get(kinds.CONFIG_MAP, registry.status.ca_config_map_name)
        return Registry(address, names.PORT, "https", config_map["data"]["ca.crt"], login=login)

    async def login(self, name: str = "team") -> tuple[str, str] | None:
        """User name and password in the Secret that the status names; None where it names none."""
        secret = (await self.registry(name)).status.credentials_secret_name
        if not secret:
            return None
        found = container.content(await self.get(kinds.SECRET, secret))
        return found["username"].decode(), found["password"].decode()

    @asynccontextmanager
    async def writes(self) -> AsyncIterator[list[str]]:
        """The operator's mutating requests within the block, the Lease's aside: `create services team-1/team`."""
        written: list[str] = []
        async with self.requests() as everybody:
            yield written
        written += [each for user, each in everybody if user == self.operator.user and " leases " not in each]

    @asynccontextmanager
    async def requests(self) -> AsyncIterator[list[tuple[str, str]]]:
        """Everybody's mutating requests within the block, each with its user."""
        begin = self.control_plane.now()
        made: list[tuple[str, str]] = []
        yield made
        requests = self.control_plane.audit(begin)
        made += [(each["user"]["username"], _described(each)) for each in requests if each["verb"] in MUTATING]

    async def set_node(self, name: str, status: Object) -> None:
        """Have a node's kubelet report READY, or nobody hear of it any more: SILENT."""
        await self.kube.merge(kinds.NODE, None, name, status, subresource="status")


def a_node(name: str, labels: Mapping[str, str] | None = None) -> Object:
    labels = {"kubernetes.io/os": "linux", "kubernetes.io/hostname": name, **(labels or {})}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def _described(request: Object) -> str:
    reference = request["objectRef"]
    resource = "/".join(reference[key] for key in ("resource", "subresource") if key in reference)
    name = "/".join(reference[key] for key in ("namespace", "name") if key in reference)
    outcome = REFUSED if request["responseStatus"]["code"] >= 400 else ""
    return f"{request['verb']} {resource} {name}{outcome}"
