"""A registry's claim: kept, made to grow, waited for; and what is said where that cannot be."""

from typing import Any

import pytest

from private_registry.api import names
from private_registry.api.conditions import Reason, Type
from private_registry.controller.data.claims import Decision, decide
from private_registry.controller.registries.observe import Observed
from tests.unit.controller.builders import UID, a_claim, a_deployment, a_registry, a_storage_class, labels
from tests.unit.controller.scenes import condition, said, status_of

Object = dict[str, Any]

LARGER: Object = {"storage": {"size": "30Gi"}}
GROWING = "the claim team-data to grow from 20Gi to 30Gi"
LEAVING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
GROWS = {**a_storage_class(), "allowVolumeExpansion": True}


def decided(
    live: Object | None, spec: Object | None = None, *classes: Object, others: tuple[Object, ...] = ()
) -> Decision:
    objects = {(obj["kind"], obj["metadata"]["name"]): obj for obj in (live, *others) if obj}
    return decide(a_registry(spec), Observed(objects=objects, storage_classes=classes), "")


def size_of(decision: Decision) -> str:
    assert decision.desired
    return str(decision.desired["spec"]["resources"]["requests"]["storage"])


def a_growing_claim(**status: Any) -> Object:
    """One that was asked to grow to 30Gi."""
    claim = a_claim()
    claim["spec"]["resources"]["requests"]["storage"] = "30Gi"
    claim["status"] |= status
    return claim


class TestGrowth:
    def test_where_the_class_lets_it(self) -> None:
        """The claim is asked for more, and there is nothing to say."""
        decision = decided(a_claim(), LARGER, GROWS)
        assert size_of(decision) == "30Gi"
        assert decision.problems == ()

    @pytest.mark.parametrize(
        ("claim", "classes", "why"),
        [
            (a_claim(), (a_storage_class(),), "standard has no allowVolumeExpansion"),
            (
                a_claim(),
                ({**a_storage_class(), "allowVolumeExpansion": False},),
                "standard has no allowVolumeExpansion",
            ),
            (a_claim(), (a_storage_class("other"),), "standard is not there any more"),
            (a_claim(storage_class=None), (GROWS,), "of no storage class"),
            (a_claim(storage_class=""), (GROWS,), "of no storage class"),
        ],
    )
    def test_where_it_cannot_be(self, claim: Object, classes: tuple[Object, ...], why: str) -> None:
        """Nobody is asked in vain: it stays as it is, a pod may use it, and the message has the cause and a way out."""
        decision = decided(claim, LARGER, *classes)
        (problem,) = decision.problems
        assert problem.reason == Reason.RESIZE_REFUSED
        assert why in problem.message
        assert "make another PrivateRegistry" in problem.message
        assert size_of(decision) == "20Gi"
        assert decision.usable

    def test_before_it_is_bound(self) -> None:
        """A claim that is waiting for its volume cannot be changed; it grows once it has one."""
        decision = decided(a_claim("Pending"), LARGER, GROWS)
        assert size_of(decision) == "20Gi"
        assert decision.problems == ()

    @pytest.mark.parametrize(
        ("status", "waiting"),
        [
            ({}, GROWING),
            ({"conditions": [{"type": "Resizing", "status": "True"}]}, GROWING),
            (
                {"conditions": [{"type": "FileSystemResizePending", "status": "True"}]},
                f"{GROWING}: its volume has, and its file system is next, with some drivers only when a pod starts",
            ),
            ({"capacity": {"storage": "30Gi"}}, ""),
            ({"capacity": {"storage": "32Gi"}}, ""),
            ({"capacity": {}}, ""),
        ],
    )
    def test_while_it_is_under_way(self, status: Object, waiting: str) -> None:
        """From what to what, and what is missing; nothing once it is there."""
        decision = decided(a_growing_claim(**status), LARGER)
        assert (decision.waiting, decision.problems) == (waiting, ())

    def test_it_is_shown(self) -> None:
        """As being on its way, with a registry that is as available as before."""
        status = status_of(LARGER, changed={("PersistentVolumeClaim", "team-data"): a_growing_claim()})
        assert condition(status, Type.RECONCILING).message == f"waiting for {GROWING}"
        assert said(status)["Ready"] == "True Ready"

    @pytest.mark.parametrize("state", ["ControllerResizeInfeasible", "NodeResizeInfeasible", "NodeResizeFailed"])
    def test_a_driver_that_cannot(self, state: str) -> None:
        """What it was asked for and could not do is no longer waited for."""
        decision = decided(a_growing_claim(allocatedResourceStatuses={"storage": state}), LARGER)
        (problem,) = decision.problems
        assert problem.reason == Reason.RESIZE_REFUSED
        assert state in problem.message
        assert not decision.waiting

    def test_one_that_someone_else_owns(self) -> None:
        """It grows as its owner likes."""
        claim = a_claim(name="shared")
        assert decided(claim, {"storage": {"claimName": "shared"}}) == Decision()


class TestKept:
    @pytest.mark.parametrize(("of_claim", "of_spec", "effective"), [("1Ti", "30Gi", "1Ti"), ("1Gi", "30Gi", "30Gi")])
    def test_the_effective_size_is_the_larger(self, of_claim: str, of_spec: str, effective: str) -> None:
        """A claim that was kept never shrinks, and grows with the spec of its heir."""
        claim = a_claim()
        claim["spec"]["resources"]["requests"]["storage"] = of_claim
        claim["status"]["capacity"]["storage"] = of_claim
        assert size_of(decided(claim, {"storage": {"size": of_spec}}, GROWS)) == effective

    @pytest.mark.parametrize(
        ("spec", "words"),
        [
            ({"storageClassName": "fast"}, "storageClassName 'standard'"),
            ({"storageClassName": ""}, "storageClassName 'standard'"),
            ({"accessMode": "ReadWriteMany"}, "accessMode 'ReadWriteOnce'"),
        ],
    )
    def test_one_that_is_otherwise(self, spec: Object, words: str) -> None:
        """What of a claim can never change, the new registry has to ask for as it is: until then no pod is made."""
        decision = decided(a_claim(), {"storage": spec})
        (problem,) = decision.problems
        assert problem.reason == Reason.CLAIM_DIFFERS
        assert words in problem.message
        assert not decision.usable
        assert decision.desired is None

    def test_whatever_class_it_has_where_none_is_asked_for(self) -> None:
        """The default class may be another one by now."""
        assert decided(a_claim(storage_class="of before")).problems == ()


class TestBeingDeleted:
    def test_one_of_a_registry_that_has_gone(self) -> None:
        """It is waited for, whoever's it is, and nothing is made of it meanwhile."""
        claim = a_claim()
        claim["metadata"] |= {**LEAVING, "labels": labels(**{names.REGISTRY_UID: "an earlier one"})}
        decision = decided(claim)
        assert decision == Decision(usable=False, waiting="the claim team-data, which is being deleted, to be gone")
        status = status_of(objects={("PersistentVolumeClaim", "team-data"): claim}, serves=False)
        assert said(status)["StorageReady"] == "Unknown Provisioning"
        assert "Stalled" not in said(status)

    def test_one_that_is_used(self) -> None:
        """Nothing brings it back: its owner hears what he is about to lose while there is time."""
        claim = a_claim()
        claim["metadata"] |= LEAVING
        deployment = a_deployment()
        decision = decided(claim, others=(deployment,))
        (problem,) = decision.problems
        assert deployment["metadata"]["labels"][names.REGISTRY_UID] == UID
        assert problem.reason == Reason.CLAIM_LEAVING
        assert "Copy them elsewhere" in problem.message
        assert not decision.usable
