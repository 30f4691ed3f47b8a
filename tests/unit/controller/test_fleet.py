"""What belongs to no single registry, as far as it is decided without a cluster."""

import base64
from typing import Any

import pytest

from private_registry.api import names
from private_registry.controller.fleet.authorities import Authorities
from private_registry.controller.fleet.loop import _was_published, node_trust, selected_labels
from private_registry.controller.fleet.succession import ca_secret
from tests.unit.controller.builders import AUTHORITY, a_body, a_node

Object = dict[str, Any]


def selecting(**selector: str) -> Object:
    return a_body({"nodeTrust": {"nodeSelector": selector}})


def test_agents_are_told_the_labels_that_registries_select_by() -> None:
    """And no other: an agent cannot read its Node, and a label that changes often is nobody's business."""
    registries = [selecting(pool="build", zone="a"), selecting(pool="run"), a_body(), {"metadata": {}}]
    assert selected_labels(registries) == {"pool", "zone", names.RUNTIME_CONFIG}
    assert selected_labels([]) == {names.RUNTIME_CONFIG}


def test_a_node_trust_goes_with_its_node() -> None:
    """It has the node's name and is owned by it, so that the garbage collector removes it."""
    made = node_trust(a_node("worker", pool="build", other="x"), frozenset({"pool", "zone"}))
    assert made["metadata"]["name"] == "worker"
    assert made["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Node", "name": "worker", "uid": "uid of worker"}
    ]
    assert made["spec"] == {"nodeLabels": {"pool": "build"}}


def test_a_node_without_labels_has_a_node_trust() -> None:
    """Its agent waits for one before it writes anything."""
    bare = a_node()
    bare["metadata"]["labels"] = None
    assert node_trust(bare, frozenset({"pool"}))["spec"] == {"nodeLabels": {}}


@pytest.mark.parametrize(
    ("registry", "published"),
    [
        ({"status": {"entryHash": "hash"}}, True),
        ({"status": {"entryHash": "hash"}, "spec": {"nodeTrust": {"enabled": True}}}, True),
        ({"status": {"entryHash": "hash"}, "spec": {"nodeTrust": {"enabled": False}}}, False),
        ({"status": {"entryHash": "hash"}, "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}, False),
        ({"status": {"entryHash": ""}}, False),
        ({}, False),
    ],
)
def test_agents_undo_nothing_before_each_entry_that_they_know_is_back(registry: Object, published: bool) -> None:
    """An entry is waited for when nodes had it and its owner still wants it."""
    assert _was_published({"metadata": {}, **registry}) is published


def test_the_ca_is_kept_in_a_secret_from_which_it_is_read_back() -> None:
    """In the operator's own namespace, in the form that other tools know."""
    secret = ca_secret(Authorities(AUTHORITY), "private-registry-system")
    assert secret["metadata"]["namespace"] == "private-registry-system"
    assert secret["type"] == "kubernetes.io/tls"
    read = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    assert read == {"tls.crt": AUTHORITY.cert_pem, "tls.key": AUTHORITY.key_pem}
