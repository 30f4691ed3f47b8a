"""Where one end-to-end test happens: the cluster, and a namespace that is the test's own."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import versions
from tests.cluster.kind import Cluster
from tests.kubectl import Kubectl
from tests.live_registry import LiveRegistry, is_ready
from tests.waiting import eventually

PREFIX = "e2e-"
"""Of the names of all namespaces that these tests make: what an interrupted run left is found by it."""
BUILD = f"{PREFIX}build"
_PUSH = Path(__file__).with_name("push_images.py")


@dataclass(frozen=True)
class Place:
    """A cluster with the operator installed, and a namespace for registries."""

    cluster: Cluster
    kubectl: Kubectl
    namespace: str

    def registry(self, name: str = "team", spec: Mapping[str, Any] | None = None) -> LiveRegistry:
        """A registry that is ready and that every node trusts. Nothing of it outlives the test."""
        registry = self.ask_for(name, spec)
        registry.wait_ready(nodes=len(self.cluster.nodes))
        return registry

    def ask_for(self, name: str = "team", spec: Mapping[str, Any] | None = None) -> LiveRegistry:
        registry = LiveRegistry(self.kubectl, self.namespace, name)
        wanted = dict(spec or {})
        registry.apply({**wanted, "storage": {**wanted.get("storage", {}), "reclaimPolicy": "Delete"}})
        return registry

    def push(self, registry: LiveRegistry, count: int, *, repository: str = "tiny") -> list[str]:
        """Push images that share nothing from a build pod in another namespace, by the registry's private name.

        The pod trusts the CA in the ConfigMap beside the registry, and nothing else; it has the credential in the
        Secret there, if there is one. Returns the images' names.
        """
        self._build_pod()
        login = registry.login()
        files = {"crt": registry.ca(), "login": "\n".join(login) if login else ""}
        there = []
        for kind, content in files.items():
            file = f"/tmp/{registry.namespace}.{registry.name}.{kind}"
            if content:
                self._in_build_pod("sh", "-c", f"cat > {file}", stdin=content)
            there.append(file if content else "")
        self._in_build_pod("python3", "-", registry.host, repository, str(count), *there, stdin=_PUSH.read_text())
        return [f"{registry.host}/{repository}:{number}" for number in range(count)]

    def push_trusting(self, registry: LiveRegistry, ca_file: str) -> None:
        """Push from the build pod, trusting the CAs in this file of its image instead, and without credential."""
        self._build_pod()
        self._in_build_pod("python3", "-", registry.host, "tiny", "1", ca_file, "", stdin=_PUSH.read_text())

    def use(self, name: str, image: str) -> None:
        """Have a workload that would run an image, and does not run it now."""
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": image}]}}
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
        }
        self.kubectl.apply(json.dumps(deployment))

    def _in_build_pod(self, *command: str, stdin: str) -> None:
        self.kubectl("exec", f"--namespace={BUILD}", "--stdin", "build", "--", *command, stdin=stdin)

    def _build_pod(self) -> None:
        container = {"name": "build", "image": versions.OPERATOR_IMAGE, "command": ["sleep", "infinity"]}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "build", "namespace": BUILD},
            # On the control plane, which no test drains or turns off.
            "spec": {"nodeName": self.cluster.nodes[0], "terminationGracePeriodSeconds": 0, "containers": [container]},
        }
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BUILD}}
        self.kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": [namespace, pod]}))
        self.kubectl("wait", "pod/build", f"--namespace={BUILD}", "--for=condition=Ready", "--timeout=60s")


def agents_are_ready(kubectl: Kubectl, nodes: Sequence[str]) -> None:
    """Wait until a ready agent runs on each of these nodes."""

    def ready() -> bool:
        pods = kubectl.items("pods", "--namespace=private-registry-nodes")
        lacking = set(nodes) - {pod["spec"].get("nodeName") for pod in pods if is_ready(pod)}
        assert not lacking, f"no ready agent on {sorted(lacking)}"
        return True

    eventually(ready, within=120, every=0.5, what="agents are ready")
