"""The objects of one registry, and what the API server and the controllers make of them: a cluster in the small.

It runs the plan the way the registry loop does, remembers how things stood after each write, as an operator that is
killed there leaves them, and holds at that moment what must never be untrue in between.
"""

import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

from private_registry.api import names
from private_registry.api.registry import PrivateRegistry, RegistryStatus
from private_registry.controller.facts import Facts
from private_registry.controller.health import rollout, summary
from private_registry.controller.health.confirmation import Confirmation
from private_registry.controller.health.nodes import Nodes
from private_registry.controller.health.summary import Findings
from private_registry.controller.registries.drift import is_ours
from private_registry.controller.registries.observe import Observed, earlier_files
from private_registry.controller.registries.plan import Plan, plan
from private_registry.distribution import Answer
from private_registry.kube import kinds
from private_registry.kube.writes import Apply, Create, Delete, Write
from tests.unit.controller.builders import ADDRESS, LOADED_DICE, NOW, a_registry, facts

Object = dict[str, Any]
Key = tuple[str, str]
T = TypeVar("T")

PATIENCE = 20
"""Reconciles after which a registry that still writes is taken to do so for ever."""

GROWING = "growing"
"""The default storage class."""

SERVER_OWNED = ("uid", "resourceVersion", "generation")


class SmallCluster:
    """Objects by kind and name; `others` are there already and belong to nobody of ours."""

    def __init__(self, *others: Object) -> None:
        self.objects: dict[Key, Object] = {key_of(obj): obj for obj in _copied(others)}
        self.replica_sets: list[Object] = []
        self.status = RegistryStatus()
        self.writes: list[tuple[str, str, str]] = []
        self.left_behind: list[SmallCluster] = []
        """The cluster as it was after each write."""
        self._numbers = 0

    def as_it_is(self) -> "SmallCluster":
        """A copy, to which nothing has been written."""
        twin = SmallCluster(*self.objects.values())
        twin.replica_sets = _copied(self.replica_sets)
        twin.status = self.status
        twin._numbers = self._numbers
        return twin

    def converge(self, registry: PrivateRegistry, known: Facts | None = None) -> Plan:
        """Reconcile, and let the controllers take their steps in between, until a reconcile finds nothing to write."""
        for _ in range(PATIENCE):
            before = len(self.writes), self.status.copies
            planned = self.reconcile(registry, known)
            if (len(self.writes), self.status.copies) == before and planned.rollout.state in ("complete", "absent"):
                return planned
            self.controllers_step()
        raise AssertionError(f"still writing after {PATIENCE} reconciles: {self.writes[-5:]}")

    def reconcile(self, registry: PrivateRegistry, known: Facts | None = None) -> Plan:
        """One reconcile, as the registry loop does it."""
        registry = registry.model_copy(update={"status": self.status})
        published = summary.published_hash(registry, self.observe(registry))
        known = replace(known or facts(), followed=published, confirmation=Confirmation(published))
        seen, planned = self._write_all(registry, self.observe(registry), replace(known, serves=False))
        serves = planned.rollout.state == "complete"
        if serves and known.serves:
            knows = [user.username for user in planned.users.awaited] if planned.users else []
            seen, planned = self._write_all(registry, seen, replace(known, accepted=knows))
        found = Findings(seen, planned, planned.problems, Answer(yes=serves), Nodes())
        self.status = summary.summarise(registry, found, NOW)
        self._copy(registry)
        return planned

    def _copy(self, registry: PrivateRegistry) -> None:
        """What the copies loop says once the pull secret is everywhere, which it is when it is there at all."""
        if (kinds.SECRET.kind, names.pull_secret(registry.name)) in self.objects and registry.has_pull_user:
            copies = self.status.copies.model_copy(update={"observed_generation": registry.generation})
            self.status = self.status.model_copy(update={"copies": copies})

    def _write_all(self, registry: PrivateRegistry, seen: Observed, known: Facts) -> tuple[Observed, Plan]:
        planned = _planned(registry, seen, known)
        while planned.writes:
            for write in planned.writes:
                seen = self._write(registry, seen, write)
            planned = _planned(registry, seen, known)
        return seen, planned

    def observe(self, registry: PrivateRegistry) -> Observed:
        """What the loop would read: ReplicaSets only when files of an earlier configuration are there."""
        growing = {"metadata": {"name": GROWING}, "allowVolumeExpansion": True}
        seen = Observed(objects=dict(self.objects), storage_classes=(growing,))
        several = bool(earlier_files(registry, seen))
        return replace(seen, replica_sets=tuple(_copied(self.replica_sets)) if several else ())

    def _write(self, registry: PrivateRegistry, seen: Observed, write: Write) -> Observed:
        match write:
            case Create(obj):
                assert key_of(obj) not in self.objects, f"{key_of(obj)} is there already"
                self._log("create", obj)
                seen = seen.with_written(self._store(obj, {}))
            case Apply(obj, live):
                assert is_ours(live, registry.uid), f"{key_of(live)} is not ours"
                self._log("apply", obj)
                self._every_running_pod_finds_its_keys(obj)
                seen = seen.with_written(self._store(obj, live))
            case Delete(live):
                assert is_ours(live, registry.uid), f"{key_of(live)} is not ours"
                self._log("delete", live)
                self._no_running_pod_mounts(live)
                del self.objects[key_of(live)]
                seen = seen.without(live)
        self.left_behind.append(self.as_it_is())
        return seen

    def _log(self, verb: str, obj: Object) -> None:
        self.writes.append((verb, *key_of(obj)))

    def _store(self, obj: Object, live: Object) -> Object:
        """What the API server makes of a write: our fields, and its own."""
        stored = _copied(obj)
        before = live.get("metadata", {})
        same = stored.get("spec") == live.get("spec")
        stored["metadata"] |= {
            "uid": before.get("uid") or f"uid-{self._next()}",
            "resourceVersion": str(self._next()),
            "generation": before.get("generation", 0) + (not same),
        }
        if "status" in live:
            stored["status"] = live["status"]
        match stored["kind"]:
            case "Service":
                kept = live.get("spec", {}).get("clusterIPs") or stored["spec"].get("clusterIPs") or [ADDRESS]
                stored["spec"] |= {"clusterIP": kept[0], "clusterIPs": kept}
            case "PersistentVolumeClaim":
                stored["spec"].setdefault("storageClassName", GROWING)
                stored["status"] = {"phase": "Bound", "capacity": stored["spec"]["resources"]["requests"]}
        self.objects[key_of(stored)] = stored
        return _copied(stored)

    def _next(self) -> int:
        self._numbers += 1
        return self._numbers

    def controllers_step(self) -> None:
        """One step of the Deployment's rollout: first the next pod beside the last one, then the last one goes."""
        deployment = self.objects.get((kinds.DEPLOYMENT.kind, "team"))
        if deployment is None or rollout.is_complete(deployment):
            return
        template = deployment["spec"]["template"]
        running = [each for each in self.replica_sets if each["spec"]["replicas"]]
        others = [each for each in running if each["spec"]["template"] != template]
        if not running or len(running) == len(others):
            self.replica_sets.append({"spec": {"replicas": 1, "template": _copied(template)}})
        for each in others if len(running) > len(others) else ():
            each["spec"]["replicas"] = 0
        pods = sum(each["spec"]["replicas"] for each in self.replica_sets)
        deployment["status"] = {
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": pods,
            "updatedReplicas": 1,
            "availableReplicas": 1,
        }

    def _no_running_pod_mounts(self, obj: Object) -> None:
        """A running pod may have to start on another node at any time, with what it was started with."""
        for replica_set in self.replica_sets:
            if replica_set["spec"]["replicas"]:
                needed = set(mounted(replica_set["spec"]["template"]["spec"]))
                assert key_of(obj) not in needed, f"a running pod mounts {key_of(obj)}; writes: {self.writes}"

    def _every_running_pod_finds_its_keys(self, obj: Object) -> None:
        """Likewise of what is in it."""
        for replica_set in self.replica_sets:
            if replica_set["spec"]["replicas"]:
                for key, item in mounted_keys(replica_set["spec"]["template"]["spec"]):
                    assert key != key_of(obj) or item in obj["data"], f"a running pod mounts {item} of {key}"

    def desired(self) -> dict[Key, Object]:
        """All objects without what the server and the controllers add: two ends are the same when these are."""
        bare = _copied(self.objects)
        for obj in bare.values():
            obj.pop("status", None)
            for field in SERVER_OWNED:
                obj["metadata"].pop(field, None)
            if names.registry_of_entry(obj["metadata"]["name"]):  # which tells of its history
                obj["metadata"].pop("annotations")
        return bare


_PLANS: dict[tuple[str, ...], Plan] = {}


def _planned(registry: PrivateRegistry, seen: Observed, known: Facts) -> Plan:
    """The plan, which comes from what it is given alone: where another one was killed is no place to plan anew for."""
    if known.chance is not LOADED_DICE:
        return plan(registry, seen, known)
    authority = known.authority.cert_pem if known.authority else ""
    objects = json.dumps([[*seen.objects.values()], seen.replica_sets])
    moment = (registry.model_dump_json(), objects, repr(known), authority)
    if moment not in _PLANS:
        _PLANS[moment] = plan(registry, seen, known)
    return _PLANS[moment]


def _copied(value: T) -> T:
    """As copy.deepcopy, in a fifth of the time."""
    copied: T = pickle.loads(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    return copied


@cache
def _made(spec: str) -> SmallCluster:
    cluster = SmallCluster()
    cluster.converge(a_registry(json.loads(spec)))
    return cluster


def made(spec: Object | None = None) -> SmallCluster:
    """A cluster in which the registry of this spec was created."""
    return _made(json.dumps(spec or {})).as_it_is()


def key_of(obj: Object) -> Key:
    return obj["kind"], obj["metadata"]["name"]


def mounted(pod_spec: Object) -> Iterator[Key]:
    """What has to be there for a pod to start."""
    for volume in pod_spec["volumes"]:
        if claim := volume.get("persistentVolumeClaim"):
            yield kinds.CLAIM.kind, claim["claimName"]
        for source in volume.get("projected", {}).get("sources", []):
            for field, kind in (("configMap", kinds.CONFIG_MAP), ("secret", kinds.SECRET)):
                if field in source:
                    yield kind.kind, source[field]["name"]
    for variable in pod_spec["containers"][0]["env"]:
        if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
            yield kinds.SECRET.kind, reference["name"]


def mounted_keys(pod_spec: Object) -> Iterator[tuple[Key, str]]:
    """The keys of Secrets and ConfigMaps that have to be there for a pod to start."""
    for volume in pod_spec["volumes"]:
        for source in volume.get("projected", {}).get("sources", []):
            for field, kind in (("configMap", kinds.CONFIG_MAP), ("secret", kinds.SECRET)):
                for item in source.get(field, {}).get("items", []):
                    yield (kind.kind, source[field]["name"]), item["key"]
