"""The conditions of a registry, row by row of the design's table, and what else its status says."""

from collections.abc import Callable
from typing import Any

import pytest

from private_registry.api import names
from private_registry.api.conditions import Reason, Type, find
from private_registry.api.registry import RegistryStatus
from private_registry.controller.facts import Blocker
from private_registry.controller.health.problem import Concern, Problem
from private_registry.data.readonly import Cause
from private_registry.trust.entry import data_of, hash_of
from tests.unit.controller.builders import (
    ADDRESS,
    CREATING,
    a_claim,
    a_node,
    a_pod,
    a_registry,
    a_storage_class,
    an_agent_pod,
    an_unschedulable_pod,
    at,
    waiting,
)
from tests.unit.controller.scenes import NOT_ALLOWED, condition, said, status_of
from tests.unit.controller.small_cluster import Key, made

Object = dict[str, Any]
Statuses = dict[str, str]

CLAIM = ("PersistentVolumeClaim", "team-data")
DEPLOYMENT = ("Deployment", "team")
ENTRY = ("ConfigMap", "entry.registries.team")
THREE = (a_node("a"), a_node("b"), a_node("c"))

UNREACHABLE = {"trusted": False, "reason": "Unreachable", "message": "timeout"}
NOT_WRITABLE = Problem(Reason.NOT_WRITABLE, "the registry cannot write", Concern.STORAGE)

PLAIN = {"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}}


def updating(spec: Object) -> dict[Key, Object]:
    """The objects while the spec's rollout has begun and its pod is not there yet."""
    cluster = made()
    cluster.reconcile(a_registry(spec, generation=2))
    return cluster.objects


def template_of(objects: dict[Key, Object]) -> str:
    return str(objects[DEPLOYMENT]["metadata"]["annotations"][names.TEMPLATE])


def the_bad_update() -> RegistryStatus:
    objects = updating({"image": "wrong"})
    stuck = a_pod(template=template_of(objects), ready=False, state=waiting("ImagePullBackOff"))
    return status_of({"image": "wrong"}, objects=objects, pods=(a_pod(template="old"), stuck))


def starting(claim: Object, **scene: Any) -> RegistryStatus:
    """A registry whose pod waits for its claim."""
    deployment = made().objects[DEPLOYMENT] | {"status": {}}
    return status_of(changed={CLAIM: claim, DEPLOYMENT: deployment}, serves=False, **scene)


TABLE: dict[str, tuple[Callable[[], RegistryStatus], Statuses]] = {
    "serving, all desired nodes proven": (
        status_of,
        {
            "Ready": "True Ready",
            "Available": "True Serving",
            "StorageReady": "True Bound",
            "NodesTrusted": "True AllNodesTrust",
        },
    ),
    "a desired node fails its proof": (
        lambda: status_of(nodes=THREE, rows={"a": {}, "b": {}, "c": UNREACHABLE}),
        {
            "Ready": "False NodesNotTrusted",
            "Available": "True Serving",
            "StorageReady": "True Bound",
            "NodesTrusted": "False NodesNotTrusted",
        },
    ),
    "registry down": (
        lambda: status_of(serves=False),
        {
            "Ready": "False NotServing",
            "Available": "False NotServing",
            "StorageReady": "True Bound",
            "NodesTrusted": "Unknown RegistryUnavailable",
            "Reconciling": "True Progressing",
        },
    ),
    "bad update, old pod still serving": (
        the_bad_update,
        {
            "Ready": "False ImageCannotBePulled",
            "Available": "True Serving",
            "StorageReady": "True Bound",
            "NodesTrusted": "True AllNodesTrust",
            "Stalled": "True ImageCannotBePulled",
        },
    ),
    "claim Pending under WaitForFirstConsumer": (
        lambda: starting(a_claim("Pending"), storage_classes=(a_storage_class("standard", "WaitForFirstConsumer"),)),
        {
            "Ready": "False NotServing",
            "Available": "False NotServing",
            "StorageReady": "Unknown WaitingForPod",
            "NodesTrusted": "Unknown RegistryUnavailable",
            "Reconciling": "True RollingOut",
        },
    ),
    "claim Pending while its volume is made": (
        lambda: starting(a_claim("Pending"), storage_classes=(a_storage_class("standard"),)),
        {
            "Ready": "False NotServing",
            "Available": "False NotServing",
            "StorageReady": "Unknown Provisioning",
            "NodesTrusted": "Unknown RegistryUnavailable",
            "Reconciling": "True RollingOut",
        },
    ),
    "no default class": (
        lambda: starting(a_claim("Pending", storage_class=None), storage_classes=(a_storage_class("fast"),)),
        {
            "Ready": "False NoDefaultStorageClass",
            "Available": "False NoDefaultStorageClass",
            "StorageReady": "False NoDefaultStorageClass",
            "NodesTrusted": "Unknown RegistryUnavailable",
            "Reconciling": "True RollingOut",
            "Stalled": "True NoDefaultStorageClass",
        },
    ),
    "provisioning failed": (
        lambda: starting(
            a_claim("Pending"),
            storage_classes=(a_storage_class("standard"),),
            claim_events=({"reason": "ProvisioningFailed", "message": "no space left"},),
        ),
        {
            "Ready": "False ProvisioningFailed",
            "Available": "False ProvisioningFailed",
            "StorageReady": "False ProvisioningFailed",
            "NodesTrusted": "Unknown RegistryUnavailable",
            "Reconciling": "True RollingOut",
            "Stalled": "True ProvisioningFailed",
        },
    ),
    # It answers, so it is Available and nodes pull what there is.
    "not writable": (
        lambda: status_of(problems=(NOT_WRITABLE,)),
        {
            "Ready": "False NotWritable",
            "Available": "True Serving",
            "StorageReady": "False NotWritable",
            "NodesTrusted": "True AllNodesTrust",
            "Stalled": "True NotWritable",
        },
    ),
    "no node selected": (
        lambda: status_of(nodes=()),
        {
            "Ready": "True Ready",
            "Available": "True Serving",
            "StorageReady": "True Bound",
            "NodesTrusted": "True NoNodesSelected",
        },
    ),
    "nodeTrust disabled": (
        lambda: status_of({"nodeTrust": {"enabled": False}}),
        {
            "Ready": "True Ready",
            "Available": "True Serving",
            "StorageReady": "True Bound",
            "NodesTrusted": "True NodeTrustDisabled",
        },
    ),
}


@pytest.mark.parametrize("situation", TABLE)
def test_each_situation_has_its_conditions(situation: str) -> None:
    """The design's table; Reconciling and Stalled are there only while they are True."""
    status, wanted = TABLE[situation]
    assert said(status()) == wanted


@pytest.mark.parametrize("situation", TABLE)
def test_whatever_is_not_true_says_why(situation: str) -> None:
    """Each condition speaks of this generation, since now; `-o wide` shows the first that is wrong."""
    status = TABLE[situation][0]()
    for each in status.conditions:
        assert each.message or each.type is Type.READY
        assert each.message or each.status == "True"
        assert (each.observed_generation, each.last_transition_time) == (1, at(0))
    ready = condition(status, Type.READY)
    assert status.message == ("" if ready.status == "True" else ready.message)


class TestNodes:
    def of(self, rows: dict[str, Object] | None = None, **scene: Any) -> tuple[str, str]:
        found = condition(status_of(nodes=THREE, rows=rows, **scene), Type.NODES_TRUSTED)
        return f"{found.status} {found.reason}", found.message

    def test_the_first_that_is_wrong_is_named(self) -> None:
        """With what its agent said, which holds the fix."""
        rows = {"a": {}, "b": {"trusted": False, "reason": "ConfigPathUnset", "message": "set config_path"}, "c": {}}
        assert self.of(rows) == (
            "False NodesNotTrusted",
            "2/3 nodes trust it; b: ConfigPathUnset: set config_path",
        )

    def test_an_agent_that_is_not_ready_leaves_it_open(self) -> None:
        """Nothing is claimed that was not observed."""
        agents = (an_agent_pod("a"), an_agent_pod("b", ready=False), an_agent_pod("c"))
        assert self.of(agents=agents)[0] == "Unknown AgentNotReady"

    def test_a_node_that_fails_weighs_more_than_one_that_is_silent(self) -> None:
        """What is known to be wrong is said first."""
        agents = (an_agent_pod("a", ready=False), an_agent_pod("b"), an_agent_pod("c"))
        rows: dict[str, Object] = {"a": {}, "b": {}, "c": UNREACHABLE}
        found, message = self.of(rows, agents=agents)
        assert found == "False NodesNotTrusted"
        assert "c: Unreachable" in message

    @pytest.mark.parametrize("row", [{"entryHash": "older"}, {"trusted": False, "reason": "Applying"}], ids=str)
    def test_nodes_on_their_way_are_waited_for(self, row: Object) -> None:
        """Nothing is wrong yet with a node that has just been told."""
        assert self.of({"a": {}, "b": {}, "c": row})[0] == "False WaitingForNodes"

    def test_one_that_fails_is_not_hidden_by_others_on_their_way(self) -> None:
        """The reason says that something has to be done."""
        rows: dict[str, Object] = {"a": {"entryHash": "older"}, "b": {}, "c": UNREACHABLE}
        assert self.of(rows)[0] == "False NodesNotTrusted"

    def test_only_young_nodes(self) -> None:
        """Not known yet, and not wrong."""
        found = condition(status_of(nodes=(a_node(age=5),), rows={}), Type.NODES_TRUSTED)
        assert (found.status, found.reason) == ("Unknown", Reason.WAITING_FOR_NODES)
        assert "1 nodes are less than 2 minutes old" in found.message

    def test_counts_and_the_first_ten(self) -> None:
        """NodeTrust objects have them all."""
        nodes = tuple(a_node(f"node-{number:02}") for number in range(14))
        rows: dict[str, Object] = {node["metadata"]["name"]: UNREACHABLE for node in nodes}
        rows |= {"node-00": {}, "node-01": {}}
        reported = status_of(nodes=nodes, rows=rows).nodes
        assert (reported.desired, reported.trusted, reported.summary) == (14, 2, "2/14")
        assert [problem.node for problem in reported.problems] == [f"node-{number:02}" for number in range(2, 12)]
        assert (reported.problems[0].reason, reported.problems[0].message) == ("Unreachable", "timeout")


class TestReconciling:
    def of(self, status: RegistryStatus) -> str:
        return said(status).get(Type.RECONCILING, "")

    def test_never_for_nodes(self) -> None:
        """It follows the spec and the children: a node that fails is nothing that the operator works at."""
        assert self.of(status_of(rows={"worker": UNREACHABLE})) == ""
        assert self.of(status_of(rows={})) == ""

    def test_a_rollout(self) -> None:
        """Until the last pod of the template before is gone, whether or not something serves."""
        assert self.of(status_of({"image": "b"}, objects=updating({"image": "b"}))) == "True RollingOut"

    def test_a_change_that_waits_for_the_rollout_before(self) -> None:
        """And says so."""
        status = status_of({"image": "c"}, objects=updating({"image": "b"}), generation=3)
        assert self.of(status) == "True Progressing"
        assert condition(status, Type.RECONCILING).message == "waiting for the rollout before the next one"

    @pytest.mark.parametrize(
        ("failing", "reason", "state"),
        [(False, "UpgradeQueued", "is not complete"), (True, "UpgradeHalted", "fails")],
    )
    def test_an_upgrade_in_its_queue(self, failing: bool, reason: str, state: str) -> None:
        """Which registry it waits for; the registry itself is well."""
        older = made().objects
        older[DEPLOYMENT]["metadata"]["annotations"][names.TEMPLATE] = "of an older operator"
        noted = RegistryStatus(observed_generation=1)
        blocker = Blocker("registries/other", failing=failing)
        status = status_of(objects=older, before=noted, upgrade_blocker=blocker)
        assert self.of(status) == f"True {reason}"
        assert condition(status, Type.RECONCILING).message.endswith(f"the rollout of registries/other {state}")
        assert condition(status, Type.READY).status == "True"

    def test_a_proof_of_the_image(self) -> None:
        """On which node, and what for."""
        objects = updating({"image": "b"})
        elsewhere = a_pod(template=template_of(objects), node="other", ready=False, state=CREATING)
        status = status_of({"image": "b"}, objects=objects, pods=(a_pod(template="old"), elsewhere))
        assert self.of(status) == "True ProvingImage"
        assert "other" in condition(status, Type.RECONCILING).message

    def test_what_waiting_does_not_cure_is_stalled_and_not_reconciling(self) -> None:
        """Tools that read kstatus tell the two apart: nothing happens until somebody acts."""
        status = status_of({"storage": {"claimName": "missing"}}, serves=False)
        assert said(status) == {
            "Ready": "False ClaimNotFound",
            "Available": "False ClaimNotFound",
            "StorageReady": "False ClaimNotFound",
            "NodesTrusted": "Unknown RegistryUnavailable",
            "Stalled": "True ClaimNotFound",
        }


class TestStalled:
    def test_it_names_everything_that_is_wrong(self) -> None:
        """The first one's reason, and each one's message."""
        stalled = condition(status_of(problems=(NOT_WRITABLE, NOT_ALLOWED)), Type.STALLED)
        assert stalled.reason is Reason.NOT_WRITABLE
        assert stalled.message == "the registry cannot write; docker.io is not allowed"

    def test_a_host_that_is_refused_is_no_reason_to_be_unavailable(self) -> None:
        """A registry that does not serve yet says that, not what is wrong with a further name."""
        status = status_of(problems=(NOT_ALLOWED,), serves=False)
        assert condition(status, Type.AVAILABLE).reason is Reason.NOT_SERVING
        assert condition(status, Type.READY).reason is Reason.HOST_NOT_ALLOWED

    def test_the_claims_problem_comes_before_the_pods(self) -> None:
        """A pod that cannot be scheduled for want of a volume is the consequence."""
        unschedulable = an_unschedulable_pod()
        unschedulable["metadata"]["annotations"] = {names.TEMPLATE: template_of(made().objects)}
        status = starting(a_claim("Pending", storage_class=None), pods=(unschedulable,))
        stalled = condition(status, Type.STALLED)
        assert stalled.reason is Reason.NO_DEFAULT_CLASS
        assert "no node can run the registry's pod" in stalled.message

    def test_a_page_of_text_is_cut(self) -> None:
        """A message that is too long for a condition would keep the whole status from being written."""
        long = Problem(Reason.REFUSED_BY_SERVER, "x" * 100_000)
        assert all(len(each.message) <= 4096 for each in status_of(problems=(long,)).conditions)


class TestReadOnly:
    def test_it_names_every_cause(self) -> None:
        """While there is one, and beside a registry that is ready: who pulls is served."""
        causes = (Cause(Reason.BOUND, "until then"), Cause(Reason.REQUESTED, "it is asked for"))
        status = status_of(read_only=causes)
        said = condition(status, Type.READ_ONLY)
        assert (said.status, said.reason, said.message) == (
            "True",
            Reason.BOUND,
            "until then; it is asked for",
        )
        assert condition(status, Type.READY).status == "True"
        assert find(status_of().conditions, Type.READ_ONLY) is None


class TestFields:
    def test_what_people_and_programs_need(self) -> None:
        """Where to push, what to trust, how large."""
        status = status_of()
        assert status.host == "team.registries.svc:5000"
        assert status.cluster_ips == (ADDRESS,)
        assert status.ca_config_map_name == "team-ca"
        assert status.size == "20Gi"
        assert status.observed_generation == 1
        assert status.entry_hash == hash_of(data_of(made().objects[ENTRY]))

    def test_a_new_registry_has_a_host_before_it_has_anything_else(self) -> None:
        """People may write it down at once."""
        status = status_of(objects={}, serves=False)
        assert status.host == "team.registries.svc:5000"
        assert (status.cluster_ips, status.ca_config_map_name, status.size, status.entry_hash) == ((), "", "", "")

    def test_the_size_is_what_was_asked_for_until_there_is_a_volume(self) -> None:
        """And the volume's own from then on, which may be larger."""
        assert starting(a_claim("Pending")).size == "20Gi"
        larger = a_claim()
        larger["status"]["capacity"]["storage"] = "25Gi"
        assert status_of(changed={CLAIM: larger}).size == "25Gi"

    def test_without_tls_there_is_no_ca(self) -> None:
        """A ConfigMap that is left from before is not pointed at."""
        assert status_of(PLAIN).ca_config_map_name == ""
        left = made().objects["ConfigMap", "team-ca"]
        assert status_of(PLAIN, changed={("ConfigMap", "team-ca"): left}).ca_config_map_name == ""

    def test_addresses_are_remembered_while_the_service_is_away(self) -> None:
        """It comes back with them."""
        assert status_of(objects={}, before=RegistryStatus(cluster_ips=(ADDRESS,))).cluster_ips == (ADDRESS,)

    def test_nothing_new_is_the_same_status(self) -> None:
        """A steady registry gets no write."""
        first = status_of()
        assert status_of(before=first) == first
