"""What tests/rights reads off a request that the API server has noted down."""

from typing import Any

import pytest

from tests.rights.granted import Right, read
from tests.rights.replay import replay

OPERATOR = "system:serviceaccount:system:operator"
LABELS = {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}


def a_role(kind: str, name: str, group: str, resource: str, *verbs: str, **labels: str) -> dict[str, Any]:
    rule = {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
    return {"kind": kind, "metadata": {"name": name, "labels": labels}, "rules": [rule]}


def a_binding(kind: str, name: str) -> dict[str, Any]:
    subject = {"kind": "ServiceAccount", "name": "operator", "namespace": "system"}
    return {
        "kind": f"{kind}Binding",
        "metadata": {"name": name},
        "roleRef": {"kind": kind, "name": name},
        "subjects": [subject],
    }


GRANTS = read(
    [
        a_role("ClusterRole", "operator", "", "services", "create", "get"),
        a_role("ClusterRole", "owners", "privateregistry.dev", "privateregistries/finalizers", "update"),
        a_role("Role", "operator", "coordination.k8s.io", "leases", "get"),
        a_role("ClusterRole", "people", "privateregistry.dev", "privateregistries", "get", **LABELS),
        a_binding("ClusterRole", "operator"),
        a_binding("Role", "operator"),
    ]
)
GET_SERVICES = Right("ClusterRole operator", "", "services", "get")
CREATE_SERVICES = Right("ClusterRole operator", "", "services", "create")


def an_event(
    verb: str = "get",
    *,
    by: str = "",
    user: str = OPERATOR,
    group: str = "",
    resource: str = "services",
    namespace: str = "team",
    **more: Any,
) -> dict[str, Any]:
    """A request that this role allowed, or that none did."""
    reason = f'RBAC: allowed by ClusterRoleBinding "b" of {by} to ServiceAccount "operator/system"' if by else ""
    prefix = "authorization.k8s.io"
    return {
        "verb": verb,
        "user": {"username": user},
        "requestURI": f"/api/v1/{resource}?limit=1",
        "objectRef": {"resource": resource, "namespace": namespace, **({"apiGroup": group} if group else {})},
        "annotations": {f"{prefix}/decision": "allow" if by else "forbid", f"{prefix}/reason": reason},
        "responseStatus": {"code": 201 if by else 403},
        **more,
    }


def test_what_a_role_allowed_is_used_of_that_role() -> None:
    """Not of another one that grants the same, nor when an administrator's role allowed it."""
    assert replay([an_event(by='ClusterRole "operator"')], GRANTS).used == {GET_SERVICES}
    others = [an_event(by='ClusterRole "cluster-admin"'), an_event(by='Role "operator"')]
    assert replay(others, GRANTS).used == set()


def test_a_part_of_a_role_of_kubernetes_is_used_through_it() -> None:
    """Whoever has `edit` uses what this installation adds to it."""
    event = an_event(by='ClusterRole "edit"', group="privateregistry.dev", resource="privateregistries")
    assert replay([event], GRANTS).used == {
        Right("ClusterRole people", "privateregistry.dev", "privateregistries", "get")
    }


def test_a_request_for_no_object_uses_nothing() -> None:
    """Discovery is everybody's."""
    event = an_event(by='ClusterRole "operator"')
    del event["objectRef"]
    assert replay([event], GRANTS).used == set()


@pytest.mark.parametrize(("blocks", "code"), [(True, 201), (True, 403), (False, 201)])
def test_an_owner_that_is_to_wait_was_asked_for_as_well(blocks: bool, code: int) -> None:
    """The API server asks RBAC for it without noting that down; a child that was not made tells nothing."""
    owner = {
        "apiVersion": "privateregistry.dev/v1alpha1",
        "kind": "PrivateRegistry",
        "name": "team",
        "blockOwnerDeletion": blocks,
    }
    grants = read([a_role("ClusterRole", "operator", "privateregistry.dev", "privateregistries/finalizers", "update")])
    event = an_event(
        "create",
        by='ClusterRole "operator"',
        requestObject={"metadata": {"ownerReferences": [owner]}},
        responseStatus={"code": code},
    )
    assert replay([event], grants).used == (grants.rights if (blocks, code) == (True, 201) else set())


@pytest.mark.parametrize(
    ("event", "missing"),
    [
        (an_event("list"), {"operator: list /api/v1/services"}),
        (an_event("get"), set()),
        (an_event("get", group="coordination.k8s.io", resource="leases"), {"operator: get /api/v1/leases"}),
        (an_event("get", group="coordination.k8s.io", resource="leases", namespace="system"), set()),
        (an_event("list", user="somebody"), set()),
        (an_event("list", user="system:serviceaccount:system:somebody"), set()),
    ],
    ids=["not granted", "granted, not yet installed", "in another namespace", "in its own", "a person", "a stranger"],
)
def test_what_no_role_grants_is_missing(event: dict[str, Any], missing: set[str]) -> None:
    """A refusal of what the installation grants is none of its faults: it was not there at that moment."""
    assert replay([event], GRANTS).missing == missing
