"""Pod Security, enforced by the API server: every pod of ours is let in where it belongs."""

import pytest

from private_registry.api import names
from private_registry.api.registry import parse
from private_registry.controller.settings import DEFAULT_IMAGE
from private_registry.kube.client import ForbiddenError, Kube, Object
from private_registry.registry.deployment import deployment
from private_registry.registry.image_proof import image_proof_pod
from private_registry.registry.jobs import collection_job
from private_registry.registry.sweep import sweep_job
from tests.cluster.processes import ControlPlane
from tests.contract.documents import named, pods, rendered
from tests.integration.admission.conftest import NAMESPACE, kubectl


def pod(template: Object, namespace: str) -> Object:
    """The pod that a workload would make of its template."""
    metadata = {**template["metadata"], "name": "pod", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


async def test_the_operators_pod_is_restricted(admin: Kube) -> None:
    """The operator runs where nothing but a restricted pod is let in."""
    template = pods(rendered("manifests"))["private-registry-operator"]
    await admin.create(pod(template, names.OPERATOR_NAMESPACE), dry_run=True)


async def test_an_agents_pod_is_let_in_by_its_own_namespace_alone(admin: Kube) -> None:
    """Host paths are mounted in the agents' namespace, and in no other that is restricted."""
    template = pods(rendered("manifests"))["private-registry-agent"]
    await admin.create(pod(template, names.AGENTS_NAMESPACE), dry_run=True)
    template["spec"].pop("serviceAccountName")
    with pytest.raises(ForbiddenError, match="violates PodSecurity"):
        await admin.create(pod(template, NAMESPACE), dry_run=True)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"tls": {"mode": "Disabled"}, "auth": {"mode": "None"}},
        {"tls": {"mode": "Secret", "secretName": "own"}},
        {"auth": {"mode": "None"}},
        {"auth": {"anonymousPull": False}},
    ],
)
async def test_a_registrys_pods_are_restricted(admin: Kube, spec: Object) -> None:
    """A tenant needs no exception for a registry: its pods are let in by a restricted namespace."""
    registry = parse({"metadata": {"name": "team", "namespace": NAMESPACE, "uid": "1"}, "spec": spec})
    serving = deployment(
        registry, image=DEFAULT_IMAGE, certificate_hash="", strategy="RollingUpdate", space_image="operator"
    )
    await admin.create(pod(serving["spec"]["template"], NAMESPACE), dry_run=True)
    proof = image_proof_pod(registry, image=DEFAULT_IMAGE, node_name="node-a")
    del proof["metadata"]["ownerReferences"]
    await admin.create(proof, dry_run=True)
    collection = collection_job(registry, image=DEFAULT_IMAGE, asked="now", dry_run=False, node="node-a")
    await admin.create(pod(collection["spec"]["template"], NAMESPACE), dry_run=True)
    swept = sweep_job(registry, image=DEFAULT_IMAGE, url="https://10.96.0.7:5000", server_name="", has_ca=True)
    await admin.create(pod(swept["spec"]["template"], NAMESPACE), dry_run=True)


async def test_the_cleanup_is_let_in_by_what_it_brings(cluster: ControlPlane, admin: Kube) -> None:
    """`kubectl apply -k manifests/cleanup` needs nothing of the installation."""
    kubectl(cluster, "apply", "-k", "manifests/cleanup")
    namespace = named(rendered("manifests/cleanup"), "Namespace", "private-registry-cleanup")["metadata"]["name"]
    template = pods(rendered("manifests/cleanup"))["private-registry-cleanup"]
    await admin.create(pod(template, namespace), dry_run=True)
    kubectl(cluster, "delete", "-k", "manifests/cleanup", "--wait=false")


def test_install_yaml_changes_nothing_after_the_kustomization(cluster: ControlPlane) -> None:
    """Both ways of installing lead to the same objects, and the second one writes nothing."""
    said = kubectl(cluster, "apply", "--dry-run=server", "--filename=manifests/install.yaml").splitlines()
    assert [line for line in said if not line.endswith(" unchanged (server dry run)")] == []
