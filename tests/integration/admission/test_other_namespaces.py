"""What a registry has put into other namespaces: nobody gets there through the operator who could not go himself."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from private_registry.api import names
from private_registry.kube.client import ForbiddenError, Kube
from private_registry.kube.kinds import PRIVATE_REGISTRY
from tests.cluster.processes import ControlPlane
from tests.integration.accounts import OPERATOR, may
from tests.integration.admission.conftest import NAMESPACE, kubectl
from tests.integration.conftest import credentials
from tests.waiting import aeventually

Object = dict[str, Any]

OWN = [f"tenant-{number}" for number in range(13)]
"""Namespaces in which the tenant may create Secrets and patch ServiceAccounts."""
HALF = "tenant-half"
"""One in which he may create Secrets, and no more."""
ALL: Object = {}
"""A selector of every namespace."""
POLICIES = ("private-registry-pull-secrets", "private-registry-ca-distribution")


def pull_secret(*namespaces: str, **others: Any) -> Object:
    return {"auth": {"anonymousPull": False, "pullSecret": {"namespaces": list(namespaces), **others}}}


CA = {"tls": {"caDistribution": {"namespaceSelector": ALL}}}


@pytest.fixture(scope="module")
def rights(cluster: ControlPlane) -> str:
    """A tenant who edits registries in one namespace and has some rights in others; return his token."""
    account = f"--serviceaccount={NAMESPACE}:tenant"
    kubectl(cluster, "create", "serviceaccount", "tenant", f"-n{NAMESPACE}")
    kubectl(
        cluster, "create", "rolebinding", "tenant", "--clusterrole=private-registry-edit", account, f"-n{NAMESPACE}"
    )
    kubectl(cluster, "create", "clusterrole", "secrets", "--verb=create", "--resource=secrets")
    kubectl(cluster, "create", "clusterrole", "accounts", "--verb=patch", "--resource=serviceaccounts")
    for namespace in (*OWN, HALF):
        kubectl(cluster, "create", "namespace", namespace)
        for role in ("secrets",) if namespace == HALF else ("secrets", "accounts"):
            kubectl(cluster, "create", "rolebinding", role, f"--clusterrole={role}", account, f"-n{namespace}")
    return kubectl(cluster, "create", "token", "tenant", f"-n{NAMESPACE}")


@pytest_asyncio.fixture
async def tenant(cluster: ControlPlane, rights: str, admin: Kube) -> AsyncIterator[Kube]:
    """The tenant's client, once the policies are in force."""
    async with Kube(replace(credentials(cluster), token=lambda: rights)) as kube:

        async def in_force() -> bool:
            for spec in (pull_secret("kube-system"), CA):
                assert "you may not" in await refusal(kube, spec)
            return True

        await aeventually(in_force, within=30, what="the policies are in force, and the tenant's rights")
        yield kube


async def refusal(kube: Kube, spec: Object) -> str:
    """What the API server has against a new registry with this spec; empty: nothing."""
    about = {"name": "asked-for", "namespace": NAMESPACE}
    body = {"apiVersion": names.API_VERSION, "kind": "PrivateRegistry", "metadata": about, "spec": spec}
    try:
        await kube.create(body, dry_run=True)
    except ForbiddenError as error:
        return error.message
    return ""


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (pull_secret("kube-system"), "you may not create secrets in namespace kube-system"),
        (pull_secret(*OWN[:11], "kube-system"), "you may not create secrets in namespace kube-system"),
        (pull_secret("not-there-yet"), "you may not create secrets in namespace not-there-yet"),
        (
            pull_secret(OWN[0], HALF, serviceAccounts=["default"]),
            f"you may not create secrets and patch serviceaccounts in namespace {HALF}",
        ),
        (pull_secret(OWN[0], namespaceSelector=ALL), "you may not create secrets in all namespaces"),
        (
            pull_secret(namespaceSelector={"matchLabels": {"team": "a"}}, serviceAccounts=["default"]),
            "you may not create secrets and patch serviceaccounts in all namespaces",
        ),
        (pull_secret(*OWN), "add at most 12 at a time"),
        (CA, "you may not create configmaps in all namespaces"),
    ],
)
async def test_what_one_may_not_do_one_may_not_ask_for(tenant: Kube, spec: Object, says: str) -> None:
    """The refusal names the namespace and the right that is missing."""
    assert says in await refusal(tenant, spec)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        pull_secret(),
        pull_secret(HALF),
        pull_secret(*OWN[:12]),
        pull_secret(*OWN[:12], serviceAccounts=["default", "builder"]),
    ],
)
async def test_what_one_may_do_one_may_ask_for(tenant: Kube, spec: Object) -> None:
    """As many as the policy says; the API server does not give up over the number of its questions."""
    assert await refusal(tenant, spec) == ""


async def test_an_administrator_may_ask_for_everything(admin: Kube, tenant: Kube) -> None:
    """Whoever has the rights in all namespaces has no limit but the CRD's."""
    many = [f"ns-{number}" for number in range(64)]
    everything = pull_secret(*many, namespaceSelector=ALL, serviceAccounts=["default"])
    assert await refusal(admin, {**everything, **CA}) == ""


async def test_what_was_there_is_not_asked_again(admin: Kube, tenant: Kube) -> None:
    """A tenant goes on with what an administrator has set: he changes the rest, takes away, and adds what he may."""
    about = {"name": "set-up", "namespace": NAMESPACE}
    selector = {"matchLabels": {"team": "a"}}
    spec = {**pull_secret("kube-system", "default", namespaceSelector=selector), **CA}
    body = {"apiVersion": names.API_VERSION, "kind": "PrivateRegistry", "metadata": about, "spec": spec}
    created = await admin.create(body)

    async def change(kube: Kube, spec: Object) -> None:
        await kube.merge(PRIVATE_REGISTRY, NAMESPACE, "set-up", {"spec": spec})

    def to(**fields: Any) -> Object:
        return {"auth": {"pullSecret": fields}}

    await change(tenant, {"storage": {"deleteEnabled": False}})
    await change(tenant, to(dockerNodes=True))
    await change(tenant, to(namespaces=["kube-system", "default", OWN[0]]))
    with pytest.raises(ForbiddenError, match="you may not create secrets in namespace kube-public"):
        await change(tenant, to(namespaces=["kube-system", "default", "kube-public"]))
    with pytest.raises(ForbiddenError, match="serviceaccounts in all namespaces"):
        await change(tenant, to(serviceAccounts=["default"]))
    with pytest.raises(ForbiddenError, match="you may not create secrets in all namespaces"):
        await change(tenant, to(namespaceSelector={"matchLabels": {"team": "b"}}))
    with pytest.raises(ForbiddenError, match="you may not create configmaps in all namespaces"):
        await change(tenant, {"tls": {"caDistribution": {"namespaceSelector": {"matchLabels": {"team": "b"}}}}})
    await change(tenant, to(namespaceSelector=None))
    with pytest.raises(ForbiddenError, match="serviceaccounts in namespace kube-system"):
        await change(tenant, to(serviceAccounts=["default"]))
    await change(tenant, {**to(namespaces=[HALF]), "tls": {"caDistribution": None}})
    await change(tenant, to(namespaces=OWN[:12], serviceAccounts=["default"]))
    with pytest.raises(ForbiddenError, match="patch serviceaccounts in namespace kube-system"):
        await change(tenant, to(namespaces=[*OWN[:12], "kube-system"]))
    live = await admin.get(PRIVATE_REGISTRY, NAMESPACE, "set-up")
    assert live
    assert live["metadata"]["uid"] == created["metadata"]["uid"]
    await admin.delete(live)


@pytest.mark.parametrize("policy", POLICIES)
async def test_the_policies_are_understood(cluster: ControlPlane, tenant: Kube, policy: str) -> None:
    """The API server has found nothing to object to in their expressions."""

    async def checked() -> Object:
        found: Object = json.loads(kubectl(cluster, "get", f"validatingadmissionpolicy/{policy}", "-ojson"))
        return found.get("status") or {}

    status = await aeventually(checked, within=30, what="the policy was checked")
    assert status["typeChecking"].get("expressionWarnings", []) == []


async def test_the_operator_reaches_service_accounts_by_name(admin: Kube) -> None:
    """It reads and patches those that it is told of; it lists none, and makes no token for any."""
    for verb in ("get", "patch"):
        assert await may(admin, OPERATOR, f"{verb} serviceaccounts", namespace=NAMESPACE)
    for verb in ("list", "watch", "create", "delete", "update"):
        assert not await may(admin, OPERATOR, f"{verb} serviceaccounts", namespace=NAMESPACE)
    for verb in ("list", "watch"):
        assert await may(admin, OPERATOR, f"{verb} namespaces")
    for verb in ("create", "patch", "delete"):
        assert not await may(admin, OPERATOR, f"{verb} namespaces")
