"""The kind cluster: made, found again, and handed to tests.

`Cluster` is what a test needs to reach its nodes beside the Kubernetes API. Its kubeconfig is in the cache directory;
`~/.kube/config` is never written.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster import images, versions
from tests.cluster.commands import DIE_WITH_PARENT, CommandError, output, run, tail
from tests.cluster.host import cache_directory
from tests.waiting import eventually

# Whatever the node image has: containerd looks into this directory, which is how a node comes to trust a registry.
CERTS_D = """\
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"
"""
# A running pod has what changed in its Secrets when the kubelet looks at it again, of itself once a minute.
LOOKS_OFTEN = {"kind": "KubeletConfiguration", "syncFrequency": "10s"}
NETWORK = "kind"
LOADED = "/kind/loaded"  # on each node: which images were loaded, by name and id
AUDIT_LOG = "/var/log/kubernetes/audit.log"  # on the control plane: what changes something, and all that ours ask
AUDIT_POLICY = "/etc/kubernetes/audit-policy.json"
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "userGroups": ["system:serviceaccounts:private-registry-system"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts:private-registry-nodes"]},
        {"level": "None", "verbs": ["get", "list", "watch"]},
        {"level": "Metadata"},
    ],
}


def configuration(
    policy: Path, workers: int = 2, patches: Sequence[str] = (CERTS_D,), family: str = "ipv4"
) -> dict[str, object]:
    """Return kind's configuration of a cluster with one control plane, which audits by the file `policy`."""
    volumes = [
        {"name": "policy", "hostPath": AUDIT_POLICY, "mountPath": AUDIT_POLICY, "readOnly": True, "pathType": "File"},
        {"name": "log", "hostPath": str(Path(AUDIT_LOG).parent), "mountPath": str(Path(AUDIT_LOG).parent)},
    ]
    flags = {"audit-policy-file": AUDIT_POLICY, "audit-log-path": AUDIT_LOG}
    audit = {"kind": "ClusterConfiguration", "apiServer": {"extraArgs": flags, "extraVolumes": volumes}}
    control_plane = {
        "role": "control-plane",
        "extraMounts": [{"hostPath": str(policy), "containerPath": AUDIT_POLICY, "readOnly": True}],
        "kubeadmConfigPatches": [json.dumps(audit)],  # JSON is YAML
    }
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [control_plane, *[{"role": "worker"}] * workers],
        "networking": {"ipFamily": family},
        "containerdConfigPatches": list(patches),
        "kubeadmConfigPatches": [json.dumps(LOOKS_OFTEN)],
    }


@dataclass(frozen=True)
class Cluster:
    """A kind cluster by its name. Docker must answer."""

    name: str = versions.CLUSTER
    cache: Path = field(default_factory=cache_directory)

    @property
    def kubeconfig(self) -> Path:
        """Return the file that leads to this cluster and to no other."""
        return self.cache / ("kubeconfig" if self.name == versions.CLUSTER else f"kubeconfig-{self.name}")

    @property
    def nodes(self) -> list[str]:
        """Return the names of the nodes, which are the names of their containers, the control plane first."""
        return sorted(output("docker", "ps", "--all", *self._filter(), "--format", "{{.Names}}").split())

    def create(
        self, image: str, log: Path, *, workers: int = 2, patches: Sequence[str] = (CERTS_D,), family: str = "ipv4"
    ) -> None:
        """Create the cluster and wait until every node is ready and DNS and storage work. Raises CommandError.

        `family`: ipv4, or ipv6 for pods and Services that have no other address.
        """
        self.kubeconfig.unlink(missing_ok=True)
        directory = self.cache / "kind" / self.name
        directory.mkdir(parents=True, exist_ok=True)
        policy, settings = directory / "audit-policy.json", directory / "cluster.json"
        policy.write_text(json.dumps(POLICY))
        settings.write_text(json.dumps(configuration(policy, workers, patches, family), indent=1))
        run(
            self._kind(), "create", "cluster", "--name", self.name, "--image", image, "--config", settings,
            "--kubeconfig", self.kubeconfig, "--wait", "180s", "--verbosity", "1", log=log,
        )  # fmt: skip
        self.wait_ready(log)

    def wait_ready(self, log: Path) -> None:
        """Wait until every node is ready and DNS and storage work. Raises CommandError."""
        kubectl = (self.kubectl_program(), "--kubeconfig", self.kubeconfig)
        run(*kubectl, "wait", "node", "--all", "--for=condition=Ready", "--timeout=180s", log=log)
        for namespace, deployment in (("kube-system", "coredns"), ("local-path-storage", "local-path-provisioner")):
            run(*kubectl, "-n", namespace, "rollout", "status", f"deploy/{deployment}", "--timeout=180s", log=log)

    def delete(self, log: Path) -> None:
        """Delete the cluster, however much of it there is."""
        containers = output("docker", "ps", "--all", "--quiet", *self._filter()).split()
        if containers:
            run("docker", "rm", "--force", "--volumes", *containers, log=log)
        self.kubeconfig.unlink(missing_ok=True)

    def healthy(self) -> bool:
        """Tell whether every node of a cluster that was completely made runs and is ready."""
        running = output("docker", "ps", "--quiet", *self._filter()).split()
        if not running or len(running) != len(self.nodes) or not self.kubeconfig.exists():
            return False
        ready = '{range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
        try:
            states = self.kubectl("get", "nodes", "-o", f"jsonpath={ready}", "--request-timeout=10s").split()
        except CommandError:
            return False
        return states == ["True"] * len(running)

    def image(self) -> str:
        """Return the id of the image that the nodes were made from."""
        return output("docker", "inspect", "--format", "{{.Image}}", self.nodes[0])

    def kubectl(self, *arguments: str, timeout: float = 120) -> str:
        """Return what kubectl prints for this cluster. Raises CommandError."""
        return output(self.kubectl_program(), "--kubeconfig", self.kubeconfig, *arguments, timeout=timeout)

    def exec_on_node(self, node: str, *argv: str, stdin: str = "", timeout: float = 60) -> str:
        """Run a program on a node as root and return its standard output, as it is. Raises CommandError."""
        done = subprocess.run(
            ["docker", "exec", "--interactive", node, *argv],
            input=stdin, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        if done.returncode:
            raise CommandError(f"{' '.join(argv)} on {node} ended with status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def audit_size(self) -> int:
        """Return the size of the audit log in bytes, from which `audit` goes on."""
        return int(self.exec_on_node(self.nodes[0], "stat", "--format=%s", AUDIT_LOG))

    def audit(self, offset: int) -> list[dict[str, Any]]:
        """Return the requests in the audit log from an offset on, as `audit.k8s.io/v1` Events of level Metadata."""
        text, _, _half = self.exec_on_node(self.nodes[0], "tail", "-c", f"+{offset + 1}", AUDIT_LOG).rpartition("\n")
        return [json.loads(line) for line in text.splitlines()]

    def stop_node(self, node: str) -> None:
        """Turn a node off, as its power switch would: nothing is stopped in order."""
        output("docker", "kill", node)
        eventually(lambda: not self._runs(node), within=30, what=f"{node} is off")

    def start_node(self, node: str) -> None:
        """Turn a node on again. It boots on; `kubectl wait` tells when Kubernetes sees it."""
        output("docker", "start", node)

    def load_image(self, image: str, log: Path, nodes: Sequence[str] = ()) -> bool:
        """Put an image of the Docker daemon on the nodes (default: all) that lack it, and tell whether any did."""
        identity = images.identity(image)
        mark = f"{image} {identity}"
        lacking = [node for node in nodes or self.nodes if mark not in self._loaded(node)]
        if not lacking:
            return False
        (self.cache / "tmp").mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.cache / "tmp", suffix=".tar") as archive:
            run("docker", "save", "--output", archive.name, image, log=log)
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda node: self._import(Path(archive.name), node, log), lacking))
        for node in lacking:
            kept = [line for line in self._loaded(node) if not line.startswith(f"{image} ")]
            self.exec_on_node(node, "sh", "-c", f"cat >{LOADED}", stdin="\n".join([*kept, mark, ""]))
        return True

    def load_operator(self, log: Path) -> bool:
        """Put the operator's image on the nodes, and start anew what runs of an older one; tell whether it was new."""
        if not self.load_image(versions.OPERATOR_IMAGE, log):
            return False
        # The image keeps its name, so that nobody else would.
        prefix, components = "app.kubernetes.io", "operator, agent, managing-agent"
        ours = f"{prefix}/part-of=private-registry-operator,{prefix}/component in ({components})"
        self.kubectl("delete", "pods", "--all-namespaces", f"--selector={ours}")
        return True

    def _import(self, archive: Path, node: str, log: Path) -> None:
        importing = (
            *("docker", "exec", "--interactive", node, "ctr", "--namespace=k8s.io", "images", "import"),
            *("--all-platforms", "--digests", "--snapshotter=overlayfs", "-"),
        )
        with archive.open("rb") as image, log.open("ab") as out:
            done = subprocess.run([*DIE_WITH_PARENT, *importing], stdin=image, stdout=out, stderr=out, check=False)
        if done.returncode:
            raise CommandError(f"the image could not be imported on {node}; the end of {log}:\n{tail(log)}")

    def _loaded(self, node: str) -> list[str]:
        try:
            return self.exec_on_node(node, "cat", LOADED).splitlines()
        except CommandError:
            return []

    def _runs(self, node: str) -> bool:
        return output("docker", "inspect", "--format", "{{.State.Running}}", node) == "true"

    def _filter(self) -> tuple[str, str]:
        return "--filter", f"label=io.x-k8s.kind.cluster={self.name}"

    def _kind(self) -> Path:
        return self._tool("kind", f"kind-{versions.KIND}")

    def kubectl_program(self) -> Path:
        """Return the kubectl that goes with the cluster. Raises CommandError when there is none."""
        return self._tool("kubectl", f"kubernetes-{versions.KUBERNETES}")

    def _tool(self, name: str, directory: str) -> Path:
        """Return a program: built by us, or else the machine's own."""
        built = self.cache / "bin" / directory / name
        found = built if built.exists() else shutil.which(name)
        if not found:
            raise CommandError(f"{name} is neither in {built.parent} nor in the PATH")
        return Path(found)
