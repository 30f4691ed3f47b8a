"""The main job, step by step, on a real cluster: what a person would do and see. `make demo` tells it, e2e asserts it.

Each step does one thing, returns what came back and raises AssertionError with the first thing that is not true.
"""

import ssl
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.kubectl import AGENTS, Kubectl
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent
REPOSITORY, TAG = "busybox", "v1"

_TREE = """
import hashlib, pathlib
root = pathlib.Path("/host/etc/containerd/certs.d")
for path in sorted([pathlib.Path("/host/etc/hosts"), *root.rglob("*")]):
    content = hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else "directory"
    print(oct(path.lstat().st_mode), content, path.relative_to("/host"))
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
    registry: str = "team"
    reclaim_policy: str = "Retain"
    _before: dict[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return f"{self.registry}.{self.namespace}.svc:5000"

    def steps(self) -> list[Step]:
        namespace = f"-n {self.namespace}"
        forward = f"kubectl {namespace} port-forward svc/{self.registry} 5000 &"
        curl = "curl --cacert ca.crt"
        return [
            Step("Install the operator and its agents", f"make install IMAGE={self.image}", self.install),
            Step("Apply the smallest PrivateRegistry", "kubectl apply -f registry.yaml", self.apply),
            Step("It gets ready, and every node proves that it trusts it", "kubectl get preg,nodetrust -A", self.ready),
            Step("The catalog is empty", f"{forward}\n{curl} https://localhost:5000/v2/_catalog", self.empty_catalog),
            Step(
                f"Push {REPOSITORY}:{TAG}",
                f"docker tag {REPOSITORY}:{TAG} localhost:5000/{REPOSITORY}:{TAG}\n"
                f"docker push localhost:5000/{REPOSITORY}:{TAG}",
                self.push,
            ),
            Step(
                "Catalog and tags list it",
                f"{curl} https://localhost:5000/v2/_catalog\n{curl} https://localhost:5000/v2/{REPOSITORY}/tags/list",
                self.listed,
            ),
            Step(
                "A pod on each node runs it from the private name",
                f"kubectl run hello --image={self.host}/{REPOSITORY}:{TAG} …   (once per node)",
                self.pods,
            ),
            Step(
                "Delete the manifest: 202, and it is gone",
                f"{curl} -X DELETE https://localhost:5000/v2/{REPOSITORY}/manifests/sha256:…",
                self.delete_manifest,
            ),
            Step(
                "Push again and restart the registry's pod: what was pushed is still there",
                f"docker push localhost:5000/{REPOSITORY}:{TAG}\n"
                f"kubectl {namespace} delete pod -l app.kubernetes.io/instance={self.registry}",
                self.restart,
            ),
            Step(
                "Delete the PrivateRegistry: every node is as it was",
                f"kubectl {namespace} delete preg {self.registry}",
                self.delete,
            ),
        ]

    def install(self) -> str:
        variables = {"IMAGE": self.image, "REGISTRY_IMAGE": self.registry_image}
        done = subprocess.run(
            [ROOT / "manifests" / "install.sh"],
            env={**self.kubectl.environment(), **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"install.sh: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return self.kubectl(
            "get", "deployments,daemonsets", "-A", "-l", "app.kubernetes.io/part-of=private-registry-operator"
        )

    def apply(self) -> str:
        self._before = self.node_trees()
        return self.kubectl.apply(self.manifest())

    def manifest(self) -> str:
        """The namespace and the PrivateRegistry; its spec is empty unless its volume is to go with it."""
        keep = self.reclaim_policy == "Retain"
        return "\n".join(
            [
                "apiVersion: v1\nkind: Namespace",
                f"metadata: {{name: {self.namespace}}}",
                "---\napiVersion: privateregistry.dev/v1alpha1\nkind: PrivateRegistry",
                f"metadata: {{name: {self.registry}, namespace: {self.namespace}}}",
                "" if keep else f"spec: {{storage: {{reclaimPolicy: {self.reclaim_policy}}}}}",
            ]
        )

    def ready(self) -> str:
        nodes = self.linux_nodes()
        self.kubectl.wait_ready(self.namespace, self.registry, nodes=len(nodes), within=180)
        trusts = self.kubectl.items("nodetrusts")
        lacking = [each["metadata"]["name"] for each in trusts if each["status"]["trusted"] != each["status"]["total"]]
        assert not lacking, f"NodeTrust of {lacking} does not list it as trusted"
        return self.kubectl("get", "privateregistries,nodetrusts", "-A")

    def empty_catalog(self) -> str:
        body = self.curl("GET", "/v2/_catalog")[1]
        assert body == '{"repositories":[]}', body
        return body

    def push(self) -> str:
        with self.kubectl.port_forward(self.namespace, f"service/{self.registry}", 5000) as port:
            target = f"localhost:{port}/{REPOSITORY}:{TAG}"
            _docker("tag", f"{REPOSITORY}:{TAG}", target)
            try:
                return _docker("push", target)
            finally:
                _docker("rmi", target)

    def listed(self) -> str:
        catalog = self.curl("GET", "/v2/_catalog")[1]
        assert catalog == f'{{"repositories":["{REPOSITORY}"]}}', catalog
        tags = self.curl("GET", f"/v2/{REPOSITORY}/tags/list")[1]
        assert tags == f'{{"name":"{REPOSITORY}","tags":["{TAG}"]}}', tags
        return f"{catalog}\n{tags}"

    def pods(self) -> str:
        image, nodes = f"{self.host}/{REPOSITORY}:{TAG}", self.linux_nodes()
        self.kubectl.apply("\n---\n".join(_pod(self.namespace, node, image) for node in nodes))
        said = []
        for node in nodes:
            name = f"hello-{node}"

            def succeeded(name: str = name) -> bool:
                status = self.kubectl.get("pod", name, f"--namespace={self.namespace}")["status"]
                assert status["phase"] == "Succeeded", status
                return True

            eventually(succeeded, within=90, every=0.5, what=f"pod {name} ran")
            said.append(self.kubectl("logs", name, f"--namespace={self.namespace}").strip())
        self.kubectl("delete", "pods", "--selector=app=hello", f"--namespace={self.namespace}", "--wait=false")
        return "\n".join(said)

    def delete_manifest(self) -> str:
        _, _, headers = self.curl("HEAD", f"/v2/{REPOSITORY}/manifests/{TAG}")
        digest = headers["Docker-Content-Digest"]
        status = self.curl("DELETE", f"/v2/{REPOSITORY}/manifests/{digest}")[0]
        assert status == 202, f"DELETE answered {status}"
        after, body, _ = self.curl("HEAD", f"/v2/{REPOSITORY}/manifests/{TAG}")
        assert after == 404, f"{after} {body}"
        return f"DELETE {digest}: {status}\nGET {REPOSITORY}:{TAG}: {after}"

    def restart(self) -> str:
        self.push()
        selector = f"--selector=app.kubernetes.io/component=registry,app.kubernetes.io/instance={self.registry}"
        at = f"--namespace={self.namespace}"
        old = {pod["metadata"]["uid"] for pod in self.kubectl.items("pods", at, selector)}
        self.kubectl("delete", "pods", at, selector, "--wait=false")

        def replaced() -> bool:
            pods = self.kubectl.items("pods", at, selector)
            states = {pod["metadata"]["uid"]: pod["status"].get("conditions") or [] for pod in pods}
            ready = [
                uid for uid, each in states.items() if any(c["type"] == "Ready" and c["status"] == "True" for c in each)
            ]
            assert len(states) == 1, sorted(states)
            assert not old & set(states), "the old pod is still there"
            return bool(ready)

        eventually(replaced, within=120, every=0.5, what="a new pod of the registry is ready")
        return self.listed()

    def delete(self) -> str:
        self.kubectl("delete", "privateregistry", self.registry, f"--namespace={self.namespace}", "--timeout=90s")
        after = self.node_trees()
        changed = [node for node in self._before if after.get(node) != self._before[node]]
        assert not changed, "\n".join(f"{node}:\n{self._before[node]}\nis now\n{after.get(node)}" for node in changed)
        return "\n".join(
            f"{node}: {len(tree.splitlines())} files and directories, all as before" for node, tree in after.items()
        )

    def uninstall(self) -> str:
        done = subprocess.run(
            [ROOT / "manifests" / "uninstall.sh"],
            env=self.kubectl.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"uninstall.sh: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        self.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--timeout=120s")
        return done.stdout

    def linux_nodes(self) -> list[str]:
        found = self.kubectl.items("nodes", "--selector=kubernetes.io/os=linux")
        return sorted(node["metadata"]["name"] for node in found)

    def node_trees(self) -> dict[str, str]:
        """What each node's containerd finds registries by, as its agent sees it."""
        return {
            node: self.kubectl("exec", f"--namespace={AGENTS}", pod, "--", "python3", "-c", _TREE)
            for node, pod in sorted(self.kubectl.agents().items())
        }

    def curl(self, method: str, path: str) -> tuple[int, str, dict[str, str]]:
        """Ask the registry through a port-forward, trusting its CA: status, body and headers."""
        name = f"configmap/{self.registry}-ca"
        ca = self.kubectl("get", name, f"--namespace={self.namespace}", r"--output=jsonpath={.data.ca\.crt}")
        with self.kubectl.port_forward(self.namespace, f"service/{self.registry}", 5000) as port:
            return request(f"https://localhost:{port}{path}", method=method, ca=ca)


def request(url: str, *, method: str = "GET", ca: str = "") -> tuple[int, str, dict[str, str]]:
    """One HTTP request: status, body and headers, whatever the status."""
    accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
    asked = urllib.request.Request(url, method=method, headers={"Accept": accept})
    context = ssl.create_default_context(cadata=ca) if ca else None
    try:
        with urllib.request.urlopen(asked, timeout=30, context=context) as answer:
            return answer.status, answer.read().decode().strip(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode().strip(), dict(error.headers)


def _pod(namespace: str, node: str, image: str) -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: hello-{node}, namespace: {namespace}, labels: {{app: hello}}}}
spec:
  nodeName: {node}
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers:
    - {{name: hello, image: "{image}", imagePullPolicy: Always, command: [echo, "hello from {node}"]}}
"""


def _docker(*arguments: str) -> str:
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run(["docker", *arguments], stdout=said, stderr=subprocess.STDOUT, timeout=120, check=False)
        said.seek(0)
        text = said.read()
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {text}"
    return text.strip().splitlines()[-1]
