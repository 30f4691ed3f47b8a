"""When a live object is what was asked for, and when it has to be applied again."""

import copy
from typing import Any

import pytest

from private_registry.api import names
from private_registry.controller.registries.drift import (
    contains,
    drifted,
    fingerprint,
    is_left_behind,
    is_ours,
    stamped,
)
from tests.unit.controller.builders import UID, labels

Object = dict[str, Any]


@pytest.mark.parametrize(
    ("live", "desired"),
    [
        ({"a": 1, "added by the server": True}, {"a": 1}),
        ({}, {"nodeSelector": {}, "tolerations": [], "className": "", "nothing": None}),
        ({"cpu": "1"}, {"cpu": "1000m"}),
        ({"cpu": "1"}, {"cpu": 1}),
        ({"memory": "1Gi"}, {"memory": "1024Mi"}),
        ([{"name": "injected"}, {"name": "registry", "image": "x", "added": 1}], [{"name": "registry", "image": "x"}]),
        ([{"name": "b"}, {"name": "a"}], [{"name": "a"}, {"name": "b"}]),
        ([{"mountPath": "/b"}, {"mountPath": "/a"}], [{"mountPath": "/a"}]),
        (
            [{"key": "k", "value": "1"}, {"key": "k", "value": "2"}],
            [{"key": "k", "value": "1"}, {"key": "k", "value": "2"}],
        ),
        (["a", "b"], ["a", "b"]),
        ([], []),
    ],
)
def test_what_is_contained(live: Any, desired: Any) -> None:
    """What others added, the server's own spelling and empty wishes are no difference."""
    assert contains(live, desired)


@pytest.mark.parametrize(
    ("live", "desired"),
    [
        ({"a": 2}, {"a": 1}),
        ({}, {"a": 1}),
        ({"a": None}, {"a": {"b": 1}}),
        ({"a": "text"}, {"a": {"b": 1}}),
        ({"a": ["x"]}, {"a": []}),
        ({"a": "x"}, {"a": ""}),
        ({"a": "x"}, {"a": None}),
        ({"on": True}, {"on": False}),
        # One label more selects other pods, and other nodes.
        ({"selector": {"app": "x", "more": "y"}}, {"selector": {"app": "x"}}),
        ({"nodeSelector": {"disk": "ssd", "zone": "a"}}, {"nodeSelector": {"disk": "ssd"}}),
        ({"cpu": "2"}, {"cpu": "1000m"}),
        ({"image": "registry:3"}, {"image": "registry:3.1"}),
        ([{"name": "registry", "image": "y"}], [{"name": "registry", "image": "x"}]),
        ([{"name": "other"}], [{"name": "registry"}]),
        ([{"key": "k", "value": "1"}], [{"key": "k", "value": "1"}, {"key": "k", "value": "2"}]),
        (["a", "b"], ["a"]),
        (["b", "a"], ["a", "b"]),
        ("text", ["text"]),
    ],
)
def test_what_is_not(live: Any, desired: Any) -> None:
    """Whatever was asked for and is not so is a difference, also what should be empty and is not."""
    assert not contains(live, desired)


def an_object(**annotations: str) -> Object:
    return {
        "kind": "Service",
        "metadata": {"name": "team", "annotations": annotations},
        "spec": {"type": "NodePort"},
    }


class TestDrift:
    def test_what_was_just_applied_has_not_drifted(self) -> None:
        """One write, and then silence."""
        desired = stamped(an_object(mine="1"))
        live = copy.deepcopy(desired)
        live["spec"]["clusterIP"] = "10.96.0.1"
        live["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = "now"
        assert not drifted(desired, live)

    def test_a_dropped_field_is_drift(self) -> None:
        """The live object contains all that is still asked for, and yet it has to be applied."""
        live = stamped(an_object())
        less = an_object()
        del less["spec"]["type"]
        assert contains(live, less)
        assert drifted(stamped(less), live)

    def test_an_edit_is_drift(self) -> None:
        """Somebody else's value for a field of ours does not stay."""
        live = copy.deepcopy(stamped(an_object()))
        live["spec"]["type"] = "ClusterIP"
        assert drifted(stamped(an_object()), live)

    def test_an_object_without_the_annotation_is_applied(self) -> None:
        """A claim that is taken over was stamped by nobody, or by an earlier registry."""
        live = an_object()
        del live["metadata"]["annotations"]
        assert drifted(stamped(an_object()), live)

    def test_a_stamp_is_the_same_for_the_same_object(self) -> None:
        """Stamping twice changes nothing, and the object that was given stays as it was."""
        bare = an_object()
        assert stamped(stamped(bare)) == stamped(bare)
        assert names.APPLIED not in bare["metadata"]["annotations"]


class TestOwnership:
    @pytest.mark.parametrize(
        ("live_labels", "ours"),
        [
            (labels(), True),
            (labels(**{names.REGISTRY_UID: "an earlier one"}), False),
            (labels(**{names.MANAGED_BY: "Helm"}), False),
            (None, False),
        ],
    )
    def test_ours_is_what_carries_our_label_and_the_uid(self, live_labels: Object | None, ours: bool) -> None:
        """A registry that was deleted and made anew is another one."""
        assert is_ours({"metadata": {"labels": live_labels}}, UID) is ours

    @pytest.mark.parametrize(
        ("metadata", "left"),
        [
            ({"labels": labels(**{names.REGISTRY_UID: "an earlier one"})}, True),
            ({"labels": labels(**{names.INSTANCE: "another"})}, False),
            ({"labels": labels(**{names.MANAGED_BY: "Helm"})}, False),
            ({"labels": labels(), "deletionTimestamp": "2026-01-01T00:00:00Z"}, False),
            ({}, False),
        ],
    )
    def test_an_heir_has_the_name(self, metadata: Object, left: bool) -> None:
        """A kept claim is for the next registry of the same name, unless it is going."""
        assert is_left_behind({"metadata": metadata}, "team") is left


class TestFingerprint:
    def test_the_servers_bookkeeping_does_not_count(self) -> None:
        """A write in vain is not repeated because a status moved."""
        live = an_object()
        later = copy.deepcopy(live)
        later["metadata"] |= {"resourceVersion": "2", "managedFields": [{"manager": "x"}]}
        later["status"] = {"loadBalancer": {}}
        assert fingerprint(later) == fingerprint(live)

    @pytest.mark.parametrize("part", ["spec", "metadata"])
    def test_a_change_does(self, part: str) -> None:
        """When somebody changed the object, applying it may help this time."""
        live = an_object()
        later = copy.deepcopy(live)
        later[part]["labels"] = {"a": "b"}
        assert fingerprint(later) != fingerprint(live)
