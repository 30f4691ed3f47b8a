"""No more rights than the design grants, whatever the options. That each of them is used, tests/rights finds out."""

import pytest

from private_registry.api import names
from tests.contract.documents import OPTIONS, Object, installation, named
from tests.rights.granted import read

OPERATOR, AGENT, STARTUP_TAINT = (f"private-registry-{each}" for each in ("operator", "agent", "startup-taint"))
TAKEN = {
    "ClusterRole private-registry-agent",
    "ClusterRole private-registry-edit",
    "ClusterRole private-registry-operator",
    "ClusterRole private-registry-view",
    "Role private-registry-agent",
    "Role private-registry-operator",
}
MORE = {"startup taint": {f"ClusterRole {STARTUP_TAINT}"}}


def granted(objects: list[Object], account: str) -> dict[tuple[str, str], set[str]]:
    """The verbs that an account has, by API group and resource."""
    grants = read(objects)
    verbs: dict[tuple[str, str], set[str]] = {}
    for right in grants.rights:
        if right.role in grants.accounts[account]:
            verbs.setdefault((right.group, right.resource), set()).add(right.verb)
    return verbs


@pytest.mark.parametrize("options", OPTIONS)
def test_there_are_no_other_roles(options: str) -> None:
    """What is checked here is all there is: nobody is given a role of somebody else, and nothing by a URL."""
    objects = installation(options)
    roles = {f"{each['kind']} {each['metadata']['name']}": each["rules"] for each in objects if "rules" in each}
    assert set(roles) == TAKEN | MORE.get(options, set())
    assert not [rule for rules in roles.values() for rule in rules if "nonResourceURLs" in rule]
    given = read(objects).accounts
    assert set(given) == {OPERATOR, AGENT}
    assert set().union(*given.values()) <= set(roles)


@pytest.mark.parametrize("options", OPTIONS)
def test_no_role_grants_a_wildcard_or_a_way_around(options: str) -> None:
    """No role has a star, runs commands in pods, goes through a kubelet, or can give itself more rights."""
    rights = read(installation(options)).rights
    forbidden_verbs = {"*", "escalate", "bind", "impersonate", "deletecollection", "approve", "sign"}
    forbidden_resources = {"*", "pods/*", "pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers"}
    forbidden_resources |= {"pods/proxy", "services/proxy", "nodes/*", "nodes/proxy", "serviceaccounts/token"}
    forbidden_groups = {"*", "rbac.authorization.k8s.io", "admissionregistration.k8s.io", "certificates.k8s.io"}
    assert {right.verb for right in rights}.isdisjoint(forbidden_verbs)
    assert {right.resource for right in rights}.isdisjoint(forbidden_resources)
    assert {right.group for right in rights}.isdisjoint(forbidden_groups)


@pytest.mark.parametrize("options", OPTIONS)
def test_secrets_are_read_by_name_only(options: str) -> None:
    """Nobody lists or watches Secrets, because with list comes reading every Secret of the cluster."""
    rights = {right for right in read(installation(options)).rights if right.resource.startswith("secrets")}
    assert {right.role for right in rights} == {f"ClusterRole {OPERATOR}"}
    assert {right.verb for right in rights} == {"get", "create", "patch", "delete"}


@pytest.mark.parametrize("options", OPTIONS)
def test_nothing_is_granted_twice(options: str) -> None:
    """Each right stands in one rule, so that taking it out takes it away."""
    for each in installation(options):
        stated = [
            (group, resource, verb)
            for rule in each.get("rules", ())
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        ]
        assert len(stated) == len(set(stated)), each["metadata"]["name"]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_operator_makes_nothing_that_mounts_a_host_path(options: str) -> None:
    """It changes no DaemonSet, no Node unless that was opted in, and leaves the status of a NodeTrust to the agents."""
    grants = granted(installation(options), OPERATOR)
    assert grants["apps", "daemonsets"] == {"list"}
    assert grants["", "nodes"] == {"list", "watch"} | ({"patch"} if MORE.get(options, set()) else set())
    assert (names.GROUP, "nodetrusts/status") not in grants


@pytest.mark.parametrize("options", OPTIONS)
def test_an_agent_can_hardly_do_anything(options: str) -> None:
    """It reads NodeTrusts and the ConfigMaps of its namespace, and writes one status: nothing else."""
    assert granted(installation(options), AGENT) == {
        (names.GROUP, "nodetrusts"): {"list", "watch"},
        (names.GROUP, "nodetrusts/status"): {"patch"},
        ("networking.k8s.io", "servicecidrs"): {"list"},
        ("", "configmaps"): {"get", "list", "watch"},
        ("", "namespaces"): {"get"},
    }
    cluster_wide = named(installation(options), "ClusterRole", AGENT)["rules"]
    assert "" not in {group for rule in cluster_wide for group in rule["apiGroups"]}
