"""Scheduler and kubelets for the pods of one namespace: each pod runs, with its real program, where its Service is not.

What an image holds is told by its name (ABSENT, NO_REGISTRY); every other one is the real registry. The preStop sleep
takes as long as the kube-proxy needs to hear that the pod is leaving.
"""

import asyncio
import contextlib
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from private_registry.api import names
from private_registry.kube import kinds
from private_registry.kube.client import Kube, NotFoundError
from private_registry.registry.deployment import LEAVE_SECONDS
from tests.cluster import versions
from tests.cluster.commands import DIE_WITH_PARENT, tail
from tests.cluster.processes import NotReadyError, Process
from tests.cluster.processes.process import program
from tests.integration import container
from tests.integration.operator.parts.mirror import Mirror
from tests.integration.operator.parts.pod_status import pod_status
from tests.integration.operator.parts.proxy import Proxy
from tests.integration.operator.parts.volumes import SELECTED_NODE, Provisioner, hand_over
from tests.waiting import aeventually

ABSENT: Final = "images.example.com/absent:1"
NO_REGISTRY: Final = "images.example.com/no-registry:1"
NOT_FOUND: Final = f'failed to pull and unpack image "{ABSENT}": {ABSENT}: not found'
NO_SUCH_PROGRAM: Final = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
    'unable to start container process: exec: "registry": executable file not found in $PATH'
)

_MOUNT_VOLUME = 'mount --bind "$0" "$1" && shift && exec "$@"'
_addresses = (f"10.97.{number // 250}.{number % 250 + 1}" for number in itertools.count())

T = TypeVar("T")


class _HasToGoError(Exception):
    """The pod is being deleted, or is gone."""


class _NotThereError(AssertionError):
    """Something that the pod mounts does not exist."""


@dataclass(frozen=True)
class _Placed:
    """A pod on its node."""

    pod: dict[str, Any]
    node: str
    since: str
    ip: str

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def claim(self) -> str | None:
        return container.claim(self.pod)


class Kubelet:
    """Runs pods from the moment their objects appear until they are gone."""

    def __init__(
        self, mirror: Mirror, kube: Kube, provisioner: Provisioner, proxy: Proxy, namespace: str, directory: Path
    ) -> None:
        self.pods = mirror.follow(kinds.POD, namespace)
        self.secrets = mirror.follow(kinds.SECRET, namespace)
        self.config_maps = mirror.follow(kinds.CONFIG_MAP, namespace)
        self.place = ""
        """Node that the next pods are put on, whatever the scheduler would rather do; empty: where it would."""
        self.held = False
        """Whether new pods are kept from starting, as by a slow pull."""
        self.jobs_held = False
        """Whether pods that run to the end are kept from getting there."""
        self.secrets_held = False
        """Whether pods are kept from what has changed in their Secrets; a real kubelet may take a minute or more."""
        self._mirror = mirror
        self._kube = kube
        self._provisioner = provisioner
        self._proxy = proxy
        self._namespace = namespace
        self._directory = directory
        self._nodes = mirror.follow(kinds.NODE)
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._placed: dict[str, _Placed] = {}
        self._processes: dict[str, list[Process]] = {}

    async def run(self) -> None:
        try:
            while True:
                tick = self._mirror.tick
                for name, pod in list(self.pods.objects.items()):
                    if (uid := pod["metadata"]["uid"]) not in self._lives:
                        self._lives[uid] = asyncio.create_task(self._live(pod), name=name)
                for life in self._lives.values():
                    if life.done():
                        life.result()
                await tick.wait()
        finally:
            for life in self._lives.values():
                life.cancel()
            await asyncio.gather(*self._lives.values(), return_exceptions=True)

    def hold(self, held: bool) -> None:
        """Keep new pods from starting, or let them."""
        self.held = held
        self._mirror.changed()

    def hold_jobs(self, held: bool) -> None:
        """Keep pods from coming to their end, or let them."""
        self.jobs_held = held
        self._mirror.changed()

    def hold_secrets(self, held: bool) -> None:
        """Keep what changes in Secrets from pods, or let them have it."""
        self.secrets_held = held
        self._mirror.changed()

    async def crash(self, registry: str) -> None:
        """End the registry's processes, which do not start again."""
        for uid, placed in list(self._placed.items()):
            if placed.pod["metadata"]["labels"][names.INSTANCE] == registry and uid in self._processes:
                for process in self._processes[uid]:
                    process.kill()
                ended = {"exitCode": 2, "reason": "Error", "message": "panic: the disk is on fire"}
                await self._report(placed, "Running", _waiting("CrashLoopBackOff"), last={"terminated": ended})

    async def _live(self, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        try:
            node = pod["spec"].get("nodeName") or await self._schedule(pod)
            placed = self._placed[uid] = _Placed(pod, node, _now(), next(_addresses))
            await self._start(placed)
            await self._keep_up(pod)
        except _HasToGoError:
            if uid in self._processes:
                await self._mirror.until(lambda: self._proxy.knows_to_leave(placed.ip))
                await self._proxy.is_left(placed.ip, within=LEAVE_SECONDS)
                for process in self._processes[uid]:
                    await process.drain(15)
            elif uid in self._placed and pod["spec"]["restartPolicy"] == "Never":
                killed = {"exitCode": 137, "reason": "Error", "finishedAt": _now()}
                with contextlib.suppress(_HasToGoError):
                    await self._report(self._placed[uid], "Failed", {"terminated": killed})
        finally:
            for process in self._processes.pop(uid, ()):
                # Not in a thread: it dies with the one that started it. It takes no second without connections.
                process.stop()
            self._placed.pop(uid, None)
            self._mirror.changed()
        await self._remove(pod)

    async def _schedule(self, pod: dict[str, Any]) -> str:
        """Wait for a node that fits and for the claim, as the scheduler does, and bind the pod to the node."""
        if not self._fitting(pod):
            await self._say_unschedulable(pod, "0/2 nodes are available: 2 node(s) didn't match Pod's node selector.")
        node = await self._until(pod, lambda: self._fitting(pod))
        if claim := container.claim(pod):
            if claim not in self._provisioner.claims.objects:
                await self._say_unschedulable(pod, f'persistentvolumeclaim "{claim}" not found')
            usable = await self._until(pod, lambda: self._claim_if(claim, self._is_for_the_scheduler))
            if not _is_bound(usable):
                chosen = {"metadata": {"annotations": {SELECTED_NODE: node}}}
                await self._kube.merge(kinds.CLAIM, self._namespace, claim, chosen)
            await self._until(pod, lambda: self._claim_if(claim, _is_bound))
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {key: pod["metadata"][key] for key in ("name", "namespace", "uid")},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        path = kinds.POD.path(self._namespace, pod["metadata"]["name"], "binding")
        try:
            await self._kube._call("POST", path, body=body)
        except NotFoundError:
            raise _HasToGoError from None
        return node

    def _fitting(self, pod: dict[str, Any]) -> str:
        """The node for a pod: the one that is asked for, else the one where a pod of its registry is already."""
        wanted = pod["spec"].get("nodeSelector") or {}
        fitting = [
            name
            for name, node in sorted(self._nodes.objects.items())
            if wanted.items() <= (node["metadata"].get("labels") or {}).items() and self.place in {"", name}
        ]
        instance = pod["metadata"]["labels"].get(names.INSTANCE)
        beside = {
            placed.node
            for placed in self._placed.values()
            if placed.pod["metadata"]["labels"][names.INSTANCE] == instance
        }
        return next((name for name in fitting if name in beside), fitting[0] if fitting else "")

    async def _start(self, placed: _Placed) -> None:
        pod, spec = placed.pod, placed.pod["spec"]
        await self._report(placed, "Pending", _waiting("ContainerCreating"))
        await self._until(pod, lambda: not self.held)
        root = self._root(pod)
        root.mkdir(parents=True)
        before: list[str | Path] = []
        if placed.claim:
            await self._until(pod, lambda: not self._is_attached_elsewhere(placed))
            claim = self._provisioner.claims.objects[placed.claim]
            volume = await self._provisioner.directory(claim)
            hand_over(volume, claim, spec["securityContext"]["fsGroup"])
            mount_point = root / "var/lib/registry"
            mount_point.mkdir(parents=True)
            before = ["unshare", "--mount", "--", "sh", "-c", _MOUNT_VOLUME, volume, mount_point]
        contents = await self._contents_once_there(pod)
        container.project(spec, root, contents)
        binary = program(f"registry-{versions.REGISTRY}", "registry")
        commands = [[*before, *container.command_line(spec, each, binary, root)] for each in spec["containers"]]
        match spec["containers"][0]["image"]:
            case image if image == ABSENT:
                await self._report(placed, "Pending", _waiting("ErrImagePull", NOT_FOUND))
            case image if image == NO_REGISTRY:
                ended = {"terminated": {"exitCode": 128, "reason": "StartError", "message": NO_SUCH_PROGRAM}}
                if spec["restartPolicy"] == "Never":
                    await self._report(placed, "Failed", ended)
                else:
                    await self._report(placed, "Running", _waiting("CrashLoopBackOff"), last=ended)
            case _ if spec["restartPolicy"] == "Never":
                await self._run_to_the_end(placed, *commands)
            case _:
                self._processes[pod["metadata"]["uid"]] = []
                for each, argv in zip(spec["containers"], commands, strict=True):
                    await self._serve(placed, each, argv, container.environment(each))
                await self._report(placed, "Running", {"running": {"startedAt": _now()}}, ready=True)

    def _root(self, pod: dict[str, Any]) -> Path:
        return self._directory / str(pod["metadata"]["uid"])

    async def _keep_up(self, pod: dict[str, Any]) -> None:
        """Let the pod have its Secrets and ConfigMaps as they are, until it has to go."""
        followed = {kinds.SECRET: self.secrets, kinds.CONFIG_MAP: self.config_maps}

        def versions_of() -> dict[str, str]:
            found = {name: followed[kind].objects.get(name) for kind, name in container.mounted(pod)}
            return {name: obj["metadata"]["resourceVersion"] for name, obj in found.items() if obj}

        projected: list[dict[str, str]] = [{}]
        while True:
            await self._until(pod, lambda: not self.secrets_held and versions_of() != projected[-1])
            projected.append(versions_of())
            # What goes between the two looks wakes this again; the pod keeps what it has.
            with contextlib.suppress(_NotThereError):
                container.project(pod["spec"], self._root(pod), await self._contents(pod))

    async def _run_to_the_end(self, placed: _Placed, argv: list[str | Path]) -> None:
        (spec,) = placed.pod["spec"]["containers"]
        said = self._root(placed.pod) / str(spec.get("terminationMessagePath", "/dev/termination-log")).lstrip("/")
        said.parent.mkdir(parents=True, exist_ok=True)
        said.touch()
        await self._report(placed, "Running", {"running": {"startedAt": _now()}})
        process = await asyncio.create_subprocess_exec(
            *DIE_WITH_PARENT, *argv, stdout=asyncio.subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": "operator"}
        )
        following = asyncio.create_task(self._keep_up(placed.pod))
        try:
            await self._until(placed.pod, lambda: not self.jobs_held)
            status = await process.wait()
        finally:
            following.cancel()
            if process.returncode is None:
                process.kill()
        reason, times = "Error" if status else "Completed", {"startedAt": placed.since, "finishedAt": _now()}
        ended = {"exitCode": status, "reason": reason, "message": said.read_text()[-4096:], **times}
        await self._report(placed, "Failed" if status else "Succeeded", {"terminated": ended})

    async def _serve(
        self, placed: _Placed, spec: dict[str, Any], argv: list[str | Path], environment: dict[str, str]
    ) -> None:
        address, log = placed.ip, self._directory / f"{placed.name}.{spec['name']}.log"
        # The pods have one network, so each listens on its own address only.
        own = container.listening_at(spec, address)
        process = Process(argv, log=log, ready=lambda: False, grace=3, env={**environment, **own})
        process.spawn()
        self._processes[placed.pod["metadata"]["uid"]].append(process)
        if not (url := container.readiness_url(spec, address)):
            return  # as the kubelet has it: what has no probe is ready

        async def answers() -> bool:
            self._look_whether_it_has_to_go(placed.pod)
            try:
                assert process.pid
            except NotReadyError as ended:
                raise RuntimeError(f"{placed.name}: {ended}: {tail(log)}") from ended
            return await container.is_ready(url)

        await aeventually(answers, within=30, every=0.05, what=f"{placed.name} answers {url}")

    def _is_attached_elsewhere(self, placed: _Placed) -> bool:
        """Whether the volume, which one node can have at a time, is still on another node."""
        return any(
            other.claim == placed.claim and other.node != placed.node
            for uid, other in self._placed.items()
            if uid in self._processes
        )

    async def _contents(self, pod: dict[str, Any]) -> dict[str, dict[str, bytes]]:
        found = {}
        for kind, name in container.mounted(pod):
            obj = await self._kube.get(kind, self._namespace, name)
            if not obj:
                raise _NotThereError(f"the pod {pod['metadata']['name']} mounts the {kind.kind} {name}: not found")
            found[name] = container.content(obj)
        return found

    async def _contents_once_there(self, pod: dict[str, Any]) -> dict[str, dict[str, bytes]]:
        """As the kubelet, which tries again to mount what is not there: it may have gone because the pod has to go."""

        async def look() -> list[dict[str, dict[str, bytes]]]:
            self._look_whether_it_has_to_go(pod)
            return [await self._contents(pod)]

        (contents,) = await aeventually(look, within=30, every=0.05, what="everything that the pod mounts is there")
        return contents

    async def _say_unschedulable(self, pod: dict[str, Any], why: str) -> None:
        said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
        await self._patch(pod, {"conditions": [{**said, "lastTransitionTime": _now()}]})

    async def _report(
        self,
        placed: _Placed,
        phase: str,
        state: dict[str, Any],
        *,
        ready: bool = False,
        last: dict[str, Any] | None = None,
    ) -> None:
        status = pod_status(placed.pod, phase, state, ready=ready, last=last, since=placed.since)
        await self._patch(placed.pod, {**status, "podIP": placed.ip, "podIPs": [{"ip": placed.ip}]})

    async def _patch(self, pod: dict[str, Any], status: dict[str, Any]) -> None:
        metadata = {"uid": pod["metadata"]["uid"]}
        body = {"metadata": metadata, "status": status}
        try:
            await self._kube.merge(kinds.POD, self._namespace, pod["metadata"]["name"], body, subresource="status")
        except NotFoundError:
            raise _HasToGoError from None

    async def _remove(self, pod: dict[str, Any]) -> None:
        """Have the API server forget a pod that has stopped."""
        path = kinds.POD.path(self._namespace, pod["metadata"]["name"])
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        try:
            await self._kube._call("DELETE", path, body=body)
        except NotFoundError:
            return

    def _look_whether_it_has_to_go(self, pod: dict[str, Any]) -> None:
        live = self.pods.objects.get(pod["metadata"]["name"]) or {"metadata": {}}
        if live["metadata"].get("uid") != pod["metadata"]["uid"] or "deletionTimestamp" in live["metadata"]:
            raise _HasToGoError

    async def _until(self, pod: dict[str, Any], probe: Callable[[], T]) -> T:
        def look() -> T:
            self._look_whether_it_has_to_go(pod)
            return probe()

        return await self._mirror.until(look)

    def _is_for_the_scheduler(self, claim: dict[str, Any]) -> bool:
        return _is_bound(claim) or self._provisioner.waits_for_pod(claim)

    def _claim_if(self, name: str, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        claim = self._provisioner.claims.objects.get(name)
        usable = claim and "deletionTimestamp" not in claim["metadata"] and fits(claim)
        return claim if claim and usable else {}


def _is_bound(claim: dict[str, Any]) -> bool:
    return bool((claim.get("status") or {}).get("phase") == "Bound")


def _waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
