"""What is written for a registry, in which order, and what is left alone."""

import copy
from typing import Any

import pytest

from private_registry.api import names
from private_registry.api.conditions import Reason
from private_registry.controller.health.problem import Concern
from private_registry.controller.registries.observe import Observed, cluster_ips, load_balancer_hosts
from private_registry.controller.registries.plan import Plan, plan, plan_deletion
from private_registry.kube.writes import Apply, Create
from private_registry.registry.metadata import applied_hash
from private_registry.trust.entry import parse
from tests.unit.controller.builders import (
    ADDRESS,
    a_claim,
    a_registry,
    a_service,
    facts,
    labels,
)
from tests.unit.controller.changes import converged, created, planned
from tests.unit.controller.small_cluster import SmallCluster, key_of, made

Object = dict[str, Any]

ENTRY = ("ConfigMap", "entry.registries.team")


class TestOrder:
    def test_each_object_is_there_before_what_uses_it(self) -> None:
        """Addresses before the certificate that names them, mounts before the pod, and nodes are told at the end."""
        cluster = SmallCluster()
        cluster.converge(a_registry())
        assert cluster.writes == [
            ("create", "Service", "team"),
            ("create", "Secret", "team-config"),
            ("create", "PersistentVolumeClaim", "team-data"),
            ("create", "ConfigMap", "team-ca"),
            ("create", "Secret", "team-certificate"),
            ("create", "Secret", "team-credentials"),
            ("create", "Secret", "team-htpasswd"),
            ("create", "Deployment", "team"),
            ("create", *ENTRY),
        ]

    def test_nothing_waits_for_the_claim_to_bind(self) -> None:
        """With WaitForFirstConsumer it is the pod that binds the claim."""
        cluster = made()
        pending = {**cluster.objects, ("PersistentVolumeClaim", "team-data"): a_claim("Pending")}
        del pending["Deployment", "team"]
        assert ("Deployment", "team") in created(plan(a_registry(), Observed(pending), facts()))

    def test_without_an_address_it_says_what_it_waits_for(self) -> None:
        """The first plan of a new registry makes what needs no address."""
        first = planned(SmallCluster())
        assert first.waiting == "the Service's address"
        assert first.serving is None

    def test_without_the_operators_ca_no_pod_is_started(self) -> None:
        """A registry of the managed mode never serves without TLS for want of a CA."""
        result = planned(SmallCluster(a_service()), authority=None)
        assert result.waiting == "the operator's CA"
        assert ("Deployment", "team") not in created(result)

    def test_what_is_made_anew_has_the_address_that_nodes_know(self) -> None:
        """A Service that someone deleted comes back where the nodes expect it."""
        cluster = SmallCluster(a_service("10.96.77.7"))
        cluster.converge(a_registry())
        del cluster.objects["Service", "team"]
        cluster.converge(a_registry())
        assert cluster_ips(cluster.objects["Service", "team"]) == ("10.96.77.7",)


CHILDREN = [
    ("Service", "team"),
    ("Secret", "team-config"),
    ("PersistentVolumeClaim", "team-data"),
    ("Secret", "team-certificate"),
    ("ConfigMap", "team-ca"),
    ("Deployment", "team"),
    ENTRY,
]
NOT_OURS = {
    "no labels": {},
    "another manager": labels(**{names.MANAGED_BY: "Helm"}),
    "our label without a uid": {names.MANAGED_BY: names.MANAGER},
}


class TestForeignObjects:
    @pytest.mark.parametrize("whose", NOT_OURS)
    @pytest.mark.parametrize(("kind", "name"), CHILDREN, ids=[" ".join(child) for child in CHILDREN])
    def test_a_name_that_is_taken_stops_everything(self, kind: str, name: str, whose: str) -> None:
        """An object of a child's name that is not ours stays as it is, and nothing is built around it."""
        foreign = next(obj for key, obj in made().objects.items() if key[0] == kind and key[1].startswith(name[:12]))
        foreign["metadata"]["labels"] = NOT_OURS[whose]
        result = planned(SmallCluster(foreign))
        assert [problem.reason for problem in result.problems] == [Reason.NAME_TAKEN]
        assert foreign["metadata"]["name"] in result.problems[0].message
        assert foreign["metadata"]["namespace"] in result.problems[0].message
        assert result.writes == ()

    def test_a_taken_claim_is_a_matter_of_storage(self) -> None:
        """The condition that speaks of storage names the claim that is in the way."""
        foreign = a_claim()
        foreign["metadata"]["labels"] = {}
        assert [problem.concern for problem in planned(SmallCluster(foreign)).problems] == [Concern.STORAGE]

    @pytest.mark.parametrize(
        ("spec", "kind", "name"),
        [
            ({"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}}, "Secret", "team-certificate"),
            ({"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}}, "ConfigMap", "team-ca"),
            ({"storage": {"claimName": "shared"}}, "PersistentVolumeClaim", "shared"),
            ({"storage": {"claimName": "shared"}}, "PersistentVolumeClaim", "team-data"),
            ({"nodeTrust": {"enabled": False}}, *ENTRY),
        ],
    )
    def test_an_unused_name_may_be_taken(self, spec: Object, kind: str, name: str) -> None:
        """What the registry does not make is in nobody's way, and stays."""
        foreign = {"kind": kind, "metadata": {"name": name, "namespace": "registries"}, "status": {"phase": "Bound"}}
        cluster = SmallCluster(foreign)
        result = cluster.converge(a_registry(spec))
        assert Reason.NAME_TAKEN not in [problem.reason for problem in result.problems]
        assert cluster.objects[kind, name] == foreign

    def test_a_claim_that_was_kept_is_taken_over_with_its_size(self) -> None:
        """A registry of the same name finds its images again, and does not ask for a smaller volume."""
        kept = a_claim()
        kept["metadata"] |= {"uid": "1", "labels": labels(**{names.REGISTRY_UID: "an earlier one"})}
        kept["spec"]["resources"]["requests"]["storage"] = "1Ti"
        writes = planned(SmallCluster(kept)).writes
        [adoption] = [write for write in writes if isinstance(write, Apply)]
        assert adoption.live == kept
        assert adoption.obj["metadata"]["labels"] == labels()
        assert adoption.obj["spec"]["resources"]["requests"]["storage"] == "1Ti"
        assert adoption.obj["spec"]["storageClassName"] == "standard"

    def test_a_claim_that_is_going_is_waited_for(self) -> None:
        """What is being deleted cannot be kept, and goes by itself."""
        going = a_claim()
        going["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z"}
        going["metadata"]["labels"] = labels(**{names.REGISTRY_UID: "an earlier one"})
        result = planned(SmallCluster(a_service(), going))
        assert result.problems == ()
        assert result.waiting == "the claim team-data, which is being deleted, to be gone"
        assert {"PersistentVolumeClaim", "Deployment"}.isdisjoint(
            each.obj["kind"] for each in result.writes if isinstance(each, Create)
        )

    def test_the_entry_of_an_earlier_registry_is_taken_over(self) -> None:
        """Nodes go on trusting the name; what they are told is the new registry's."""
        entry = made().objects[ENTRY]
        entry["metadata"]["labels"][names.REGISTRY_UID] = "an earlier one"
        assert planned(SmallCluster(entry)).problems == ()


OPTIONAL: dict[str, tuple[Object, tuple[str, str]]] = {
    "size": ({"storage": {"size": "30Gi"}}, ("PersistentVolumeClaim", "team-data")),
    "type of Service": ({"service": {"type": "NodePort"}}, ("Service", "team")),
    "image": ({"image": "registry.example.com/distribution:3.2.0"}, ("Deployment", "team")),
    "limits": ({"resources": {"limits": {"cpu": 1}}}, ("Deployment", "team")),
    "nodeSelector": ({"scheduling": {"nodeSelector": {"disk": "ssd"}}}, ("Deployment", "team")),
    "tolerations": ({"scheduling": {"tolerations": [{"operator": "Exists"}]}}, ("Deployment", "team")),
    "priorityClassName": ({"scheduling": {"priorityClassName": "important"}}, ("Deployment", "team")),
    "imagePullSecrets": ({"scheduling": {"imagePullSecrets": [{"name": "mirror"}]}}, ("Deployment", "team")),
    "selected nodes": ({"nodeTrust": {"nodeSelector": {"pool": "build"}}}, ENTRY),
    "additionalHosts": (
        {"nodeTrust": {"additionalHosts": ["registry.example.com:5000"]}},
        ENTRY,
    ),
}


class TestChange:
    @pytest.mark.parametrize("field", OPTIONAL)
    def test_a_field_that_is_set_is_applied(self, field: str) -> None:
        """Each optional field reaches the object that it speaks of."""
        spec, child = OPTIONAL[field]
        assert ("apply", *child) in converged(made(), spec)

    @pytest.mark.parametrize("field", [field for field in OPTIONAL if field != "size"])
    def test_a_field_that_is_dropped_is_applied(self, field: str) -> None:
        """What was left out of the spec goes, though the live object contains all that is still asked for."""
        spec, child = OPTIONAL[field]
        cluster = made(spec)
        assert ("apply", *child) in converged(cluster, {})
        assert cluster.desired()[child] == made().desired()[child]

    @pytest.mark.parametrize("child", [("Service", "team"), ("Deployment", "team"), ("ConfigMap", "team-ca")])
    def test_what_somebody_changed_is_put_right(self, child: tuple[str, str]) -> None:
        """A child that no longer contains what is asked for is applied again, and then it does."""
        cluster = made()
        before = copy.deepcopy(cluster.desired()[child])
        part = "data" if "data" in before else "spec"
        cluster.objects[child][part] = {**before[part], next(iter(before[part])): "something else"}
        assert converged(cluster, {}) == [("apply", *child)]
        assert cluster.desired()[child] == before

    def test_a_claim_is_never_asked_to_shrink(self) -> None:
        """A size that was dropped leaves the larger volume as it is."""
        cluster = made({"storage": {"size": "30Gi"}})
        converged(cluster, {})
        claim = cluster.objects["PersistentVolumeClaim", "team-data"]
        assert claim["spec"]["resources"]["requests"]["storage"] == "30Gi"

    def test_every_object_remembers_what_was_applied(self) -> None:
        """The hash by which a change is told from what others added is that of the object itself."""
        for write in planned(SmallCluster()).writes:
            assert isinstance(write, Create)
            assert write.obj["metadata"]["annotations"][names.APPLIED] == applied_hash(write.obj)


class TestEntry:
    def test_it_is_published_when_the_registry_serves(self) -> None:
        """No node is told of a registry that does not answer yet."""
        cluster = SmallCluster()
        cluster.converge(a_registry(), facts(serves=False))
        assert ENTRY not in cluster.objects
        cluster.converge(a_registry())
        assert parse(cluster.objects[ENTRY]).addresses == (ADDRESS,)

    def test_it_is_kept_when_the_registry_no_longer_serves(self) -> None:
        """Nodes keep what they have: their pulls work again the moment the registry does."""
        cluster = made()
        cluster.converge(a_registry({"nodeTrust": {"nodeSelector": {"pool": "build"}}}), facts(serves=False))
        assert cluster.writes == []

    def test_it_comes_back_whatever_the_registry_does(self) -> None:
        """An entry that someone deleted is published again before an agent could take its absence for a deletion."""
        cluster = made()
        del cluster.objects[ENTRY]
        cluster.converge(a_registry(), facts(serves=False))
        assert cluster.writes == [("create", *ENTRY)]

    def test_it_goes_when_nodes_are_not_to_trust_the_registry(self) -> None:
        """Switched off, the registry is forgotten by the nodes, whether or not it serves."""
        cluster = made()
        writes = converged(cluster, {"nodeTrust": {"enabled": False}}, facts(serves=False))
        assert writes == [("delete", *ENTRY)]

    def test_a_host_that_is_refused_is_named_and_the_others_are_published(self) -> None:
        """One bad name does not take the good ones from the nodes."""
        hosts = ["registry.example.com:5000", "docker.io", "taken.example.com:5000", "not a host"]
        spec = {"nodeTrust": {"additionalHosts": hosts}}
        known = facts(taken_hosts={"taken.example.com": "registries/older"})
        cluster = SmallCluster()
        result = cluster.converge(a_registry(spec), known)
        assert [(problem.reason, problem.concern) for problem in result.problems] == [
            (Reason.HOST_NOT_ALLOWED, Concern.NODES),
            (Reason.HOST_TAKEN, Concern.NODES),
            (Reason.HOST_INVALID, Concern.NODES),
        ]
        assert parse(cluster.objects[ENTRY]).hosts[-1] == "registry.example.com:5000"

    def test_without_any_valid_entry_the_reason_is_said(self) -> None:
        """A selector that no entry takes is the owner's to correct, and the pods run all the same."""
        result = made_with_bad_entry()
        assert [problem.reason for problem in result.problems] == [Reason.HOST_INVALID]


def made_with_bad_entry() -> Plan:
    """A registry whose CA bundle is too large for an entry."""
    many = (facts().ca_bundle.replace("MII", f"MII{number:04}", 1) for number in range(200))
    return SmallCluster().converge(a_registry(), facts(ca_bundle="".join(many)))


class TestStorage:
    def test_a_missing_claim_is_named_and_no_pod_is_started(self) -> None:
        """The pod of a registry waits for the claim that its owner promised."""
        result = planned(SmallCluster(a_service()), {"storage": {"claimName": "shared"}})
        [problem] = result.problems
        assert (problem.reason, problem.concern) == (Reason.CLAIM_NOT_FOUND, Concern.STORAGE)
        assert "shared" in problem.message
        assert ("Deployment", "team") not in created(result)

    def test_two_registries_never_share_a_claim(self) -> None:
        """They would delete each other's images, so the younger one starts no pod."""
        cluster = SmallCluster(a_service(), a_claim(name="shared"))
        result = planned(cluster, {"storage": {"claimName": "shared"}}, claim_user="registries/older")
        [problem] = result.problems
        assert problem.reason is Reason.CLAIM_IN_USE
        assert "registries/older" in problem.message
        assert ("Deployment", "team") not in created(result)

    def test_a_kept_claim_that_another_registry_took_is_not_taken_back(self) -> None:
        """The claim that an earlier registry of this name left may have a user by now."""
        result = planned(SmallCluster(a_service(), a_claim()), claim_user="registries/older")
        assert [problem.reason for problem in result.problems] == [Reason.CLAIM_IN_USE]
        assert ("Deployment", "team") not in created(result)

    def test_a_claim_that_cannot_be_bound_is_named(self) -> None:
        """What the claim says of itself is passed on, and the pod is made all the same."""
        cluster = made()
        cluster.objects["PersistentVolumeClaim", "team-data"]["status"]["phase"] = "Lost"
        result = planned(cluster)
        assert [problem.reason for problem in result.problems] == [Reason.CLAIM_LOST]
        assert result.writes == ()


class TestDeletion:
    def objects(self, policy: str) -> set[tuple[str, str]]:
        spec = {"storage": {"reclaimPolicy": policy}}
        cluster = made(spec)
        cluster.objects["Secret", "brought"] = {"kind": "Secret", "metadata": {"name": "brought"}}
        registry = a_registry(spec)
        return {key_of(write.live) for write in plan_deletion(registry, cluster.observe(registry))}

    def test_everything_of_ours_goes_and_the_claim_stays(self) -> None:
        """By default no image is lost."""
        assert {key[0] for key in self.objects("Retain")} == {"Service", "Secret", "ConfigMap", "Deployment"}
        assert ("Secret", "brought") not in self.objects("Retain")

    def test_the_claim_goes_when_its_owner_said_so(self) -> None:
        """`reclaimPolicy: Delete` is the only way to lose it."""
        assert self.objects("Delete") - self.objects("Retain") == {("PersistentVolumeClaim", "team-data")}

    def test_another_ones_claim_stays(self) -> None:
        """A claim that the operator did not make is never deleted by it."""
        foreign = a_claim(name="shared")
        foreign["metadata"]["labels"] = {}
        registry = a_registry({"storage": {"claimName": "shared", "reclaimPolicy": "Delete"}})
        assert plan_deletion(registry, Observed({key_of(foreign): foreign})) == ()

    def test_what_is_going_is_not_deleted_again(self) -> None:
        """A claim that a pod still holds takes its time."""
        going = a_claim()
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        registry = a_registry({"storage": {"reclaimPolicy": "Delete"}})
        assert plan_deletion(registry, Observed({key_of(going): going})) == ()


class TestAddresses:
    @pytest.mark.parametrize(
        ("service", "addresses"),
        [
            (None, ()),
            ({"spec": {}}, ()),
            ({"spec": {"clusterIPs": ["None"]}}, ()),
            ({"spec": {"clusterIPs": ["10.96.0.1", "fd00::1"]}}, ("10.96.0.1", "fd00::1")),
        ],
    )
    def test_of_a_service(self, service: Object | None, addresses: tuple[str, ...]) -> None:
        """Both families; none before the server gave them."""
        assert cluster_ips(service) == addresses

    def test_of_a_load_balancer(self) -> None:
        """Its addresses and names go into the certificate, as soon as its provider reports them."""
        balancer = a_service()
        assert load_balancer_hosts(balancer) == ()
        balancer["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}, {"hostname": "lb.example.com"}]}}
        assert load_balancer_hosts(balancer) == ("192.0.2.7", "lb.example.com")
