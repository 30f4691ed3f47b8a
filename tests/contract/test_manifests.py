"""What manifests/ promises of itself: one place for each thing. The rights in it are in test_rights.py."""

import tomllib

import pytest

from private_registry.api import names
from tests.contract.documents import INSTALLATION, ROOT, documents, installation, named, pods, rendered

CLEANUP = "manifests/cleanup"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
POD_SECURITY = "pod-security.kubernetes.io"


def test_nothing_is_there_before_the_operator_vouches_for_it() -> None:
    """The installation brings no ConfigMap: the marker that lets agents undo is made by the operator, once every entry
    is there. With a marker of its own, applying the installation again would have each node forget its registries.
    """
    assert "ConfigMap" not in {each["kind"] for each in rendered(INSTALLATION)}


def test_install_yaml_is_what_the_parts_render_to() -> None:
    """Whoever applies install.yaml gets what `kubectl apply -k manifests` applies; `make install.yaml` renews it."""
    assert documents((ROOT / "manifests/install.yaml").read_text()) == rendered(INSTALLATION)


def test_the_image_is_named_once_and_is_of_this_version() -> None:
    """One edit, in manifests/images, changes the image of operator, agents and cleanup."""
    parts = [path for path in (ROOT / "manifests").rglob("*.yaml") if path.name != "install.yaml"]
    assert [path.parent.name for path in parts if "newTag" in path.read_text()] == ["images"]
    containers = [
        container
        for directory in (INSTALLATION, CLEANUP)
        for pod in pods(rendered(directory)).values()
        for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])
    ]
    assert len(containers) == 5
    assert {container["image"] for container in containers} == {f"private-registry-operator:{VERSION}"}


@pytest.mark.parametrize("directory", [INSTALLATION, CLEANUP])
def test_everything_is_labelled_as_part_of_the_operator(directory: str) -> None:
    """`kubectl get -l app.kubernetes.io/part-of=private-registry-operator` shows the whole installation."""
    labels = {each["metadata"]["name"]: each["metadata"].get("labels", {}) for each in rendered(directory)}
    assert [name for name, found in labels.items() if found.get(names.PART_OF) != names.MANAGER] == []


def test_the_names_are_those_of_the_code() -> None:
    """The operator finds its agents and its namespaces where the installation puts them."""
    objects = rendered(INSTALLATION)
    agents = named(objects, "DaemonSet", "private-registry-agent")
    assert agents["metadata"]["namespace"] == names.AGENTS_NAMESPACE
    assert agents["spec"]["template"]["metadata"]["labels"] == {names.PART_OF: names.MANAGER, names.COMPONENT: "agent"}
    operator = named(objects, "Deployment", "private-registry-operator")
    assert operator["metadata"]["namespace"] == names.OPERATOR_NAMESPACE


@pytest.mark.parametrize(
    ("directory", "namespace", "level"),
    [
        (INSTALLATION, names.OPERATOR_NAMESPACE, "restricted"),
        (INSTALLATION, names.AGENTS_NAMESPACE, "privileged"),
        (CLEANUP, "private-registry-cleanup", "privileged"),
    ],
)
def test_a_namespace_enforces_its_pod_security_level(directory: str, namespace: str, level: str) -> None:
    """The agents' namespaces alone let anything through; the operator's refuses what is not restricted."""
    labels = named(rendered(directory), "Namespace", namespace)["metadata"]["labels"]
    security = {key: value for key, value in labels.items() if key.startswith(POD_SECURITY)}
    assert security == {f"{POD_SECURITY}/{mode}": level for mode in ("enforce", "audit", "warn")}


@pytest.mark.parametrize(
    ("policies", "directory", "namespace", "ports"),
    [
        ("manifests/network-policies/policies.yaml", INSTALLATION, names.OPERATOR_NAMESPACE, [8080]),
        ("manifests/network-policies/policies.yaml", INSTALLATION, names.AGENTS_NAMESPACE, [8080]),
        ("manifests/cleanup/agent-cleanup.yaml", CLEANUP, "private-registry-cleanup", []),
    ],
)
def test_nothing_but_probes_and_metrics_comes_in(
    policies: str, directory: str, namespace: str, ports: list[int]
) -> None:
    """Where that is asked for, pods of ours are closed but for the port of their probes; the cleanup's wholly."""
    [policy] = [
        each["spec"]
        for each in documents((ROOT / policies).read_text())
        if (each["kind"], each["metadata"].get("namespace")) == ("NetworkPolicy", namespace)
    ]
    assert policy["podSelector"] == {}
    assert policy["policyTypes"] == (["Ingress"] if ports else ["Ingress", "Egress"])
    assert [port["port"] for rule in policy.get("ingress", ()) for port in rule["ports"]] == ports
    assert "egress" not in policy
    there = [each for each in rendered(directory) if each["metadata"].get("namespace") == namespace]
    containers = [container for pod in pods(there).values() for container in pod["spec"]["containers"]]
    assert containers
    assert {port["containerPort"] for each in containers for port in each.get("ports", ())} == set(ports)


def test_the_startup_taint_is_an_installation_with_one_right_more() -> None:
    """Who opts in gets the installation, an argument, a toleration of that taint, and `patch` on nodes: no more."""
    usual, opted_in = installation("plain"), installation("startup taint")
    more = [each for each in opted_in if each not in usual and each["kind"] != "Deployment"]
    assert [(each["kind"], each.get("rules")) for each in more] == [
        ("ClusterRole", [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["patch"]}]),
        ("ClusterRoleBinding", None),
    ]
    before, after = (named(each, "Deployment", "private-registry-operator") for each in (usual, opted_in))
    spec = after["spec"]["template"]["spec"]
    [option] = set(spec["containers"][0]["args"]) - set(before["spec"]["template"]["spec"]["containers"][0]["args"])
    # The operator has to run where every node is new.
    assert [f"--startup-taint={each['key']}" for each in spec.pop("tolerations")] == [option]
    spec["containers"][0]["args"].remove(option)
    assert after == before
    assert [each for each in usual if each not in opted_in and each["kind"] != "Deployment"] == []
    assert all(each["metadata"]["labels"][names.PART_OF] == names.MANAGER for each in more)


def test_an_agent_is_confined_but_for_two_directories() -> None:
    """It is not privileged, has no capability, writes below the node's /etc alone, and shares no network."""
    spec = pods(rendered(INSTALLATION))["private-registry-agent"]["spec"]
    [container] = spec["containers"]
    assert container["securityContext"] == {
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "hostNetwork" not in spec
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"/host/etc"}
    assert {volume["hostPath"]["path"] for volume in spec["volumes"]} == {"/etc", "/run"}


def test_only_a_node_that_was_opted_in_has_an_agent_that_may_enter_it() -> None:
    """It is the other agent but for its place, its flag and its rights, and every node has one of the two."""
    found = pods(rendered(INSTALLATION))
    agent, managing = (found[f"private-registry-agent{suffix}"]["spec"] for suffix in ("", "-managing"))
    label = {names.RUNTIME_CONFIG: names.MANAGE}
    assert managing.pop("nodeSelector") == agent.pop("nodeSelector") | label
    (terms,) = agent.pop("affinity")["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"].values()
    assert terms == [
        {"matchExpressions": [{"key": names.RUNTIME_CONFIG, "operator": "NotIn", "values": [names.MANAGE]}]}
    ]
    [plain], [privileged] = agent.pop("containers"), managing.pop("containers")
    assert agent == managing
    assert privileged.pop("args") == [*plain.pop("args"), "--may-restart"]
    assert privileged.pop("securityContext")["privileged"]
    plain.pop("securityContext")
    assert plain == privileged


def test_an_agent_runs_on_every_linux_node() -> None:
    """No taint and no pressure keeps it from a node that has to pull."""
    spec = pods(rendered(INSTALLATION))["private-registry-agent"]["spec"]
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["priorityClassName"] == "system-node-critical"
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"}


def test_the_cleanup_pod_is_an_agent_without_rights() -> None:
    """It sees the node as the agent did, or it would miss what the agent left; it has no token."""
    agent = pods(rendered(INSTALLATION))["private-registry-agent"]["spec"]
    cleanup = pods(rendered(CLEANUP))["private-registry-cleanup"]["spec"]
    for field in ("hostPID", "tolerations", "priorityClassName", "nodeSelector", "securityContext", "volumes"):
        assert cleanup[field] == agent[field], field
    for container in (*cleanup["initContainers"], *cleanup["containers"]):
        for field in ("securityContext", "volumeMounts", "resources", "env"):
            assert container[field] == agent["containers"][0][field], field
    assert cleanup["automountServiceAccountToken"] is False
    assert {each["kind"] for each in rendered(CLEANUP)} == {
        "Namespace",
        "ServiceAccount",
        "NetworkPolicy",
        "DaemonSet",
    }
