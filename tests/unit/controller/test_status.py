"""Statuses of registries that cannot be read or are going, and which changes somebody waits for."""

from typing import Any

from private_registry.api.conditions import Reason
from private_registry.api.registry import RegistryStatus
from private_registry.controller.health import summary
from private_registry.controller.health.problem import Concern, Problem
from tests.unit.controller.builders import (
    NOW,
    a_node,
    a_registry,
)
from tests.unit.controller.scenes import NOT_ALLOWED, said, status_of

Object = dict[str, Any]
Statuses = dict[str, str]

CLAIM = ("PersistentVolumeClaim", "team-data")
DEPLOYMENT = ("Deployment", "team")
ENTRY = ("ConfigMap", "entry.registries.team")
THREE = (a_node("a"), a_node("b"), a_node("c"))

UNREACHABLE = {"trusted": False, "reason": "Unreachable", "message": "timeout"}
NOT_WRITABLE = Problem(Reason.NOT_WRITABLE, "the registry cannot write", Concern.STORAGE)


class TestOtherStatuses:
    def test_an_object_that_cannot_be_read(self) -> None:
        """Says which field; what is known of the running registry stays known."""
        before = status_of()
        status = summary.refused(
            a_registry(status=before, generation=2), Reason.SPEC_INVALID, "spec.storage.size: too long", NOW
        )
        assert said(status) == {
            **said(before),
            "Ready": "False SpecInvalid",
            "Stalled": "True SpecInvalid",
        }
        assert status.message == "spec.storage.size: too long"
        assert status.observed_generation == 2
        assert status.entry_hash == before.entry_hash

    def test_a_registry_that_is_deleted(self) -> None:
        """Says which nodes it waits for, and reconciles nothing any more."""
        before = status_of(problems=(NOT_WRITABLE,))
        status = summary.deleting(a_registry(status=before), "nodes undo their trust: a", NOW)
        assert said(status) == {
            "Ready": "False Deleting",
            "NodesTrusted": "False Deleting",
            "Available": "True Serving",
            "StorageReady": "False NotWritable",
        }
        assert status.message == "nodes undo their trust: a"


class TestUrgency:
    def test_a_first_status_and_one_of_a_new_spec(self) -> None:
        """Somebody has just applied something, and looks."""
        status = status_of()
        assert summary.is_urgent(status, RegistryStatus())
        assert summary.is_urgent(status.model_copy(update={"observed_generation": 2}), status)

    def test_what_people_wait_for(self) -> None:
        """Ready, Available and Stalled, and neither their words nor the count of nodes."""
        status = status_of()
        assert summary.is_urgent(status_of(serves=False), status)
        assert summary.is_urgent(status_of(problems=(NOT_ALLOWED,), serves=False), status_of(serves=False))
        one = status_of(nodes=THREE, rows={"a": {}, "b": {}})
        none = status_of(nodes=THREE, rows={})
        assert one != none
        assert not summary.is_urgent(one, none)
