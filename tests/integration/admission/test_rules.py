"""The rules of the CRD: what is refused at admission, with which words, and that nothing else is."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from private_registry.api import names
from private_registry.api.conditions import Condition, Reason, Type
from private_registry.api.hosts import InvalidHostError, Rules, parse_host
from private_registry.api.nodetrust import NodeTrustStatus, RegistryTrust, Runtime, RuntimeConfig
from private_registry.api.registry import NodeProblem, NodesStatus, RegistryStatus
from private_registry.kube.client import ApiError, Kube
from private_registry.kube.kinds import NODE_TRUST, PRIVATE_REGISTRY
from tests.cluster.commands import CommandError
from tests.cluster.processes import ControlPlane
from tests.contract.documents import schema
from tests.integration.admission.cases import CASES, CHANGES, Case, Change, Spec
from tests.integration.admission.conftest import NAMESPACE, kubectl

numbers = itertools.count()


def registry(spec: Spec, name: str = "") -> dict[str, Any]:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "PrivateRegistry",
        "metadata": {"name": name or f"case-{next(numbers)}", "namespace": NAMESPACE},
        "spec": spec,
    }


def assert_only(refusal: ApiError, says: str) -> None:
    """The API server refused an object for one reason, in these words."""
    assert refusal.status == 422, refusal
    assert refusal.message.endswith(f": {says}"), refusal


def messages(node: Any) -> Iterator[str]:
    """The messages of all validation rules below a node of a schema."""
    if isinstance(node, dict):
        yield from (rule["message"] for rule in node.get("x-kubernetes-validations", ()))
        for key, child in node.items():
            if key != "x-kubernetes-validations":
                yield from messages(child)


LABEL = "metadata.name must begin with a letter, end with a letter or digit, and hold only a to z, digits and '-'"
LONG = "metadata.name must have at most 52 characters"


def test_every_rule_is_tested_here() -> None:
    """Each message of the CRD has its cases below, and none of the cases is for a rule that is gone."""
    cases = {case.says for case in CASES} | {change.says for change in CHANGES if change.says} | {LABEL, LONG}
    assert cases == set(messages(schema("privateregistries")))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
async def test_a_rule_refuses_what_it_is_for(admin: Kube, case: Case) -> None:
    """A wrong value is refused at once, with the one sentence that says what is wanted."""
    for spec in case.refused:
        with pytest.raises(ApiError) as refusal:
            await admin.create(registry(spec), dry_run=True)
        assert_only(refusal.value, case.says)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
async def test_a_rule_refuses_nothing_else(admin: Kube, case: Case) -> None:
    """What is nearly refused, and right, is accepted."""
    for spec in case.accepted:
        await admin.create(registry(spec), dry_run=True)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: f"{change.before} to {change.after}")
async def test_a_change_is_accepted_or_refused(admin: Kube, change: Change) -> None:
    """What a volume cannot follow is refused when it is asked for; everything else may be changed."""
    live = await admin.create(registry(change.before))
    changed = {**live, "spec": change.after}
    if not change.says:
        await admin.replace(changed)
        return
    with pytest.raises(ApiError) as refusal:
        await admin.replace(changed)
    assert_only(refusal.value, change.says)


@pytest.mark.parametrize(
    ("name", "says"),
    [("1team", LABEL), ("my.team", LABEL), ("a" * 53, LONG), ("a" * 52, ""), ("t", ""), ("a-1", "")],
)
async def test_a_name_is_one_that_a_service_can_have(admin: Kube, name: str, says: str) -> None:
    """A name that is no DNS-1035 label, or of more than 52 characters, is refused."""
    if not says:
        await admin.create(registry({}, name), dry_run=True)
        return
    with pytest.raises(ApiError) as refusal:
        await admin.create(registry({}, name), dry_run=True)
    assert_only(refusal.value, says)


PARTS = ("a", "a.b", "A.b", "a..b", "1.2.3.4", "[fd00::1]", "a.svc", "svc.a.b", "x.cluster.local", "a_b.c", "a" * 64)
PORTS = ("", ":", ":0", ":80", ":65535", ":65536", ":080", ": 80", ":80/", ":\N{FULLWIDTH DIGIT EIGHT}")
HOSTS = [f"{part}{port}" for part in PARTS for port in PORTS]


async def test_the_api_server_and_the_operator_agree_on_hosts(admin: Kube) -> None:
    """A host is accepted at admission exactly if an administrator could allow it: no doubt is left to the agents."""
    everything = Rules(allowed_hosts=("*",))
    for host in HOSTS:
        try:
            expected = everything.is_allowed(parse_host(host))
        except InvalidHostError:
            expected = False
        try:
            await admin.create(registry({"nodeTrust": {"additionalHosts": [host]}}), dry_run=True)
            accepted = True
        except ApiError:
            accepted = False
        assert accepted == expected, host


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"nodeTrust": {"additionalHosts": ["a" * 300]}}, "spec.nodeTrust.additionalHosts[0]: Too long"),
        (
            {"nodeTrust": {"additionalHosts": ["a.b", "a.b"]}},
            'spec.nodeTrust.additionalHosts[1]: Duplicate value: "a.b"',
        ),
        ({"nodeTrust": {"additionalHosts": [f"a{i}.b" for i in range(17)]}}, "must have at most 16 items"),
        ({"nodeTrust": {"nodeSelector": {f"a{i}": "" for i in range(17)}}}, "must have at most 16 items"),
        ({"storage": {"size": 20}}, "spec.storage.size in body must be of type string"),
        ({"storage": {"accessMode": "ReadOnlyMany"}}, 'supported values: "ReadWriteOnce", "ReadWriteOncePod"'),
        ({"storage": {"reclaimPolicy": "Recycle"}}, 'supported values: "Retain", "Delete"'),
        ({"tls": {"mode": "Off"}}, 'supported values: "Managed", "Secret", "Disabled"'),
        ({"auth": {"mode": "Token"}}, 'supported values: "Basic", "None"'),
        (
            {"auth": {"mode": "Basic", "users": [{"secretName": "a"}, {"secretName": "a"}]}},
            "spec.auth.users[1]: Duplicate value",
        ),
        ({"auth": {"mode": "Basic", "users": [{}]}}, "spec.auth.users[0].secretName: Required value"),
        ({"service": {"type": "ExternalName"}}, 'supported values: "ClusterIP", "NodePort", "LoadBalancer"'),
        ({"scheduling": {"imagePullSecrets": [{}]}}, "spec.scheduling.imagePullSecrets[0].name: Required value"),
        ({"image": "a" * 513}, "spec.image: Too long"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
async def test_the_schema_refuses_what_needs_no_rule(admin: Kube, spec: Spec, says: str) -> None:
    """A wrong type, a wrong word, too much of anything: the API server's own words name the field."""
    with pytest.raises(ApiError) as refusal:
        await admin.create(registry(spec), dry_run=True)
    assert says in refusal.value.message


@pytest.mark.parametrize(
    "field", ["auth.password", "storage.sise", "scheduling.affinity.nodeAfinity", "nodeTrust.hosts"]
)
def test_an_unknown_field_is_refused(cluster: ControlPlane, field: str) -> None:
    """`kubectl` says which field it is that does not exist, instead of dropping it."""
    with pytest.raises(CommandError, match=f'unknown field "spec.{field}"'):
        kubectl(cluster, "create", "--dry-run=server", given=registry(nested(field)))


def nested(path: str) -> dict[str, Any]:
    """`a.b` as {"a": {"b": {}}}."""
    key, _, rest = path.partition(".")
    return {key: nested(rest) if rest else {}}


async def test_an_empty_spec_is_shown_with_its_defaults(admin: Kube) -> None:
    """`kubectl get -o yaml` shows what a registry is that says nothing about itself."""
    body = registry({})
    del body["spec"]
    assert (await admin.create(body))["spec"] == {
        "storage": {
            "deleteEnabled": True,
            "readOnly": False,
            "accessMode": "ReadWriteOnce",
            "reclaimPolicy": "Retain",
        },
        "garbageCollection": {
            "timeZone": "Etc/UTC",
            "deleteUntagged": False,
            "allowOutage": False,
            "deadlineMinutes": 60,
        },
        "tls": {"mode": "Managed"},
        "auth": {"mode": "Basic", "anonymousPull": True, "acknowledgePlainHTTP": False},
        "service": {"type": "ClusterIP"},
        "nodeTrust": {"enabled": True},
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "scheduling": {},
    }


def test_the_examples_are_accepted(cluster: ControlPlane) -> None:
    """Every file in manifests/examples can be applied as it is."""
    said = kubectl(cluster, "apply", "--dry-run=server", "-f", "manifests/examples")
    assert "privateregistry.privateregistry.dev/everything created" in said


NOW = "2026-11-24T16:00:00Z"


async def test_a_status_is_kept_as_it_is_written(admin: Kube) -> None:
    """The API server drops nothing of what the operator reports."""
    condition = Condition(
        type=Type.READY, status="False", reason=Reason.NOT_SERVING, message="it does not", last_transition_time=NOW
    )
    problem = NodeProblem(node="a", reason="Unreachable", message="no route")
    status = RegistryStatus(
        observed_generation=1,
        host="team.registries.svc:5000",
        cluster_ips=("10.96.0.9", "fd00::9"),
        ca_config_map_name="team-ca",
        credentials_secret_name="team-credentials",
        size="20Gi",
        entry_hash="0123456789abcdef",
        message="it does not",
        conditions=(condition, condition.model_copy(update={"type": Type.STALLED, "status": "True"})),
        nodes=NodesStatus(desired=2, trusted=1, summary="1/2", problems=(problem,)),
    )
    live = await admin.create(registry({}))
    written = {"status": status.model_dump(mode="json", by_alias=True)}
    after = await admin.merge(PRIVATE_REGISTRY, NAMESPACE, live["metadata"]["name"], written, subresource="status")
    assert after["status"] == written["status"]


async def test_a_nodes_report_is_kept_as_it_is_written(admin: Kube) -> None:
    """The API server drops nothing of what an agent reports."""
    status = NodeTrustStatus(
        runtime="containerd 2.2.9",
        runtimes=(Runtime(name="containerd", version="2.2.9", config_path="/etc/containerd/certs.d"),),
        runtime_config=RuntimeConfig(state="Waiting", edit="0123456789abcdef", message="x" * 1024),
        total=1,
        trusted=0,
        summary="0/1",
        message="registries/team: no route",
        registries=(
            RegistryTrust(
                registry="registries/team",
                entry_hash="0123456789abcdef",
                trusted=False,
                reason="Unreachable",
                message="x" * 1024,
                last_transition_time=NOW,
            ),
        ),
    )
    name = f"node-{next(numbers)}"
    spec = {"nodeLabels": {"example.com/team": "blue"}, "restartTurn": "0123456789abcdef"}
    body = {"apiVersion": names.API_VERSION, "kind": "NodeTrust", "metadata": {"name": name}, "spec": spec}
    assert (await admin.create(body))["spec"] == spec
    written = {"status": status.model_dump(mode="json", by_alias=True)}
    after = await admin.merge(NODE_TRUST, None, name, written, subresource="status")
    assert after["status"] == written["status"]


async def test_the_columns_are_those_of_the_documentation(cluster: ControlPlane, admin: Kube) -> None:
    """`kubectl get preg` and `kubectl get nodetrust` show what a person looks for first."""
    await admin.create(registry({}))
    assert header(kubectl(cluster, "get", "preg", "-n", NAMESPACE)) == "NAME READY HOST TRUSTED SIZE AGE"
    assert header(kubectl(cluster, "get", "preg", "-n", NAMESPACE, "-o", "wide")).endswith("SIZE AGE USED FREE MESSAGE")
    name = f"node-{next(numbers)}"
    await admin.create({"apiVersion": names.API_VERSION, "kind": "NodeTrust", "metadata": {"name": name}})
    assert header(kubectl(cluster, "get", "nodetrust")) == "NAME RUNTIME TRUSTED MESSAGE AGE"


def header(table: str) -> str:
    return " ".join(table.splitlines()[0].split())
