"""Pulls do not fail: not while the registry's pod is replaced, and not while the operator is away."""

import os

from tests.cluster import versions
from tests.cluster.kind import Cluster
from tests.e2e import nodes
from tests.e2e.place import Place
from tests.kubectl import OPERATOR
from tests.live_registry import LiveRegistry

# `make soak` takes the long way, which is run before a change of the rollout is called done.
ROLLOUTS, PULLS = (20, 2000) if os.environ.get("SOAK") else (2, 200)
SECOND_TAG = "docker.io/library/registry:other-tag"
"""The registry's image under another name: a rollout for no other reason than that the image is changed."""


def test_pods_on_every_node_run_an_image_of_it(team: LiveRegistry, cluster: Cluster) -> None:
    """A pod may be on any node, the control plane included, and name the private registry."""
    said = team.run("busybox:v1", cluster.nodes)
    assert said == [f"hello from {node}" for node in cluster.nodes]


def test_no_pull_fails_while_the_registry_is_rolled_out_again_and_again(place: Place) -> None:
    """Image and certificate change in turn, and each of the pulls of uncached images meanwhile goes through."""
    for node in place.cluster.nodes:
        tag = ("ctr", "--namespace=k8s.io", "images", "tag", "--force", versions.REGISTRY_IMAGE, SECOND_TAG)
        place.cluster.exec_on_node(node, *tag)
    registry = place.registry()
    images = place.push(registry, 50)
    with nodes.pulling(place.cluster, images) as pulls:
        for number in range(ROLLOUTS):
            before = registry.template()
            if number % 2:
                _replace_certificate(registry)
            else:
                registry.patch({"image": None if number % 4 else SECOND_TAG})
            registry.wait_rolled_out(after=before)
            pulls.wait_for(len(place.cluster.nodes), within=60)
        pulls.wait_for(PULLS - pulls.all, within=300)
    assert not pulls.failed, f"{len(pulls.failed)} of {pulls.all} pulls failed:\n" + "\n".join(pulls.failed[:10])
    registry.wait_ready(nodes=len(place.cluster.nodes))


def _replace_certificate(registry: LiveRegistry) -> None:
    """Delete the Secret, of which the operator makes a new one when it looks: at the latest within a minute."""
    registry.kubectl("delete", "secret", f"{registry.name}-certificate", registry.at)
    registry.kubectl("annotate", "privateregistry", registry.name, registry.at, "--overwrite", "example.com/look=now")
    registry.kubectl("annotate", "privateregistry", registry.name, registry.at, "example.com/look-")


def test_pulls_go_on_while_there_is_no_operator(team: LiveRegistry, shared: Place) -> None:
    """Nothing on the way of a pull goes through the operator: new images are pushed and run without it."""
    operator = ("deployment/private-registry-operator", f"--namespace={OPERATOR}")
    kubectl = shared.kubectl
    kubectl("scale", *operator, "--replicas=0")
    try:
        kubectl("wait", "--for=delete", "pods", "--all", f"--namespace={OPERATOR}", "--timeout=60s")
        for image in shared.push(team, 5, repository="without-operator"):
            nodes.pull_on_all(shared.cluster, image)
        assert team.run("busybox:v1", shared.cluster.nodes) == [f"hello from {node}" for node in shared.cluster.nodes]
    finally:
        kubectl("scale", *operator, "--replicas=1")
        kubectl("rollout", "status", *operator, "--timeout=120s")
    team.wait_ready(nodes=len(shared.cluster.nodes))
