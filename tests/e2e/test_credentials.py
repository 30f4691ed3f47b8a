"""Who may push, on a real cluster: the default credential, the kubelet's pace, and Docker on a build node."""

import json

import pytest

from private_registry.api import names
from tests.e2e import nodes
from tests.e2e.place import Place
from tests.live_registry import is_ready
from tests.waiting import eventually

ANYONE_MAY_PULL: dict[str, object] = {}
NOBODY_MAY = {"auth": {"anonymousPull": False}}
WRITES = {
    "POST": "/v2/tiny/blobs/uploads/",
    "PUT": "/v2/tiny/manifests/0",
    "PATCH": "/v2/tiny/blobs/uploads/0",
    "DELETE": "/v2/tiny/manifests/0",
}


def test_pods_just_pull_and_only_the_credential_pushes(place: Place) -> None:
    """Nodes and pods need none, whoever has none is refused on every way, and a build pod pushes with the Secret. That
    is replaced as fast as the kubelet tells the pod, which is the same all the while.
    """
    registry = place.registry(spec=ANYONE_MAY_PULL)
    (image,) = place.push(registry, 1)
    old, pods = registry.login(), {pod["metadata"]["uid"] for pod in registry.pods()}
    place.kubectl("annotate", "privateregistry", registry.name, registry.at, f"{names.ROTATE}=once")

    nodes.pull_on_all(place.cluster, image)
    for port, statuses in ((names.PORT, {401}), (names.PULL_PORT, {404, 405})):
        for method, path in WRITES.items():
            answer = registry.ask(method, path, anonymously=True, port=port)
            assert answer.status in statuses, (port, method, answer)
    assert registry.ask("GET", "/v2/_catalog", anonymously=True).status == 401
    assert registry.ask("GET", "/v2/_catalog", anonymously=True, port=names.PULL_PORT).status == 200
    nodes.pull_on_all(place.cluster, image)

    eventually(lambda: registry.login() != old, within=180, every=1, what="there is another credential")
    place.push(registry, 1)
    assert {pod["metadata"]["uid"] for pod in registry.pods() if is_ready(pod)} == pods


def test_where_nobody_pulls_without_one_a_pod_pulls_with_the_secret(place: Place) -> None:
    """The Secret beside the registry is an imagePullSecret as it is; a pod without it is refused."""
    registry = place.registry(spec=NOBODY_MAY)
    (image,) = place.push(registry, 1)
    with pytest.raises(nodes.PullError, match=r"401 Unauthorized|authorization failed|no basic auth"):
        nodes.pull(place.cluster, place.cluster.nodes[0], image)
    secret = registry.get()["status"]["credentialsSecretName"]
    for name, secrets in (("with", [{"name": secret}]), ("without", [])):
        container = {"name": "tiny", "image": image, "imagePullPolicy": "Always"}
        spec = {"imagePullSecrets": secrets, "containers": [container], "terminationGracePeriodSeconds": 0}
        about = {"name": name, "namespace": registry.namespace}
        place.kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec}))

    def reasons(name: str) -> set[str]:
        found = place.kubectl.get("events", registry.at, f"--field-selector=involvedObject.name={name}")["items"]
        return {each["reason"] for each in found}

    eventually(lambda: "Pulled" in reasons("with"), within=60, every=0.5, what="the pod with the secret has its image")
    eventually(lambda: "Failed" in reasons("without"), within=60, every=0.5, what="the pod without it is refused")
    assert "Pulled" not in reasons("without")


def test_a_pod_elsewhere_pulls_with_what_its_service_account_was_given(place: Place) -> None:
    """In another namespace it names no Secret, and the one that it gets pulls and cannot push; where the label is gone,
    the next pod is refused.
    """
    elsewhere = f"{place.namespace}-apps"
    about = {"name": elsewhere, "labels": {"pulls-from": place.namespace}}
    place.kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": about}))
    selector = {"matchLabels": {"pulls-from": place.namespace}}
    pull_secret = {"namespaceSelector": selector, "serviceAccounts": ["default"]}
    at = f"--namespace={elsewhere}"
    try:
        registry = place.registry(spec={"auth": {"anonymousPull": False, "pullSecret": pull_secret}})
        (image,) = place.push(registry, 1)
        name = registry.get()["status"]["pullSecretName"]

        def attached() -> bool:
            account = place.kubectl.get("serviceaccount", "default", at)
            return {"name": name} in (account.get("imagePullSecrets") or [])

        eventually(attached, within=30, every=0.5, what="the ServiceAccount has the pull secret")
        with pytest.raises(nodes.PullError, match=r"401 Unauthorized|authorization failed|no basic auth"):
            nodes.pull(place.cluster, place.cluster.nodes[0], image)

        def run(pod: str) -> None:
            container = {"name": "tiny", "image": image, "imagePullPolicy": "Always"}
            spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
            about = {"name": pod, "namespace": elsewhere}
            place.kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec}))

        def reasons(pod: str) -> set[str]:
            found = place.kubectl.get("events", at, f"--field-selector=involvedObject.name={pod}")["items"]
            return {each["reason"] for each in found}

        run("with")
        eventually(lambda: "Pulled" in reasons("with"), within=60, every=0.5, what="a pod has its image")
        place.kubectl("label", "namespace", elsewhere, "pulls-from-")
        eventually(lambda: not attached(), within=30, every=0.5, what="the ServiceAccount has it no longer")
        run("without")
        eventually(lambda: "Failed" in reasons("without"), within=60, every=0.5, what="the next pod is refused")
        assert "Pulled" not in reasons("without")
    finally:
        place.kubectl("delete", "namespace", elsewhere, "--wait=false")
