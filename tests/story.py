"""The main job, step by step, on a real cluster: what a person would do and see. `make demo` tells it, e2e asserts it.

Each step does one thing, returns what came back and raises AssertionError with the first thing that is not true.
"""

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kubectl import AGENTS, Kubectl
from tests.live_registry import LiveRegistry
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent
REPOSITORY, TAG = "busybox", "v1"

_TREE = """
import hashlib, pathlib, stat
root = pathlib.Path("/host/etc/containerd/certs.d")
for path in sorted([pathlib.Path("/host/etc/hosts"), root, *root.rglob("*")]):
    if path.exists():
        content = hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else "directory"
        print(f"{stat.S_IMODE(path.lstat().st_mode):o}", content, path.relative_to("/host"))
"""
"""Run in an agent: every file and directory by which its node's containerd finds registries, with mode and hash."""


@dataclass(frozen=True)
class Step:
    """One step of the story."""

    title: str
    command: str
    """What a person would type."""
    run: Callable[[], str]


@dataclass
class Story:
    """The steps on one cluster. It keeps what a later step compares with."""

    kubectl: Kubectl
    image: str
    """The operator's, as the nodes have it or can pull it."""
    registry_image: str = ""
    namespace: str = "registries"
    spec: Mapping[str, Any] = field(default_factory=dict)
    _before: dict[str, str] = field(default_factory=dict)

    @property
    def registry(self) -> LiveRegistry:
        return LiveRegistry(self.kubectl, self.namespace)

    def steps(self) -> list[Step]:
        registry = self.registry
        kubectl = f"kubectl -n {self.namespace}"
        curl = "curl --cacert ca.crt --config login"
        url = "https://localhost:5000/v2"
        push = f"docker tag {REPOSITORY}:{TAG} localhost:5000/{REPOSITORY}:{TAG}\n"
        push += f"docker --config . push localhost:5000/{REPOSITORY}:{TAG}"
        secret = f"{kubectl} get secret {registry.name}-credentials -o go-template="
        return [
            Step("Install the operator and its agents", f"make install IMAGE={self.image}", self.install),
            Step("Apply the smallest PrivateRegistry", f"kubectl apply -f - <<END\n{self.manifest()}\nEND", self.apply),
            Step("It gets ready, and every node proves that it trusts it", "kubectl get preg,nodetrust -A", self.ready),
            Step(
                "The catalog is empty",
                f"{kubectl} get configmap {registry.name}-ca -o jsonpath='{{.data.ca\\.crt}}' > ca.crt\n"
                f"{secret}'user=\"{{{{.data.username|base64decode}}}}:{{{{.data.password|base64decode}}}}\"' > login\n"
                f"{secret}'{{{{index .data \".dockerconfigjson\"|base64decode}}}}' > config.json\n"
                f"{kubectl} port-forward svc/{registry.name} 5000 &\n{curl} {url}/_catalog",
                self.empty_catalog,
            ),
            Step(f"Push {REPOSITORY}:{TAG}", push, self.push),
            Step("Catalog and tags list it", f"{curl} {url}/_catalog {url}/{REPOSITORY}/tags/list", self.listed),
            Step(
                "A pod on each node runs it from the private name",
                f"kubectl run hello --image={registry.host}/{REPOSITORY}:{TAG} …   # once per node",
                self.pods,
            ),
            Step(
                "Delete the manifest: 202, and it is gone",
                f"{curl} -X DELETE {url}/{REPOSITORY}/manifests/sha256:…",
                self.delete_manifest,
            ),
            Step(
                "Push again and restart the registry's pod: what was pushed is still there",
                f"{push}\n{kubectl} delete pod -l app.kubernetes.io/instance={registry.name}",
                self.restart,
            ),
            Step(
                "Delete the PrivateRegistry: every node is as it was",
                f"{kubectl} delete preg {registry.name}",
                self.delete,
            ),
        ]

    def install(self) -> str:
        self.make("install", IMAGE=self.image, REGISTRY_IMAGE=self.registry_image)
        ours = "--selector=app.kubernetes.io/part-of=private-registry-operator"
        return "\n".join(
            self.kubectl("get", "deployments,daemonsets", f"--namespace={namespace}", ours).rstrip()
            for namespace in ("private-registry-system", AGENTS)
        )

    def manifest(self) -> str:
        """The PrivateRegistry as a person would write it; its spec is empty unless the story was given one."""
        lines = [
            "apiVersion: privateregistry.dev/v1alpha1",
            "kind: PrivateRegistry",
            f"metadata: {{name: {self.registry.name}, namespace: {self.namespace}}}",
        ]
        return "\n".join([*lines, f"spec: {json.dumps(self.spec)}"] if self.spec else lines)

    def apply(self) -> str:
        self._before = self.node_trees()
        return self.registry.apply(self.spec)

    def ready(self) -> str:
        self.registry.wait_ready(nodes=len(self.kubectl.linux_nodes()), within=180)

        def all_trusted() -> bool:
            lacking = [
                each["metadata"]["name"]
                for each in self.kubectl.items("nodetrusts")
                if each["status"]["trusted"] != each["status"]["total"]
            ]
            assert not lacking, f"NodeTrust of {lacking} does not list it as trusted"
            return True

        eventually(all_trusted, within=5, what="every NodeTrust says so too")
        node, tree = next(iter(self.node_trees().items()))
        return f"{self.kubectl('get', 'privateregistries,nodetrusts', '-A')}\n{node} has now:\n{tree}"

    def empty_catalog(self) -> str:
        body = self.registry.ask("GET", "/v2/_catalog").body
        assert body == '{"repositories":[]}', body
        return body

    def push(self) -> str:
        return self.registry.push(f"{REPOSITORY}:{TAG}", f"{REPOSITORY}:{TAG}")

    def listed(self) -> str:
        catalog = self.registry.ask("GET", "/v2/_catalog").body
        assert catalog == f'{{"repositories":["{REPOSITORY}"]}}', catalog
        tags = self.registry.ask("GET", f"/v2/{REPOSITORY}/tags/list").body
        assert tags == f'{{"name":"{REPOSITORY}","tags":["{TAG}"]}}', tags
        return f"{catalog}\n{tags}"

    def pods(self) -> str:
        return "\n".join(self.registry.run(f"{REPOSITORY}:{TAG}", self.kubectl.linux_nodes()))

    def delete_manifest(self) -> str:
        digest = self.registry.ask("HEAD", f"/v2/{REPOSITORY}/manifests/{TAG}").headers["Docker-Content-Digest"]
        deleted = self.registry.ask("DELETE", f"/v2/{REPOSITORY}/manifests/{digest}")
        assert deleted.status == 202, f"DELETE answered {deleted}"
        after = self.registry.ask("GET", f"/v2/{REPOSITORY}/manifests/{TAG}")
        assert after.status == 404, after
        return f"DELETE {digest}: {deleted.status}\nGET {REPOSITORY}:{TAG}: {after.status}"

    def restart(self) -> str:
        self.push()
        self.registry.replace_pod()
        return self.listed()

    def delete(self) -> str:
        said = self.registry.delete()
        after = self.node_trees()
        changed = [node for node in self._before if after.get(node) != self._before[node]]
        assert not changed, "\n".join(f"{node}:\n{self._before[node]}\nis now\n{after.get(node)}" for node in changed)
        shown = [f"{node} is as it was before:\n{tree.rstrip()}" for node, tree in after.items()]
        return "\n".join([said.strip(), *shown])

    def uninstall(self) -> str:
        said = self.make("uninstall")
        self.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=120s")
        return said

    def node_trees(self) -> dict[str, str]:
        """What each node's containerd finds registries by, as its agent sees it."""
        return {
            node: self.kubectl("exec", f"--namespace={AGENTS}", pod, "--", "python3", "-c", _TREE)
            for node, pod in sorted(self.kubectl.agents().items())
        }

    def make(self, script: str, **variables: str) -> str:
        """What `make install`, `make uninstall` and `make cleanup` do."""
        done = subprocess.run(
            [ROOT / "manifests" / f"{script}.sh"],
            env={**self.kubectl.environment(), **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"make {script}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout
