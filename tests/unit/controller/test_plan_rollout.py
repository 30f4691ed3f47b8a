"""When a rollout is begun, and what becomes of what it leaves behind."""

import base64
import copy
from dataclasses import replace
from typing import Any

import pytest
import yaml

from private_registry.api import names
from private_registry.controller.facts import Blocker, Facts
from private_registry.controller.registries.drift import stamped
from private_registry.controller.registries.observe import Observed
from private_registry.controller.registries.plan import plan
from private_registry.kube.writes import Apply, Create, Delete
from private_registry.registry.configuration import HTTP_SECRET_KEY
from tests.unit.controller.builders import (
    CREATING,
    a_pod,
    a_proof_pod,
    a_registry,
    facts,
)
from tests.unit.controller.changes import converged, planned
from tests.unit.controller.small_cluster import SmallCluster, key_of, made

Object = dict[str, Any]

ENTRY = ("ConfigMap", "entry.registries.team")

PLAIN: Object = {"tls": {"mode": "Disabled"}, "auth": {"acknowledgePlainHTTP": True}}


class TestRollout:
    def test_the_next_rollout_waits_for_the_last_one(self) -> None:
        """A second change of the pod does not pile up on one that is under way."""
        cluster = made()
        cluster.reconcile(a_registry({"image": "one"}, generation=2))
        second = planned(cluster, {"image": "two"}, generation=3)
        assert second.waiting == "the rollout before the next one"
        assert second.writes == ()

    def test_one_that_fails_is_replaced_at_once(self) -> None:
        """A correction of a bad image does not wait for the bad image."""
        cluster = made()
        cluster.reconcile(a_registry({"image": "wrong"}, generation=2))
        template = cluster.objects["Deployment", "team"]["metadata"]["annotations"][names.TEMPLATE]
        registry = a_registry({"image": "right"}, generation=3)
        stuck = a_pod(template=template, ready=False, state={"waiting": {"reason": "ImagePullBackOff"}})
        seen = Observed(cluster.objects, pods=(stuck,))
        correction = plan(registry, seen, facts())
        assert [key_of(write.obj) for write in correction.writes if isinstance(write, Apply)] == [
            ("Deployment", "team")
        ]

    @pytest.mark.parametrize(
        ("change", "rolls"),
        [
            ({"image": "another"}, True),
            ({"storage": {"deleteEnabled": False}}, True),
            ({"nodeTrust": {"nodeSelector": {"pool": "build"}}}, False),
            ({"service": {"type": "NodePort"}}, False),
            ({"storage": {"size": "30Gi"}}, False),
            ({"storage": {"reserve": "0"}}, False),
            ({"tls": {"caDistribution": {"namespaceSelector": {}}}}, False),
        ],
    )
    def test_pods_roll_for_what_concerns_them_and_for_nothing_else(self, change: Object, rolls: bool) -> None:
        """A change that the pod does not see does not restart it."""
        assert (("apply", "Deployment", "team") in converged(made(), change)) is rolls

    def test_it_is_remembered_who_asked_for_a_rollout(self) -> None:
        """The owner's change rolls at once; an upgrade of the operator is marked, for others to queue behind it."""
        cluster = made()
        cluster.converge(a_registry(generation=2), facts(settings=facts().settings))
        assert rolled_out_for(cluster) == "spec"
        cluster.converge(a_registry(generation=2), upgraded())
        assert rolled_out_for(cluster) == "upgrade"
        cluster.converge(a_registry({"image": "another"}, generation=3), upgraded())
        assert rolled_out_for(cluster) == "spec"

    def test_what_its_owner_asked_for_is_no_upgrade_because_it_had_to_wait(self) -> None:
        """A change that waited for the rollout before it is still its owner's: it queues behind nobody."""
        cluster = made()
        cluster.reconcile(a_registry({"image": "one"}, generation=2))
        cluster.reconcile(a_registry({"image": "two"}, generation=3))
        assert cluster.status.observed_generation == 3
        blocker = Blocker("registries/other", failing=True)
        cluster.converge(a_registry({"image": "two"}, generation=3), facts(upgrade_blocker=blocker))
        deployment = cluster.objects["Deployment", "team"]
        assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "two"
        assert rolled_out_for(cluster) == "spec"

    def test_an_upgrade_queues_behind_another_registry(self) -> None:
        """One registry at a time."""
        cluster = made()
        blocker = Blocker("registries/other", failing=False)
        queued = cluster.converge(a_registry(), upgraded(upgrade_blocker=blocker))
        assert queued.queued_behind == blocker
        assert cluster.writes == []

    def test_the_container_beside_the_registry_comes_with_an_upgrade(self) -> None:
        """Another image of the operator, or a first one, is no wish of the owner's: one registry at a time."""
        cluster, blocker = made(), Blocker("registries/other", failing=False)
        newer = replace(facts().settings, image="operator:2")
        assert cluster.converge(a_registry(), facts(settings=newer, upgrade_blocker=blocker)).queued_behind == blocker
        cluster.converge(a_registry(), facts(settings=newer))
        assert rolled_out_for(cluster) == "upgrade"
        containers = cluster.objects["Deployment", "team"]["spec"]["template"]["spec"]["containers"]
        assert containers[-1]["image"] == "operator:2"

    def test_its_owner_does_not_queue(self) -> None:
        """A failed upgrade elsewhere keeps nobody from changing his own registry."""
        blocker = Blocker("registries/other", failing=True)
        writes = converged(made(), {"image": "another"}, facts(upgrade_blocker=blocker))
        assert ("apply", "Deployment", "team") in writes

    def test_an_image_is_proven_where_the_pod_cannot_start_beside_the_last_one(self) -> None:
        """One pod without the volume is made for it, once, and goes when the rollout is complete."""
        cluster = made()
        cluster.reconcile(a_registry({"image": "another"}, generation=2))
        new = cluster.objects["Deployment", "team"]["metadata"]["annotations"][names.TEMPLATE]
        registry = a_registry({"image": "another"}, generation=2, status=cluster.status)
        elsewhere = a_pod(template=new, node="other", ready=False, scheduled=90, state=CREATING)
        pods = (a_pod(template="old"), elsewhere)
        [write] = plan(registry, Observed(cluster.objects, pods=pods), facts()).writes
        assert isinstance(write, Create)
        assert write.obj["spec"]["nodeName"] == "other"
        assert write.obj["spec"]["containers"][0]["image"] == "another"
        assert plan(registry, Observed(cluster.objects, pods=(*pods, write.obj)), facts()).writes == ()

    def test_a_pod_that_proved_an_image_goes_when_the_rollout_is_complete(self) -> None:
        """Nothing stays behind of the way round."""
        proof = a_proof_pod("Succeeded")
        registry = a_registry()
        seen = Observed(made().objects, pods=(proof,))
        assert plan(registry, seen, facts()).writes == (Delete(proof),)
        going = copy.deepcopy(proof)
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        assert plan(registry, Observed(made().objects, pods=(going,)), facts()).writes == ()


def upgraded(**others: Any) -> Facts:
    """Facts of a newer operator, whose default image is another."""
    usual = facts(**others)
    settings = type(usual.settings)(usual.settings.rules, registry_image="docker.io/library/registry:3.2.0")
    return facts(settings=settings, **others)


def rolled_out_for(cluster: SmallCluster) -> str:
    return str(cluster.objects["Deployment", "team"]["metadata"]["annotations"][names.ROLLED_OUT_FOR])


SECRET = ("Secret", "team-config")


def configurations(cluster: SmallCluster) -> list[str]:
    return sorted(key for key in cluster.objects[SECRET]["data"] if key.startswith("config-"))


class TestConfiguration:
    def test_it_goes_when_no_pod_can_mount_it_any_more(self) -> None:
        """The last configuration is there until the last pod of the rollout before is gone."""
        cluster = made()
        [old] = configurations(cluster)
        changed = a_registry({"storage": {"deleteEnabled": False}}, generation=2)
        cluster.reconcile(changed)
        cluster.controllers_step()
        cluster.reconcile(changed)
        assert old in configurations(cluster)
        cluster.converge(changed)
        assert old not in configurations(cluster)
        assert len(configurations(cluster)) == 1

    def test_one_that_a_replica_set_with_pods_names_stays(self) -> None:
        """A rollout that was undone by hand keeps what its pods mount."""
        cluster = made()
        stamp(cluster, **{"config-0123456789.yml": "b2xk"})
        items = [{"key": "config-0123456789.yml", "path": "config.yml"}]
        volumes = [{"projected": {"sources": [{"secret": {"name": "team-config", "items": items}}]}}]
        holding = {"spec": {"replicas": 1, "template": {"spec": {"volumes": volumes}}}}
        registry = a_registry()
        seen = Observed(cluster.objects, replica_sets=(holding,))
        assert plan(registry, seen, facts()).writes == ()
        [write] = plan(registry, replace(seen, replica_sets=(scaled_down(holding),)), facts()).writes
        assert isinstance(write, Apply)
        assert write.obj["data"].keys() == made().objects[SECRET]["data"].keys()

    def test_what_somebody_put_beside_it_is_left_alone(self) -> None:
        """It is no file of ours, and no reason to write again and again."""
        cluster = made()
        cluster.objects[SECRET]["data"]["of-somebody"] = "bWluZQ=="
        cluster.converge(a_registry())
        assert cluster.writes == []

    def test_what_somebody_made_of_it_is_made_good(self) -> None:
        """What signs uploads stays as long as it can be read, and is part of the files."""
        cluster = made()
        right = dict(cluster.objects[SECRET]["data"])
        for key in right.keys() - {HTTP_SECRET_KEY}:
            cluster.objects[SECRET]["data"][key] = "YnJva2Vu"
        cluster.converge(a_registry())
        assert cluster.objects[SECRET]["data"] == right
        cluster.objects[SECRET]["data"][HTTP_SECRET_KEY] = "no base64"
        cluster.converge(a_registry())
        new = cluster.objects[SECRET]["data"]
        assert new.keys() == right.keys()
        signs = base64.b64decode(new[HTTP_SECRET_KEY]).decode()
        assert yaml.safe_load(base64.b64decode(new[configurations(cluster)[0]]))["http"]["secret"] == signs

    @pytest.mark.parametrize(
        ("obstacle", "spec"),
        [
            ({"upgrade_blocker": Blocker("registries/other", failing=False)}, PLAIN),
            ({"claim_user": "registries/older"}, PLAIN),
            ({"authority": None}, {"storage": {"deleteEnabled": False}}),
        ],
        ids=["a queue", "a claim", "the CA"],
    )
    def test_a_pod_whose_change_has_to_wait_keeps_what_it_mounts(self, obstacle: Object, spec: Object) -> None:
        """It may have to start on another node at any time, while its successor queues or waits for something."""
        cluster = made()
        # As an upgrade of the operator, which queues: the owner asked for nothing, as far as the Deployment knows.
        del cluster.objects["Deployment", "team"]["metadata"]["annotations"][names.ASKED]
        changed = a_registry(spec, generation=cluster.status.observed_generation)
        cluster.converge(changed, facts(**obstacle))
        assert len(configurations(cluster)) == 2
        assert ("Secret", "team-certificate") in cluster.objects
        cluster.converge(changed)
        assert len(configurations(cluster)) == 1


def stamp(cluster: SmallCluster, **data: str) -> None:
    """Put this beside what is in the configuration's Secret, as we applied it."""
    live = cluster.objects[SECRET]
    applied = {**live, "metadata": {**live["metadata"]}, "data": {**live["data"], **data}}
    for field in ("uid", "resourceVersion", "generation"):
        del applied["metadata"][field]
    cluster.objects[SECRET] = {**live, **stamped(applied)}


def scaled_down(replica_set: Object) -> Object:
    return {"spec": {**replica_set["spec"], "replicas": 0}, "status": {"replicas": 0}}
